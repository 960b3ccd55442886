"""Sampling: about as many keys as asked, none twice, all with the same chance."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable

import pytest
from filling import fill, key_slot, keys_of
from servers import TestServer
from targets import target_of
from topologies import TestCluster

from cachectl.config.target import Target
from cachectl.server.scanning.sample import Sample, sample, thinned
from cachectl.server.scanning.scan import Field, ScanRequest
from cachectl.server.topology.connect import open_server

CLUSTERS = ["redis-6.2", "redis-7.0", "redis-8.2", "valkey-8.1", "valkey-9.1"]
NAMES = ScanRequest(fields=frozenset())


def drawn_from(target: Target, n: int, request: ScanRequest | None = None) -> Sample:
    with open_server(target) as server:
        return sample(server, n, request)


def keys(result: Sample) -> list[bytes]:
    return [key for page in result.pages for key in page.keys]


def chi_square_per_degree(counts: Iterable[int], expected: float) -> float:
    values = list(counts)
    return sum((count - expected) ** 2 / expected for count in values) / (len(values) - 1)


def test_a_sample_has_every_column_and_no_key_twice(server: TestServer) -> None:
    fill(server, 20_000)
    hits = server.info("stats")["keyspace_hits"]
    result = drawn_from(target_of(server), 2000, ScanRequest(fields=frozenset(Field)))
    assert not result.exact
    assert (result.size, result.errors) == (20_000, [])
    found = keys(result)
    assert 2000 <= len(found) == len(set(found)) == result.drawn < 2600
    assert set(found) <= set(keys_of(20_000))
    records = [record for page in result.pages for record in page.records()]
    assert all(r.type and r.bytes and r.encoding and r.idle is not None for r in records)
    assert server.info("stats")["keyspace_hits"] - hits == result.hits
    no_touch = server.flavour not in ("redis-6.2", "redis-7.0")
    assert all((r.elements is not None) is no_touch for r in records)


@pytest.mark.parametrize("pace", ["gentle", "normal", "flat-out"])
def test_paces(valkey: TestServer, pace: str) -> None:
    fill(valkey, 5000)
    result = drawn_from(target_of(valkey), 1000, ScanRequest(pace=pace))  # type: ignore[arg-type]
    assert 1000 <= len(set(keys(result))) <= 1500


def test_every_key_has_the_same_chance(server: TestServer) -> None:
    """Over many samples keys are drawn equally often, whatever their place in the table."""
    fill(server, 5000)
    counts: Counter[bytes] = Counter(dict.fromkeys(keys_of(5000), 0))
    total = 0
    with open_server(target_of(server)) as opened:
        for _ in range(150):
            found = keys(sample(opened, 200, NAMES))
            counts.update(found)
            total += len(found)
    mean = total / 5000
    # Keys of one bucket come and go together, hence more than the 1.0 of independent draws.
    assert chi_square_per_degree(counts.values(), mean) < 2.5
    # By kind of key the sample is unbiased: within 4 standard errors of whole draws.
    sessions = sum(count for key, count in counts.items() if key.startswith(b"session:"))
    assert abs(sessions / total - 0.14) < 4 * math.sqrt(0.14 * 0.86 / total) * 1.5


@pytest.mark.parametrize("flavour", CLUSTERS)
def test_every_slot_has_its_share(start_cluster: Callable[..., TestCluster], flavour: str) -> None:
    """Servers with a table a slot are drawn by slot, or slots behind a gap would be too heavy."""
    cluster = start_cluster(flavour)
    fill(cluster, 12_000)
    # One heavy tag: a slot with a tenth of all keys.
    client = cluster.client()
    heavy = [b"{tag}:%d" % i for i in range(1500)]
    for key in heavy:
        client.set(key, b"1")
    client.close()
    target = target_of(*cluster.primaries, topology="cluster")
    counts: Counter[int] = Counter()
    tagged = total = 0
    with open_server(target) as opened:
        for _ in range(60):
            result = sample(opened, 300, NAMES)
            found = keys(result)
            assert len(set(found)) == len(found)
            total += len(found)
            tagged += sum(key.startswith(b"{tag}:") for key in found)
            counts.update(key_slot(key) // 1024 for key in found if not key.startswith(b"{"))
            assert {node.node for node in result.nodes} == set(cluster.addresses)
    assert 0.07 < tagged / total < 0.16
    truth = Counter(key_slot(key) // 1024 for key in keys_of(12_000) if not key.startswith(b"{"))
    scale = sum(counts.values()) / sum(truth.values())
    shares = [counts[part] / (truth[part] * scale) for part in range(16)]
    # About 56 draws a part: a standard deviation of 0.13. A draw that began in a random one of all
    # slots would give the parts behind a gap several times their share.
    assert min(shares) > 0.5
    assert max(shares) < 1.6


def test_filters_are_applied_to_what_was_drawn(valkey: TestServer) -> None:
    fill(valkey, 20_000)
    request = ScanRequest(match=b"user:*", type="hash", fields=frozenset({Field.BYTES}))
    result = drawn_from(target_of(valkey), 4000, request)
    found = keys(result)
    assert all(key.startswith(b"user:") and key.endswith(b":profile") for key in found)
    assert result.drawn >= 4000
    assert len(found) / result.drawn == pytest.approx(0.10, abs=0.03)


@pytest.mark.parametrize("size", [0, 1, 300])
def test_small_keyspaces_are_read_whole(valkey: TestServer, size: int) -> None:
    fill(valkey, size)
    result = drawn_from(target_of(valkey), 500)
    assert result.exact
    assert sorted(keys(result)) == sorted(keys_of(size))
    assert (result.size, result.drawn) == (size, size)


def test_a_table_that_is_nearly_empty(valkey: TestServer) -> None:
    """Most draws bring nothing; it ends all the same."""
    fill(valkey, 50_000)
    names = list(keys_of(50_000))
    for at in range(0, 49_000, 1000):
        valkey.run("UNLINK", *names[at : at + 1000])
    result = drawn_from(target_of(valkey), 400, NAMES)
    assert 400 <= len(set(keys(result))) <= 1000


def test_what_may_not_be_asked_is_said(valkey: TestServer) -> None:
    fill(valkey, 5000)
    password = valkey.add_user("poor", "~*", "-@all", "+scan", "+ping", "+dbsize", "+type", "+info")
    result = drawn_from(target_of(valkey, username="poor", password=password), 500)
    assert {gap.what for gap in result.unavailable} == {"ttl", "bytes", "idle"}
    assert all(page.types for page in result.pages)


def test_a_thinned_sample_is_a_sample(valkey: TestServer) -> None:
    fill(valkey, 20_000)
    whole = drawn_from(target_of(valkey), 20_000, NAMES)
    part = thinned(whole, 2_000)
    assert whole.exact
    assert not part.exact
    assert set(keys(part)) < set(keys(whole))
    assert part.drawn == len(keys(part)) == pytest.approx(2_000, rel=0.2)
    assert part.size == whole.size
    assert thinned(part, 2_000) is part
