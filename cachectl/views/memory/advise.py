"""The report of `memory advise`: what would save memory, how much, how, and at which risk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cachectl.analysis.memory.advice import Advice
from cachectl.model.figures import value_of
from cachectl.model.findings import Finding, Severity, Unavailable
from cachectl.model.servers import ServerFacts
from cachectl.output.report import Audience, Block, Column, Kind, Pairs, Report, Table

SCHEMA = "cachectl.memory-advise/1"
ADVICE = (
    Column("saves", Kind.BYTES),
    Column("share", Kind.RATIO, title="of used", drop=1),
    Column("id", title="advice"),
    Column("subject", Kind.NAMESPACE, title="about", missing=""),
    Column("keys", Kind.COUNT, drop=2),
    Column("title", audience="machines"),
    Column("basis", audience="machines"),
    Column("risk", audience="machines"),
    Column("how", audience="machines"),
    Column("severity", Kind.SEVERITY, audience="machines"),
)
SHOWN = 10
"""Pieces of advice that people see unless they ask for more; machines get all."""


def memory_advise_report(
    advice: Sequence[Advice],
    server: ServerFacts,
    *,
    used: int,
    values_read: int,
    bytes_read: int,
    sample: Mapping[str, object] | None = None,
    limit: int | None = None,
    unavailable: Sequence[Unavailable] = (),
    notes: Sequence[str] = (),
    partial: bool = False,
) -> Report:
    """Return the report. used: used_memory; values_read, bytes_read: what was looked into."""
    listed = advice if limit is None else advice[:limit]
    shown = listed[:SHOWN] if limit is None else listed
    hidden = len(advice) - len(shown)
    more = [f"{hidden:,} more pieces of advice; --limit shows more"] if hidden else []
    blocks: list[Block] = [
        Pairs(
            [
                (Column("used_memory", Kind.BYTES, title="used"), used),
                (Column("values_read", Kind.COUNT, title="values looked into"), values_read),
                (Column("bytes_read", Kind.BYTES, title="bytes of them"), bytes_read),
                (Column("sample", Kind.DATA, audience="machines"), sample),
            ]
        ),
        Table("advice", ADVICE, [_row(one, used) for one in listed], audience="machines"),
        Table(
            "shown",
            ADVICE,
            [_row(one, used) for one in shown],
            title="What would help",
            empty="Nothing to save that would be worth it.",
            audience="people",
        ),
        *(_in_words(number, one) for number, one in enumerate(shown, 1)),
    ]
    return Report(
        SCHEMA,
        blocks,
        server=server,
        main="advice",
        partial=partial,
        findings=_findings(advice),
        unavailable=unavailable,
        notes=[*more, *notes],
    )


def _row(one: Advice, used: int) -> Sequence[Any]:
    nothing = one.protects and not value_of(one.saves)
    saves = None if nothing else one.saves
    share = None if nothing or not used else value_of(one.saves) / used
    return (
        saves,
        share,
        one.id,
        one.subject or None,
        one.keys,
        one.title,
        one.basis,
        one.risk,
        one.how,
        one.severity,
    )


def _in_words(number: int, one: Advice) -> Pairs:
    people: Audience = "people"
    return Pairs(
        [
            (Column("how", audience=people), one.how),
            (Column("basis", title="known from", audience=people), one.basis),
            (Column("risk", audience=people), one.risk),
        ],
        title=f"{number}. {one.title}"
        + (f": {one.subject.decode('utf-8', 'surrogateescape')}" if one.subject else ""),
    )


def _findings(advice: Sequence[Advice]) -> list[Finding]:
    return [one.finding for one in advice if one.severity > Severity.INFO]
