"""Sentinel: the primary is found, verified, and found again after a failover."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import topologies
from proxies import Proxy, unreachable
from servers import TestServer
from targets import login_of, target_of
from topologies import TestSentinels

from cachectl.config.target import Address, Target
from cachectl.errors import AuthenticationError, CannotConnectError
from cachectl.server.topology.connect import open_server


@pytest.fixture(scope="module")
def group() -> Iterator[TestSentinels]:
    """A primary, a replica and three Sentinels, for tests that only look."""
    with topologies.start_sentinel() as started:
        yield started


def watched_by(*sentinels: object, **settings: object) -> Target:
    settings.setdefault("sentinel_master", "mymaster")
    return target_of(*sentinels, topology="sentinel", **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("protocol", [2, 3])
def test_primary_and_replica(group: TestSentinels, protocol: int) -> None:
    with open_server(watched_by(*group.sentinels, protocol=protocol)) as server:
        assert [(node.address, node.role) for node in server.facts.nodes] == [
            (group.primary.address, "primary"),
            (group.replicas[0].address, "replica"),
        ]
        assert server.facts.topology == "sentinel"
        assert server.warnings == ()
        assert server.durations["sentinel"] > 0


@pytest.mark.parametrize("flavour", ["redis-6.2", "redis-7.0", "redis-8.2", "valkey-8.1"])
def test_sentinels_of_every_flavour(
    start_sentinel: Callable[..., TestSentinels], flavour: str
) -> None:
    started = start_sentinel(flavour, sentinels=1, replicas=0)
    with open_server(watched_by(*started.sentinels)) as server:
        assert server.primaries[0].name == started.primary.address


def test_dead_sentinel_is_passed_over(group: TestSentinels) -> None:
    sentinels = (Address("127.0.0.1", 1), Address(group.sentinels[0].host, group.sentinels[0].port))
    with open_server(watched_by(addresses=sentinels)) as server:
        assert server.primaries[0].name == group.primary.address


def test_black_holed_sentinel_costs_a_head_start(group: TestSentinels) -> None:
    with unreachable() as dead:
        alive = group.sentinels[0]
        target = watched_by(addresses=(Address(*dead), Address(alive.host, alive.port)))
        began = time.monotonic()
        with open_server(target):
            assert time.monotonic() - began < 1.2


def test_all_sentinels_dead_are_named_within_the_timeout() -> None:
    with unreachable() as dead:
        seeds = (Address("127.0.0.1", 1), Address(*dead))
        began = time.monotonic()
        with pytest.raises(CannotConnectError, match="none of the 2 sentinels answers") as caught:
            open_server(watched_by(addresses=seeds, connect_timeout=0.8))
        assert time.monotonic() - began < 1.1
    assert "127.0.0.1:1: connection refused" in caught.value.message
    assert f"{dead[0]}:{dead[1]}: no answer in time" in caught.value.message
    assert caught.value.exit_code == 4


def test_wrong_name_says_which_there_are(group: TestSentinels) -> None:
    target = watched_by(*group.sentinels, sentinel_master="cache")
    with pytest.raises(CannotConnectError, match="no sentinel knows a primary named cache") as got:
        open_server(target)
    assert got.value.hint == "they watch: mymaster"


def test_data_node_instead_of_a_sentinel(any_server: TestServer) -> None:
    with pytest.raises(CannotConnectError, match="is not a Sentinel") as caught:
        open_server(watched_by(any_server))
    assert "26379" in (caught.value.hint or "")


def test_sentinel_instead_of_a_data_node(group: TestSentinels) -> None:
    with pytest.raises(CannotConnectError, match="is a Sentinel, which holds no data"):
        open_server(target_of(group.sentinels[0]))


def test_logins_apart() -> None:
    with topologies.start_sentinel(password="data", sentinel_password="watch") as group:
        right = {"password": "data", "sentinel_login": login_of(password="watch")}
        with open_server(watched_by(*group.sentinels, **right)) as server:
            assert server.primaries[0].connection.call("PING") == b"PONG"
        with pytest.raises(AuthenticationError, match=r"^sentinel .* refused the login"):
            open_server(
                watched_by(
                    *group.sentinels, password="data", sentinel_login=login_of(password="wrong")
                )
            )
        attempts = 0
        for sentinel in group.sentinels:
            with sentinel.client() as client:
                attempts += sum(int(entry["count"]) for entry in client.acl_log())
        assert attempts == 1
        with pytest.raises(AuthenticationError, match=r"^sentinel .* requires a password"):
            open_server(watched_by(*group.sentinels, password="data"))
        wrong = {**right, "password": "wrong"}
        with pytest.raises(AuthenticationError, match=f"^{group.primary.address} refused"):
            open_server(watched_by(*group.sentinels, **wrong))


def test_address_map(group: TestSentinels, start_proxy: Callable[..., Proxy]) -> None:
    proxy = start_proxy(group.primary)
    target = watched_by(*group.sentinels, address_map={group.primary.address: proxy.address})
    with open_server(target) as server:
        assert server.primaries[0].name == proxy.address


def test_demoted_primary_is_not_believed(
    group: TestSentinels, start_proxy: Callable[..., Proxy]
) -> None:
    """What the sentinels name is asked itself: a replica there means an outdated sentinel."""
    target = watched_by(
        *group.sentinels,
        address_map={group.primary.address: group.replicas[0].address},
        connect_timeout=0.7,
    )
    began = time.monotonic()
    with pytest.raises(CannotConnectError, match="but it says that it is a replica"):
        open_server(target)
    assert time.monotonic() - began < 1.5


def test_replica_as_standalone_warns(group: TestSentinels) -> None:
    with open_server(target_of(group.replicas[0])) as server:
        assert server.warnings == (
            f"{group.replicas[0].address} is a replica of {group.primary.address}: "
            "writes are refused, and it may be behind",
        )
        assert server.primaries[0].facts.role == "replica"


def test_reopen_after_a_failover_leads_to_the_new_primary() -> None:
    with topologies.start_sentinel() as group:
        old = group.primary
        with open_server(watched_by(*group.sentinels)) as server:
            node = server.primaries[0]
            old.kill9()
            fresh = server.reopen(node, patience=30)
            assert fresh.name != old.address
            assert fresh.facts.role == "primary"
            assert fresh.identity.change_from(node.identity)
            assert server.primaries == [fresh]


def test_reopen_of_a_restarted_server_is_another(start_server: Callable[..., TestServer]) -> None:
    one = start_server()
    with open_server(target_of(one)) as server:
        node = server.primaries[0]
        again = server.reopen(node)
        assert again.identity.change_from(node.identity) is None
        one.restart()
        fresh = server.reopen(again)
        assert "restarted" in (fresh.identity.change_from(again.identity) or "")


def test_reopen_gives_up(start_server: Callable[..., TestServer]) -> None:
    one = start_server()
    with open_server(target_of(one)) as server:
        one.kill9()
        began = time.monotonic()
        with pytest.raises(CannotConnectError, match="connection refused"):
            server.reopen(server.primaries[0], patience=0.6)
        assert 0.2 < time.monotonic() - began < 1.2


def test_promotion_without_restart_is_another_identity(
    start_server: Callable[..., TestServer],
) -> None:
    primary = start_server()
    replica = start_server("valkey-9.1", "--replicaof", primary.host, str(primary.port))
    with open_server(target_of(replica)) as server:
        node = server.primaries[0]
        replica.run("REPLICAOF", "NO", "ONE")
        fresh = server.reopen(node)
        assert fresh.identity.change_from(node.identity) == "was replica and is primary now"
