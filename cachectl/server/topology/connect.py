"""From a profile to a server: every topology is a set of primaries, each with its own connections.

with open_server(target) as server:
    for node in server.primaries:
        node.connection.call("DBSIZE")
"""

from __future__ import annotations

import threading

from cachectl.config.target import Target
from cachectl.errors import CannotConnectError
from cachectl.server.topology import sentinel
from cachectl.server.topology.handle import Server, UnreachableNode
from cachectl.server.topology.node import Identity, Node, identity_of, open_node, read_info
from cachectl.server.wire.connection import NodeConnection
from cachectl.server.wire.info import mode_of
from cachectl.server.wire.loading import OnLoading


def open_server(target: Target, on_loading: OnLoading | None = None) -> Server:
    """Connect to everything that `target` names.

    `durations` of the result says how long each step took, in seconds and in order: sentinel,
    resolve, connect, tls, login, loading, info; for a cluster those of the seed, slots, nodes.
    on_loading: called with the percentage (0–100) and the seconds left, None when not known, while
    a server loads its data. Raises CannotConnectError, AuthenticationError, and ConfigError or
    RefusedError when the profile asks for what the server does not have.
    """
    _reveal_secrets(target)
    report = _one_at_a_time(on_loading) if on_loading else None
    server = _open(target, report)
    if target.tls is not None and not target.tls.verify:
        server.warnings = (
            "the server's certificate is not verified: anyone in between can read and change "
            "everything",
            *server.warnings,
        )
    return server


def _reveal_secrets(target: Target) -> None:
    """Fetch the passwords now: a prompt or a command must not eat into the time for connecting.

    And it must not come from several threads at once.
    """
    secrets = [target.login.password]
    if target.topology == "sentinel":
        secrets.append(target.sentinel_login.password)
    if target.tls is not None:
        secrets.append(target.tls.key_password)
    for secret in secrets:
        if secret is not None:
            secret.reveal()


def _open(target: Target, on_loading: OnLoading | None) -> Server:
    if target.topology == "cluster":
        from cachectl.server.topology.clustered import open_cluster

        return open_cluster(target, on_loading)
    if target.topology == "sentinel":
        node = sentinel.open_primary(target, on_loading)
    else:
        node = open_node(target, target.addresses[0], on_loading=on_loading)
    server = Server(target, [node])
    server.durations = dict(node.connection.durations)
    try:
        server.warnings = tuple(_warnings(node, target))
    except BaseException:
        server.close()
        raise
    return server


def _warnings(node: Node, target: Target) -> list[str]:
    """Return what people should know about a single node before they trust its answers."""
    warnings = []
    mode = mode_of(node.info)
    if mode == "sentinel":
        raise CannotConnectError(
            f"{node.name} is a Sentinel, which holds no data",
            hint="set `topology: sentinel` in the profile",
            target=node.name,
        )
    if node.info.get("cluster_enabled") == "1" or mode == "cluster":
        warnings.append(
            f"{node.name} is one node of a cluster: only its own slots are seen; "
            "`topology: cluster` in the profile shows all"
        )
    if node.facts.role == "replica" and target.topology == "standalone":
        primary = ""
        if node.info.get("master_host"):
            primary = f" of {node.info['master_host']}:{node.info.get('master_port', '')}"
        warnings.append(
            f"{node.name} is a replica{primary}: writes are refused, and it may be behind"
        )
    return warnings


def _one_at_a_time(report: OnLoading) -> OnLoading:
    """Return `report` made safe for several nodes that load at once."""
    lock = threading.Lock()

    def locked(percent: float | None, eta: float | None) -> None:
        with lock:
            report(percent, eta)

    return locked


__all__ = [
    "Identity",
    "Node",
    "NodeConnection",
    "Server",
    "UnreachableNode",
    "identity_of",
    "open_node",
    "open_server",
    "read_info",
]
