"""Connections for changing keys: one a group, several a node, opened when they are needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from cachectl.server.addresses import reachable
from cachectl.server.connection import NodeConnection, connect
from cachectl.server.handle import Server
from cachectl.server.node import Node
from cachectl.server.slots import slot_of
from cachectl.server.transaction import GIANT, Group, Looked

LANES = 16
"""Connections to one node for a unit: in a cluster a transaction holds the keys of one slot."""
TEAMS = 2
"""Teams of lanes: while the keys of one unit are WATCHed, the next one needs others."""
_ASKING = TEAMS * LANES
WATCHED = 100
"""Keys in a group at most: a server compares each key that is WATCHed with all that the connection
watches already (watchForKey in multi.c). Many are slow at that, few need more flights."""


class Lanes:
    """The lanes of one server. Not thread-safe."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._lanes: dict[tuple[str, int], NodeConnection] = {}

    def lane(self, node: Node, number: int = 0) -> NodeConnection:
        """Return an open connection to `node`. Raises CannotConnectError."""
        place = (node.name, number)
        if place not in self._lanes or not self._lanes[place].is_open:
            self._lanes[place] = self.server.new_connection(node)
        return self._lanes[place]

    def lane_to(self, host: str, port: int, number: int = 0) -> NodeConnection:
        """Return an open connection to a node that the cluster has named. Raises as `lane` does."""
        address = reachable(self.server.target.address_map, host, port)
        for node in self.server.primaries:
            if node.address == address:
                return self.lane(node, _ASKING + number)
        place = (str(address), _ASKING + number)
        if place not in self._lanes or not self._lanes[place].is_open:
            self._lanes[place] = connect(self.server.target, address)
        return self._lanes[place]

    def units(self, keys: Iterable[Looked], size: int, *, teams: int = 1) -> Iterator[list[Group]]:
        """Part keys into units: groups with a lane each, that can go through at the same time.

        size: the most keys in a group, if it is less than WATCHED. teams: how many units may be
        under way together. A giant key is a group, and a unit, of its own; those come last.
        """
        listed = list(keys)
        giants = [wanted for wanted in listed if wanted.size > GIANT]
        small = [wanted for wanted in listed if wanted.size <= GIANT] if giants else listed
        most = min(size, WATCHED)
        chunks = [
            (node, group[at : at + most])
            for node, group in self._by_place(small)
            for at in range(0, len(group), most)
        ]
        yield from self._side_by_side(chunks, teams)
        for giant in giants:
            yield [Group(self.lane(self.server.node_of(giant.key)), [giant])]

    def _by_place(self, keys: list[Looked]) -> Iterable[tuple[Node, list[Looked]]]:
        """Part keys by what one transaction may hold: a slot in a cluster, else all."""
        if self.server.slot_map is None:
            return [(self.server.primaries[0], keys)]
        places: dict[tuple[str, int], tuple[Node, list[Looked]]] = {}
        for wanted in keys:
            node = self.server.node_of(wanted.key)
            place = (node.name, slot_of(wanted.key))
            places.setdefault(place, (node, []))[1].append(wanted)
        return places.values()

    def _side_by_side(
        self, chunks: Sequence[tuple[Node, Sequence[Looked]]], teams: int
    ) -> Iterator[list[Group]]:
        unit: list[Group] = []
        taken: dict[str, int] = {}
        team = 0
        for node, keys in chunks:
            if taken.get(node.name, 0) >= LANES:
                yield unit
                unit, taken, team = [], {}, (team + 1) % teams
            number = taken.get(node.name, 0)
            taken[node.name] = number + 1
            unit.append(Group(self.lane(node, team * LANES + number), keys))
        if unit:
            yield unit

    def drop(self) -> None:
        """Close every lane, for instance after one of them broke in the middle of something."""
        for lane in self._lanes.values():
            lane.close()
        self._lanes.clear()

    def __enter__(self) -> Lanes:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.drop()
