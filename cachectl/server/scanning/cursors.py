"""Random SCAN cursors: where in the keyspace a sample's draws begin.

A cursor names a bucket of the hash table by its low bits, so random 64 bits begin anywhere with
equal chance. Servers that keep one table a slot in cluster mode (Redis 7.4 and 8, Valkey 8 and 9)
put the slot into the low 14 bits; there a random slot would lead to slots that follow a gap far
too often, so the slot is drawn first, in proportion to its keys.
"""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Callable
from itertools import accumulate

from cachectl.server.topology.node import Node
from cachectl.server.topology.slots import slot_of
from cachectl.server.wire.connection import NodeConnection
from cachectl.server.wire.resp import ReplyError

Draw = Callable[[], bytes]
"""Return a cursor to begin at."""

_SLOT_BITS = 14
_PROBES = 4


def draw_anywhere(rng: random.Random) -> Draw:
    """Return a draw over one hash table."""
    return lambda: b"%d" % rng.getrandbits(64)


def draw_in_slots(weights: dict[int, int], rng: random.Random) -> Draw:
    """Return a draw over one hash table a slot. weights: slot → number of its keys."""
    slots = list(weights)
    ends = list(accumulate(weights.values()))

    def draw() -> bytes:
        slot = slots[bisect(ends, rng.randrange(ends[-1]))]
        return b"%d" % (rng.getrandbits(64 - _SLOT_BITS) << _SLOT_BITS | slot)

    return draw


def draws_for(node: Node, connection: NodeConnection, rng: random.Random) -> tuple[Draw, bool]:
    """Return how to draw on a node, and whether keys of a draw tend to share a slot."""
    if not node.slots:
        return draw_anywhere(rng), False
    weights = keys_by_slot(node, connection)
    if not weights or not _has_table_per_slot(connection, weights, rng):
        return draw_anywhere(rng), False
    return draw_in_slots(weights, rng), True


def keys_by_slot(node: Node, connection: NodeConnection) -> dict[int, int]:
    """Return slot → number of keys, without the empty ones; all equal where that is forbidden."""
    slots = [slot for first, last in node.slots for slot in range(first, last + 1)]
    counts = connection.pipeline([("CLUSTER", "COUNTKEYSINSLOT", slot) for slot in slots])
    if any(isinstance(count, ReplyError) for count in counts):
        return dict.fromkeys(slots, 1)
    return {slot: count for slot, count in zip(slots, counts, strict=True) if count > 0}


def _has_table_per_slot(
    connection: NodeConnection, weights: dict[int, int], rng: random.Random
) -> bool:
    """Look where a cursor with a slot in its low bits leads: into that slot, or anywhere."""
    slots = sorted(weights)
    hits = 0
    for _ in range(_PROBES):
        at = rng.randrange(len(slots))
        cursor = draw_in_slots({slots[at]: 1}, rng)()
        reply = connection.call("SCAN", cursor, "COUNT", 1)
        # A cursor behind the slot's last key goes on in the next slot that has keys.
        expected = {slots[at], *slots[at + 1 : at + 2]}
        found = {slot_of(key) for key in reply[1]}
        hits += found <= expected
    return hits == _PROBES
