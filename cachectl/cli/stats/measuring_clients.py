"""What `stats clients` does: two looks at everybody who is connected."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from cachectl.cli.context import App
from cachectl.cli.stats import measuring
from cachectl.errors import CachectlError

if TYPE_CHECKING:
    from cachectl.analysis.traffic.clients import Group, NodeClients
    from cachectl.model.findings import Unavailable
    from cachectl.output.report import Report
    from cachectl.server.introspection.asked import Ask
    from cachectl.server.introspection.clients import ClientsOfNode
    from cachectl.server.topology.connect import Server


def measure(
    app: App,
    server: Server,
    seconds: float,
    by: str,
    limit: int | None,
    idle: float | None = None,
) -> tuple[Report, KeyboardInterrupt | None]:
    """Look, wait, look again. Raises CachectlError when no node answers.

    idle: seconds from which on a connection counts as idle, and as forgotten; None: as usual.
    """
    from cachectl.analysis.traffic.clients import IDLE, LEAKED_IDLE, findings
    from cachectl.views.stats.clients import clients_report

    before, gaps = look(server)
    begun, interruption = time.monotonic(), None
    after = before
    if seconds:
        interruption = measuring.wait(app, seconds)
        after, gaps = look(server)
    took = time.monotonic() - begun if seconds else 0.0
    nodes = node_clients(before, after, took)
    groups = groups_between(before, after, by, idle)
    report = clients_report(
        groups,
        nodes,
        server.facts,
        by=by,
        idle=IDLE if idle is None else idle,
        limit=limit,
        findings=[
            finding
            for node in nodes
            for finding in findings(node, unused=LEAKED_IDLE if idle is None else idle)
        ],
        unavailable=[*server.unavailable, *gaps],
        partial=interruption is not None or bool(gaps) or bool(server.unavailable),
    )
    return report, interruption


def look(
    server: Server, ask: Ask | None = None
) -> tuple[dict[str, ClientsOfNode], list[Unavailable]]:
    """Return who is connected to each node, and what could not be had. Raises CachectlError."""
    from cachectl.model.findings import Unavailable
    from cachectl.server.introspection.asked import plainly
    from cachectl.server.introspection.clients import clients_of
    from cachectl.server.topology.parallel import run_all

    nodes = server.primaries
    results = run_all([partial(clients_of, node, ask or plainly) for node in nodes])
    found: dict[str, ClientsOfNode] = {}
    gaps: list[Unavailable] = []
    for node, result in zip(nodes, results, strict=True):
        if isinstance(result, CachectlError):
            gaps.append(Unavailable("who is connected", result.message, result.hint, node.name))
        else:
            found[node.name] = result
            gaps += result.unavailable
    if not found:
        raise next(result for result in results if isinstance(result, CachectlError))
    return found, gaps


def node_clients(
    before: Mapping[str, ClientsOfNode], after: Mapping[str, ClientsOfNode], seconds: float
) -> list[NodeClients]:
    """Return each node's clients, and how they changed in so many seconds between two looks."""
    return [_node(before.get(name), facts, seconds) for name, facts in after.items()]


def groups_between(
    before: Mapping[str, ClientsOfNode],
    after: Mapping[str, ClientsOfNode],
    by: str,
    idle: float | None = None,
) -> list[Group]:
    """Return the clients of all nodes in groups, with who came and went between two looks."""
    from cachectl.analysis.traffic.clients import IDLE, grouped

    earlier = [client for name in after if name in before for client in before[name].clients]
    now = [client for one in after.values() for client in one.clients]
    return grouped(now, earlier, by, IDLE if idle is None else idle)


def _node(before: ClientsOfNode | None, after: ClientsOfNode, seconds: float) -> NodeClients:
    from cachectl.analysis.traffic.clients import NodeClients

    same = before is not None and before.run_id == after.run_id and seconds > 0
    return NodeClients(
        node=after.node,
        clients=after.clients,
        connected=after.connected,
        maxclients=after.settings.get("maxclients"),
        seconds=seconds,
        came=_since(before.received, after.received) if same and before else None,
        rejected=_since(before.rejected, after.rejected) if same and before else None,
        timeout=after.settings.get("timeout"),
    )


def _since(before: int | None, after: int | None) -> int | None:
    """Return the difference; a counter that was reset counts from then on."""
    if before is None or after is None:
        return None
    return after - before if after >= before else after
