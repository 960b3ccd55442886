"""The rows of `stats events --watch`: one a window."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from cachectl.analysis.events.keyevents import KINDS, EventWindow, Kind
from cachectl.output.report import Column
from cachectl.output.report import Kind as Cell

SCHEMA = "cachectl.stats-events-watch/1"
TABLE = "windows"
MOST_NAMESPACES = 20
"""Namespaces of a window that machines get with it, the busiest first."""


def columns() -> Sequence[Column]:
    """Return the columns."""
    return (
        Column("time", audience="people"),
        Column("at", Cell.TIME, audience="machines"),
        Column("window", Cell.SECONDS, audience="machines"),
        *(Column(kind.value, Cell.COUNT, title=f"{kind.value:>7}") for kind in KINDS),
        Column("lost", Cell.COUNT, title="lost"),
        Column("gap", Cell.SECONDS, audience="machines"),
        Column("namespaces", Cell.DATA, audience="machines"),
        Column("busiest", Cell.NAMESPACE, audience="people", missing=""),
    )


def row(window: EventWindow, at: float, kinds: Sequence[Kind]) -> Sequence[Any]:
    """Return the row of one window that ended at `at` (Unix seconds)."""
    counts = window.counts
    busiest = window.namespaces[0].namespace if window.namespaces else None
    return (
        datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S"),
        at,
        round(window.seconds, 3),
        *(counts[kind] if kind in kinds else None for kind in KINDS),
        window.lost,
        round(window.gap, 3),
        [
            {
                "namespace": one.namespace,
                **{kind.value: one.counts.get(kind, 0) for kind in kinds},
            }
            for one in window.namespaces[:MOST_NAMESPACES]
        ],
        busiest,
    )
