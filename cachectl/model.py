"""The frozen records that every room speaks.

Only the standard library is imported here. Units are in the names or in the docstrings: bytes are
integers, a TTL is milliseconds inside and seconds in every report, times are Unix seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import IntEnum
from types import MappingProxyType
from typing import Any, NamedTuple

NO_TTL = -1
"""What PTTL answers for a key that never expires (and for a hash whose fields alone expire)."""


class Severity(IntEnum):
    """How bad a finding is; ordered, so that `--fail-on` can compare."""

    INFO = 0
    WARNING = 1
    CRITICAL = 2

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Finding:
    """Something found, with what proves it and what mends it.

    id: stable, `area.name` (`ttl.missing`); severity; title: one sentence; evidence: the figures;
    remedy: a command or a setting, or None; subject: the namespace, node or client it is about.
    """

    id: str
    severity: Severity
    title: str
    evidence: str = ""
    remedy: str | None = None
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class Suppression:
    """A finding that is known and accepted for a while.

    id, subject: globs of what is suppressed (no subject: whatever it is about). until: the last
    day on which it holds, in UTC.
    """

    id: str
    reason: str
    until: date
    subject: str | None = None


class State(IntEnum):
    """How a test ended, in the numbers that monitoring plugins end with."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True, slots=True)
class Verdict:
    """One thing that was tested, for monitoring and CI.

    name: a label that stays the same; text: a sentence. value: the figure, None when there is
    none; unit: of it, as plugins write it ('' for a number, s, %, B); warn, critical: the ranges
    that it was held against, '' for none; low, high: bounds that it cannot leave.
    """

    name: str
    state: State
    text: str = ""
    value: float | None = None
    unit: str = ""
    warn: str = ""
    critical: str = ""
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Unavailable:
    """What a server, a managed service or a login cannot answer: a value, not an exception.

    what: the figure or feature; reason: why it is missing; remedy: what would give it (an ACL line,
    a setting, a version), or None; node: the node that refused, None for all of them.
    """

    what: str
    reason: str
    remedy: str | None = None
    node: str | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure from a sample, with its 95 % confidence interval (same unit as the figure)."""

    value: float
    low: float
    high: float


Figure = int | Estimate
"""A figure that is known, or estimated."""


def value_of(figure: float | Estimate) -> float:
    """Return a figure without its interval."""
    return figure.value if isinstance(figure, Estimate) else figure


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
class NodeFacts:
    """What one node says of itself (INFO server, replication, memory, keyspace).

    address: host:port or socket path. role: primary or replica. keys: of the chosen database.
    used_memory, maxmemory: bytes (maxmemory 0: unlimited; None: not to be had).
    """

    address: str
    role: str
    run_id: str
    version: str
    flavour: str
    replid: str = ""
    keys: int | None = None
    used_memory: int | None = None
    maxmemory: int | None = None
    policy: str | None = None
    slots: int | None = None


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """Who answered behind a profile.

    topology: standalone, sentinel or cluster. flavour: redis, valkey, dragonfly, keydb or unknown;
    version: that flavour's own version, not the compatibility number of redis_version.
    """

    name: str
    topology: str
    flavour: str
    version: str
    nodes: tuple[NodeFacts, ...]
    database: int = 0


@dataclass(frozen=True, slots=True)
class UserRights:
    """An ACL user. commands, keys: its rules as the server shows them (`+@all`, `~*`)."""

    name: str
    enabled: bool
    no_password: bool
    commands: str
    keys: str

    @property
    def is_all_powerful(self) -> bool:
        """Whether it may run everything on every key."""
        everything = "+@all" in self.commands.split() and " -" not in f" {self.commands}"
        return self.enabled and everything and "~*" in self.keys.split()


# --- counters, as samples of them -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OwnWork:
    """What jobs of ours on this machine have added to one node's counters so far.

    hits, misses: of keyspace_hits and keyspace_misses; commands: of the commands. lost: jobs whose
    last answers never came, so that they added more than they know. settled: no job was in the
    middle of something. addresses: the client addresses (host:port) that they work from.
    """

    hits: int = 0
    misses: int = 0
    commands: int = 0
    lost: int = 0
    settled: bool = True
    addresses: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class NodeSample:
    """What one node's counters said at one moment.

    at: Unix seconds by our clock; clock: seconds of this process's monotonic clock, None for a
    sample of another process. info: the fields of INFO, all sections. own: see OwnWork. asked: name
    of a command → how often the measuring itself had sent it before, and refused: code of an error
    → how often it was the answer. strangers: address → commands so far of connections that call
    themselves cachectl and are none of this machine's jobs (None: the server does not say how
    many).
    """

    node: str
    at: float
    clock: float | None
    info: Mapping[str, str]
    own: OwnWork = OwnWork()
    asked: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    strangers: Mapping[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MemorySample:
    """What one node says of its memory at one moment.

    info: the fields of INFO. stats: the figures of MEMORY STATS by their names, empty where it is
    not to be had; databases: database → the figures of it that MEMORY STATS has.
    """

    node: str
    info: Mapping[str, str]
    stats: Mapping[str, float] = field(default_factory=dict)
    databases: Mapping[int, Mapping[str, float]] = field(default_factory=dict)


# --- events of keys, as they happen ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Events of one node in the order in which they happened: names[i] befell keys[i].

    names: as the server has them (`expired`, `keymiss`). elsewhere: name → how many befell keys of
    other databases. dropped: events that came faster than they were taken, and were let go.
    """

    node: str
    names: Sequence[str] = ()
    keys: Sequence[bytes] = ()
    elsewhere: Mapping[str, int] = field(default_factory=dict)
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class EventGap:
    """A time in which nobody listened to a node. seconds: how long; reason: why, as a phrase."""

    node: str
    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class EventMark:
    """A place in the events of a node: whatever came before it happened before it.

    info: what INFO stats said at exactly this place, None where it can't be asked in between.
    listening: whether the node is being listened to.
    """

    node: str
    info: Mapping[str, str] | None = None
    listening: bool = True


# --- whole values, as elements --------------------------------------------------------------------

StreamId = tuple[int, int]
"""Milliseconds and sequence number."""


@dataclass(frozen=True, slots=True)
class PendingEntry:
    """One entry that a consumer has been given and has not acknowledged (delivered_at: Unix ms)."""

    id: StreamId
    consumer: bytes
    delivered_at: int
    deliveries: int


@dataclass(frozen=True, slots=True)
class StreamGroup:
    """A consumer group. entries_read is None where the server does not know (before 7.0)."""

    name: bytes
    last_id: StreamId
    entries_read: int | None
    consumers: tuple[bytes, ...]
    pending: tuple[PendingEntry, ...]


@dataclass(frozen=True, slots=True)
class StreamState:
    """What a stream is besides its entries; None where the server does not say (before 7.0)."""

    last_id: StreamId
    max_deleted_id: StreamId | None = None
    entries_added: int | None = None
    groups: tuple[StreamGroup, ...] = ()


@dataclass(frozen=True, slots=True)
class LogicalValue:
    """A value as its elements, the same on every server version.

    elements, by type: string: one bytes. list, set: bytes. zset: (member, score). hash: (field,
    value, expires_at), the last in Unix milliseconds or None. stream: (id, ((field, value), …)),
    with the rest in `stream`.
    """

    type: str
    elements: Sequence[Any]
    stream: StreamState | None = None


# --- one key, looked at ---------------------------------------------------------------------------


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


# --- keys that are changed ------------------------------------------------------------------------

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
