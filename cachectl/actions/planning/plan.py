"""A plan: the keys that a change is meant for, on the disk, and what is known of them together.

Memory holds the summary, whatever the number of keys: the keys go to a spool, page by page.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cachectl.actions.planning.alike import Fingerprint
from cachectl.actions.planning.changes import Change
from cachectl.actions.planning.guards import Protection, digest_of_payload
from cachectl.analysis.traffic.frequencies import expected_loads
from cachectl.errors import PartialError
from cachectl.model.changes import NEVER, PlannedKeys
from cachectl.model.findings import Unavailable
from cachectl.model.keys import Page
from cachectl.server.clock import ServerClock
from cachectl.server.pace import Pace, RateCap
from cachectl.server.scanning.columns import Field
from cachectl.server.scanning.named import NamedKeys
from cachectl.server.scanning.scan import Restarted, Scan, ScanRequest
from cachectl.server.scanning.scan_types import Progress
from cachectl.server.topology.handle import Server
from cachectl.server.topology.lanes import Lanes
from cachectl.server.transactions.transaction import GIANT
from cachectl.server.values.logical import UnknownTypeError, read_value
from cachectl.server.wire.connection import NodeConnection
from cachectl.server.wire.resp import ReplyError, as_text
from cachectl.storage.spool import SpoolWriter, create_plan

if TYPE_CHECKING:
    from cachectl.analysis.keyspace.keyspace import KeyspaceAccumulator
    from cachectl.analysis.keyspace.summary import KeyspaceSummary

_SAMPLES = 10
_RESTARTS = 3
RECENT = (60, 600, 3600)
"""Seconds of idle time below which a key counts as read in the last minute, ten minutes, hour."""


@dataclass(slots=True)
class Meant:
    """What a plan says of its keys.

    keys, size: how many, and their MEMORY USAGE in bytes as far as it was asked for. summary: the
    same by namespace; nodes: node → keys; samples: some names; recent: of RECENT, how many keys
    were used since (None without idle times); total: keys in the database; missing: named keys
    that are not there; fine: keys to which nothing has to be done; gaps: what kept some keys from
    being looked at, so that they are left alone; loads: about how many of the keys are asked for
    within a minute, from idle times or from frequencies (None without either); digest: of the
    spool.
    """

    keys: int = 0
    size: int = 0
    summary: KeyspaceSummary | None = None
    nodes: dict[str, int] = field(default_factory=dict)
    samples: list[bytes] = field(default_factory=list)
    recent: list[int] | None = None
    loads: float | None = None
    total: int | None = None
    seconds: float = 0.0
    own_lookups: int = 0
    unreadable: int = 0
    missing: int = 0
    fine: int = 0
    gaps: list[Unavailable] = field(default_factory=list)
    digest: str = ""

    @property
    def left_out(self) -> list[Unavailable]:
        """What could not be looked at, so that it is left alone: the plan is partial then."""
        if not self.unreadable:
            return self.gaps
        keys = "1 key" if self.unreadable == 1 else f"{self.unreadable:,} keys"
        reason = "this login may not read them, so they are left alone"
        return [Unavailable(keys, reason, "ACL SETUSER … %R~PATTERN"), *self.gaps]

    def add(self, page: Page) -> None:
        """Count the keys of a page."""
        self.keys += len(page)
        self.nodes[page.node] = self.nodes.get(page.node, 0) + len(page)
        if page.sizes:
            self.size += sum(size or 0 for size in page.sizes)
        if len(self.samples) < _SAMPLES:
            self.samples += page.keys[: _SAMPLES - len(self.samples)]
        if page.idles:
            now = [
                sum(1 for idle in page.idles if idle is not None and idle < limit)
                for limit in RECENT
            ]
            before = self.recent or [0] * len(RECENT)
            self.recent = [a + b for a, b in zip(before, now, strict=True)]
            self.loads = (self.loads or 0.0) + now[0]
        if page.freqs:
            self.loads = (self.loads or 0.0) + expected_loads(page.freqs)


class Chooser(Protocol):
    """Finds the keys that are meant: what to ask a scan for, and which keys of a page to take."""

    def request(self, fields: Collection[Field]) -> ScanRequest:
        """Return what to scan for: `fields`, and what choosing needs."""
        ...

    def choose(self, page: Page, *, found: bool = False) -> Page:
        """Return the keys of a page that are meant. found: by a scan, which looked at names."""
        ...

    def check(self, unavailable: Sequence[Unavailable]) -> None:
        """Raise RefusedError when a condition could not be judged."""
        ...

    def gaps(self, unavailable: Sequence[Unavailable]) -> list[Unavailable]:
        """Return what kept some keys from being judged."""
        ...


@dataclass(slots=True)
class Planner:
    """Collects the keys of a plan into a spool.

    fields: what to ask of each key besides what choosing needs: nothing for a quick removal,
    everything for a dry run, which `summarises` them as well. named: the keys to take instead of
    scanning for them. guarded: keep a digest of each value, by which a later run notices that it
    changed. change: what is to be done; keys that it leaves as they are do not come into the plan.
    """

    server: Server
    chooser: Chooser
    fields: frozenset[Field]
    protection: Protection
    named: Callable[[], Iterable[bytes]] | None = None
    guarded: bool = False
    summarises: bool = False
    change: Change | None = None
    on_progress: Callable[[Progress], None] | None = None

    def collect(self, path: Path, header: dict[str, Any]) -> Meant:
        """Write every key that is meant to a new spool at `path`. Return what they are.

        Raises RefusedError for protected keys, PartialError when not every key could be looked at.
        """
        for _ in range(_RESTARTS):
            with closing(create_plan(path, header)) as spool, Lanes(self.server) as lanes:
                digests = Digests(lanes) if self.guarded else None
                accumulator = _accumulator() if self.summarises else None
                collector = Collector(
                    spool, self.protection, self._clock(), digests, accumulator, self.change
                )
                if self.named is not None:
                    self._look_up(self.named(), collector)
                elif not self._scan(collector):
                    path.unlink()  # a node began anew, and so must the spool
                    continue
                meant = collector.meant
                meant.summary = collector.summary()
                meant.digest = spool.end()
                return meant
        raise PartialError(
            "the server changed hands again and again while its keys were read",
            hint="try again when it has come to rest",
            target=self.server.target.name,
        )

    def _clock(self) -> ServerClock:
        return ServerClock.of(self.server.primaries[0].connection)

    def _scan(self, collector: Collector) -> bool:
        request = self.chooser.request(self.fields)
        with Scan(self.server, request, self.on_progress) as scan:
            for item in scan:
                if isinstance(item, Restarted):
                    return False
                collector.add(self.chooser.choose(item, found=True))
        outcome = scan.outcome
        self.chooser.check(outcome.unavailable)
        if not outcome.complete:
            raise PartialError(
                "not every key could be looked at: " + "; ".join(outcome.errors),
                hint="nothing was changed; try again when all nodes answer",
                target=self.server.target.name,
            )
        meant = collector.meant
        meant.total = sum(node.size_after or node.visited for node in outcome.nodes)
        meant.own_lookups, meant.unreadable = outcome.hits, outcome.unreadable
        meant.gaps += self.chooser.gaps(outcome.unavailable)
        return True

    def _look_up(self, names: Iterable[bytes], collector: Collector) -> None:
        request = self.chooser.request(self.fields)
        limits = self.server.target.limits
        pace = Pace.of(limits, request.pace or self.server.target.pace, RateCap(request.max_rate))
        keys = NamedKeys(self.server, request.fields, pace)
        for page in keys.pages(names):
            collector.add(self.chooser.choose(page))
        self.chooser.check(keys.unavailable)
        meant = collector.meant
        meant.gaps += self.chooser.gaps(keys.unavailable)
        meant.missing, meant.unreadable = keys.tally.vanished, keys.tally.unreadable
        meant.own_lookups = keys.tally.hits
        meant.total = sum(node.connection.call("DBSIZE") for node in self.server.primaries)


def _accumulator() -> KeyspaceAccumulator:
    from cachectl.analysis.keyspace.keyspace import KeyspaceAccumulator  # a removal needs none

    return KeyspaceAccumulator()


class Collector:
    """Takes the pages of keys that are meant: into a spool, and into a summary."""

    def __init__(
        self,
        spool: SpoolWriter[PlannedKeys],
        protection: Protection,
        clock: ServerClock,
        digests: Digests | None = None,
        accumulator: KeyspaceAccumulator | None = None,
        change: Change | None = None,
    ) -> None:
        self._change = change
        self.meant = Meant()
        self._digests = digests
        self._spool, self._protection, self._clock = spool, protection, clock
        self._accumulator = accumulator

    def add(self, page: Page) -> None:
        """Take the keys of a page, but for our own. Raises RefusedError for protected ones."""
        page = page.take(self._protection.not_ours(page.keys))
        if not page.keys:
            return
        now = self._clock.now()
        page = self._due(page, now)
        self._protection.check(page.keys)
        guards = self._digests.of(page) if self._digests else None
        self._spool.add(planned(page, now, guards))
        if self._accumulator is not None:
            self._accumulator.add(page)
        self.meant.add(page)

    def _due(self, page: Page, now: int) -> Page:
        """Leave out the keys to which nothing has to be done."""
        change, ttls = self._change, page.ttls
        if change is None or not change.is_choosy or ttls is None:
            return page
        due = [
            i
            for i, (key, ttl) in enumerate(zip(page.keys, ttls, strict=True))
            if change.wants(key, NEVER if ttl < 0 else now + ttl, now)
        ]
        self.meant.fine += len(page) - len(due)
        return page.take(due)

    def summary(self) -> KeyspaceSummary | None:
        """Return what was taken, by namespace; None when nobody wants to know."""
        return self._accumulator.result() if self._accumulator else None


class Digests:
    """Reads digests of values; a giant's elements piece by piece, so that nobody waits for them."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes

    def of(self, page: Page) -> list[bytes]:
        """Return a digest for each key of the page, empty where there is none."""
        sizes = page.sizes or [0] * len(page)
        digests = [b""] * len(page)
        by_node: dict[str, list[int]] = {}
        for i, size in enumerate(sizes):
            if (size or 0) > GIANT:
                digests[i] = self._of_giant(page.keys[i])
            else:
                by_node.setdefault(self._lanes.server.node_of(page.keys[i]).name, []).append(i)
        for indexes in by_node.values():
            payloads = self._lane(page.keys[indexes[0]]).pipeline(
                ("DUMP", page.keys[i]) for i in indexes
            )
            for i, payload in zip(indexes, payloads, strict=True):
                if isinstance(payload, bytes):
                    digests[i] = digest_of_payload(payload)
        return digests

    def _of_giant(self, key: bytes) -> bytes:
        lane, fingerprint = self._lane(key), Fingerprint()
        try:
            for piece in read_value(lane, key, as_text(lane.call("TYPE", key))):
                fingerprint.add(piece)
        except (UnknownTypeError, ReplyError):
            return b""  # its type and TTL have to do
        return fingerprint.digest()

    def _lane(self, key: bytes) -> NodeConnection:
        return self._lanes.lane(self._lanes.server.node_of(key))


def planned(page: Page, now: int, guards: Sequence[bytes] | None = None) -> PlannedKeys:
    """Return the keys of a page. now: Unix milliseconds, from which TTLs count."""
    count, ttls, sizes, idles = len(page), page.ttls, page.sizes, page.idles
    return PlannedKeys(
        page.keys,
        page.types or [""] * count,
        [NEVER if ttl < 0 else now + ttl for ttl in ttls] if ttls else [NEVER] * count,
        [size or 0 for size in sizes] if sizes else [0] * count,
        [_UNKNOWN if idle is None else idle for idle in idles] if idles else [_UNKNOWN] * count,
        guards or [b""] * count,
    )


_UNKNOWN = -1
