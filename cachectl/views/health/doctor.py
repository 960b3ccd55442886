"""The report of `doctor`: the verdict, what is well, the findings, what could not be looked at."""

from __future__ import annotations

from collections.abc import Sequence

from cachectl.analysis.doctor.examine import Diagnosis
from cachectl.analysis.doctor.facts import Facts
from cachectl.model.findings import Severity, State, Unavailable, Verdict
from cachectl.model.servers import ServerFacts
from cachectl.output.report import Audience, Block, Column, Kind, Pairs, Report, Table

SCHEMA = "cachectl.doctor/1"

_MACHINES: Audience = "machines"
_PEOPLE: Audience = "people"
LOOKED_AT = (
    Column("rule"),
    Column("result"),
    Column("findings", Kind.COUNT),
    Column("about"),
)
SUPPRESSED = (
    Column("finding"),
    Column("subject", missing=""),
    Column("until"),
    Column("reason"),
)
HEALTHY = "healthy"


def doctor_report(
    diagnosis: Diagnosis,
    facts: Facts,
    server: ServerFacts,
    *,
    drawn: int = 0,
    size: int = 0,
    unavailable: Sequence[Unavailable] = (),
    notes: Sequence[str] = (),
    partial: bool = False,
) -> Report:
    """Return the report. drawn, size: keys that were looked at, and that there are."""
    blocks: list[Block] = [_head(diagnosis, drawn, size)]
    if any(one.result == "well" for one in diagnosis.looked):
        blocks.append(_well(diagnosis))
    if diagnosis.suppressed:
        rows = [
            (one.finding.id, one.finding.subject, one.by.until.isoformat(), one.by.reason)
            for one in diagnosis.suppressed
        ]
        blocks.append(Table("suppressed", SUPPRESSED, rows, title="Suppressed"))
    blocks.append(_looked_at(diagnosis))
    return Report(
        SCHEMA,
        blocks,
        server=server,
        main="looked_at",
        partial=partial,
        findings=diagnosis.findings,
        unavailable=[*unavailable, *facts.missing.values()],
        notes=[*notes, *_unused(diagnosis)],
        verdicts=[*diagnosis.verdicts, *_incomplete(partial)],
    )


def _incomplete(partial: bool) -> list[Verdict]:
    if not partial:
        return []
    return [Verdict("complete", State.UNKNOWN, "not everything could be looked at")]


def _head(diagnosis: Diagnosis, drawn: int, size: int) -> Pairs:
    return Pairs(
        [
            (Column("verdict", audience=_PEOPLE), verdict(diagnosis)),
            (
                Column("verdict", audience=_MACHINES),
                HEALTHY if diagnosis.worst is None else str(diagnosis.worst),
            ),
            (Column("keys", Kind.COUNT), size),
            (Column("keys_looked_at", Kind.COUNT, "looked at"), drawn),
        ]
    )


def verdict(diagnosis: Diagnosis) -> str:
    """Return the verdict as a sentence: how many findings of which weight."""
    if not diagnosis.findings:
        return f"{HEALTHY}: nothing to mend"
    counts = []
    for severity, one, many in (
        (Severity.CRITICAL, "critical", "critical"),
        (Severity.WARNING, "warning", "warnings"),
        (Severity.INFO, "hint", "hints"),
    ):
        count = sum(finding.severity is severity for finding in diagnosis.findings)
        if count:
            counts.append(f"{count} {one if count == 1 else many}")
    first = "; the first does the most harm" if len(diagnosis.findings) > 1 else ""
    return ", ".join(counts) + first


def _well(diagnosis: Diagnosis) -> Pairs:
    areas: dict[str, list[str]] = {}
    for one in diagnosis.looked:
        if one.result == "well":
            areas.setdefault(one.rule.area, []).append(one.rule.well)
    rows = [(Column(name, audience=_PEOPLE), "; ".join(said)) for name, said in areas.items()]
    return Pairs(rows, title="Well")


def _looked_at(diagnosis: Diagnosis) -> Table:
    rows = [
        (one.rule.id, one.result, len(one.findings), one.reason or one.rule.well)
        for one in diagnosis.looked
    ]
    return Table("looked_at", LOOKED_AT, rows, audience=_MACHINES)


def _unused(diagnosis: Diagnosis) -> list[str]:
    return [
        f"the suppression of {one.id} ({one.reason}) fits no finding: it can go"
        for one in diagnosis.unused
    ]
