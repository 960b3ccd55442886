"""The report of `stats clients`: groups of connections, and the limits of each node."""

from __future__ import annotations

from collections.abc import Sequence

from cachectl.analysis.traffic.clients import IDLE, Group, NodeClients
from cachectl.model.findings import Finding, Unavailable
from cachectl.model.servers import ServerFacts
from cachectl.output.report import Column, Kind, Pairs, Report, Table

SCHEMA = "cachectl.stats-clients/1"

_NODES = (
    Column("node"),
    Column("connected_clients", Kind.COUNT, title="connected"),
    Column("maxclients", Kind.COUNT),
    Column("used_share", Kind.RATIO, title="of it"),
    Column("opened", Kind.COUNT, title="opened in the window"),
    Column("rejected", Kind.COUNT, title="refused"),
    Column("timeout", Kind.SECONDS, audience="machines"),
)


def _short(seconds: float) -> str:
    return f"{seconds / 60:g}m" if seconds >= 60 else f"{seconds:g}s"


def _columns(by: str, idle: float = IDLE) -> Sequence[Column]:
    return (
        Column("group", title=by),
        Column("clients", Kind.COUNT),
        Column("idle", Kind.COUNT, title=f"idle {_short(idle)}+"),
        Column("idle_p50", Kind.SECONDS, title="idle p50", drop=4),
        Column("idle_max", Kind.SECONDS, title="longest", drop=2),
        Column("age_max", Kind.SECONDS, title="oldest", drop=7),
        Column("blocked", Kind.COUNT, drop=3),
        Column("subscribed", Kind.COUNT, drop=8),
        Column("came", Kind.COUNT, drop=5),
        Column("went", Kind.COUNT, drop=6),
        Column("output", Kind.BYTES, title="unread", drop=4),
        Column("memory", Kind.BYTES, drop=1),
        Column("commands", Kind.COUNTS, title="last commands", drop=9),
    )


def clients_report(
    groups: Sequence[Group],
    nodes: Sequence[NodeClients],
    server: ServerFacts,
    *,
    by: str,
    idle: float = IDLE,
    limit: int | None = None,
    findings: Sequence[Finding] = (),
    unavailable: Sequence[Unavailable] = (),
    partial: bool = False,
) -> Report:
    """Return the report. groups: of all nodes together; idle: seconds that make one idle."""
    shown = groups if limit is None else groups[:limit]
    hidden = len(groups) - len(shown)
    return Report(
        SCHEMA,
        [
            Pairs(
                [
                    (
                        Column("window", Kind.SECONDS, missing="one look"),
                        round(max((node.seconds for node in nodes), default=0.0), 3) or None,
                    ),
                    (Column("clients", Kind.COUNT), sum(group.clients for group in groups)),
                    (Column("by", audience="machines"), by),
                    (Column("idle_from", Kind.SECONDS, audience="machines"), float(idle)),
                ]
            ),
            Table(
                "groups",
                _columns(by, idle),
                [_row(group) for group in shown],
                empty="Nobody else is connected.",
            ),
            Table("nodes", _NODES, [_node(node) for node in nodes], title="Nodes"),
        ],
        server=server,
        main="groups",
        partial=partial,
        findings=findings,
        unavailable=unavailable,
        notes=[f"{hidden:,} more groups; --limit shows more"] if hidden else [],
    )


def _row(group: Group) -> Sequence[object]:
    return (
        group.label,
        group.clients,
        group.idle,
        group.idle_p50,
        group.idle_max,
        group.age_max,
        group.blocked,
        group.subscribed,
        group.came,
        group.went,
        group.output,
        group.memory,
        dict(group.commands),
    )


def _node(node: NodeClients) -> Sequence[object]:
    share = None
    if node.connected is not None and node.maxclients:
        share = node.connected / node.maxclients
    timeout = float(node.timeout) if node.timeout is not None else None
    return (
        node.node,
        node.connected,
        node.maxclients,
        share,
        node.came,
        node.rejected,
        timeout,
    )
