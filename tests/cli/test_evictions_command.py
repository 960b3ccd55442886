"""`evictions` on real servers: what was planted is found, and figures are those of the server."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from programs import Running, cachectl, cachectl_started
from servers import TestServer
from topologies import TestCluster

from cachectl.server.events.notifications import SETTING

FORMATS = ["table", "csv", "prometheus"]


def document(server: TestServer, *words: str, code: int = 0) -> Any:
    return cachectl("--url", server.url, "evictions", *words, "-o", "json").check(code).json


def limit(server: TestServer, more: int, policy: str = "allkeys-lru") -> None:
    server.run("CONFIG", "SET", "maxmemory-policy", policy)
    server.run("CONFIG", "SET", "maxmemory", server.info("memory")["used_memory"] + more)


def listeners(server: TestServer) -> bytes:
    return bytes(server.run("CLIENT", "LIST", "TYPE", "pubsub"))


@contextmanager
def watching(server: TestServer, *words: str) -> Iterator[Running]:
    """Run `evictions` for a minute; the body begins when it listens."""
    command = ("-v", "--url", server.url, "evictions", "-w", "1m", "-o", "json", *words)
    with cachectl_started(*command) as run:
        run.wait_for("watching")
        yield run


def stopped(run: Running) -> Any:
    run.signal(signal.SIGINT)
    return run.finish().check(130).json


def test_evictions_and_regret_by_namespace(server: TestServer) -> None:
    server.run("CONFIG", "SET", SETTING, "Exem" if server.flavour == "redis-6.2" else "Exemn")
    limit(server, 2_000_000)
    client = server.client()
    before = server.info("stats")
    with watching(server) as run:
        for number in range(3000):
            client.set(f"page:{number}", "x" * 2000)
        missed = sum(client.get(f"page:{number}") is None for number in range(500))
        client.get("absent:1")
        now = server.info("stats")
        found = stopped(run)
    evicted = now["evicted_keys"] - before["evicted_keys"]
    assert missed > 100, "the first pages were to be evicted"
    # Reading and being asked takes memory too: a few more may have gone since.
    assert evicted <= found["evicted"] <= evicted + 200
    (row,) = found["namespaces"]
    assert (row["namespace"], row["evicted"], row["share"]) == ("page:{id}", found["evicted"], 1)
    assert row["regretted"] == missed
    assert found["regret_of_misses"] == pytest.approx(missed / (missed + 1))
    assert found["regret"] == pytest.approx(missed / found["evicted"], abs=0.01)
    if server.flavour != "redis-6.2":
        assert row["young"] == found["evicted"]
        assert 0 <= found["young_age_p50"] < 60
    assert {"evictions.regret", "evictions.coarse_clock"} <= {
        one["id"] for one in found["findings"]
    }
    assert found["settings"][0]["name"] == "maxmemory"
    assert len(found["settings"]) == 3
    assert found["used"] <= found["maxmemory"] * 1.1


def test_without_events_the_rest_is_there(server: TestServer) -> None:
    limit(server, 50_000_000)
    found = document(server, "-w", "500ms")
    assert found["evictable"] == 1.0
    assert found["headroom"] == found["maxmemory"] - found["used"]
    assert found["regret"] is None
    assert found["namespaces"] == []
    (gap,) = [one for one in found["unavailable"] if one["what"].startswith("evictions by")]
    assert "--enable" in gap["remedy"]
    assert found["findings"] == []
    assert server.run("CONFIG", "GET", SETTING)[SETTING.encode()] == b""


def test_what_is_partly_published_is_partly_known(valkey: TestServer) -> None:
    limit(valkey, 1_000_000)
    valkey.run("CONFIG", "SET", SETTING, "Em")
    assert document(valkey, "-w", "300ms")["regret_of_misses"] is None
    valkey.run("CONFIG", "SET", SETTING, "Ee")
    with watching(valkey) as run:
        client = valkey.client()
        for number in range(1000):
            client.set(f"page:{number}", "x" * 2000)
        found = stopped(run)
    (row,) = found["namespaces"]
    assert row["evicted"] == found["evicted"] > 0
    assert (row["regretted"], row["young"], found["young"]) == (None, None, None)


def test_enable_switches_on_and_off_again(valkey: TestServer) -> None:
    limit(valkey, 50_000_000)
    valkey.run("CONFIG", "SET", SETTING, "KEAn")
    found = document(valkey, "--enable", "--yes", "-w", "500ms")
    assert found["unavailable"] == []
    assert found["regret"] is None  # nothing was evicted
    assert valkey.run("CONFIG", "GET", SETTING)[SETTING.encode()] == b"AKE"


def test_a_policy_that_may_evict_nothing(server: TestServer) -> None:
    client = server.client()
    for number in range(50):
        client.set(f"a:{number}", "x")
    limit(server, 50_000_000, "volatile-lru")
    found = document(server, "-w", "500ms")
    assert found["evictable"] == 0.0
    assert [one["id"] for one in found["findings"]] == ["evictions.nothing_evictable"]
    assert found["settings"][0]["name"] == "maxmemory-policy"
    client.expire("a:1", 100)
    assert document(server, "-w", "500ms")["evictable"] == pytest.approx(1 / 50)


def test_memory_that_will_be_full(valkey: TestServer) -> None:
    limit(valkey, 200_000_000, "noeviction")
    stop = threading.Event()

    def run() -> None:
        client, number = valkey.client(), 0
        while not stop.wait(0.005):
            number += 1
            client.set(f"log:{number}", "x" * 20_000)

    thread = threading.Thread(target=run)
    thread.start()
    found = document(valkey, "-w", "4s")
    stop.set()
    thread.join()
    assert found["growth"] > 100_000
    assert found["seconds_until_full_low"] < found["seconds_until_full"] < 2000
    assert "evictions.soon_full" in {one["id"] for one in found["findings"]}


def test_full_lfu_counters(server: TestServer) -> None:
    limit(server, 50_000_000, "allkeys-lfu")
    server.run("CONFIG", "SET", "lfu-log-factor", "0")  # each access counts
    pipe = server.client().pipeline(transaction=False)
    for number in range(150):
        pipe.set(f"a:{number}", "x")
        for _ in range(260):
            pipe.get(f"a:{number}")
    pipe.execute()
    found = document(server, "-w", "300ms")
    assert found["full_counters"] == 1.0
    assert found["idle_p95"] is None
    assert [one["id"] for one in found["findings"]] == ["evictions.full_counters"]
    assert found["settings"][0]["name"] == "lfu-log-factor"


def test_a_login_that_may_not_read_settings(valkey: TestServer) -> None:
    limit(valkey, 50_000_000)
    valkey.add_user("eyes", "~*", "&*", "+@all", "-config", password="pw")
    url = valkey.url.replace("redis://", "redis://eyes@")
    env = {"REDISCLI_AUTH": "pw"}
    done = cachectl("--url", url, "evictions", "-w", "300ms", "-o", "json", env=env).check()
    assert done.json["policy"] == "allkeys-lru"
    assert done.json["unavailable"]


def test_a_cluster(cluster: TestCluster, isolated_home: Path) -> None:
    profile = isolated_home / "cluster.yaml"
    profile.write_text(f"cluster:\n  nodes: ['{cluster.primaries[0].address}']\n")
    words = ("evictions", "--enable", "--yes", "-w", "500ms")
    done = cachectl("-p", str(profile), *words, "-o", "json").check()
    assert {one["node"] for one in done.json["nodes"]} == {n.address for n in cluster.primaries}
    done = cachectl("-p", str(profile), *words).check()
    assert all(node.address in done.stdout for node in cluster.primaries)


@pytest.mark.parametrize("form", FORMATS)
def test_every_format(valkey: TestServer, form: str) -> None:
    words = ("evictions", "--enable", "--yes", "-w", "200ms", "-o", form)
    done = cachectl("--url", valkey.url, *words)
    assert done.exit_code == 0, str(done)
    assert "\x1b" not in done.stdout
    if form == "table":
        assert all(len(line) <= 80 for line in done.stdout.splitlines())


def test_the_group_has_a_default(valkey: TestServer) -> None:
    assert document(valkey, "now", "-w", "200ms")["schema"] == "cachectl.evictions/1"
    assert "--enable" in cachectl("evictions", "--help").check().stdout
