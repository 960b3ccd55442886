"""The report of `stats slow`: shapes of logged commands, never what they carried."""

from __future__ import annotations

from collections.abc import Sequence

from cachectl.analysis.traffic.slowest import SlowShape
from cachectl.model.findings import Finding, Unavailable
from cachectl.model.servers import ServerFacts
from cachectl.output.report import Column, Kind, Pairs, Report, Table
from cachectl.views.cut import cut

SCHEMA = "cachectl.stats-slow/1"
THRESHOLDS = (Column("node"), Column("why"), Column("threshold", Kind.NUMBER))
SHOWN = 20
"""Shapes that people see unless they ask for more; machines get all."""


def _columns(*, sizes: bool) -> Sequence[Column]:
    return (
        Column("shape", Kind.KEY, title="command"),
        Column("why", title="logged for", audience="all" if sizes else "machines", drop=3),
        Column("namespace", Kind.NAMESPACE, audience="machines"),
        Column("count", Kind.COUNT, title="times"),
        Column("seconds", Kind.SECONDS, title="in all", drop=2),
        Column("worst", Kind.SECONDS),
        Column("bytes", Kind.BYTES, title="largest", audience="all" if sizes else "machines"),
        Column("first", Kind.TIME, audience="machines"),
        Column("last", Kind.TIME, drop=4),
        Column("clients", Kind.COUNTS, drop=1),
        Column("nodes", Kind.COUNTS, audience="machines"),
    )


def slow_report(
    shapes: Sequence[SlowShape],
    server: ServerFacts,
    *,
    entries: int,
    thresholds: Sequence[tuple[str, str, int]],
    limit: int | None = None,
    findings: Sequence[Finding] = (),
    unavailable: Sequence[Unavailable] = (),
    notes: Sequence[str] = (),
    partial: bool = False,
) -> Report:
    """Return the report. thresholds: (node, why, from how many µs or bytes on it is logged)."""
    listed, shown, more = cut(shapes, limit, SHOWN, "shapes")
    sizes = any(one.size is not None for one in shown)
    return Report(
        SCHEMA,
        [
            Pairs([(Column("entries", Kind.COUNT, title="logged commands"), entries)]),
            Table(
                "commands",
                _columns(sizes=sizes),
                [_row(one) for one in listed],
                audience="machines",
            ),
            Table(
                "shown",
                _columns(sizes=sizes),
                [_row(one) for one in shown],
                empty="No slow command is logged.",
                audience="people",
            ),
            Table(
                "thresholds",
                THRESHOLDS,
                thresholds,
                audience="machines",
            ),
        ],
        server=server,
        main="commands",
        partial=partial,
        findings=findings,
        unavailable=unavailable,
        notes=[*more, *notes],
    )


def _row(one: SlowShape) -> Sequence[object]:
    return (
        one.shape,
        one.why,
        one.namespace,
        one.count,
        one.seconds if one.worst is not None else None,
        one.worst,
        one.size,
        one.first,
        one.last,
        dict(one.clients),
        dict(one.nodes),
    )
