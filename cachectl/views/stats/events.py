"""The report of `stats events`: what befell the keys of each namespace in a window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cachectl.analysis.events.keyevents import COUNTED, KINDS, EventWindow, Kind, NodeEvents
from cachectl.model.findings import Finding, Unavailable
from cachectl.model.servers import ServerFacts
from cachectl.output.report import Column, Pairs, Report, Table
from cachectl.output.report import Kind as Cell
from cachectl.views.cut import cut

SCHEMA = "cachectl.stats-events/1"
SHOWN = 20
"""Namespaces that people see unless they ask for more; machines get all."""

NAMESPACES = (
    Column("namespace", Cell.NAMESPACE),
    *(
        Column(kind.value, Cell.COUNT, drop=drop)
        for kind, drop in zip(KINDS, (0, 0, 0, 2, 3, 1, 4), strict=True)
    ),
    Column("events", Cell.COUNT, title="all", drop=5),
    Column("per_second", Cell.RATE, title="a second", drop=6),
)
NODES = (
    Column("node"),
    *(Column(kind.value, Cell.COUNT) for kind in KINDS),
    *(Column(f"{kind.value}_elsewhere", Cell.COUNT) for kind in COUNTED),
    *(Column(f"{kind.value}_counted", Cell.COUNT) for kind in COUNTED),
    Column("lost", Cell.COUNT),
    Column("dropped", Cell.COUNT),
    Column("gap", Cell.SECONDS),
    Column("reason"),
)


def events_report(
    window: EventWindow,
    server: ServerFacts,
    *,
    kinds: Sequence[Kind],
    limit: int | None = None,
    findings: Sequence[Finding] = (),
    unavailable: Sequence[Unavailable] = (),
    notes: Sequence[str] = (),
    partial: bool = False,
) -> Report:
    """Return the report of one window. kinds: what is published; the others are not known."""
    found = [_row(one.namespace, one.counts, window.seconds, kinds) for one in window.namespaces]
    rows, shown, more = cut(found, limit, SHOWN, "namespaces")
    total = _row(b"all", window.counts, window.seconds, kinds)
    if len(kinds) == len(KINDS):
        empty = "Nothing happened to any key."
    else:
        empty = f"None of these befell a key: {', '.join(kinds)}." if kinds else "No event came."
    return Report(
        SCHEMA,
        [
            _head(window, kinds),
            Table("namespaces", NAMESPACES, rows, audience="machines"),
            Table("shown", NAMESPACES, shown, empty=empty, total=total, audience="people"),
            Table("nodes", NODES, [node_row(one) for one in window.nodes], audience="machines"),
        ],
        server=server,
        main="namespaces",
        partial=partial or not window.complete,
        findings=findings,
        unavailable=unavailable,
        notes=[*more, *completeness(window), *notes],
    )


def _head(window: EventWindow, kinds: Sequence[Kind]) -> Pairs:
    counts = window.counts
    seconds = window.seconds
    machines = (
        (
            Column(kind.value, Cell.COUNT, audience="machines"),
            counts[kind] if kind in kinds else None,
        )
        for kind in KINDS
    )
    return Pairs(
        [
            (Column("window", Cell.SECONDS), round(seconds, 3)),
            (Column("events", Cell.COUNT), window.total),
            (Column("per_second", Cell.RATE, title="a second"), window.total / max(seconds, 1e-6)),
            (Column("lost", Cell.COUNT, missing="not known"), window.lost),
            (Column("gap", Cell.SECONDS, audience="machines"), round(window.gap, 3)),
            *machines,
        ]
    )


def _row(namespace: bytes, counts: Any, seconds: float, kinds: Sequence[Kind]) -> Sequence[Any]:
    total = sum(counts.values())
    return (
        namespace,
        *(counts.get(kind, 0) if kind in kinds else None for kind in KINDS),
        total,
        total / max(seconds, 1e-6),
    )


def node_row(one: NodeEvents) -> Sequence[Any]:
    """Return a node's row, with what INFO counted beside what was seen."""
    return (
        one.node,
        *(one.counts[kind] for kind in KINDS),
        *(one.elsewhere[kind] for kind in COUNTED),
        *(one.counted.get(kind) for kind in COUNTED),
        one.lost,
        one.dropped,
        round(one.gap, 3),
        "; ".join(one.reasons) or None,
    )


def completeness(window: EventWindow) -> list[str]:
    """Return sentences about what was not seen, and what was seen of other databases."""
    said = []
    for one in window.nodes:
        why = f" ({'; '.join(one.reasons)})" if one.reasons else ""
        if not one.listening:
            said.append(f"{one.node} was not listened to at the end{why}")
        elif one.gap:
            said.append(f"{one.node} was not listened to for {one.gap:.1f} s{why}")
        if one.dropped:
            said.append(
                f"{one.dropped:,} events of {one.node} came faster than they could be counted here"
            )
        if one.lost:
            said.append(
                f"{one.lost:,} events of {one.node} were lost: INFO counts more ({_beside(one)})"
            )
        if others := sum(one.elsewhere.values()):
            said.append(
                f"{others:,} events of {one.node} befell keys of other databases, and are left out"
            )
    return said


def _beside(one: NodeEvents) -> str:
    parts = []
    for kind, counted in one.counted.items():
        seen = one.counts[kind] + one.elsewhere[kind]
        if counted > seen:
            parts.append(f"{kind.value}: {counted:,}, {seen:,} seen")
    return ", ".join(parts)
