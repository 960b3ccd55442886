"""The rows of `warm refresh`: one a pass."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isinf
from typing import Any

from cachectl.actions.warming.refresh import Pass
from cachectl.model.servers import ServerFacts
from cachectl.output.report import Column, Kind, Report

SCHEMA = "cachectl.warm-refresh/1"
TABLE = "passes"
COLUMNS = (
    Column("at", Kind.TIME, title="pass"),
    Column("checked", Kind.COUNT),
    Column("due", Kind.COUNT),
    Column("missing", Kind.COUNT),
    Column("written", Kind.COUNT),
    Column("kept", Kind.COUNT, drop=1),
    Column("failed", Kind.COUNT),
    Column("soonest", Kind.SECONDS, title="next expires in", drop=2),
    Column("seconds", Kind.SECONDS, title="took"),
)


def row(one: Pass) -> Sequence[Any]:
    """Return the row of one pass."""
    soonest = None if isinf(one.soonest) else round(one.soonest, 3)
    return (
        one.at,
        one.checked,
        one.due,
        one.missing,
        one.written,
        one.kept,
        one.failed,
        soonest,
        round(one.seconds, 3),
    )


def end_report(passes: Iterable[Pass], server: ServerFacts) -> Report:
    """Return what is left to say after the last pass. passes: those in which something failed."""
    broken = list(passes)
    problems = list(dict.fromkeys(problem for one in broken for problem in one.problems))
    return Report(SCHEMA, server=server, partial=bool(broken), notes=problems)
