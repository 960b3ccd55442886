"""Keys that are changed: as planned, and as they were before."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, repeat
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar, cast

NEVER = -1
"""An expiry time that says: never expires."""


class PlannedKey(NamedTuple):
    """One key of a plan. A tuple, because a million of them are made and read.

    expires_at: Unix milliseconds by the server's clock, NEVER for none. size: MEMORY USAGE in
    bytes, 0 when it was not asked for. idle: seconds, -1 unknown. guard: a digest of the value
    when the plan is to notice changes, empty when it is not.
    """

    key: bytes
    type: str
    expires_at: int = NEVER
    size: int = 0
    idle: int = -1
    guard: bytes = b""


@dataclass(frozen=True, slots=True)
class PlannedKeys:
    """Some keys of a plan, as parallel columns: what they mean is said at PlannedKey.

    Columns because most plans say of a key nothing but its name, and a record for each of a
    million keys would be made for that.
    """

    keys: Sequence[bytes]
    types: Sequence[str]
    expiries: Sequence[int]
    sizes: Sequence[int]
    idles: Sequence[int]
    guards: Sequence[bytes]

    @classmethod
    def of(cls, records: Iterable[PlannedKey]) -> PlannedKeys:
        """Return records as columns."""
        columns = list(map(list, zip(*records, strict=True)))
        return cls(*columns) if columns else cls([], [], [], [], [], [])

    @property
    def columns(self) -> tuple[Sequence[Any], ...]:
        """All columns, in the order of PlannedKey's fields."""
        return self.keys, self.types, self.expiries, self.sizes, self.idles, self.guards

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[PlannedKey]:
        return iter(tuples_of(PlannedKey, zip(*self.columns, strict=True)))

    def part(self, start: int, stop: int | None) -> PlannedKeys:
        """Return the keys at some positions."""
        return PlannedKeys(*[column[start:stop] for column in self.columns])

    def without(self, names: Collection[bytes]) -> PlannedKeys:
        """Return the keys that are none of these."""
        left = [key not in names for key in self.keys]
        return PlannedKeys(*[list(compress(column, left)) for column in self.columns])

    def followed_by(self, other: PlannedKeys) -> PlannedKeys:
        """Return these keys and then the others."""
        if not self.keys:
            return other
        pairs = zip(self.columns, other.columns, strict=True)
        return PlannedKeys(*[[*mine, *theirs] for mine, theirs in pairs])


class KeyCopy(NamedTuple):
    """One key as it was before a run touched it: everything that undo needs.

    how: `payload` (data is what DUMP gave), `pieces` (a logical copy, one LogicalValue a record),
    `ttl` (only the TTL is changed, no data) or `renamed` (the data stays in the server, under
    another name). A giant key takes several `pieces`, one after the other; all but the last say
    `extra["more"]`. expires_at: Unix milliseconds, NEVER for none. idle: seconds, freq: LFU
    counter, -1 for unknown. extra: small JSON-able details.
    """

    key: bytes
    type: str
    how: str
    data: bytes = b""
    expires_at: int = NEVER
    idle: int = -1
    freq: int = -1
    extra: Mapping[str, Any] = MappingProxyType({})


T = TypeVar("T", bound=tuple[Any, ...])


def tuples_of(kind: type[T], rows: Iterable[tuple[Any, ...]]) -> list[T]:
    """Return rows as named tuples of a kind; each row must have a value for every field.

    What `map(kind._make, rows)` returns in a third of the time: `_make` is a Python function that
    looks at the length of each, which rows that come from a zip of columns need not have done.
    """
    return cast(list[T], list(map(tuple.__new__, repeat(kind), rows)))
