"""Which server a run belongs to, and who began it: what run.json says whatever the run is for."""

from __future__ import annotations

import getpass
import os
import socket
import time
from collections.abc import Mapping
from typing import Any

from cachectl import __version__
from cachectl.config.target import Address
from cachectl.errors import RefusedError
from cachectl.server.topology.handle import Server
from cachectl.server.topology.node import Node
from cachectl.server.wire.info import replicas_of
from cachectl.storage.runs import RunDirectory


def identity_of(server: Server) -> list[dict[str, Any]]:
    """Return who the server's primaries are, for plans and runs: a plan fits this data only."""
    return sorted(
        (
            {
                "address": node.name,
                "run_id": node.facts.run_id,
                "replid": node.facts.replid,
                "id": node.id,
                "replicas": [str(Address(host, port)) for host, port in replicas_of(node.info)],
            }
            for node in server.primaries
        ),
        key=lambda node: node["address"],
    )


def circumstances(server: Server, run: RunDirectory) -> dict[str, Any]:
    """Return who begins a run where: what run.json says whatever the run is for."""
    return {
        "id": run.id,
        "state": "running",
        "started_at": time.time(),
        "cachectl": __version__,
        "user": os.environ.get("SUDO_USER") or getpass.getuser(),
        "machine": socket.gethostname(),
        "server": server.target.name,
        "topology": server.target.topology,
        "environment": server.target.environment,
        "database": server.target.database,
        "nodes": identity_of(server),
    }


def check_same_server(server: Server, facts: Mapping[str, Any]) -> None:
    """Refuse a server that holds other data than the run's. Raises RefusedError.

    A failover, a restart or a new address keeps the data: the replication id (or the one before
    it), the address (or that of a replica), or the node's id in its cluster stays.
    """
    known: set[str] = set()
    for node in facts["nodes"]:
        known |= {node["replid"], node["address"], node.get("id", ""), *node.get("replicas", ())}
    known.discard("")
    same = any(not known.isdisjoint(_names_of(node)) for node in server.primaries)
    if facts.get("database") != server.target.database or not same:
        raise RefusedError(
            f"run {facts['id']} belongs to {facts['server']} (database {facts['database']}), "
            f"not to {server.target.name}",
            hint="name the run's server with --profile or --url",
            target=server.target.name,
        )


def _names_of(node: Node) -> set[str]:
    before = node.info.get("master_replid2", "")
    names = {node.facts.replid, node.name, node.id}
    return (names | ({before} if before.strip("0") else set())) - {""}
