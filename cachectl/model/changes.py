"""Keys that are changed: as planned, and as they were before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import repeat
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
