"""The report of `stats commands`: the mix, and what fails."""

from __future__ import annotations

from collections.abc import Sequence

from cachectl.analysis.traffic.commandmix import CommandMix, CommandRow
from cachectl.analysis.traffic.traffic import Traffic
from cachectl.model.findings import Finding, Unavailable
from cachectl.model.servers import ServerFacts
from cachectl.output.report import Column, Kind, Pairs, Report, Table
from cachectl.views.stats.window import events, no_kinds

SCHEMA = "cachectl.stats-commands/1"

_COLUMNS = (
    Column("command"),
    Column("kind", drop=7),
    Column("calls", Kind.COUNT),
    Column("per_second", Kind.RATE, drop=2),
    Column("share", Kind.RATIO, drop=5),
    Column("seconds", Kind.SECONDS, title="time", drop=3),
    Column("time_share", Kind.RATIO, title="of time"),
    Column("per_call", Kind.SECONDS, title="a call"),
    Column("rejected", Kind.COUNT, drop=4),
    Column("failed", Kind.COUNT, drop=1),
)
_ERRORS = (
    Column("kind"),
    Column("count", Kind.COUNT),
    Column("per_second", Kind.RATE),
)


def commands_report(
    mix: CommandMix,
    result: Traffic,
    server: ServerFacts,
    *,
    limit: int | None = None,
    findings: Sequence[Finding] = (),
    unavailable: Sequence[Unavailable] = (),
    notes: Sequence[str] = (),
    partial: bool = False,
) -> Report:
    """Return the report of the commands in one window."""
    gaps = list(unavailable)
    if result.totals.reads is None:
        gaps.append(no_kinds())
    rows = mix.rows if limit is None else mix.rows[:limit]
    hidden = len(mix.rows) - len(rows)
    more = [f"{hidden:,} more commands; --limit shows more"] if hidden else []
    return Report(
        SCHEMA,
        [
            Pairs(
                [
                    (Column("window", Kind.SECONDS), round(mix.seconds, 3)),
                    (Column("calls", Kind.COUNT), mix.calls),
                    (Column("busy", Kind.SECONDS, title="time in commands"), mix.busy),
                ]
            ),
            Table(
                "commands", _COLUMNS, [_row(row) for row in rows], empty="No command was called."
            ),
            Table(
                "errors",
                _ERRORS,
                [
                    (kind, count, count / mix.seconds if mix.seconds else None)
                    for kind, count in mix.errors.items()
                ],
                title="Errors",
                empty="No command failed.",
            ),
        ],
        server=server,
        main="commands",
        partial=partial or bool(result.silent),
        findings=findings,
        unavailable=gaps,
        notes=[*notes, *more, *events(result)],
    )


def _row(row: CommandRow) -> tuple[object, ...]:
    return (
        row.name,
        row.kind or None,
        row.calls,
        row.per_second,
        row.share,
        row.seconds,
        row.time_share,
        row.per_call,
        row.rejected,
        row.failed,
    )
