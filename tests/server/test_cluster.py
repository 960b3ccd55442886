"""Clusters: every primary behind one Server, whatever is wrong with one of them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator

import pytest
from proxies import Proxy
from servers import FLAVOURS, TestServer, builds
from targets import target_of
from topologies import TestCluster, start_cluster, wait_until

from cachectl.config.target import Address, Target
from cachectl.errors import AuthenticationError, CannotConnectError, ConfigError
from cachectl.server.topology.connect import Server, open_server
from cachectl.server.topology.slots import slot_of


@pytest.fixture(params=FLAVOURS, scope="module")
def each_cluster(request: pytest.FixtureRequest) -> Iterator[TestCluster]:
    """Three primaries with a replica each, for tests that only look."""
    if builds()[request.param].binary is None:
        pytest.skip(f"{request.param} not found")
    with start_cluster(request.param, replicas=1) as cluster:
        yield cluster


@pytest.fixture
def broken() -> Iterator[TestCluster]:
    """Three primaries that a test may break."""
    with start_cluster(primaries=3, node_timeout=1.0) as cluster:
        yield cluster


def aimed_at(*nodes: object, **settings: object) -> Target:
    return target_of(*nodes, topology="cluster", **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("protocol", [2, 3])
def test_primaries_slots_and_replicas(each_cluster: TestCluster, protocol: int) -> None:
    with open_server(aimed_at(each_cluster.nodes[0], protocol=protocol)) as server:
        assert {node.name for node in server.primaries} == {
            node.address for node in each_cluster.primaries
        }
        assert {node.address for node in server.facts.nodes if node.role == "replica"} == {
            node.address for node in each_cluster.replicas
        }
        assert sum(node.facts.slots or 0 for node in server.primaries) == 16384
        assert server.warnings == ()
        assert server.uncovered == ()
        assert server.unavailable == ()
        assert server.facts.topology == "cluster"


def test_keys_are_found_where_the_cluster_has_them(each_cluster: TestCluster) -> None:
    rng = random.Random(7)
    names = [rng.randbytes(rng.randrange(1, 20)) for _ in range(2000)]
    names += [b"{}a", b"{a}{b}", b"x{y}z", b"{{a}}", b"a}{b}"]
    node = each_cluster.primaries[0]
    with node.client() as client:
        pipe = client.pipeline(transaction=False)
        for name in names:
            pipe.execute_command("CLUSTER", "KEYSLOT", name)
        assert [slot_of(name) for name in names] == pipe.execute()
    with open_server(aimed_at(node)) as server:
        for name in names[:200]:
            # A node that does not serve the slot would answer MOVED.
            assert server.node_of(name).connection.call("EXISTS", name) == 0


def test_seed_may_be_a_replica_and_others_dead(each_cluster: TestCluster) -> None:
    target = target_of(each_cluster.replicas[0], topology="cluster")
    seeds = (Address("127.0.0.1", 1), *target.addresses)
    with open_server(target_of(topology="cluster", addresses=seeds)) as server:
        assert len(server.primaries) == 3


def test_standalone_profile_on_a_cluster_node_warns(each_cluster: TestCluster) -> None:
    with open_server(target_of(each_cluster.primaries[0])) as server:
        assert "is one node of a cluster" in server.warnings[0]


def test_database_in_a_cluster(each_cluster: TestCluster) -> None:
    with pytest.raises(ConfigError, match="database") as caught:
        open_server(aimed_at(each_cluster.primaries[0], database=1))
    assert caught.value.exit_code == 2


def test_minimal_acl(each_cluster: TestCluster) -> None:
    for node in each_cluster.nodes:
        node.add_user("slots-only", "-@all", "+cluster|slots", password="p")
    target = aimed_at(each_cluster.primaries[0], username="slots-only", password="p")
    with open_server(target) as server:
        assert len(server.primaries) == 3


def test_wrong_password_is_tried_once(each_cluster: TestCluster) -> None:
    for node in each_cluster.nodes:
        node.run("ACL", "LOG", "RESET")
    target = aimed_at(*each_cluster.primaries, username="nobody", password="wrong")
    with pytest.raises(AuthenticationError):
        open_server(target)
    attempts = 0
    for node in each_cluster.nodes:
        with node.client() as client:
            attempts += sum(int(entry["count"]) for entry in client.acl_log())
    assert attempts == 1


def test_primary_that_is_a_replica_by_now_is_not_used(each_cluster: TestCluster) -> None:
    """Just after a failover the slot map of a node may still name the old primary."""
    primary, replica = each_cluster.primaries[0], each_cluster.replicas[0]
    target = aimed_at(each_cluster.primaries[1], address_map={primary.address: replica.address})
    with open_server(target) as server:
        check_one_missing(server, replica.address, "but it is a replica")


def test_all_seeds_dead() -> None:
    seeds = (Address("127.0.0.1", 1), Address("127.0.0.1", 2))
    with pytest.raises(CannotConnectError, match="none of 2 nodes of the cluster answers"):
        open_server(target_of(topology="cluster", addresses=seeds))


def test_dead_primary_is_named_and_the_others_work(broken: TestCluster) -> None:
    dead = broken.primaries[1]
    dead.kill9()
    with open_server(aimed_at(broken.primaries[0])) as server:
        check_one_missing(server, dead.address, "connection refused")
        # The cluster notices, and its state is fail.
        key = next(b"k%d" % i for i in range(99) if 5461 <= slot_of(b"k%d" % i) <= 10922)
        with pytest.raises(CannotConnectError, match="connection refused"):
            server.node_of(key)


def check_one_missing(server: Server, address: str, reason: str) -> None:
    assert len(server.primaries) == 2
    assert [node.name for node in server.unreachable] == [address]
    assert reason in server.unreachable[0].error.message
    assert server.unavailable[0].node == address
    assert address in server.warnings[-1]


def test_suspended_primary_costs_one_timeout(broken: TestCluster) -> None:
    frozen = broken.primaries[2]
    with frozen.suspended():
        began = time.monotonic()
        with open_server(aimed_at(broken.primaries[0], connect_timeout=0.8)) as server:
            assert time.monotonic() - began < 1.3
            check_one_missing(server, frozen.address, "no answer to the login")


def test_one_node_with_another_password(broken: TestCluster) -> None:
    for node, password in zip(broken.primaries, ("same", "same", "other"), strict=True):
        node.add_user("reader", "+@all", "~*", password=password)
    target = aimed_at(broken.primaries[0], username="reader", password="same")
    with open_server(target) as server:
        check_one_missing(server, broken.primaries[2].address, "refused the login of user reader")


def test_one_node_loading(broken: TestCluster, start_proxy: Callable[..., Proxy]) -> None:
    loading = broken.primaries[1]
    proxy = start_proxy(loading)
    proxy.loading(10_000)
    target = aimed_at(
        broken.primaries[0], address_map={loading.address: proxy.address}, wait_loading=0.3
    )
    with open_server(target) as server:
        check_one_missing(server, proxy.address, "is still loading its data")


def raw(node: TestServer, *command: str) -> bytes:
    """Return a reply as it was sent: redis-py turns this one into a dictionary."""
    with node.client() as client:
        client.response_callbacks.clear()
        return bytes(client.execute_command(*command))


def test_uncovered_slots_are_listed(broken: TestCluster) -> None:
    node = broken.primaries[0]
    node.run("CLUSTER", "DELSLOTS", 0, 1, 2, 100)
    wait_until("it is down", lambda: b"cluster_state:fail" in raw(node, "CLUSTER", "INFO"))
    with open_server(aimed_at(node)) as server:
        assert server.uncovered == ((0, 2), (100, 100))
        assert "cluster_state:fail" in server.warnings[0]
        assert "4 slots of the cluster are served by no node: 0-2, 100" in server.warnings[1]
        assert server.unavailable[0].what == "slots 0-2, 100"
        key = next(b"%d" % i for i in range(100_000) if slot_of(b"%d" % i) == 100)
        with pytest.raises(CannotConnectError, match="serves slot 100"):
            server.node_of(key)


def test_unreachable_announced_addresses_hint_at_the_map(broken: TestCluster) -> None:
    for node in broken.primaries:
        node.run("CONFIG", "SET", "cluster-announce-hostname", "inside.invalid")
        node.run("CONFIG", "SET", "cluster-preferred-endpoint-type", "hostname")
    seed = broken.primaries[0]
    wait_until("all know", lambda: str(seed.run("CLUSTER", "SLOTS")).count("inside.invalid") == 3)
    with pytest.raises(CannotConnectError, match="none of the cluster's 3 primaries") as caught:
        open_server(aimed_at(broken.primaries[0]))
    assert "unknown host inside.invalid" in caught.value.message
    assert "address_map" in (caught.value.hint or "")
    mapped = aimed_at(broken.primaries[0], address_map={"inside.invalid": "127.0.0.1"})
    with open_server(mapped) as server:
        assert {node.name for node in server.primaries} == {
            node.address for node in broken.primaries
        }


def test_refresh_follows_moved_slots(broken: TestCluster) -> None:
    source, to, _ = broken.primaries
    with open_server(aimed_at(source)) as server:
        before = server.slot_map
        assert before is not None
        broken.move_slots(range(50), source, to)
        deadline = time.monotonic() + 10
        while not (moved := server.refresh().moved_since(before)):  # type: ignore[union-attr]
            assert time.monotonic() < deadline
        assert moved == {broken.node_id(to): list(range(50))}
        node = next(node for node in server.primaries if node.name == to.address)
        assert (0, 49) in node.slots
        assert node.facts.slots in (5461 + 50, 5462 + 50)


def test_reopen_leads_to_the_promoted_replica() -> None:
    with start_cluster(primaries=3, replicas=1, node_timeout=1.0) as cluster:
        old = cluster.primaries[0]
        replica = cluster.replica_of(old)
        with open_server(aimed_at(*cluster.primaries)) as server:
            node = next(node for node in server.primaries if node.name == old.address)
            slots = node.slots
            old.kill9()
            fresh = server.reopen(node, patience=20)
            assert fresh.name == replica.address
            assert fresh.slots == slots
            assert fresh.identity.change_from(node.identity)
            assert fresh in server.primaries
            assert node not in server.primaries
            key = next(b"%d" % i for i in range(1000) if slot_of(b"%d" % i) <= slots[0][1])
            assert server.node_of(key) is fresh


def test_reopen_of_the_same_node_is_the_same(broken: TestCluster) -> None:
    with open_server(aimed_at(broken.primaries[0])) as server:
        node = server.primaries[1]
        node.connection.close()
        fresh = server.reopen(node)
        assert fresh.identity.change_from(node.identity) is None
        assert fresh.connection.call("PING") == b"PONG"
