"""Percentiles of latency: of measured round trips, and from the server's doubling histograms."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cachectl.model.findings import Finding, Severity

_STEPS = (1, 2, 5)
_LOWEST, _HIGHEST = 1e-6, 100.0
MIN_CALLS = 100
_MOSTLY = 0.8
RECENT = 300.0
"""Seconds in which a latency event counts as being of now."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """Percentiles by nearest rank, in seconds; None where there are too few values for one."""

    count: int
    p50: float | None = None
    p99: float | None = None
    p999: float | None = None
    worst: float | None = None


@dataclass(frozen=True, slots=True)
class CommandLatency:
    """One command in a window: upper bounds of its percentiles, in seconds.

    The server counts in steps that about double, so the truth lies in the half below.
    """

    name: str
    calls: int
    p50: float | None
    p99: float | None
    p999: float | None


class Event(Protocol):
    """A latency event, as a server notes it; seconds."""

    @property
    def name(self) -> str:
        """What took so long."""
        ...

    @property
    def at(self) -> float:
        """When it last happened (Unix seconds)."""
        ...

    @property
    def latest(self) -> float:
        """How long it took then."""
        ...


Counts = Sequence[tuple[int, int]]
"""Ascending (upper bound in µs, how many took no longer)."""


def distribution(values: Sequence[float]) -> Distribution:
    """Return the percentiles of some values. p99 takes 100 of them, p99.9 takes 1000."""
    if not values:
        return Distribution(0)
    ordered = sorted(values)

    def at(share: float, least: int) -> float | None:
        if len(ordered) < least:
            return None
        return ordered[math.ceil(share * len(ordered)) - 1]

    return Distribution(len(ordered), at(0.5, 1), at(0.99, 100), at(0.999, 1000), ordered[-1])


def without_delays(trips: Sequence[float], delays: Sequence[float]) -> list[float]:
    """Return round trips without what our own thread waited for a CPU meanwhile.

    A trip that was hardly anything but waiting is left out: what remains of it is noise. That does
    not make the server look better, since its latency has no part in when we get a CPU.
    """
    if len(delays) != len(trips):
        return list(trips)
    return [
        trip - delay for trip, delay in zip(trips, delays, strict=True) if delay < _MOSTLY * trip
    ]


def bins(values: Sequence[float]) -> list[tuple[float, float, int]]:
    """Return (low, high, count) in steps of 1, 2, 5, from the first to the last that holds any."""
    if not values:
        return []
    edges = _edges()
    counts = [0] * (len(edges) + 1)
    for value in values:
        counts[bisect_left(edges, value)] += 1
    used = [index for index, count in enumerate(counts) if count]
    return [
        (edges[i - 1] if i else 0.0, edges[i] if i < len(edges) else math.inf, counts[i])
        for i in range(used[0], used[-1] + 1)
    ]


def _edges() -> list[float]:
    edges, power = [], -6
    while (base := 10.0**power) < _HIGHEST:
        edges += [step * base for step in _STEPS]
        power += 1
    return edges


def command_latency(name: str, before: Counts, after: Counts) -> CommandLatency | None:
    """Return one command's percentiles between two readings of its histogram.

    None when it was not called; a histogram that shrank was reset, and counts from then on.
    """
    total_before, total_after = _last(before), _last(after)
    then = dict(before) if total_after >= total_before else {}
    previous, below = 0, 0
    counts = []
    for bound, cumulative in after:
        # A bound that was not listed before had the count of the one below it.
        previous = then.get(bound, previous)
        now = cumulative - previous
        counts.append((bound, max(below, now)))
        below = max(below, now)
    calls = _last(counts)
    if calls <= 0:
        return None
    return CommandLatency(
        name, calls, _bound(counts, calls, 0.5), _bound(counts, calls, 0.99),
        _bound(counts, calls, 0.999),
    )  # fmt: skip


def command_latencies(
    before: Mapping[str, Counts], after: Mapping[str, Counts]
) -> list[CommandLatency]:
    """Return all commands that were called in a window, the slowest first."""
    found = (command_latency(name, before.get(name, ()), counts) for name, counts in after.items())
    return sorted(
        (one for one in found if one is not None), key=lambda one: (-(one.p99 or 0.0), one.name)
    )


def added(parts: Sequence[Mapping[str, Counts]]) -> dict[str, Counts]:
    """Return the histograms of several nodes as one."""
    if len(parts) == 1:
        return dict(parts[0])
    total: dict[str, Counts] = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        ones = [part[name] for part in parts if name in part]
        bounds = sorted({bound for counts in ones for bound, _ in counts})
        total[name] = tuple(
            (bound, sum(_upto(counts, bound) for counts in ones)) for bound in bounds
        )
    return total


def _upto(counts: Counts, bound: int) -> int:
    return max((count for one, count in counts if one <= bound), default=0)


def _last(counts: Counts) -> int:
    return counts[-1][1] if counts else 0


def _bound(counts: Counts, calls: int, share: float) -> float | None:
    rank = math.ceil(share * calls)
    return next((bound / 1e6 for bound, cumulative in counts if cumulative >= rank), None)


def findings(
    node: str, trips: Distribution, delays: Distribution, events: Sequence[Event],
    *, limit: float, now: float,
) -> list[Finding]:  # fmt: skip
    """Return what is slow at one node. limit: seconds that p99 may take."""
    found = []
    if trips.p99 is not None and trips.p99 > limit:
        found.append(
            Finding(
                "stats.latency",
                Severity.WARNING,
                f"1 % of the round trips take {trips.p99 * 1e3:,.0f} ms or more, "
                f"above {limit * 1e3:g} ms",
                f"p50 {(trips.p50 or 0) * 1e3:,.1f} ms of {trips.count:,} probes",
                "cachectl stats commands shows what keeps the server busy",
                node,
            )
        )
    if delays.p99 is not None and delays.p99 > limit / 2:
        found.append(
            Finding(
                "stats.busy_client",
                Severity.INFO,
                "this machine is too busy to measure well",
                f"1 % of the probes waited {delays.p99 * 1e3:,.0f} ms or more for a CPU here",
                "measure from a quieter machine",
                node,
            )
        )
    found += [
        Finding(
            "stats.latency_event",
            Severity.WARNING,
            f"{event.name} took {event.latest * 1e3:,.0f} ms",
            f"{now - event.at:,.0f} s ago",
            "LATENCY DOCTOR on the server explains its events",
            node,
        )
        for event in events
        if event.latest > limit and now - event.at < RECENT
    ]
    return found


def command_findings(commands: Sequence[CommandLatency], *, limit: float) -> list[Finding]:
    """Return the commands whose p99 is above the limit (seconds)."""
    return [
        Finding(
            "stats.slow_command",
            Severity.WARNING,
            f"1 % of the calls of {one.name.upper()} take more than {limit * 1e3:g} ms",
            f"p99 at most {(one.p99 or 0) * 1e3:,.0f} ms, p50 {(one.p50 or 0) * 1e3:,.1f} ms, "
            f"{one.calls:,} calls",
            "cachectl stats slow shows the calls",
            one.name,
        )
        # The truth may be half the bound.
        for one in commands
        if one.p99 is not None and one.p99 / 2 > limit
    ]
