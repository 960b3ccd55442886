"""`stats hotkeys` on real servers: planted hot keys are found by each method."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from programs import cachectl
from proxies import Proxy
from servers import TestServer
from topologies import TestCluster


@contextmanager
def traffic(server: TestServer, *, size: int = 10) -> Iterator[None]:
    """Half of all commands are of one key."""
    stop = threading.Event()

    def run() -> None:
        client = server.client()
        client.set("hot:1", "x" * size)
        number = 0
        while not stop.is_set():
            pipe = client.pipeline(transaction=False)
            for _ in range(10):
                number += 1
                pipe.get("hot:1")
                pipe.set(f"user:{number % 500}", "x" * size)
            pipe.execute()
            stop.wait(0.005)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def document(server: TestServer, *words: str, code: int = 0) -> Any:
    return cachectl("--url", server.url, "stats", "hotkeys", *words, "-o", "json").check(code).json


def test_monitor_finds_the_hot_key(server: TestServer) -> None:
    with traffic(server):
        found = document(server, "-w", "2s")
    assert found["method"] == "monitor"
    assert "MONITOR for" in found["how"]
    first, second = found["keys"][:2]
    assert first["key"] == "hot:1"
    assert first["share_low"] <= 0.5 <= first["share_high"]
    assert second["namespace"] == "user:{id}"
    assert [one["subject"] for one in found["findings"]] == ["hot:1"]


def test_lfu_finds_the_hot_key(server: TestServer) -> None:
    server.run("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    client = server.client()
    for number in range(200):
        client.set(f"user:{number}", "x")
    for _ in range(3000):
        client.get("user:7")
    found = document(server)
    assert found["method"] == "lfu"
    first = found["keys"][0]
    assert first["key"] == "user:7"
    # The interval is of 95 %, and a test is to hold always.
    assert first["accesses_low"] / 2 <= 3000 <= first["accesses_high"] * 2
    assert [one["subject"] for one in found["findings"]] == ["user:7"]


def test_lfu_needs_a_policy_that_keeps_frequencies(valkey: TestServer) -> None:
    done = cachectl("--url", valkey.url, "stats", "hotkeys", "--method", "lfu").check(5)
    assert "noeviction" in done.stderr
    assert "--method monitor" in done.stderr


def test_hotkeys_needs_a_server_that_has_it(server: TestServer) -> None:
    done = cachectl("--url", server.url, "stats", "hotkeys", "--method", "hotkeys").check(5)
    assert "it has no HOTKEYS" in done.stderr
    assert "Redis 8.6 and Valkey 9.2" in done.stderr


def test_a_server_with_hotkeys_is_asked_first(
    valkey: TestServer, start_proxy: Callable[..., Proxy]
) -> None:
    proxy = start_proxy(valkey)
    entry = b"*6\r\n$3\r\nkey\r\n$3\r\na:1\r\n$2\r\ndb\r\n:0\r\n$3\r\nqps\r\n:1200\r\n"
    proxy.answer("HOTKEYS GET", b"*1\r\n" + entry)
    found = cachectl("--url", proxy.url, "stats", "hotkeys", "-o", "json").check().json
    assert found["method"] == "hotkeys"
    row = found["keys"][0]
    assert (row["key"], row["database"], row["per_second"]) == ("a:1", 0, 1200)
    assert row["per_second_low"] < 1200 < row["per_second_high"]


def test_what_monitor_would_cost_is_refused(start_server: Callable[..., TestServer]) -> None:
    """Values of 200 kB, on a server that escapes each byte by a printf."""
    server = start_server("redis-6.2")
    with traffic(server, size=200_000):
        words = ("stats", "hotkeys", "--method", "monitor", "-w", "1s")
        done = cachectl("--url", server.url, *words).check(5)
    assert "of a core" in done.stderr
    assert server.command_calls().get("monitor") is None


def test_a_login_that_may_not_monitor(valkey: TestServer) -> None:
    valkey.add_user("eyes", "~*", "&*", "+@all", "-monitor", password="pw")
    env = {"REDISCLI_AUTH": "pw"}
    url = valkey.url.replace("redis://", "redis://eyes@")
    done = cachectl("--url", url, "stats", "hotkeys", "-w", "1s", env=env).check(5)
    assert "+monitor" in done.stderr


def test_a_cluster(cluster: TestCluster, isolated_home: Path) -> None:
    profile = isolated_home / "cluster.yaml"
    profile.write_text(f"cluster:\n  nodes: ['{cluster.primaries[0].address}']\n")
    owner = cluster.owner(b"hot:1")
    stop = threading.Event()

    def run() -> None:
        client = owner.client()
        while not stop.wait(0.001):
            client.get("hot:1")

    thread = threading.Thread(target=run)
    thread.start()
    done = cachectl("-p", str(profile), "stats", "hotkeys", "-w", "2s", "-o", "json")
    stop.set()
    thread.join()
    first = done.check().json["keys"][0]
    assert (first["key"], first["node"]) == ("hot:1", owner.address)


@pytest.mark.parametrize("words", [(), ("-o", "plain"), ("-o", "csv")])
def test_a_quiet_server_has_no_hot_keys(valkey: TestServer, words: tuple[str, ...]) -> None:
    done = cachectl("--url", valkey.url, "stats", "hotkeys", "-w", "500ms", *words).check()
    assert "hotkeys.hot" not in done.stdout + done.stderr
