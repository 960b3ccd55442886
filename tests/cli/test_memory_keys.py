"""`memory keys` on real servers: planted giants are found, by commands that walk nothing."""

from __future__ import annotations

from typing import Any

from filling import fill
from programs import cachectl
from servers import TestServer
from test_schemas import check

HARMLESS = {"scan", "type", "memory|usage", "memory", "strlen", "hlen", "llen", "scard", "zcard"}
HARMLESS |= {"xlen", "vcard", "info", "ping", "hello", "auth", "select", "client", "dbsize", "role"}


def document(server: TestServer, *words: str, code: int = 0) -> Any:
    return cachectl("--url", server.url, "memory", "keys", *words, "-o", "json").check(code).json


def plant(server: TestServer) -> None:
    pipe = server.client().pipeline(transaction=False)
    for at in range(0, 120_000, 1000):
        pipe.hset("giant:hash", mapping={f"f{n}": "x" for n in range(at, at + 1000)})
    pipe.set("giant:blob", b"\0" * 11 * 2**20)
    pipe.execute()


def test_giants_are_found_and_named(server: TestServer) -> None:
    fill(server, 2000)
    plant(server)
    client = server.client()
    server.run("CONFIG", "RESETSTAT")
    found = document(server, "--fail-on", "warning", code=1)
    used = {name.partition("|")[0] for name in server.command_calls()} - {"config", "command"}
    check("memory-keys", found)
    assert used <= HARMLESS, used - HARMLESS
    assert {one["subject"] for one in found["findings"]} == {"giant:hash", "giant:blob"}
    assert {one["id"] for one in found["findings"]} == {"memory.giant"}
    biggest = {row["key"]: row for row in found["biggest"]}
    assert [row["key"] for row in found["biggest"]][:2] == ["giant:blob", "giant:hash"]
    assert biggest["giant:blob"]["bytes"] == client.memory_usage("giant:blob")
    assert abs(biggest["giant:hash"]["bytes"] - client.memory_usage("giant:hash")) < 2**20
    if server.flavour in ("redis-6.2", "redis-7.0"):
        assert found["by_elements"] == []
        assert "NO-TOUCH" in found["unavailable"][0]["reason"]
        return
    assert (found["by_elements"][0]["key"], found["by_elements"][0]["elements"]) == (
        "giant:hash",
        120_000,
    )


def test_of_each_namespace(valkey: TestServer) -> None:
    fill(valkey, 2000)
    found = document(valkey, "--per-namespace", "2", "--limit", "3", "--no-elements")
    check("memory-keys", found)
    assert len(found["biggest"]) == 3
    assert found["by_elements"] == []
    client = valkey.client()
    truth: dict[str, list[int]] = {}
    for key in client.scan_iter(match="portfolio:*"):
        truth.setdefault("portfolio:{id}:value", []).append(client.memory_usage(key))
    rows = [row for row in found["by_namespace"] if row["namespace"] in truth]
    best = sorted(truth["portfolio:{id}:value"], reverse=True)[:2]
    assert [row["bytes"] for row in rows] == best
    only = document(valkey, "portfolio:*")
    assert {row["namespace"] for row in only["biggest"]} == set(truth)


def test_a_sample_says_what_it_may_miss(valkey: TestServer) -> None:
    fill(valkey, 2000)
    done = cachectl("--url", valkey.url, "memory", "keys", "--sample", "200", "-o", "plain").check()
    assert "giants that were not drawn are missing" in done.stderr


def test_hostile_names(valkey: TestServer) -> None:
    valkey.run("SET", b"\x1b[31m\xff", "x" * 1000)
    for output in ("table", "plain", "json", "csv", "markdown"):
        done = cachectl("--url", valkey.url, "memory", "keys", "-o", output).check()
        assert b"\x1b" not in done.out
    assert done.out
