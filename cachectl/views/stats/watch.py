"""The rows of `stats --watch`: one a window, for people with a sparkline and what changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from cachectl.analysis.traffic.traffic import Traffic
from cachectl.output.report import Column, Kind

SCHEMA = "cachectl.stats-watch/1"
TABLE = "windows"

COLUMNS = (
    Column("time", audience="people"),
    Column("at", Kind.TIME, audience="machines"),
    Column("window", Kind.SECONDS, audience="machines"),
    Column("hit_ratio", Kind.RATIO, title="  ratio"),
    Column("hits_rate", Kind.RATE, title="   hits", audience="people"),
    Column("misses_rate", Kind.RATE, title=" misses", audience="people"),
    Column("commands_rate", Kind.RATE, title="commands", audience="people"),
    Column("trend", Kind.SPARK, title="      ", audience="people"),
    Column("hits", Kind.COUNT, audience="machines"),
    Column("misses", Kind.COUNT, audience="machines"),
    Column("own_lookups", Kind.COUNT, audience="machines"),
    Column("own_lookups_exact", Kind.BOOL, audience="machines"),
    Column("evicted", Kind.COUNT, audience="machines"),
    Column("expired", Kind.COUNT, audience="machines"),
    Column("reads", Kind.COUNT, audience="machines"),
    Column("writes", Kind.COUNT, audience="machines"),
    Column("commands", Kind.COUNT, audience="machines"),
    Column("errors", Kind.COUNT, audience="machines"),
    Column("net_input_bytes", Kind.BYTES, audience="machines"),
    Column("net_output_bytes", Kind.BYTES, audience="machines"),
    Column("used_memory", Kind.BYTES, title="  memory"),
    Column("connected_clients", Kind.COUNT, audience="machines"),
    Column("blocked_clients", Kind.COUNT, audience="machines"),
    Column("cpu", Kind.RATIO, audience="machines"),
    Column("changes", Kind.DATA, audience="machines"),
    Column("changed", title="", audience="people", missing=""),
)


def row(
    now: Traffic, at: float, trend: Sequence[float | None], changes: Sequence[str]
) -> Sequence[Any]:
    """Return the row of one window that ended at `at` (Unix seconds)."""
    totals, gauges = now.totals, now.gauges
    counts, rates = totals.counts, totals.rates
    return (
        _clock(at),
        at,
        round(totals.seconds, 3),
        totals.hit_ratio,
        rates.get("hits"),
        rates.get("misses"),
        rates.get("commands"),
        trend,
        counts.get("hits"),
        counts.get("misses"),
        now.own_hits + now.own_misses,
        now.own_exact,
        counts.get("evicted"),
        counts.get("expired"),
        totals.reads,
        totals.writes,
        counts.get("commands"),
        counts.get("errors"),
        counts.get("net_input_bytes"),
        counts.get("net_output_bytes"),
        gauges.used_memory,
        gauges.connected_clients,
        gauges.blocked_clients,
        totals.cpu,
        list(changes),
        " ".join(changes) or None,
    )


def empty_row(at: float, reason: str) -> Sequence[Any]:
    """Return the row of a window in which nobody answered."""
    values: dict[str, Any] = {"time": _clock(at), "at": at, "changes": [reason], "changed": reason}
    return tuple(
        values.get(column.name, () if column.name == "trend" else None) for column in COLUMNS
    )


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")
