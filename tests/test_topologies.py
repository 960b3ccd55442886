"""Clusters and Sentinel groups come up, hold keys where they belong, and change on demand."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import redis
from filling import fill, key_slot, keys_of
from servers import FLAVOURS
from topologies import TestCluster, TestSentinels


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_cluster_moves_slots_and_fails_over(
    flavour: str, start_cluster: Callable[..., TestCluster]
) -> None:
    cluster = start_cluster(flavour, replicas=1)
    fill(cluster, 5000)
    first, second, third = cluster.primaries
    assert cluster.move_slots(range(50), first, second) > 0
    assert cluster.keys() == set(keys_of(5000))
    assert set(cluster.slot_owners()[:50]) == {1}
    cluster.wait_ok()
    replica = cluster.replica_of(third)
    assert cluster.failover(third) is replica
    assert cluster.primaries[2] is replica
    assert cluster.keys() == set(keys_of(5000))


def test_cluster_survives_a_killed_primary(start_cluster: Callable[..., TestCluster]) -> None:
    cluster = start_cluster(replicas=1, node_timeout=0.5)
    fill(cluster, 1000)
    first = cluster.primaries[0]
    first.kill9()
    assert cluster.wait_promoted(first).port != first.port
    assert cluster.keys() == set(keys_of(1000))


def test_shared_cluster_is_empty_and_whole(cluster: TestCluster) -> None:
    assert cluster.keys() == set()
    fill(cluster, 100)
    source, target = cluster.primaries[:2]
    cluster.begin_move(0, source, target)
    with pytest.raises(redis.exceptions.AskError):
        source.run("GET", next(f"k{i}" for i in range(10**6) if key_slot(b"k%d" % i) == 0))
    cluster.finish_move(0, source, target)


def test_shared_cluster_is_another_after_its_slots_moved(cluster: TestCluster) -> None:
    assert cluster.keys() == set()
    assert cluster.slot_owners()[0] == 0


def test_key_slot_is_the_servers(cluster: TestCluster) -> None:
    rng = random.Random(7)
    names = [bytes(rng.choices(b"{}ab\xff", k=rng.randint(0, 8))) for _ in range(2_000)]
    pipe = cluster.primaries[0].admin.pipeline(transaction=False)
    for name in names:
        pipe.execute_command("CLUSTER", "KEYSLOT", name)
    assert pipe.execute() == [key_slot(name) for name in names]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_sentinels_promote_on_order(
    flavour: str, start_sentinel: Callable[..., TestSentinels]
) -> None:
    group = start_sentinel(flavour, password="data pw", sentinel_password="other pw")
    first = group.primary
    assert group.current_primary() is first
    assert group.failover() is not first
    assert group.replicas == [first]


def test_sentinels_promote_when_the_primary_dies(
    start_sentinel: Callable[..., TestSentinels],
) -> None:
    group = start_sentinel()
    first = group.primary
    first.kill9()
    assert group.wait_promoted(first) is group.current_primary() is not first
