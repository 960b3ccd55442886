"""A cluster in the hand: one node for each primary, and the map of who serves which slots."""

from __future__ import annotations

import time
from functools import partial

from cachectl.config.target import Target
from cachectl.errors import AuthenticationError, CachectlError, CannotConnectError
from cachectl.model.findings import Unavailable
from cachectl.model.servers import NodeFacts
from cachectl.server.topology import cluster
from cachectl.server.topology.handle import Server, UnreachableNode
from cachectl.server.topology.node import Node, identify, open_node, replica_facts
from cachectl.server.topology.parallel import run_all
from cachectl.server.topology.slots import (
    SLOTS,
    Shard,
    SlotMap,
    SlotRange,
    count_of,
    describe,
    slot_of,
)
from cachectl.server.wire.connection import NodeConnection
from cachectl.server.wire.loading import OnLoading


class ClusterServer(Server):
    """The primaries of a cluster that can be used, those that can't, and the slot map."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._map = SlotMap(())
        self._unreachable: tuple[UnreachableNode, ...] = ()
        self._retired: list[Node] = []
        self._by_slot: list[Node | None] = []

    @property
    def slot_map(self) -> SlotMap:
        """Who serves which slots, as it was last read."""
        return self._map

    @property
    def unreachable(self) -> tuple[UnreachableNode, ...]:
        """The primaries that can't be used: whoever needs all keys is partial then."""
        return self._unreachable

    @property
    def replicas(self) -> tuple[NodeFacts, ...]:
        """The replicas in the slot map; nobody has connected to them."""
        return tuple(
            replica_facts(address) for shard in self._map.shards for address in shard.replicas
        )

    @property
    def unavailable(self) -> tuple[Unavailable, ...]:
        """What is missing from whatever is asked of this cluster: nodes and slots."""
        gaps = [node.as_unavailable for node in self._unreachable]
        if self.uncovered:
            gaps.append(
                Unavailable(
                    what=f"slots {describe(self.uncovered)}",
                    reason="no node of the cluster serves them",
                    remedy="bring the nodes back, or see `redis-cli --cluster check`",
                )
            )
        return tuple(gaps)

    @property
    def gap_warnings(self) -> tuple[str, ...]:
        """One sentence for each node that can't be used, and for the slots that nobody serves."""
        gaps = []
        if self.uncovered:
            gaps.append(
                f"{count_of(self.uncovered)} slots of the cluster are served by no node: "
                f"{describe(self.uncovered)}"
            )
        gaps += [
            f"{node.error.message}; its slots {describe(node.slots)} are missing"
            for node in self._unreachable
        ]
        return tuple(gaps)

    def node_of(self, key: bytes) -> Node:
        """Return the primary that holds `key`. Raises CannotConnectError when it can't be used."""
        slot = slot_of(key)
        node = self._by_slot[slot]
        if node is not None:
            return node
        for lost in self._unreachable:
            if any(first <= slot <= last for first, last in lost.slots):
                raise lost.error
        raise CannotConnectError(
            f"no node of the cluster serves slot {slot}, where this key belongs",
            hint="bring the node back, or see `redis-cli --cluster check`",
            target=self.target.name,
        )

    def read_slot_map(self) -> SlotMap:
        """Ask the cluster who serves which slots now; nothing is changed here.

        Uses a connection of its own, to the first node that answers.
        """
        known = [node.address for node in self.primaries]
        addresses = list(dict.fromkeys((*known, *self.target.addresses)))
        with cluster.open_seed(self.target, addresses) as seed:
            return cluster.read_slot_map(seed)

    def refresh(self) -> SlotMap:
        """Read the slot map again and open the nodes that are new in it. Return it.

        A node that serves no slot any more leaves `primaries`; its connection stays open until
        `close`, for whoever is still reading from it.
        """
        slot_map = self.read_slot_map()
        self.adopt(slot_map)
        return slot_map

    def adopt(
        self,
        slot_map: SlotMap,
        *,
        seed: NodeConnection | None = None,
        on_loading: OnLoading | None = None,
    ) -> None:
        """Make the primaries those of `slot_map`; open the ones that are new, all at once.

        seed: an open connection that is used for the primary at its address. Raises
        CannotConnectError, AuthenticationError when no primary at all can be used.
        """
        with self._lock:
            known = {(node.id, node.address): node for node in self.primaries}
            new = [shard for shard in slot_map.shards if (shard.id, shard.primary) not in known]
            opened = run_all([partial(self._open, shard, seed, on_loading) for shard in new])
            lost = []
            for shard, node in zip(new, opened, strict=True):
                if isinstance(node, CachectlError):
                    lost.append(UnreachableNode(shard.primary, shard.slots, node))
                else:
                    known[shard.id, shard.primary] = node
            if lost and len(lost) == len(slot_map.shards):
                raise _no_primary(self.target, slot_map, lost)
            used = [
                (shard, known[shard.id, shard.primary])
                for shard in slot_map.shards
                if (shard.id, shard.primary) in known
            ]
            for shard, node in used:
                node.serve(shard.slots)
            self._retired += [n for n in self.primaries if all(n is not u for _, u in used)]
            self.primaries = [node for _, node in used]
            self._map, self._unreachable = slot_map, tuple(lost)
            self._index()

    def close(self) -> None:
        """Close all connections."""
        super().close()
        for node in self._retired:
            node.connection.close()

    def _open(
        self, shard: Shard, seed: NodeConnection | None, on_loading: OnLoading | None
    ) -> Node:
        try:
            if seed is not None and seed.address == shard.primary:
                node = identify(seed)
            else:
                node = open_node(self.target, shard.primary, on_loading=on_loading)
        except AuthenticationError:
            raise
        except CannotConnectError as error:
            raise _with_map_hint(error, self.target, shard) from error
        if node.facts.role == "replica":
            node.connection.close()
            raise CannotConnectError(
                f"the slot map names {shard.primary} as a primary, but it is a replica",
                hint="is a failover under way? try again in a moment",
                target=str(shard.primary),
            )
        node.id = shard.id
        return node

    def _successor(self, node: Node) -> Node:
        slot_map = self.read_slot_map()
        shard = max(slot_map.shards, key=lambda shard: _overlap(shard.slots, node.slots))
        fresh = self._open(shard, None, None)
        fresh.serve(shard.slots)
        self._map = slot_map
        return fresh

    def _replace(self, node: Node, fresh: Node) -> None:
        super()._replace(node, fresh)
        self._index()

    def _index(self) -> None:
        by_slot: list[Node | None] = [None] * SLOTS
        for node in self.primaries:
            for first, last in node.slots:
                by_slot[first : last + 1] = [node] * (last + 1 - first)
        self._by_slot = by_slot


def open_cluster(target: Target, on_loading: OnLoading | None = None) -> ClusterServer:
    """Connect to every primary of the cluster behind the seeds. Raises CannotConnectError."""
    server = ClusterServer(target)
    seed = cluster.open_seed(target, target.addresses, on_loading)
    began = time.monotonic()
    try:
        slot_map = cluster.read_slot_map(seed)
        is_down = cluster.is_down(seed)
        read = time.monotonic()
        server.adopt(slot_map, seed=seed, on_loading=on_loading)
    except BaseException:
        seed.close()
        server.close()
        raise
    nodes = time.monotonic() - read
    server.durations = {**seed.durations, "slots": read - began, "nodes": nodes}
    if all(node.connection is not seed for node in server.primaries):
        seed.close()
    if is_down:
        server.warnings = (
            "the cluster is down (cluster_state:fail): its nodes refuse commands on keys until "
            "every slot is served again",
        )
    server.warnings += server.gap_warnings
    return server


def _overlap(some: tuple[SlotRange, ...], others: tuple[SlotRange, ...]) -> int:
    return sum(max(0, min(b, d) - max(a, c) + 1) for a, b in some for c, d in others)


def _with_map_hint(error: CannotConnectError, target: Target, shard: Shard) -> CannotConnectError:
    """Return the error, with the way out when the address may be internal to another network."""
    mapped = shard.primary != shard.announced
    if mapped or shard.primary.host in {address.host for address in target.addresses}:
        return error
    return CannotConnectError(
        error.message,
        hint=f"the cluster announces {shard.announced}; if that is internal, map it to a "
        "reachable one in `cluster.address_map`",
        target=error.target,
    )


def _no_primary(target: Target, slot_map: SlotMap, lost: list[UnreachableNode]) -> CachectlError:
    first = lost[0].error
    if len(lost) == 1 or isinstance(first, AuthenticationError):
        return first
    reasons = "; ".join(node.error.message for node in lost)
    return CannotConnectError(
        f"none of the cluster's {len(slot_map.shards)} primaries can be used: {reasons}",
        hint=first.hint,
        target=target.name,
    )
