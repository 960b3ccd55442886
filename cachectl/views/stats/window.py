"""The report of `stats`: a window, the server's whole life beside it, each node, the correction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cachectl.analysis.traffic.counters import Event
from cachectl.analysis.traffic.traffic import NodeTraffic, Totals, Traffic
from cachectl.model.findings import Finding, Unavailable
from cachectl.model.servers import ServerFacts
from cachectl.output.report import Audience, Block, Column, Kind, Pairs, Report, Table

SCHEMA = "cachectl.stats/1"

_MACHINES: Audience = "machines"
_PEOPLE: Audience = "people"
_COUNTS = (
    ("hits", "hits"),
    ("misses", "misses"),
    ("reads", "read commands"),
    ("writes", "write commands"),
    ("commands", "commands"),
    ("errors", "errors"),
    ("expired", "expired keys"),
    ("evicted", "evicted keys"),
    ("connections", "new connections"),
    ("rejected_connections", "connections refused"),
)
_BYTES = (("net_input_bytes", "network in"), ("net_output_bytes", "network out"))
_NODES = (
    Column("node"),
    Column("seconds", Kind.SECONDS, drop=9),
    Column("hits", Kind.COUNT),
    Column("misses", Kind.COUNT),
    Column("hit_ratio", Kind.RATIO, title="ratio"),
    Column("commands_per_second", Kind.RATE, title="commands", drop=2),
    Column("expired", Kind.COUNT, drop=4),
    Column("evicted", Kind.COUNT, drop=3),
    Column("used_memory", Kind.BYTES, title="memory", drop=1),
    Column("used_memory_change", Kind.SIGNED_BYTES, title="change", drop=6),
    Column("connected_clients", Kind.COUNT, title="clients", drop=5),
    Column("cpu", Kind.RATIO, title="CPU", drop=7),
    Column("event", drop=8, missing=""),
    Column("since_start_hit_ratio", Kind.RATIO, title="since start", drop=10),
    Column("uptime", Kind.SECONDS, audience=_MACHINES),
    Column("own_lookups", Kind.COUNT, audience=_MACHINES),
    Column("maxmemory", Kind.BYTES, audience=_MACHINES),
    Column("run_id", audience=_MACHINES),
)
EVENTS = {
    Event.RESTARTED: "was restarted: its figures count from then on",
    Event.RESET: "had its counters reset (CONFIG RESETSTAT): its figures count from then on, "
    "and its rates, over the whole window, are too low",
    Event.DEMOTED: "was primary and is a replica now",
    Event.PROMOTED: "was a replica and is primary now",
}


def stats_report(
    result: Traffic,
    server: ServerFacts,
    *,
    findings: Sequence[Finding] = (),
    unavailable: Sequence[Unavailable] = (),
    notes: Sequence[str] = (),
    partial: bool = False,
) -> Report:
    """Return the report of one window. partial: it is shorter than asked for, or nodes are gone."""
    gaps = [*unavailable, *_silent(result)]
    if result.totals.reads is None:
        gaps.append(no_kinds())
    return Report(
        SCHEMA,
        [_head(result), _counts(result), _now(result), *_machine_parts(result), _nodes(result)],
        server=server,
        main="nodes",
        partial=partial or bool(result.silent),
        findings=findings,
        unavailable=gaps,
        notes=[*notes, *correction(result), *events(result)],
    )


def no_kinds() -> Unavailable:
    """Return what a login without COMMAND INFO misses."""
    return Unavailable(
        "read and write commands",
        "this login may not ask which commands read or write",
        "allow it with the ACL rule +command|info",
    )


def _silent(result: Traffic) -> list[Unavailable]:
    reason = "another process took its place in the window, whose counters began elsewhere"
    return [Unavailable("the window", reason, "ask again", node) for node in result.silent]


def correction(result: Traffic) -> list[str]:
    """Return what is said about look-ups of our own; nothing when there were none."""
    lines = []
    own = result.own_hits + result.own_misses
    if own:
        how = "" if result.own_exact else ", about: a job of ours was in the middle of something"
        lines.append(
            f"{own:,} look-ups of cachectl's own jobs are subtracted "
            f"({result.own_hits:,} hits, {result.own_misses:,} misses{how})"
        )
    elif not result.own_exact:
        lines.append(
            "look-ups of cachectl's own jobs could not be told apart in this window: hits and "
            "misses may contain some"
        )
    if result.strangers is None or result.strangers > 0:
        commands = "an unknown number of" if result.strangers is None else f"{result.strangers:,}"
        lines.append(
            f"{commands} commands came from a cachectl that is not of this machine and user: "
            "its look-ups are in these figures"
        )
    return lines


def events(result: Traffic) -> list[str]:
    """Return what befell nodes in the window, one sentence each."""
    return [
        f"{node.window.node} {EVENTS[node.window.event]}"
        for node in result.nodes
        if node.window.event in EVENTS
    ]


def _head(result: Traffic) -> Pairs:
    totals = result.totals
    return Pairs(
        [
            (Column("window", Kind.SECONDS), round(totals.seconds, 3)),
            (Column("hit_ratio", Kind.RATIO, title="hit ratio"), totals.hit_ratio),
            (
                Column("since_start_ratio", Kind.RATIO, "since the start", _PEOPLE),
                result.since_start.hit_ratio,
            ),
            (Column("own_lookups", Kind.COUNT, audience=_MACHINES), _own(result)),
            (Column("own_hits", Kind.COUNT, audience=_MACHINES), result.own_hits),
            (Column("own_misses", Kind.COUNT, audience=_MACHINES), result.own_misses),
            (Column("own_lookups_exact", Kind.BOOL, audience=_MACHINES), result.own_exact),
            (Column("foreign_commands", Kind.COUNT, audience=_MACHINES), result.strangers),
            *(
                (Column(name, Kind.COUNT, audience=_MACHINES), _count(totals, name))
                for name, _ in (*_COUNTS, *_BYTES)
            ),
        ]
    )


def _own(result: Traffic) -> int:
    return result.own_hits + result.own_misses


def _count(totals: Totals, name: str) -> int | None:
    if name in ("reads", "writes"):
        return totals.reads if name == "reads" else totals.writes
    return totals.counts.get(name)


def _counts(result: Traffic) -> Table:
    totals, start = result.totals, result.since_start
    return Table(
        "counts",
        (
            Column("figure", title=""),
            Column("window", Kind.COUNT, title="in the window"),
            Column("rate", Kind.RATE, title="per second"),
            Column("start", Kind.COUNT, title="since the start"),
        ),
        [
            (title, _count(totals, name), totals.rates.get(name), _count(start, name))
            for name, title in _COUNTS
        ],
        audience=_PEOPLE,
    )


def _now(result: Traffic) -> Pairs:
    gauges, rates = result.gauges, result.totals.rates
    return Pairs(
        [
            (Column("used_memory", Kind.BYTES, title="memory"), gauges.used_memory),
            (
                Column("used_memory_change", Kind.SIGNED_BYTES, title="its change"),
                gauges.used_memory_change,
            ),
            (Column("maxmemory", Kind.BYTES, audience=_MACHINES), gauges.maxmemory),
            (
                Column("used_share", Kind.RATIO, title="of maxmemory", missing="no limit"),
                gauges.used_share,
            ),
            (Column("fragmentation", Kind.NUMBER, audience=_MACHINES), gauges.fragmentation),
            *(
                (Column(f"{name}_rate", Kind.BYTES, f"{title} a second", _PEOPLE), rates[name])
                for name, title in _BYTES
            ),
            (Column("connected_clients", Kind.COUNT, title="clients"), gauges.connected_clients),
            (Column("blocked_clients", Kind.COUNT, title="blocked"), gauges.blocked_clients),
            (Column("cpu", Kind.RATIO, title="CPU of one core"), result.totals.cpu),
            (Column("keys", Kind.COUNT), gauges.keys),
        ]
    )


def _machine_parts(result: Traffic) -> list[Block]:
    start = result.since_start
    names = [name for name, _ in (*_COUNTS, *_BYTES)]
    counted = [name for name in names if name not in ("reads", "writes")]
    return [
        Pairs(
            [
                (Column(name, Kind.RATE, audience=_MACHINES), result.totals.rates.get(name))
                for name in names
            ],
            name="per_second",
        ),
        Pairs(
            [
                (Column("seconds", Kind.SECONDS, audience=_MACHINES), start.seconds),
                (Column("hit_ratio", Kind.RATIO, audience=_MACHINES), start.hit_ratio),
                *(
                    (Column(name, Kind.COUNT, audience=_MACHINES), start.counts.get(name))
                    for name in counted
                ),
            ],
            name="since_start",
        ),
    ]


def _nodes(result: Traffic) -> Table:
    return Table(
        "nodes",
        _NODES,
        [_node_row(node) for node in result.nodes],
        title="Nodes",
        audience="all" if len(result.nodes) > 1 else _MACHINES,
    )


def _node_row(node: NodeTraffic) -> Sequence[Any]:
    totals, gauges, window = node.totals, node.gauges, node.window
    return (
        window.node,
        round(totals.seconds, 3),
        totals.counts["hits"],
        totals.counts["misses"],
        totals.hit_ratio,
        totals.rates["commands"],
        totals.counts["expired"],
        totals.counts["evicted"],
        gauges.used_memory,
        gauges.used_memory_change,
        gauges.connected_clients,
        totals.cpu,
        None if window.event is None else str(window.event),
        node.since_start.hit_ratio,
        node.since_start.seconds,
        window.own.hits + window.own.misses,
        gauges.maxmemory,
        window.after.get("run_id"),
    )
