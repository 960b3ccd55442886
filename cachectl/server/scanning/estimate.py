"""How long a scan will take, from the number of keys and a glance at how fast they come."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, replace

from cachectl.server.pace import GEARS, Pace
from cachectl.server.scanning.scan_node import NodePass, Step
from cachectl.server.scanning.scan_types import ScanRequest
from cachectl.server.topology.handle import Server
from cachectl.server.topology.node import Node

_GLANCE = 2000
"""Keys that are read to see how fast they come: some milliseconds of the server's time."""


@dataclass(frozen=True, slots=True)
class ScanEstimate:
    """seconds: what a full scan will take, about. keys: DBSIZE of all nodes.

    hits, misses: what finding out added to the servers' counters.
    """

    seconds: float
    keys: int
    hits: int = 0
    misses: int = 0


def estimate(server: Server, request: ScanRequest) -> ScanEstimate:
    """Estimate a scan. Nodes are read at once, so the largest one decides.

    Raises CachectlError when that one can't be read.
    """
    sizes = [_size(node) for node in server.primaries]
    total, largest = sum(sizes), max(sizes, default=0)
    if not largest:
        return ScanEstimate(0.0, total)
    name = request.pace or server.target.pace
    max_rate = request.max_rate or server.target.limits.max_rate
    node = server.primaries[sizes.index(largest)]
    glance = replace(request, pace="flat-out", max_rate=None, start={})
    one = NodePass(server, node, glance, Pace(GEARS["flat-out"]))
    a_key, round_trip = _seconds_a_key(one)
    if one.failure is not None:
        raise one.failure
    gear = GEARS[name]
    seconds = largest * a_key / gear.share
    if not gear.overlap:
        seconds += largest / gear.batch * round_trip
    if max_rate:
        seconds = max(seconds, total / max_rate)
    tally = one.outcome.tally
    return ScanEstimate(seconds, total, tally.hits, tally.misses)


def _size(node: Node) -> int:
    reply = node.connection.pipeline([("DBSIZE",)])[0]
    return reply if isinstance(reply, int) else node.facts.keys or 0


def _seconds_a_key(one: NodePass) -> tuple[float, float]:
    """Read a little of a node; return seconds for a key, and for an empty round trip."""
    begun = taken = 0.0
    keys = 0
    with closing(one.run()) as steps:
        for step in steps:
            # The clock starts with the first page: connecting is not repeated for each key.
            if not begun:
                begun = time.monotonic()
            elif isinstance(step, Step):
                keys += step.visited
                taken = time.monotonic() - begun
            if keys >= _GLANCE:
                break
    return taken / max(1, keys), one.round_trip
