from __future__ import annotations

import threading
import time

import pytest
from servers import TestServer

from cachectl.config.target import Address, Target
from cachectl.demo import traffic
from cachectl.demo.dataset import Dataset
from cachectl.demo.faults import HOT_KEY
from cachectl.demo.loading import load
from cachectl.demo.traffic import Traffic
from cachectl.server.wire.connection import connect


def target_of(server: TestServer) -> Target:
    return Target(name="test", addresses=(Address("127.0.0.1", server.port),), timeout=2.0)


@pytest.fixture
def loaded(valkey: TestServer) -> Dataset:
    with connect(target_of(valkey), target_of(valkey).addresses[0]) as connection:
        dataset = Dataset(10_000, 1, int(connection.call("TIME")[0]))
        load(connection, dataset.entries())
    valkey.run("CONFIG", "RESETSTAT")
    return dataset


def calls(server: TestServer) -> int:
    return sum(server.command_calls().values())


def test_it_hits_as_often_as_a_good_cache_and_no_command_fails(
    valkey: TestServer, loaded: Dataset
) -> None:
    with Traffic(target_of(valkey), loaded, reads=2_000):
        deadline = time.monotonic() + 20
        while calls(valkey) < 12_000 and time.monotonic() < deadline:
            time.sleep(0.1)
    stats = valkey.info("stats")
    reads = stats["keyspace_hits"] + stats["keyspace_misses"]
    assert reads > 4_000
    assert 0.80 < stats["keyspace_hits"] / reads < 0.92
    assert valkey.info("errorstats") == {}


def test_it_is_modest_and_comes_from_named_clients(valkey: TestServer, loaded: Dataset) -> None:
    with Traffic(target_of(valkey), loaded):
        time.sleep(0.3)
        names = {client["name"] for client in valkey.client().client_list()}
        before, began, worked = calls(valkey), time.monotonic(), time.process_time()
        time.sleep(2)
        rate = (calls(valkey) - before) / (time.monotonic() - began)
        share = (time.process_time() - worked) / (time.monotonic() - began)
    assert {"web-1", "web-2", "pricing-1"} <= names
    assert rate < 1_000
    assert share < 0.15
    assert "demo-traffic" not in {thread.name for thread in threading.enumerate()}


def test_the_hot_key_is_computed_by_many_at_once_when_it_has_gone(
    valkey: TestServer, loaded: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[bytes] = []
    send = traffic._send
    monkeypatch.setattr(
        traffic,
        "_send",
        lambda client, entries: (written.extend(e.key for e in entries), send(client, entries)),
    )
    with Traffic(target_of(valkey), loaded, reads=1_000):
        time.sleep(0.2)
        assert HOT_KEY not in written
        valkey.run("UNLINK", HOT_KEY)
        deadline = time.monotonic() + 10
        while written.count(HOT_KEY) < 5 and time.monotonic() < deadline:
            time.sleep(0.05)
    assert written.count(HOT_KEY) >= 5
    assert 0 < valkey.run("TTL", HOT_KEY) <= 30


def test_what_is_written_again_stays_as_large_as_it_was(
    valkey: TestServer, loaded: Dataset
) -> None:
    with Traffic(target_of(valkey), loaded, reads=20):
        client = valkey.client()
        books = list(client.scan_iter(match="md:book:*", count=1000))
        deadline = time.monotonic() + 15
        while valkey.command_calls().get("zadd", 0) < 40 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert valkey.command_calls()["zadd"] >= 40
        assert max(client.zcard(book) for book in books) <= 60


def test_its_reads_make_keys_young_as_an_applications_do(
    valkey: TestServer, loaded: Dataset
) -> None:
    """cachectl's own connections leave idle times alone; these must not."""
    valkey.run("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    key = "hist:AAPL:" + min(
        name.decode().rpartition(":")[2]
        for name in valkey.client().scan_iter(match="hist:AAPL:*", count=1000)
    )
    with Traffic(target_of(valkey), loaded, reads=2_000):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            ages = [
                valkey.run("OBJECT", "IDLETIME", name)
                for name in valkey.client().scan_iter(match="hist:AAPL:*", count=1000)
            ]
            if min(ages) <= 5:
                return
            time.sleep(0.2)
    pytest.fail(f"no read made {key} and its like young: {min(ages)} s")


def test_it_ends_quietly_when_the_server_goes(start_server: object) -> None:
    server = start_server("valkey-9.1")  # type: ignore[operator]
    dataset = Dataset(1_000, 1, int(time.time()))
    with Traffic(target_of(server), dataset) as running:
        time.sleep(0.2)
        server.kill9()
        running._thread.join(5)
        assert not running._thread.is_alive()
