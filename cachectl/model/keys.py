"""Keys as they were seen: one, a page of them, one inside out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cachectl.model.findings import Unavailable
from cachectl.model.values import LogicalValue

NO_TTL = -1
"""What PTTL answers for a key that never expires (and for a hash whose fields alone expire)."""


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """One key as a scan saw it. A field that was not asked for, or not to be had, is None.

    ttl_ms: PTTL in milliseconds, NO_TTL (-1) for none. bytes: MEMORY USAGE. idle: seconds since the
    last access (LRU policies). freq: the LFU counter, 0–255 (LFU policies). elements: members,
    fields, entries, or the length of a string in bytes. node: the address that holds it.
    """

    key: bytes
    type: str
    ttl_ms: int | None = None
    bytes: int | None = None
    idle: int | None = None
    freq: int | None = None
    encoding: str | None = None
    elements: int | None = None
    node: str = ""


@dataclass(slots=True)
class Page:
    """Some keys of one node, as columns: what a scan yields.

    Columns are parallel to `keys`; a column that was not asked for is None. Values and units are
    those of KeyRecord. Columns instead of records, because a million small objects cost more than
    the server needs to answer.
    """

    node: str
    keys: list[bytes]
    types: list[str] | None = None
    ttls: list[int] | None = None
    sizes: list[int | None] | None = None
    idles: list[int | None] | None = None
    freqs: list[int | None] | None = None
    encodings: list[str | None] | None = None
    elements: list[int | None] | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, indexes: Sequence[int]) -> Page:
        """Return the page with only these of its keys."""
        if len(indexes) == len(self.keys):
            return self

        def taken(column: list[Any] | None) -> list[Any] | None:
            return None if column is None else [column[i] for i in indexes]

        return Page(
            node=self.node,
            keys=[self.keys[i] for i in indexes],
            types=taken(self.types),
            ttls=taken(self.ttls),
            sizes=taken(self.sizes),
            idles=taken(self.idles),
            freqs=taken(self.freqs),
            encodings=taken(self.encodings),
            elements=taken(self.elements),
        )

    def records(self) -> Iterator[KeyRecord]:
        """Yield one KeyRecord for each key of the page."""
        for i, key in enumerate(self.keys):
            yield KeyRecord(
                key=key,
                type=self.types[i] if self.types else "",
                ttl_ms=self.ttls[i] if self.ttls else None,
                bytes=self.sizes[i] if self.sizes else None,
                idle=self.idles[i] if self.idles else None,
                freq=self.freqs[i] if self.freqs else None,
                encoding=self.encodings[i] if self.encodings else None,
                elements=self.elements[i] if self.elements else None,
                node=self.node,
            )


@dataclass(frozen=True, slots=True)
class FieldExpiries:
    """The TTLs that fields of a hash have of their own.

    looked: fields that were asked, which is all of them or a part; expiring: how many of these
    have a TTL; first, last: milliseconds until the first, and the last, of them expires, None when
    there is none.
    """

    looked: int
    expiring: int
    first: int | None = None
    last: int | None = None


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """A consumer group of a stream; lag (entries not delivered yet) None: the server can't tell."""

    name: bytes
    consumers: int
    pending: int
    last_id: bytes
    lag: int | None = None


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """Ids of the first and last entries (None: there is none), and the groups that read it."""

    first_id: bytes | None
    last_id: bytes | None
    groups: tuple[GroupFacts, ...] = ()


@dataclass(frozen=True, slots=True)
class KeyDetails:
    """Everything that was found out about one key.

    record: as a scan sees it, with the length of a string in bytes as its elements. now: the
    server's clock in Unix milliseconds when it was asked, None: not to be had. slot: in a cluster.
    sample: some of the value, None when it was not read. touched: reading reset its idle time.
    """

    record: KeyRecord
    now: int | None = None
    slot: int | None = None
    expiries: FieldExpiries | None = None
    stream: StreamFacts | None = None
    sample: LogicalValue | None = None
    touched: bool = False
    unavailable: tuple[Unavailable, ...] = ()
