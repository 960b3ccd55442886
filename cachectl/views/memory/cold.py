"""The report of `memory cold`: what nobody has touched, by level and by namespace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cachectl.analysis.keyspace.cold import IDLE_LEVELS, LFU_LEVELS, ColdSpace, ColdSummary
from cachectl.model.figures import value_of
from cachectl.model.findings import Finding, Unavailable
from cachectl.model.servers import ServerFacts
from cachectl.output.report import Block, Column, Kind, Pairs, Report, Table

SCHEMA = "cachectl.memory-cold/1"
_TITLES = {
    "hour": "an hour",
    "day": "a day",
    "week": "a week",
    "unused": "(counter 0)",
}
LEVELS = (
    Column("level", audience="machines"),
    Column("title", title="not touched for", audience="people"),
    Column("seconds", Kind.NUMBER, audience="machines"),
    Column("keys", Kind.COUNT),
    Column("bytes", Kind.BYTES),
    Column("share", Kind.RATIO, title="of bytes"),
    Column("bar", Kind.BAR, title=" ", audience="people", drop=1, missing=""),
)
_DROP = {"hour": 1, "day": 2, "week": 0, "unused": 0}
NAMESPACES = (
    Column("namespace", Kind.NAMESPACE),
    Column("keys", Kind.COUNT, drop=4),
    Column("bytes", Kind.BYTES, drop=3),
    *(
        column
        for level in (*IDLE_LEVELS, *LFU_LEVELS)
        for column in (
            Column(f"{level.name}_keys", Kind.COUNT, audience="machines"),
            Column(
                f"{level.name}_bytes",
                Kind.BYTES,
                title=_TITLES[level.name],
                drop=_DROP[level.name],
            ),
        )
    ),
)
SHOWN = 15
"""Namespaces that people see unless they ask for more; machines get all."""


def memory_cold_report(
    summary: ColdSummary,
    server: ServerFacts,
    *,
    sample: Mapping[str, object] | None = None,
    limit: int | None = None,
    findings: Sequence[Finding] = (),
    unavailable: Sequence[Unavailable] = (),
    notes: Sequence[str] = (),
    partial: bool = False,
) -> Report:
    """Return the report."""
    whole = summary.whole
    listed = summary.namespaces if limit is None else summary.namespaces[:limit]
    shown = [one for one in listed if any(value_of(keys) for keys in one.cold_keys)]
    shown = shown[:SHOWN] if limit is None else shown
    columns = _columns(summary)
    cold = sum(any(value_of(keys) for keys in one.cold_keys) for one in summary.namespaces)
    more = [f"{cold - len(shown):,} more namespaces; --limit shows more"]
    blocks: list[Block] = [
        Pairs(
            [
                (Column("keys", Kind.COUNT), whole.keys),
                (Column("bytes", Kind.BYTES), whole.bytes if summary.sized else None),
                (Column("sample", Kind.DATA, audience="machines"), sample),
            ]
        ),
        Table(
            "levels",
            LEVELS,
            _levels(summary),
            title="Cold memory",
            empty="Not known: there are no idle times.",
        ),
        Table(
            "namespaces",
            columns,
            [_row(summary, one) for one in listed],
            audience="machines",
        ),
        Table(
            "shown",
            columns,
            [_row(summary, one) for one in shown],
            title="By namespace: bytes not touched for",
            empty="No cold keys." if sample is None else "No cold key was drawn.",
            audience="people",
        ),
    ]
    if not summary.levels:
        blocks.pop()
    return Report(
        SCHEMA,
        blocks,
        server=server,
        main="namespaces",
        partial=partial,
        findings=findings,
        unavailable=unavailable,
        notes=[*(more if cold > len(shown) else ()), *notes],
    )


def _columns(summary: ColdSummary) -> Sequence[Column]:
    """Leave out, for people, the levels that this server's policy can't tell."""
    told = {f"{level.name}_bytes" for level in summary.levels}
    known = ("namespace", "keys", "bytes")
    return [
        column
        if column.name in known or column.name in told
        else replace(column, audience="machines")
        for column in NAMESPACES
    ]


def _levels(summary: ColdSummary) -> list[Sequence[Any]]:
    whole = summary.whole
    rows: list[Sequence[Any]] = []
    for level, keys, size in zip(summary.levels, whole.cold_keys, whole.cold_bytes, strict=True):
        total = value_of(whole.bytes)
        share = value_of(size) / total if total else 0.0
        figures = (size, share, share) if summary.sized else (None, None, None)
        rows.append((level.name, _TITLES[level.name], level.seconds, keys, *figures))
    return rows


def _row(summary: ColdSummary, space: ColdSpace) -> Sequence[Any]:
    figures: dict[str, Any] = {}
    for level, keys, size in zip(summary.levels, space.cold_keys, space.cold_bytes, strict=True):
        figures[f"{level.name}_keys"] = keys
        figures[f"{level.name}_bytes"] = size if summary.sized else None
    return (
        space.namespace,
        space.keys,
        space.bytes if summary.sized else None,
        *(figures.get(column.name) for column in NAMESPACES[3:]),
    )
