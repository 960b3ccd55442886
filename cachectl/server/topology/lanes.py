"""Connections for work on keys: several a node, opened when they are needed."""

from __future__ import annotations

from cachectl.server.topology.handle import Server
from cachectl.server.topology.node import Node
from cachectl.server.wire.addresses import reachable
from cachectl.server.wire.connection import NodeConnection, connect

LANES = 16
"""Connections to one node for a unit: in a cluster a transaction holds the keys of one slot."""
TEAMS = 2
"""Teams of lanes: while the keys of one unit are WATCHed, the next one needs others."""
_ASKING = TEAMS * LANES


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

    def drop(self) -> None:
        """Close every lane, for instance after one of them broke in the middle of something."""
        for lane in self._lanes.values():
            lane.close()
        self._lanes.clear()

    def __enter__(self) -> Lanes:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.drop()
