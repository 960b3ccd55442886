"""The scan engine on clusters and behind Sentinel: slots that move, nodes that die or fail over."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from filling import fill, key_slot, keys_of
from proxies import Proxy
from scanning import Seen, scan
from targets import target_of
from topologies import TestCluster, TestSentinels, wait_replicated

from cachectl.config.target import Target
from cachectl.server.scanning import ledger, moved
from cachectl.server.scanning.scan import Field, ScanRequest

N = 20_000
FEW = frozenset({Field.TYPE, Field.BYTES})


def cluster_target(cluster: TestCluster, **settings: object) -> Target:
    return target_of(*cluster.primaries, topology="cluster", **settings)  # type: ignore[arg-type]


def nothing_missed(seen: Seen, n: int = N) -> None:
    assert seen.outcome.errors == []
    assert seen.outcome.complete
    assert sorted(seen.keys) == sorted(keys_of(n))
    assert seen.outcome.keys == n


def test_all_primaries_and_no_replica(start_cluster: Callable[..., TestCluster]) -> None:
    cluster = start_cluster(replicas=1)
    fill(cluster, N)
    seen = scan(cluster_target(cluster))
    nothing_missed(seen)
    by_node = {record.key: record.node for record in seen.records}
    owners = cluster.slot_owners()
    assert len(set(by_node.values())) == len(set(owners)) == 3
    for record in seen.records:
        assert record.node == cluster.primaries[owners[key_slot(record.key)]].address
    for replica in cluster.replicas:
        assert {"scan", "type", "pttl"} & set(replica.command_calls()) == set()


@pytest.mark.parametrize("pattern", [None, b"*:seen"])
@pytest.mark.parametrize("pace", ["gentle", "normal"])
def test_slots_that_move_there_and_back(
    cluster: TestCluster, pace: str, pattern: bytes | None
) -> None:
    """Drivers lose the keys of such slots without a word: 4 % of them when measured."""
    fill(cluster, N)
    first, second, third = cluster.primaries
    # The last slots of each node: servers with a table a slot come to them last.

    def move(page: int) -> None:
        if page == 6:
            cluster.move_slots(range(5200, 5400), first, second)
            cluster.move_slots(range(16_200, 16_300), third, first)
        elif page == 12:
            cluster.move_slots(range(10_700, 10_800), second, third)

    seen = scan(cluster_target(cluster), pace=pace, on_page=move, match=pattern, fields=FEW)
    if pattern is None:
        nothing_missed(seen)
    else:
        assert sorted(seen.keys) == sorted(key for key in keys_of(N) if key.endswith(b":seen"))
        assert seen.outcome.complete
    assert all(record.type and record.bytes for record in seen.records)


def test_slots_that_move_all_the_while(start_cluster: Callable[..., TestCluster]) -> None:
    cluster = start_cluster("redis-7.0")
    fill(cluster, N)
    first, second, _ = cluster.primaries
    mover = threading.Thread(target=cluster.move_slots, args=(range(4900, 5400), first, second))

    def begin(page: int) -> None:
        if page == 3:
            mover.start()

    seen = scan(cluster_target(cluster), max_rate=12_000, on_page=begin, fields=FEW)
    mover.join()
    nothing_missed(seen)


def test_slots_are_read_by_scan_where_their_keys_may_not_be_listed(
    start_cluster: Callable[..., TestCluster], start_proxy: Callable[..., Proxy]
) -> None:
    cluster = start_cluster()
    fill(cluster, N)
    first, second, _ = cluster.primaries
    target = cluster_target(cluster)
    proxies = [start_proxy(node) for node in cluster.primaries]
    for proxy in proxies:
        proxy.block("CLUSTER COUNTKEYSINSLOT", "CLUSTER GETKEYSINSLOT")
    address_map = {
        node.address: proxy.address for node, proxy in zip(cluster.primaries, proxies, strict=True)
    }
    target = target_of(*proxies, topology="cluster", address_map=address_map)

    def move(page: int) -> None:
        if page == 5:
            cluster.move_slots(range(5200, 5400), first, second)

    nothing_missed(scan(target, on_page=move, pace="gentle", fields=FEW))


def test_a_slot_that_stays_half_moved_is_named(
    cluster: TestCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(cluster, 5000)
    monkeypatch.setattr(moved, "PATIENCE", 1.0)
    source, destination, _ = cluster.primaries
    cluster.begin_move(7, source, destination)
    seen = scan(cluster_target(cluster))
    assert not seen.outcome.complete
    assert seen.outcome.error is not None
    assert seen.outcome.error.startswith("slots 7 were still moving")
    assert len(set(seen.keys)) == len(seen.keys)
    cluster.move_keys(7, source, destination)
    cluster.finish_move(7, source, destination)
    assert scan(cluster_target(cluster)).outcome.complete


def test_more_keys_than_can_be_remembered(
    cluster: TestCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Still nothing twice; and it says that it may have missed some."""
    fill(cluster, 5000)
    monkeypatch.setattr(ledger, "MAX_REMEMBERED", 1000)
    target = cluster_target(cluster)
    assert scan(target).outcome.complete  # as long as nothing moves
    first, second, _ = cluster.primaries

    def move(page: int) -> None:
        if page == 2:
            cluster.move_slots(range(20), first, second)

    seen = scan(target, on_page=move, pace="gentle")
    assert not seen.outcome.complete
    assert "slots 0-19 were still moving" in seen.outcome.errors[0]
    assert len(set(seen.keys)) == len(seen.keys)


def test_a_node_that_dies_is_named_and_the_others_are_read(cluster: TestCluster) -> None:
    fill(cluster, N)
    victim = cluster.primaries[1]
    owners = cluster.slot_owners()
    theirs = {key for key in keys_of(N) if owners[key_slot(key)] == 1}

    def kill(page: int) -> None:
        if page == 8:
            victim.kill9()

    request = ScanRequest(patience=0.3, pace="gentle", fields=FEW)
    seen = scan(cluster_target(cluster), request, on_page=kill)
    assert not seen.outcome.complete
    assert set(keys_of(N)) - theirs <= set(seen.keys)
    [bad] = [node for node in seen.outcome.nodes if not node.complete]
    assert bad.node == victim.address
    assert bad.error is not None
    assert bad.resume is not None
    assert bad.resume.cursor is not None


def test_a_primary_that_dies_and_whose_replica_takes_over(
    start_cluster: Callable[..., TestCluster],
) -> None:
    cluster = start_cluster(replicas=1, node_timeout=1.0)
    fill(cluster, N)
    cluster.wait_ok()
    for node in cluster.primaries:
        wait_replicated(node)
    victim = cluster.primaries[0]

    def kill(page: int) -> None:
        if page == 8:
            victim.kill9()

    # Electing another primary takes as long as the machine's other work lets it.
    request = ScanRequest(pace="gentle", fields=FEW, patience=120)
    seen = scan(cluster_target(cluster), request, on_page=kill)
    nothing_missed(seen)
    assert [restart.node for restart in seen.restarts] == [victim.address]


def test_a_graceful_failover(start_cluster: Callable[..., TestCluster]) -> None:
    cluster = start_cluster(replicas=1)
    fill(cluster, N)
    victim = cluster.primaries[0]

    def fail_over(page: int) -> None:
        if page == 8:
            cluster.failover(victim)

    seen = scan(cluster_target(cluster), pace="gentle", on_page=fail_over, fields=FEW)
    nothing_missed(seen)


def test_closing_a_cluster_scan_ends_its_threads(cluster: TestCluster) -> None:
    fill(cluster, N)
    before = threading.active_count()
    seen = scan(cluster_target(cluster), max_rate=5000, stop_after=5)
    assert not seen.outcome.complete
    assert seen.outcome.errors == []
    assert threading.active_count() == before
    assert all(node.resume for node in seen.outcome.nodes)


def test_sentinel_failover(start_sentinel: Callable[..., TestSentinels]) -> None:
    group = start_sentinel()
    fill(group.primary, N)
    wait_replicated(group.primary)
    old = group.primary

    def kill(page: int) -> None:
        if page == 8:
            old.kill9()

    target = target_of(*group.sentinels, topology="sentinel", sentinel_master=group.name)
    request = ScanRequest(pace="gentle", fields=FEW, patience=120)
    seen = scan(target, request, on_page=kill)
    nothing_missed(seen)
    assert [restart.node for restart in seen.restarts] == [old.address]
