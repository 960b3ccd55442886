"""What a command holds in its hand: a server of any topology, as a set of primaries."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from cachectl.config.target import Address, Target
from cachectl.errors import AuthenticationError, CachectlError, CannotConnectError
from cachectl.model.findings import Unavailable
from cachectl.model.servers import NodeFacts, ServerFacts
from cachectl.server.topology import sentinel
from cachectl.server.topology.gate import Gates, open_gate
from cachectl.server.topology.node import Node, open_node, replica_facts
from cachectl.server.topology.slots import SlotMap, SlotRange, describe
from cachectl.server.wire.addresses import reachable
from cachectl.server.wire.connection import NodeConnection, connect
from cachectl.server.wire.info import replicas_of

_RETRY = 0.25


@dataclass(frozen=True, slots=True)
class UnreachableNode:
    """A primary of a cluster that can't be used, with what it serves and why."""

    address: Address
    slots: tuple[SlotRange, ...]
    error: CachectlError

    @property
    def name(self) -> str:
        """host:port, as reports show it."""
        return str(self.address)

    @property
    def as_unavailable(self) -> Unavailable:
        """The gap that this leaves in every report."""
        return Unavailable(
            what=f"slots {describe(self.slots)}",
            reason=self.error.message,
            remedy=self.error.hint,
            node=self.name,
        )


class Server:
    """What a profile points at: its primaries, connected and logged in.

    Threads never share a connection: `new_connection(node)` opens another one. warnings: sentences
    about what was found on the way; durations: seconds of each step of connecting. gates: what
    makes our own look-ups known to other processes (see server.gate). This class is
    a standalone node or the primary behind sentinels; ClusterServer is the rest.
    """

    def __init__(self, target: Target, primaries: list[Node] | None = None) -> None:
        self.target = target
        self.primaries = primaries or []
        self.warnings: tuple[str, ...] = ()
        self.durations: dict[str, float] = {}
        self.gates: Gates = open_gate
        self._lock = threading.RLock()

    @property
    def facts(self) -> ServerFacts:
        """Who answered, for reports: primaries first, then the replicas that are known of."""
        first = self.primaries[0].facts
        return ServerFacts(
            name=self.target.name,
            topology=self.target.topology,
            flavour=first.flavour,
            version=first.version,
            nodes=(*(node.facts for node in self.primaries), *self.replicas),
            database=self.target.database,
        )

    @property
    def replicas(self) -> tuple[NodeFacts, ...]:
        """The replicas that the primaries know of; nobody has connected to them."""
        return tuple(
            replica_facts(reachable(self.target.address_map, host, port))
            for node in self.primaries
            for host, port in replicas_of(node.info)
        )

    @property
    def slot_map(self) -> SlotMap | None:
        """Who serves which slots of a cluster, as it was last read; None elsewhere."""
        return None

    @property
    def unreachable(self) -> tuple[UnreachableNode, ...]:
        """The primaries that can't be used: whoever needs all keys is partial then."""
        return ()

    @property
    def gap_warnings(self) -> tuple[str, ...]:
        """Those of `warnings` that only say what `unavailable` says too."""
        return ()

    @property
    def uncovered(self) -> tuple[SlotRange, ...]:
        """The slots of a cluster that no node serves."""
        return self.slot_map.uncovered if self.slot_map else ()

    @property
    def unavailable(self) -> tuple[Unavailable, ...]:
        """What is missing from whatever is asked of this server: nodes and slots."""
        return ()

    def new_connection(self, node: Node, *, database: int | None = None) -> NodeConnection:
        """Open another connection to a node, for a thread or a probe of its own.

        database: another one than the profile's.
        """
        return connect(self.target, node.address, database=database)

    def node_of(self, key: bytes) -> Node:
        """Return the primary that holds `key`. Raises CannotConnectError when it can't be used."""
        del key
        return self.primaries[0]

    def reopen(self, node: Node, patience: float = 0.0) -> Node:
        """Connect again to whoever has the place of `node` now, and return it with its identity.

        Sentinel and cluster are asked anew, so a failover leads to the new primary. It takes the
        place of `node` in `primaries`; `fresh.identity.change_from(node.identity)` says whether
        it is still the same. patience: seconds to go on trying while nobody can be reached.
        Raises CannotConnectError, AuthenticationError.
        """
        deadline = time.monotonic() + patience
        while True:
            try:
                fresh = self._successor(node)
                break
            except AuthenticationError:
                raise
            except CannotConnectError:
                if time.monotonic() + _RETRY > deadline:
                    raise
                time.sleep(_RETRY)
        node.connection.close()
        with self._lock:
            self._replace(node, fresh)
        return fresh

    def refresh(self) -> SlotMap | None:
        """Read the slot map of a cluster again and open the nodes that are new in it."""
        return None

    def close(self) -> None:
        """Close all connections."""
        for node in self.primaries:
            node.connection.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _successor(self, node: Node) -> Node:
        if self.target.topology == "sentinel":
            return sentinel.open_primary(self.target)
        return open_node(self.target, node.address)

    def _replace(self, node: Node, fresh: Node) -> None:
        self.primaries = [fresh if known is node else known for known in self.primaries]
