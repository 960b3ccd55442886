"""What an entry makes of rows: keys with their values, as columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cachectl.config.manifest import Entry, Existing, Ttl
from cachectl.model.values import LogicalValue
from cachectl.sources.interface import RowProblem


@dataclass(frozen=True, slots=True)
class TagMember:
    """One member that a key gets in a tag set or index of the application (score: of zset)."""

    kind: Literal["set", "zset"]
    key: bytes
    member: bytes
    score: float = 0.0


@dataclass(frozen=True, slots=True)
class WarmKey:
    """One key that is to be written, whole.

    ttl_ms: what the row itself says of the TTL in milliseconds (-1: never expires); None: `ttl`
    decides. tags: what else is to name it.
    """

    entry: Entry
    key: bytes
    value: LogicalValue
    ttl: Ttl
    existing: Existing
    ttl_ms: int | None = None
    tags: tuple[TagMember, ...] = ()
    row: int = 0


@dataclass(slots=True)
class Rendered:
    """Some keys of one entry, as parallel columns (a million small objects cost too much).

    types: of each key; None: all are `entry.type`. values: bytes of a string, else the elements as
    in LogicalValue. rows: the number of the (first) row that gave it. ttls: as WarmKey.ttl_ms;
    None: `entry.ttl` decides for all. tags: None: there are none. problems: rows that gave no key.
    """

    entry: Entry
    keys: list[bytes]
    values: list[Any]
    rows: Sequence[int]
    ttls: list[int] | None = None
    types: list[str] | None = None
    tags: list[tuple[TagMember, ...]] | None = None
    problems: tuple[RowProblem, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)

    def warm_keys(self) -> Iterator[WarmKey]:
        """Yield one WarmKey for each key."""
        entry = self.entry
        for i, key in enumerate(self.keys):
            kind = self.types[i] if self.types else entry.type
            value = self.values[i]
            yield WarmKey(
                entry,
                key,
                LogicalValue(kind, [value] if kind == "string" else value),
                entry.ttl,
                entry.existing,
                self.ttls[i] if self.ttls else None,
                self.tags[i] if self.tags else (),
                self.rows[i],
            )
