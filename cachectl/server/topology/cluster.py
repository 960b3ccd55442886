"""Cluster: the slot map as a node tells it, with addresses that can be reached from here.

Three commands tell it, and a login or a service may allow any of them: CLUSTER SLOTS, CLUSTER
NODES (which knows all replicas) and CLUSTER SHARDS (7.0). Sources: the commands' pages, and
the node flags in the Redis Cluster specification.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from cachectl.config.target import Address, Target
from cachectl.errors import (
    CachectlError,
    CannotConnectError,
    ConfigError,
    PermissionDeniedError,
)
from cachectl.server.topology.parallel import first_of
from cachectl.server.topology.slots import Shard, SlotMap, SlotRange
from cachectl.server.wire.addresses import reachable
from cachectl.server.wire.connection import NodeConnection
from cachectl.server.wire.info import parse_info
from cachectl.server.wire.loading import OnLoading
from cachectl.server.wire.resp import ReplyError, as_dict, as_int, as_text

_Resolve = Callable[[str, int], tuple[Address, Address]]
"""(announced host, port) → (reachable address, announced address)."""


def open_seed(
    target: Target, addresses: Sequence[Address], on_loading: OnLoading | None = None
) -> NodeConnection:
    """Return a connection to the first of the addresses that answers.

    Raises AuthenticationError at the first refused login (one attempt is all a wrong password
    gets), CannotConnectError when nobody answers.
    """
    deadline = time.monotonic() + target.connect_timeout
    seed = first_of(
        [
            partial(NodeConnection(target, address, on_loading=on_loading).open, deadline)
            for address in addresses
        ],
        discard=NodeConnection.close,
    )
    if isinstance(seed, NodeConnection):
        return seed
    if len(seed) == 1:
        raise seed[0]
    raise CannotConnectError(
        f"none of {len(seed)} nodes of the cluster answers: "
        + "; ".join(error.message for error in seed),
        hint=seed[0].hint,
        target=target.name,
    )


def read_slot_map(connection: NodeConnection) -> SlotMap:
    """Ask a node who serves which slots.

    Raises ConfigError when it is no node of a cluster, PermissionDeniedError when the login may
    not ask.
    """
    target, asked = connection.target, connection.address

    def resolve(host: str, port: int) -> tuple[Address, Address]:
        # An empty, null or "?" host means "where you reached me" (CLUSTER SLOTS, preferred
        # endpoints); so does the port 0 of a node that is only being introduced.
        if host in ("", "?"):
            return Address(asked.host, port or asked.port), Address(asked.host, port)
        return reachable(target.address_map, host, port), Address(host, port)

    slots, nodes = connection.pipeline([("CLUSTER", "SLOTS"), ("CLUSTER", "NODES")])
    if not isinstance(slots, ReplyError):
        shards = list(_from_slots(slots, resolve))
    elif not isinstance(nodes, ReplyError):
        shards = list(_from_nodes(nodes, resolve))
    else:
        try:
            shards = list(_from_shards(connection.call("CLUSTER", "SHARDS"), resolve))
        except ReplyError:
            raise _no_slot_map(slots, asked) from None
    if not isinstance(nodes, ReplyError):
        # CLUSTER SLOTS leaves out replicas that have received nothing yet.
        known = _replicas_from_nodes(nodes, resolve)
        shards = [
            replace(shard, replicas=max(shard.replicas, known.get(shard.id, ()), key=len))
            for shard in shards
        ]
    if not shards:
        raise CannotConnectError(
            f"{asked} is in a cluster where no node serves any slot",
            hint="see `redis-cli --cluster check`",
            target=str(asked),
        )
    return SlotMap(tuple(sorted(shards, key=lambda shard: shard.slots)))


def is_down(connection: NodeConnection) -> bool:
    """Return whether the node says that its cluster serves no keys (`cluster_state:fail`)."""
    try:
        info = parse_info(connection.call("CLUSTER", "INFO"))
    except ReplyError:
        return False
    return info.get("cluster_state") == "fail"


def _no_slot_map(refusal: ReplyError, address: Address) -> CachectlError:
    where = str(address)
    if "cluster support disabled" in refusal.text:
        return ConfigError(
            f"{where} is not a node of a cluster",
            hint="set `topology: standalone` in the profile",
            target=where,
        )
    if refusal.code == "NOPERM":
        return PermissionDeniedError(
            f"this login may not ask {where} for the slots of the cluster",
            hint="allow it with the ACL rule +cluster|slots",
            target=where,
        )
    return CannotConnectError(
        f"{where} does not tell the slots of the cluster: {refusal.text}",
        hint="a service that hides its cluster is used with `topology: standalone`",
        target=where,
    )


def _from_slots(reply: Any, resolve: _Resolve) -> Iterator[Shard]:
    slots: dict[str, list[SlotRange]] = {}
    nodes: dict[str, list[list[Any]]] = {}
    for first, last, *members in reply:
        primary = members[0]
        # Before 4.0 there was no id, and an address does as well.
        name = as_text(primary[2]) if len(primary) > 2 else f"{primary[0]}:{primary[1]}"
        slots.setdefault(name, []).append((first, last))
        nodes[name] = members
    for name, ranges in slots.items():
        primary, *replicas = nodes[name]
        address, announced = resolve(as_text(primary[0]), primary[1])
        yield Shard(
            id=name,
            primary=address,
            announced=announced,
            slots=tuple(sorted(ranges)),
            replicas=tuple(resolve(as_text(node[0]), node[1])[0] for node in replicas),
        )


def _from_shards(reply: Any, resolve: _Resolve) -> Iterator[Shard]:
    for entry in reply:
        shard = as_dict(entry)
        bounds = shard["slots"]
        ranges = tuple(zip(bounds[::2], bounds[1::2], strict=True))
        nodes = [as_dict(node) for node in shard["nodes"]]
        primaries = [node for node in nodes if node.get("role") == b"master"]
        if not primaries or not ranges:
            continue
        primary = primaries[0]
        address, announced = resolve(_endpoint(primary), _port(primary))
        yield Shard(
            id=as_text(primary.get("id")),
            primary=address,
            announced=announced,
            slots=tuple(sorted(ranges)),
            replicas=tuple(
                resolve(_endpoint(node), _port(node))[0] for node in nodes if node is not primary
            ),
        )


def _endpoint(node: dict[str, Any]) -> str:
    return as_text(node.get("endpoint") or node.get("ip"))


def _port(node: dict[str, Any]) -> int:
    return as_int(node.get("port")) or as_int(node.get("tls-port")) or 0


def _from_nodes(reply: Any, resolve: _Resolve) -> Iterator[Shard]:
    for row in _node_rows(reply):
        ranges = tuple(_node_ranges(row[8:]))
        if row[3] == "-" and ranges:
            address, announced = resolve(*_node_address(row[1]))
            yield Shard(row[0], address, announced, ranges)


def _replicas_from_nodes(reply: Any, resolve: _Resolve) -> dict[str, tuple[Address, ...]]:
    """Return primary's id → replicas that are not known to be gone."""
    replicas: dict[str, tuple[Address, ...]] = {}
    for row in _node_rows(reply):
        if row[3] != "-" and not _is_gone(row[2]):
            address, _ = resolve(*_node_address(row[1]))
            replicas[row[3]] = (*replicas.get(row[3], ()), address)
    return replicas


def _node_rows(reply: Any) -> list[list[str]]:
    # <id> <ip:port@cport[,hostname]> <flags> <primary id> <ping> <pong> <epoch> <state> <slot> …
    rows = [line.split() for line in as_text(reply).splitlines()]
    return [row for row in rows if len(row) >= 8]


def _is_gone(flags: str) -> bool:
    return bool({"fail", "noaddr", "handshake"} & set(flags.split(",")))


def _node_address(text: str) -> tuple[str, int]:
    host, _, port = text.partition("@")[0].rpartition(":")
    return host, int(port) if port.isdigit() else 0


def _node_ranges(words: list[str]) -> Iterator[SlotRange]:
    for word in words:
        if not word.startswith("["):  # [slot->-id] and [slot-<-id] are slots on the move
            first, _, last = word.partition("-")
            yield int(first), int(last or first)
