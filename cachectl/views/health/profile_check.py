"""The report of `profiles check`: who answered, how fast, and what works there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cachectl.model.servers import NodeFacts
from cachectl.output.report import Column, Kind, Pairs, Report, Table

if TYPE_CHECKING:
    from cachectl.server.rights.capabilities import Capability
    from cachectl.server.rights.check import CheckResult

SCHEMA = "cachectl.profile-check/1"

_HEAD = (
    Column("answered", audience="people"),
    Column("topology", audience="people"),
    Column("user"),
    Column("protocol", Kind.NUMBER, title="RESP version"),
    Column("tls", Kind.BOOL, title="TLS"),
)
_NODES = (
    Column("address", title="node"),
    Column("role"),
    Column("version", missing="not asked", drop=5),
    Column("keys", Kind.COUNT),
    Column("used_memory", Kind.BYTES, title="memory"),
    Column("maxmemory", Kind.BYTES, title="of at most", missing="-", drop=1),
    Column("policy", drop=2),
    Column("slots", Kind.COUNT, drop=3),
)
_STEPS = (Column("step"), Column("seconds", Kind.SECONDS, title="took"))
_CAPABILITIES = (
    Column("feature"),
    Column("works", Kind.BOOL),
    Column("purpose", audience="machines"),
    Column("reason", audience="machines"),
    Column("acl", audience="machines"),
    Column("about", title="what for, or why not", audience="people"),
)
_REMEDIES = (Column("feature"), Column("acl", title="what would allow it"))


def check_report(result: CheckResult) -> Report:
    """Return the report; partial when a node or slot of the server can't be used."""
    server = result.server
    head = (
        f"{server.flavour} {server.version}",
        server.topology,
        result.user,
        result.protocol,
        result.tls,
    )
    return Report(
        schema=SCHEMA,
        blocks=[
            Pairs(list(zip(_HEAD, head, strict=True))),
            Table("nodes", _NODES, [_node(node) for node in server.nodes], "Nodes"),
            Table("steps", _STEPS, [(step.name, step.seconds) for step in result.steps], "Steps"),
            Table(
                "capabilities",
                _CAPABILITIES,
                [_capability(one) for one in result.capabilities],
                "Features",
            ),
            *_remedies(result),
        ],
        main="capabilities",
        server=server,
        partial=bool(result.unavailable),
        unavailable=result.unavailable,
        notes=result.warnings,
    )


def _capability(one: Capability) -> tuple[object, ...]:
    about = one.purpose if one.works else one.reason
    return one.feature, one.works, one.purpose, one.reason, one.acl, about


def _remedies(result: CheckResult) -> list[Table]:
    rows = [(one.feature, one.acl) for one in result.capabilities if one.acl]
    if not rows:
        return []
    return [Table("remedies", _REMEDIES, rows, "Permissions", audience="people")]


def _node(node: NodeFacts) -> tuple[object, ...]:
    return (
        node.address,
        node.role,
        node.version or None,
        node.keys,
        node.used_memory,
        node.maxmemory or None,
        node.policy,
        node.slots,
    )
