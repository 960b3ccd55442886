"""What a warming would take: intervals that hold, and gates that know a node's room."""

from __future__ import annotations

import random

import pytest
from targets import target_of
from warmable import Listed, Warmer, entry, ids, manifest

from cachectl.actions.warming.estimate import EntryEstimate, WarmEstimate, estimate, total_growth
from cachectl.actions.warming.headroom import Room, rooms
from cachectl.config.manifest import Existing, Value
from cachectl.errors import RefusedError
from cachectl.model.figures import Estimate
from cachectl.server.pace import Pace
from cachectl.server.topology.connect import open_server
from cachectl.sources.interface import SourceError


@pytest.mark.parametrize("sigma", [0.3, 1.0])
def test_the_interval_holds(sigma):
    """Lognormal sizes, 50 of 2,000 keys drawn: the total is in the interval nearly always."""
    rng = random.Random(sigma)
    held = 0
    for _ in range(300):
        population = [round(100 * rng.lognormvariate(0, sigma)) for _ in range(2000)]
        found = total_growth(rng.sample(population, 50), 2000)
        held += found.low <= sum(population) <= found.high
    assert held / 300 >= 0.92


def test_what_was_looked_at_whole_is_exact():
    found = total_growth([100, 200, 300], 3)
    assert found.low == found.value == found.high == 600


def look(endpoint, meant, *sources, writes=True):
    target = target_of(endpoint)
    with open_server(target) as server:
        named = {one.name: one for one in sources}
        return estimate(server, meant, named, Pace.of(target.limits, "normal"), writes=writes)


def test_memory_is_measured_and_nothing_is_left(server):
    lists = Value("elements", elements=("a{id}", "b"))
    meant = manifest(entry(), entry("lists", "l:{id}", type="list", value=lists))
    client = server.client(protocol=2)
    found = look(server, meant, Listed(ids(400), size=500))
    assert client.dbsize() == 0
    assert (found.keys, found.rows) == (800, 400)
    Warmer(server, {})(meant, Listed(ids(400)))
    taken = sum(client.memory_usage(key) for key in client.scan_iter() if key[:2] in (b"it", b"l:"))
    assert found.bytes is not None
    assert taken <= found.bytes.value <= taken + 800 * 80
    again = look(server, meant, Listed(ids(400), size=500))
    assert again.bytes is not None
    assert again.bytes.value == 0
    assert [one.there for one in again.entries] == [1.0, 1.0]


def test_without_the_right_to_write_sizes_are_added_up(valkey):
    found = look(valkey, manifest(entry()), Listed(ids(100)), writes=False)
    assert not found.entries[0].is_measured
    assert 0 < found.entries[0].growth < 300


def test_more_rows_than_were_looked_at_are_extrapolated(valkey):
    half = entry(where={"odd": "1"})
    rows = [{"id": i, "odd": i % 2} for i in range(1000)]
    found = look(valkey, manifest(half), Listed(rows))
    assert (found.keys, found.rows) == (500, 1000)


def test_a_source_that_fails_is_not_known(valkey):
    source = Listed(ids(10), faults={1: SourceError("died")})
    found = look(valkey, manifest(entry()), source)
    assert (found.keys, found.bytes) == (None, None)
    found.check()


def test_replacing_takes_only_the_difference(valkey):
    Warmer(valkey, {})(manifest(entry()), Listed(ids(50)))
    found = look(valkey, manifest(entry(existing=Existing("replace"))), Listed(ids(50)))
    assert found.bytes is not None
    assert found.bytes.value < 50 * 80


# --- room -------------------------------------------------------------------------------------


def warm_estimate(more, *nodes, threshold=0.8):
    one = EntryEstimate("e", "s", 1, 1, 0.0, more, Estimate(more, more, more), True)
    return WarmEstimate((one,), 1.0, nodes, threshold)


def room(used, limit, policy="noeviction", *, capped=True, share=1.0):
    return Room("node", used, limit, capped, policy, 100.0, share)


def test_what_fits_is_allowed():
    warm_estimate(300, room(400, 1000)).check()
    warm_estimate(900, room(400, 1000, share=0.4)).check()


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (room(400, 1000), "above the 80 %"),
        (room(900, 1000, "allkeys-lru"), "keys would be evicted"),
        (room(900, 1000), "noeviction"),
        (room(400, 1000, capped=False), "memory of node"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(place, words):
    with pytest.raises(RefusedError, match=words):
        warm_estimate(500, place).check()


def test_memory_that_is_not_known_is_refused():
    with pytest.raises(RefusedError, match="not known"):
        warm_estimate(1, room(None, None)).check()


def test_evictions_are_counted_by_the_average_key():
    assert warm_estimate(500, room(900, 1000, "allkeys-lru")).evictions == 4
    assert warm_estimate(500, room(900, 1000, "noeviction")).evictions == 0


def test_every_node_of_a_cluster_has_its_share(cluster):
    with open_server(target_of(cluster.primaries[0], topology="cluster")) as server:
        found = rooms(server)
    assert len(found) == 3
    assert abs(sum(one.share for one in found) - 1) < 1e-9
