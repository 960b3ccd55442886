"""The scan engine while things go wrong: no key missed, none twice, or a partial outcome."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from filling import fill, keys_of
from proxies import Proxy
from scanning import scan
from servers import TestServer
from targets import target_of

from cachectl.config.target import Limits
from cachectl.errors import CannotConnectError
from cachectl.server.scanning.scan import Field, Scan, ScanRequest
from cachectl.server.topology.connect import open_server

Start = Callable[..., TestServer]
StartProxy = Callable[..., Proxy]


def once(page: int, action: Callable[[], object]) -> Callable[[int], None]:
    """Return a callback that acts after the given page."""
    return lambda now: action() if now == page else None  # type: ignore[func-returns-value]


def complete(seen: object, n: int) -> None:
    """Assert that a scan yielded the keys of fill(…, n), each once, and says that it is whole."""
    assert seen.outcome.errors == []  # type: ignore[attr-defined]
    assert seen.outcome.complete  # type: ignore[attr-defined]
    assert sorted(seen.keys) == sorted(keys_of(n))  # type: ignore[attr-defined]


def test_a_server_that_freezes_for_a_moment(server: TestServer) -> None:
    fill(server, 3000)

    def freeze() -> None:
        server.suspend()
        threading.Timer(1.0, server.resume).start()

    seen = scan(server, on_page=once(3, freeze))
    complete(seen, 3000)
    assert seen.outcome.nodes[0].reconnects == 0


def test_a_server_that_freezes_for_longer_than_the_timeout(valkey: TestServer) -> None:
    fill(valkey, 3000)

    def freeze() -> None:
        valkey.suspend()
        threading.Timer(2.0, valkey.resume).start()

    seen = scan(target_of(valkey, timeout=0.5), on_page=once(3, freeze))
    complete(seen, 3000)
    assert seen.outcome.nodes[0].reconnects >= 1
    assert seen.restarts == []
    assert not seen.outcome.lookups_exact


@pytest.mark.parametrize("offset", [1, 17, 3000, 9999])
def test_a_connection_that_is_cut_in_the_middle_of_a_reply(
    valkey: TestServer, start_proxy: StartProxy, offset: int
) -> None:
    fill(valkey, 3000)
    proxy = start_proxy(valkey)
    seen = scan(target_of(proxy), on_page=once(3, lambda: proxy.cut_after(offset)))
    complete(seen, 3000)
    assert seen.outcome.nodes[0].reconnects == 1
    assert seen.restarts == []


def test_a_connection_that_is_cut_again_and_again(server: TestServer) -> None:
    fill(server, 5000)
    proxy_cuts = []

    def cut(page: int) -> None:
        if page % 3 == 0:
            server.run("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            proxy_cuts.append(page)

    seen = scan(server, pace="gentle", on_page=cut)
    complete(seen, 5000)
    assert len(proxy_cuts) > 5


def test_a_reply_that_dribbles(valkey: TestServer, start_proxy: StartProxy) -> None:
    fill(valkey, 3000)
    proxy = start_proxy(valkey)

    def dribble() -> None:
        proxy.dribble(0.001)
        threading.Timer(1.0, proxy.heal).start()

    seen = scan(target_of(proxy), on_page=once(3, dribble))
    complete(seen, 3000)
    assert seen.restarts == []


def test_a_server_that_restarts_with_other_data(start_server: Start) -> None:
    server = start_server()
    fill(server, 3000)

    def restart() -> None:
        server.restart()
        fill(server, 2000, seed=2)

    seen = scan(server, on_page=once(4, restart))
    complete(seen, 2000)
    [restarted] = seen.restarts
    assert restarted.node == server.address
    assert restarted.reason == "was restarted or replaced by another server"
    assert seen.outcome.keys == 2000
    assert seen.outcome.nodes[0].restarts == 1


def test_a_server_that_restarts_all_the_time_ends_partial(start_server: Start) -> None:
    server = start_server()
    fill(server, 3000)

    def restart(page: int) -> None:
        if page % 2 == 0:
            server.restart()
            fill(server, 3000)

    seen = scan(server, on_page=restart)
    assert not seen.outcome.complete
    assert seen.outcome.nodes[0].error is not None
    assert "was started 4 times" in seen.outcome.nodes[0].error


def test_a_server_that_dies(start_server: Start) -> None:
    server = start_server()
    fill(server, 3000)
    begun = time.monotonic()
    seen = scan(server, ScanRequest(patience=0.5), on_page=once(4, server.kill9))
    assert time.monotonic() - begun < 10
    assert not seen.outcome.complete
    assert seen.outcome.errors[0].startswith(f"cannot connect to {server.address}")
    assert len(seen.keys) == seen.outcome.keys > 0
    assert seen.outcome.resume[server.address].cursor is not None


def test_a_server_that_is_dead_from_the_start(start_server: Start) -> None:
    server = start_server()
    with open_server(target_of(server)) as opened:
        server.kill9()
        with pytest.raises(CannotConnectError):
            list(Scan(opened, ScanRequest(patience=0.1)))


@pytest.mark.parametrize("flavour", ["redis-7.0", "redis-8.2", "valkey-9.1"])
def test_an_endpoint_that_moves_to_the_replica(
    start_server: Start, start_proxy: StartProxy, flavour: str
) -> None:
    """A cursor of one process means nothing to another: drivers lose a quarter of the keys."""
    primary = start_server(flavour)
    fill(primary, 20_000)
    replica = start_server(flavour, "--replicaof", f"127.0.0.1 {primary.port}")
    wait_in_sync(replica)
    proxy = start_proxy(primary)
    seen = scan(target_of(proxy), on_page=once(20, lambda: proxy.switch(replica)))
    complete(seen, 20_000)
    assert len(seen.restarts) == 1


def wait_in_sync(replica: TestServer) -> None:
    deadline = time.monotonic() + 20
    while replica.info("replication").get("master_link_status") != "up":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_primary_that_becomes_a_replica(start_server: Start) -> None:
    """The connection stays, the data are another's: seen at the end, and read again."""
    first, other = start_server(), start_server()
    fill(first, 3000)
    fill(other, 2000, seed=2)

    def demote() -> None:
        first.run("REPLICAOF", other.host, other.port)
        wait_in_sync(first)

    seen = scan(first, on_page=once(4, demote))
    complete(seen, 2000)
    assert len(seen.restarts) == 1
    assert "primary" in seen.restarts[0].reason


def test_everything_flushed_meanwhile(server: TestServer) -> None:
    fill(server, 5000)
    seen = scan(server, pace="gentle", on_page=once(10, lambda: server.run("FLUSHALL")))
    assert seen.outcome.complete
    assert len(set(seen.keys)) == len(seen.keys) < 5000


@pytest.mark.parametrize("direction", ["grow", "shrink"])
def test_keys_that_come_and_go_by_the_thousand(server: TestServer, direction: str) -> None:
    """Every key that is there all the time is yielded exactly once."""
    constant = [b"constant:%d" % i for i in range(5000)]
    churned = [b"churn:%d" % i for i in range(60_000)]
    client = server.client()
    client.mset(dict.fromkeys(constant, b"1"))
    if direction == "shrink":
        client.mset(dict.fromkeys(churned, b"1"))
    pages = iter(range(10**6))

    def churn(_page: int) -> None:
        at = next(pages) * 500
        part = churned[at : at + 500]
        if part and direction == "grow":
            client.mset(dict.fromkeys(part, b"1"))
        elif part:
            client.unlink(*part)

    seen = scan(server, pace="gentle", on_page=churn, fields=frozenset({Field.TYPE, Field.BYTES}))
    assert seen.outcome.complete
    found = [key for key in seen.keys if key.startswith(b"constant")]
    assert sorted(found) == sorted(constant)
    assert len(set(seen.keys)) == len(seen.keys)


def test_latency_makes_flights_smaller_and_rarer(
    valkey: TestServer, start_proxy: StartProxy
) -> None:
    fill(valkey, 2000)
    proxy = start_proxy(valkey)
    limits = Limits(max_latency=0.01, critical_latency=5.0)

    def slow_down() -> None:
        proxy.delay = 0.03

    proxy.record = True
    seen = scan(target_of(proxy, limits=limits), pace="normal", on_page=once(2, slow_down))
    complete(seen, 2000)
    counts = [int(c[c.index(b"COUNT") + 1]) for c in proxy.commands if c[0] == b"SCAN"]
    assert counts[-1] <= 40 < 300 in counts
    assert seen.outcome.nodes[0].slept > 0.1


def test_critical_latency_stops_the_scan(valkey: TestServer, start_proxy: StartProxy) -> None:
    fill(valkey, 3000)
    proxy = start_proxy(valkey)
    limits = Limits(max_latency=0.005, critical_latency=0.01)

    def slow_down() -> None:
        proxy.delay = 0.2

    with open_server(target_of(proxy, limits=limits)) as server:
        running = Scan(server, ScanRequest(pace="normal"))
        pages = 0
        # Pauses double from half a second; the test does not wait for all of them.
        from cachectl.server import pace

        pace_patience, pace._PATIENCE = pace._PATIENCE, 2
        try:
            for _ in running:
                pages += 1
                if pages == 2:
                    slow_down()
        finally:
            pace._PATIENCE = pace_patience
    assert not running.outcome.complete
    assert "critical latency" in running.outcome.errors[0]
    assert running.outcome.resume[proxy.address].cursor is not None
