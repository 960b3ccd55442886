"""The report of `stats latency`: seen from here, seen by the server, and its events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cachectl.analysis.traffic.latency import CommandLatency, Distribution
from cachectl.model.findings import Finding, Unavailable
from cachectl.model.servers import ServerFacts
from cachectl.output.report import Block, Column, Histogram, Kind, Pairs, Report, Table

SCHEMA = "cachectl.stats-latency/1"

_S = Kind.SECONDS
_PROBES = (
    Column("node"),
    Column("probes", Kind.COUNT, drop=2),
    Column("p50", _S),
    Column("p99", _S),
    Column("p999", _S, title="p99.9"),
    Column("worst", _S),
    Column("own_delay_p50", _S, title="our delay p50", drop=4),
    Column("own_delay_p99", _S, title="our delay p99", drop=1),
    Column("own_delay_worst", _S, title="worst", drop=3),
    Column("late_p99", _S, audience="machines"),
)
_COMMANDS = (
    Column("command"),
    Column("calls", Kind.COUNT),
    Column("p50", _S),
    Column("p99", _S),
    Column("p999", _S, title="p99.9"),
)
_EVENTS = (
    Column("node", drop=2),
    Column("event"),
    Column("at", Kind.TIME),
    Column("latest", _S),
    Column("worst", _S, drop=1),
)


@dataclass(frozen=True, slots=True)
class ProbeView:
    """One node as the probe saw it. own: waiting for a CPU here; None: the kernel does not say."""

    node: str
    trips: Distribution
    own: Distribution | None
    late: Distribution


@dataclass(frozen=True, slots=True)
class EventView:
    """One latency event of one node; seconds."""

    node: str
    name: str
    at: float
    latest: float
    worst: float


def latency_report(
    probes: Sequence[ProbeView],
    bins: Sequence[tuple[float, float, int]],
    commands: Sequence[CommandLatency] | None,
    events: Sequence[EventView],
    server: ServerFacts,
    *,
    seconds: float,
    limit: int | None = None,
    findings: Sequence[Finding] = (),
    unavailable: Sequence[Unavailable] = (),
    notes: Sequence[str] = (),
    partial: bool = False,
) -> Report:
    """Return the report. bins: of all round trips, (low, high, count); commands None: not kept."""
    blocks: list[Block] = [
        Pairs([(Column("window", _S), round(seconds, 3))]),
        Table("probes", _PROBES, [_probe(one) for one in probes], title="Round trips from here"),
        Histogram("histogram", [(_label(low, high), count) for low, high, count in bins]),
    ]
    if commands is not None:
        shown = commands if limit is None else commands[:limit]
        blocks.append(
            Table(
                "commands",
                _COMMANDS,
                [(one.name, one.calls, one.p50, one.p99, one.p999) for one in shown],
                title="Commands in the server, at most",
                empty="No command was called.",
            )
        )
    else:
        blocks.append(Table("commands", _COMMANDS, [], audience="machines"))
    rows = [(one.node, one.name, one.at, one.latest, one.worst) for one in events]
    title = "Latency events" if rows else ""
    blocks.append(
        Table("events", _EVENTS, rows, title=title, audience="all" if rows else "machines")
    )
    return Report(
        SCHEMA,
        blocks,
        server=server,
        main="commands" if commands else "probes",
        partial=partial,
        findings=findings,
        unavailable=unavailable,
        notes=notes,
    )


def _probe(one: ProbeView) -> Sequence[Any]:
    own = one.own or Distribution(0)
    trips = one.trips
    return (
        *(one.node, trips.count, trips.p50, trips.p99, trips.p999, trips.worst),
        *(own.p50, own.p99, own.worst, one.late.p99),
    )


def _label(low: float, high: float) -> str:
    return f"{_short(low)}–{_short(high)}"


def _short(seconds: float) -> str:
    """An edge of a bin: 1, 2 or 5 of a unit, so nothing is rounded."""
    if seconds >= 0.9995:
        return f"{seconds:g} s"
    if seconds >= 0.0009995:
        return f"{round(seconds * 1e3)} ms"
    return f"{round(seconds * 1e6)} µs"
