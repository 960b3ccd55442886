"""The report of `check`: every check with its figure, its ranges and its state; and metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cachectl.analysis.health.checks import CHECKS, kind_of, subject_of
from cachectl.analysis.traffic.counters import decimal
from cachectl.model.findings import State, Unavailable, Verdict
from cachectl.model.servers import ServerFacts
from cachectl.output.report import Column, Kind, Metric, Pairs, Report, Table

SCHEMA = "cachectl.check/1"

COLUMNS = (
    Column("check"),
    Column("state"),
    Column("value", Kind.NUMBER, audience="machines"),
    Column("unit", audience="machines"),
    Column("text", title="figure"),
    Column("warn", title="warn at", drop=1, missing=""),
    Column("critical", title="critical at", drop=2, missing=""),
)
CONNECT = "connect"
"""The check that nobody asks for and every run makes."""

# INFO's field → the name that redis_exporter gives it, and its help.
_COUNTERS = {
    "keyspace_hits": "keyspace_hits_total",
    "keyspace_misses": "keyspace_misses_total",
    "evicted_keys": "evicted_keys_total",
    "expired_keys": "expired_keys_total",
    "total_commands_processed": "commands_processed_total",
    "total_connections_received": "connections_received_total",
    "rejected_connections": "rejected_connections_total",
    "total_net_input_bytes": "net_input_bytes_total",
    "total_net_output_bytes": "net_output_bytes_total",
}
_GAUGES = {
    "uptime_in_seconds": "uptime_in_seconds",
    "connected_clients": "connected_clients",
    "blocked_clients": "blocked_clients",
    "used_memory": "memory_used_bytes",
    "used_memory_rss": "memory_used_rss_bytes",
    "maxmemory": "memory_max_bytes",
    "mem_fragmentation_ratio": "mem_fragmentation_ratio",
    "connected_slaves": "connected_slaves",
    "rdb_changes_since_last_save": "rdb_changes_since_last_save",
    "rdb_last_save_time": "rdb_last_save_timestamp_seconds",
    "aof_enabled": "aof_enabled",
}


@dataclass(frozen=True, slots=True)
class Checked:
    """What a run has found. infos: node → INFO; window: seconds, None when there was none."""

    verdicts: Sequence[Verdict]
    state: State
    window: float | None = None
    infos: Mapping[str, Mapping[str, str]] | None = None


def check_report(
    checked: Checked,
    server: ServerFacts | None,
    name: str,
    *,
    unavailable: Sequence[Unavailable] = (),
    notes: Sequence[str] = (),
    partial: bool = False,
) -> Report:
    """Return the report. name: the profile's, which tells servers apart in metrics."""
    rows = [
        (
            one.name,
            one.state.name,
            one.value,
            one.unit or None,
            one.text,
            one.warn or None,
            one.critical or None,
        )
        for one in checked.verdicts
    ]
    return Report(
        SCHEMA,
        [
            Pairs(
                [
                    (Column("state"), checked.state.name),
                    (Column("window", Kind.SECONDS, missing="none"), checked.window),
                ]
            ),
            Table("checks", COLUMNS, rows),
        ],
        server=server,
        main="checks",
        partial=partial,
        unavailable=unavailable,
        notes=notes,
        verdicts=checked.verdicts,
        metrics=[*_metrics(checked, name, up=server is not None)],
    )


def _metrics(checked: Checked, name: str, *, up: bool) -> Iterator[Metric]:
    """Yield the server's own figures by node, and those of the checks."""
    profile = {"profile": name}
    yield from _of_info(checked.infos or {}, profile)
    if not checked.infos:
        yield Metric("redis_up", "Information about the Redis instance", [(profile, float(up))])
    states = [(profile | {"check": one.name}, float(one.state)) for one in checked.verdicts]
    yield Metric("cachectl_check_state", STATE_HELP, states)
    for kind, check in CHECKS.items():
        found = [one for one in checked.verdicts if kind_of(one.name) == kind]
        unit = {"s": "_seconds", "B": "_bytes", "%": "_percent"}.get(check.unit, "")
        yield Metric(
            f"cachectl_{kind}{unit}",
            f"{check.text[:1].upper()}{check.text[1:]}.",
            [
                (profile | ({"of": about} if (about := subject_of(one.name)) else {}), one.value)
                for one in found
                if one.value is not None
            ],
        )


STATE_HELP = "How a check ended: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN."


def _of_info(
    infos: Mapping[str, Mapping[str, str]], profile: Mapping[str, str]
) -> Iterator[Metric]:
    for node, info in infos.items():
        labels = {**profile, "node": node}
        yield Metric("redis_up", "Information about the Redis instance", [(labels, 1.0)])
        for fields, kind in ((_COUNTERS, "counter"), (_GAUGES, "gauge")):
            for field, metric in fields.items():
                value = decimal(info, field)
                if value is not None:
                    yield Metric(
                        f"redis_{metric}",
                        f"{metric} metric",
                        [(labels, value)],
                        "counter" if kind == "counter" else "gauge",
                    )
        for field, line in info.items():
            if field.startswith("db") and field[2:].isdigit():
                counts = dict(pair.partition("=")[::2] for pair in line.split(","))
                keys, expires = decimal(counts, "keys"), decimal(counts, "expires")
                in_db = {**labels, "db": field}
                for metric, about, value in (
                    ("redis_db_keys", "Total number of keys by DB", keys),
                    ("redis_db_keys_expiring", "Total number of expiring keys by DB", expires),
                ):
                    if value is not None:
                        yield Metric(metric, about, [(in_db, value)])
