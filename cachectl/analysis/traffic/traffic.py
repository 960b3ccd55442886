"""A window over all nodes: what they did together, and what of it is worth a finding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cachectl.analysis.traffic.counters import FIELDS, CommandCount, NodeWindow, decimal, number
from cachectl.analysis.traffic.pressure import Pressure
from cachectl.analysis.traffic.pressure import findings as of_pressure
from cachectl.model.findings import Finding, Severity

MIN_LOOKUPS = 100
"""Look-ups below which a hit ratio says little."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a profile allows; None: no limit. hit_ratio, memory: 0–1."""

    hit_ratio: float | None = None
    memory: float | None = None
    fragmentation: float | None = None
    evicted_per_second: float | None = None
    connected_clients: int | None = None
    blocked_clients: int | None = None


@dataclass(frozen=True, slots=True)
class Gauges:
    """What INFO says of now. Bytes, clients; None where it does not say.

    used_share: of maxmemory, None without a limit.
    """

    used_memory: int | None = None
    used_memory_change: int | None = None
    maxmemory: int | None = None
    fragmentation: float | None = None
    connected_clients: int | None = None
    blocked_clients: int | None = None
    keys: int | None = None

    @property
    def used_share(self) -> float | None:
        """Return the used share of maxmemory."""
        if self.used_memory is None or not self.maxmemory:
            return None
        return self.used_memory / self.maxmemory


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts, and what follows from them. reads, writes: commands by the server's own flags."""

    seconds: float
    counts: Mapping[str, int | None]
    rates: Mapping[str, float | None]
    cpu: float | None = None
    reads: int | None = None
    writes: int | None = None

    @property
    def lookups(self) -> int:
        """Hits and misses."""
        return (self.counts.get("hits") or 0) + (self.counts.get("misses") or 0)

    @property
    def hit_ratio(self) -> float | None:
        """Hits of all look-ups; None without any."""
        return ratio(self.counts.get("hits"), self.counts.get("misses"))


@dataclass(frozen=True, slots=True)
class NodeTraffic:
    """One node: its window, its figures now, and since it was started."""

    window: NodeWindow
    totals: Totals
    gauges: Gauges
    since_start: Totals


@dataclass(frozen=True, slots=True)
class Traffic:
    """All nodes together. silent: nodes that another process has taken the place of."""

    totals: Totals
    gauges: Gauges
    since_start: Totals
    nodes: tuple[NodeTraffic, ...]
    silent: tuple[str, ...] = ()
    commands: Mapping[str, CommandCount] = field(default_factory=dict)
    errors: Mapping[str, int] = field(default_factory=dict)

    @property
    def own_hits(self) -> int:
        """Hits of our own jobs that were subtracted."""
        return sum(node.window.own.hits for node in self.nodes)

    @property
    def own_misses(self) -> int:
        """Misses of our own jobs that were subtracted."""
        return sum(node.window.own.misses for node in self.nodes)

    @property
    def own_exact(self) -> bool:
        """Whether exactly our own look-ups were subtracted."""
        return all(node.window.own_exact for node in self.nodes)

    @property
    def strangers(self) -> int | None:
        """Commands of cachectl elsewhere that could not be subtracted; None: an unknown number."""
        found = [node.window.strangers for node in self.nodes]
        return None if None in found else sum(one or 0 for one in found)


def ratio(hits: int | None, misses: int | None) -> float | None:
    """Return hits of all look-ups; None when there were none, or nobody counted."""
    if hits is None or misses is None or hits + misses == 0:
        return None
    return hits / (hits + misses)


def traffic(
    windows: Sequence[NodeWindow], kinds: Mapping[str, str] | None, silent: Sequence[str] = ()
) -> Traffic:
    """Return the windows of all nodes as one. kinds: command → read, write or other."""
    nodes = tuple(_node(window, kinds) for window in windows)
    return Traffic(
        totals=_sum([node.totals for node in nodes]),
        gauges=_all_gauges([node.gauges for node in nodes]),
        since_start=_sum([node.since_start for node in nodes]),
        nodes=nodes,
        silent=tuple(silent),
        commands=_added(window.commands for window in windows),
        errors=_counted(window.errors for window in windows),
    )


def since_start(info: Mapping[str, str]) -> Totals:
    """Return what a node has counted since it was started, or since RESETSTAT."""
    seconds = float(number(info, "uptime_in_seconds") or 0)
    return _totals(seconds, {name: number(info, one) for name, one in FIELDS.items()})


def _node(window: NodeWindow, kinds: Mapping[str, str] | None) -> NodeTraffic:
    reads = writes = None
    if kinds is not None:
        reads = _calls(window, kinds, "read")
        # Our own jobs that are counted read, and nothing else.
        reads = max(0, reads - window.own.commands)
        writes = _calls(window, kinds, "write")
    cpu = None if window.cpu_seconds is None else window.cpu_seconds / window.seconds
    totals = _totals(window.seconds, window.counts, cpu, reads, writes)
    return NodeTraffic(window, totals, _gauges(window), since_start(window.after))


def _calls(window: NodeWindow, kinds: Mapping[str, str], kind: str) -> int:
    return sum(n.calls for name, n in window.commands.items() if kinds.get(name) == kind)


def _totals(
    seconds: float,
    counts: Mapping[str, int | None],
    cpu: float | None = None,
    reads: int | None = None,
    writes: int | None = None,
) -> Totals:
    measured = {**counts, "reads": reads, "writes": writes}
    rates = {
        name: None if count is None or seconds <= 0 else count / seconds
        for name, count in measured.items()
    }
    return Totals(seconds, counts, rates, cpu, reads, writes)


def _sum(parts: Sequence[Totals]) -> Totals:
    """Add up. Rates are added, not recomputed: a node that was restarted covers less time."""
    return Totals(
        seconds=max((one.seconds for one in parts), default=0.0),
        counts={name: _plus(one.counts.get(name) for one in parts) for name in FIELDS},
        rates={
            name: _plus_float(one.rates.get(name) for one in parts)
            for name in (*FIELDS, "reads", "writes")
        },
        cpu=_plus_float(one.cpu for one in parts),
        reads=_plus(one.reads for one in parts),
        writes=_plus(one.writes for one in parts),
    )


def _plus(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _plus_float(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _gauges(window: NodeWindow) -> Gauges:
    then, now = number(window.before, "used_memory"), number(window.after, "used_memory")
    keys = [
        int(count)
        for name, line in window.after.items()
        if name.startswith("db") and name[2:].isdigit()
        for count in [line.partition("keys=")[2].partition(",")[0]]
        if count.isdigit()
    ]
    return Gauges(
        used_memory=now,
        used_memory_change=None if now is None or then is None else now - then,
        maxmemory=number(window.after, "maxmemory"),
        fragmentation=decimal(window.after, "mem_fragmentation_ratio"),
        connected_clients=number(window.after, "connected_clients"),
        blocked_clients=number(window.after, "blocked_clients"),
        keys=sum(keys),
    )


def _all_gauges(parts: Sequence[Gauges]) -> Gauges:
    limits = [one.maxmemory for one in parts]
    return Gauges(
        used_memory=_plus(one.used_memory for one in parts),
        used_memory_change=_plus(one.used_memory_change for one in parts),
        # One node without a limit, and there is none for all.
        maxmemory=0 if 0 in limits else _plus(limits),
        fragmentation=max(
            (one.fragmentation for one in parts if one.fragmentation is not None), default=None
        ),
        connected_clients=_plus(one.connected_clients for one in parts),
        blocked_clients=_plus(one.blocked_clients for one in parts),
        keys=_plus(one.keys for one in parts),
    )


def _added(parts: Iterable[Mapping[str, CommandCount]]) -> dict[str, CommandCount]:
    total: dict[str, CommandCount] = {}
    for commands in parts:
        for name, counts in commands.items():
            total[name] = total.get(name, CommandCount()) + counts
    return total


def _counted(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for errors in parts:
        for kind, count in errors.items():
            total[kind] = total.get(kind, 0) + count
    return total


# --- findings -------------------------------------------------------------------------------------


def findings(result: Traffic, limits: Limits) -> list[Finding]:
    """Return what a quiet, healthy server does not show. The worst first."""
    found = [*_of_hits(result, limits), *_of_all(result, limits)]
    for node in result.nodes:
        found += _of_node(node, limits)
    return sorted(found, key=lambda one: -one.severity)


def _of_hits(result: Traffic, limits: Limits) -> Iterable[Finding]:
    now, least = result.totals.hit_ratio, limits.hit_ratio
    if now is None or least is None or now >= least or result.totals.lookups < MIN_LOOKUPS:
        return
    before = result.since_start.hit_ratio
    usual = "" if before is None else f", {before:.1%} since the start"
    yield Finding(
        "stats.hit_ratio",
        Severity.WARNING,
        f"the hit ratio is {now:.1%}, below {least:.0%}",
        f"{result.totals.counts['hits']:,} hits, {result.totals.counts['misses']:,} misses{usual}",
        "cachectl scan shows TTLs and idle times by namespace; see whether keys expire too early",
    )


def _of_all(result: Traffic, limits: Limits) -> Iterable[Finding]:
    evicted, rate = result.totals.counts["evicted"] or 0, result.totals.rates["evicted"] or 0.0
    most = limits.evicted_per_second
    if evicted and most is not None and rate > most:
        yield Finding(
            "stats.evicted",
            Severity.WARNING,
            f"{rate:,.1f} keys a second are evicted, more than {most:g}",
            f"{evicted:,} in {result.totals.seconds:.1f} s",
            "raise maxmemory, shorten TTLs, or store less",
        )
    elif evicted and most is None:
        yield Finding(
            "stats.evicted",
            Severity.INFO,
            "keys are evicted",
            f"{evicted:,} in {result.totals.seconds:.1f} s",
            "set `thresholds.evicted_per_second` in the profile to say how many are too many",
        )
    for kind, meaning in _GRAVE.items():
        if count := result.errors.get(kind):
            yield Finding(
                f"stats.errors_{kind.lower()}",
                Severity.CRITICAL,
                meaning,
                f"{count:,} {kind} errors in {result.totals.seconds:.1f} s",
                "cachectl stats commands shows which commands failed",
            )


_GRAVE = {
    "OOM": "writes are refused for want of memory",
    "MISCONF": "writes are refused because snapshots fail",
    "NOREPLICAS": "writes are refused for want of replicas",
    "CLUSTERDOWN": "commands are refused because the cluster is down",
}


def _of_node(node: NodeTraffic, limits: Limits) -> Iterable[Finding]:
    pressure = Pressure.of(node.window.node, node.window.after)
    yield from of_pressure(
        pressure, "stats", memory=limits.memory, fragmentation=limits.fragmentation
    )
    yield from _of_clients(node, limits)


def _of_clients(node: NodeTraffic, limits: Limits) -> Iterable[Finding]:
    gauges, name = node.gauges, node.window.node
    if rejected := node.totals.counts["rejected_connections"]:
        most = node.window.after.get("maxclients", "?")
        yield Finding(
            "stats.rejected_connections",
            Severity.CRITICAL,
            "connections are turned away: the server has its maximum number of clients",
            f"{rejected:,} in {node.totals.seconds:.1f} s, maxclients {most}",
            "cachectl stats clients shows who holds them",
            name,
        )
    for what, count, most_clients in (
        ("connected", gauges.connected_clients, limits.connected_clients),
        ("blocked", gauges.blocked_clients, limits.blocked_clients),
    ):
        if count is not None and most_clients is not None and count > most_clients:
            yield Finding(
                f"stats.{what}_clients",
                Severity.WARNING,
                f"{count:,} clients are {what}, more than {most_clients:,}",
                remedy="cachectl stats clients shows who they are",
                subject=name,
            )
