"""Parting keys into groups, and groups into units that go through their transactions together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from cachectl.server.topology.handle import Server
from cachectl.server.topology.lanes import LANES, Lanes
from cachectl.server.topology.node import Node
from cachectl.server.topology.slots import slot_of
from cachectl.server.transactions.transaction import GIANT, Group, Looked

WATCHED = 100
"""Keys in a group at most: a server compares each key that is WATCHed with all that the connection
watches already (watchForKey in multi.c). Many are slow at that, few need more flights."""


def units(
    lanes: Lanes, keys: Iterable[Looked], size: int, *, teams: int = 1
) -> Iterator[list[Group]]:
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
        for node, group in _by_place(lanes.server, small)
        for at in range(0, len(group), most)
    ]
    yield from _side_by_side(lanes, chunks, teams)
    for giant in giants:
        yield [Group(lanes.lane(lanes.server.node_of(giant.key)), [giant])]


def _by_place(server: Server, keys: list[Looked]) -> Iterable[tuple[Node, list[Looked]]]:
    """Part keys by what one transaction may hold: a slot in a cluster, else all."""
    if server.slot_map is None:
        return [(server.primaries[0], keys)]
    places: dict[tuple[str, int], tuple[Node, list[Looked]]] = {}
    for wanted in keys:
        node = server.node_of(wanted.key)
        place = (node.name, slot_of(wanted.key))
        places.setdefault(place, (node, []))[1].append(wanted)
    return places.values()


def _side_by_side(
    lanes: Lanes, chunks: Sequence[tuple[Node, Sequence[Looked]]], teams: int
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
        unit.append(Group(lanes.lane(node, team * LANES + number), keys))
    if unit:
        yield unit
