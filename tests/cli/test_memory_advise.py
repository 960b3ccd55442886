"""`memory advise` on real servers: each piece of advice, taken, saves what it said."""

from __future__ import annotations

import json
import random
import time
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from programs import cachectl
from servers import TestServer
from test_schemas import check

DAY = 86_400


def document(server: TestServer, *words: str, code: int = 0) -> Any:
    return cachectl("--url", server.url, "memory", "advise", *words, "-o", "json").check(code).json


def used(server: TestServer) -> int:
    """Return used_memory without clients' buffers, when the tables have come to rest."""
    before, still = -1, 0
    deadline = time.monotonic() + 10
    while still < 2 and time.monotonic() < deadline:
        info = server.info("memory")
        now = info["used_memory"] - info["mem_clients_normal"]
        still = still + 1 if abs(now - before) < 20_000 else 0
        before = now
        time.sleep(0.05)
    return before


class Planted:
    """A server with one situation for each piece of advice, and how to take each."""

    def __init__(self, server: TestServer) -> None:
        self.server = server
        self.client = server.client()
        self.draw = random.Random(2)
        self.client.config_set(self.list_size, 10)
        pipe = self.client.pipeline(transaction=False)
        for number in range(40):
            fields = {f"field{n}": self.word(12) for n in range(600 + number)}
            pipe.hset(f"cart:{number}:items", mapping=fields)
            pipe.zadd(f"board:{number}", {self.word(14): n * 37 for n in range(200)})
            pipe.sadd(f"tags:{number}", *(self.word(10) for _ in range(350)))
            pipe.rpush(f"log:{number}", *(self.word(12) for _ in range(2000)))
            pipe.sadd(f"ids:{number}", *(n * 91 for n in range(900)))
        for number in range(400):
            pipe.set(f"page:{number}", self.document())
        for number in range(8_000):
            pipe.set(f"flag:{number}", self.word(self.draw.randrange(6, 24)))
        for number in range(7_000):
            name = f"portfolio_positions:{number * 17}:current_valuation"
            pipe.set(name, self.draw.randbytes(90), ex=3600)
        for number in range(3_000):
            name = f"token:{self.draw.randbytes(8).hex()}"
            pipe.set(name, self.draw.randbytes(220), ex=3600 if number % 3 else None)
        pipe.set("one", self.draw.randbytes(400))
        pipe.execute()
        dump = self.client.dump("one")
        for number in range(1_000):
            pipe.restore(f"archive:{number}", 0, dump, idletime=20 * DAY)
        for at in range(0, 102_000, 1000):
            pipe.hset("giant", mapping={f"f{n:06d}": n for n in range(at, at + 1000)})
        pipe.delete("one")
        pipe.execute()

    @property
    def list_size(self) -> str:
        old = self.server.flavour == "redis-6.2"
        return "list-max-ziplist-size" if old else "list-max-listpack-size"

    def word(self, length: int) -> str:
        return self.draw.randbytes(length).hex()[:length]

    def document(self) -> str:
        rows = [{"id": self.draw.randrange(10**6), "name": "a name", "ok": True} for _ in range(30)]
        return json.dumps(rows)

    def keys(self, pattern: str) -> list[bytes]:
        return list(self.client.scan_iter(match=pattern, count=1000))

    def configure(self, how: str) -> None:
        for command in how.split("; "):
            if command.startswith("CONFIG SET"):
                self.server.run(*command.split())

    def rewrite(self, pattern: str) -> None:
        keys = self.keys(pattern)
        pipe = self.client.pipeline(transaction=False)
        for key in keys:
            pipe.dump(key)
        for key, dump in zip(keys, pipe.execute(), strict=True):
            pipe.restore(key, 0, dump, replace=True)
        pipe.execute()

    # One for each id.

    def listpack_hash(self, how: str) -> None:
        self.configure(how)
        self.rewrite("cart:*")

    def listpack_zset(self, how: str) -> None:
        self.configure(how)
        self.rewrite("board:*")

    def listpack_set(self, how: str) -> None:
        self.configure(how)
        self.rewrite("tags:*")

    def listpack_list(self, how: str) -> None:
        self.configure(how)
        for key in self.keys("log:*"):
            elements = self.client.lrange(key, 0, -1)
            self.client.delete(key)
            self.client.rpush(key, *elements)

    def intset(self, how: str) -> None:
        self.configure(how)
        self.rewrite("ids:*")

    def compress(self, how: str) -> None:
        pack: Callable[[bytes], bytes] = lambda data: zlib.compress(data, 6)  # noqa: E731
        if "with zstd" in how:
            import zstandard

            pack = zstandard.ZstdCompressor(level=3).compress
        for key in self.keys("page:*"):
            self.client.set(key, pack(self.client.get(key)))

    def hashes(self, how: str) -> None:
        keys = self.keys("flag:*")
        pipe = self.client.pipeline(transaction=False)
        for key, value in zip(keys, self.client.mget(keys), strict=True):
            number = key.rpartition(b":")[2]
            pipe.hset(b"flag:" + number[:-2] + b"h", number[-2:], value)
            pipe.delete(key)
        pipe.execute()

    def names(self, how: str) -> None:
        pipe = self.client.pipeline(transaction=False)
        for key in self.keys("portfolio_positions:*"):
            _, number, _ = key.split(b":")
            pipe.rename(key, b"po:" + number + b":cu")
        pipe.execute()

    def ttl(self, how: str) -> None:
        found = cachectl(
            *("--url", self.server.url, "keys", "list", "--namespace", "token:{hex}", "--no-ttl"),
            "--print0",
        ).check()
        names = found.out.split(b"\0")[:-1]
        assert len(names) == 1000
        self.client.delete(*names)

    def unread(self, how: str) -> None:
        self.client.delete(*self.keys("archive:*"))

    def split(self, how: str) -> None:
        pipe = self.client.pipeline(transaction=False)
        buckets: dict[bytes, dict[bytes, bytes]] = {}
        for field, value in self.client.hgetall("giant").items():
            buckets.setdefault(b"giant:" + field[1:5], {})[field] = value
        for key, fields in buckets.items():
            pipe.hset(key, mapping=fields)
        pipe.delete("giant")
        pipe.execute()


@pytest.mark.soak
def test_each_advice_saves_what_it_said_everywhere(server: TestServer) -> None:
    assert_each_saves_what_it_said(server)


@pytest.mark.parametrize("flavour", ["redis-7.0", "redis-8.2", "valkey-9.1"])
def test_each_advice_saves_what_it_said(
    flavour: str, start_server: Callable[..., TestServer]
) -> None:
    """Three memory models: jemalloc as systems and as Redis bring it, and glibc."""
    assert_each_saves_what_it_said(start_server(flavour))


def assert_each_saves_what_it_said(server: TestServer) -> None:
    planted = Planted(server)
    found = document(server, "--read", "1gb", "--limit", "100")
    check("memory-advise", found)
    assert found["partial"] is False
    assert found["sample"] is None
    advice = {
        (one["id"].removeprefix("memory."), (one["subject"] or "").partition(":")[0]): one
        for one in found["advice"]
    }
    expected = {
        *(("listpack_hash", ""), ("listpack_zset", ""), ("listpack_list", ""), ("intset", "")),
        *(("compress", "page"), ("hashes", "flag"), ("names", "portfolio_positions")),
        *(("ttl", "token"), ("unread", "archive"), ("split", "giant")),
    }
    if server.flavour not in ("redis-6.2", "redis-7.0"):
        expected.add(("listpack_set", ""))
    assert expected <= set(advice), set(advice)
    off = {}
    before = used(server)
    for identifier, subject in sorted(expected):
        one = advice[identifier, subject]
        getattr(planted, identifier)(f"{one['title']}; {one['how']}")
        now = used(server)
        saved, before = before - now, now
        off[identifier] = saved / one["saves"]
        print(f"{server.flavour} {identifier}: said {one['saves']:,}, saved {saved:,}")
    assert all(0.8 <= ratio <= 1.2 for ratio in off.values()), off


def test_a_quiet_healthy_server_gets_no_advice(start_server: Callable[..., TestServer]) -> None:
    quiet = start_server(config={"maxmemory": "200mb", "maxmemory-policy": "allkeys-lru"})
    client = quiet.client()
    draw = random.Random(1)
    pipe = client.pipeline(transaction=False)
    for number in range(2000):
        pipe.set(f"s:{number}", draw.randbytes(80), ex=900)
        pipe.hset(f"u:{number}", mapping={"n": number, "t": "x"})
        pipe.expire(f"u:{number}", 900)
    pipe.execute()
    found = document(quiet, "--fail-on", "info")
    assert (found["advice"], found["findings"]) == ([], [])
    shown = cachectl("--url", quiet.url, "memory", "advise", "-o", "table").check().stdout
    assert "Nothing to save that would be worth it." in shown


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, ("memory.maxmemory_unset", "info")),
        ({"maxmemory": "1000000gb"}, ("memory.maxmemory_above_machine", "critical")),
        (
            {"maxmemory": "100mb", "maxmemory-policy": "volatile-lru"},
            ("memory.volatile_without_ttl", "warning"),
        ),
    ],
)
def test_settings_that_do_not_fit(
    any_server: TestServer, config: dict[str, str], expected: tuple[str, str]
) -> None:
    any_server.run("SET", "a", "x")
    for name, value in config.items():
        any_server.run("CONFIG", "SET", name, value)
    code = 0 if expected[1] == "info" else 1
    found = document(any_server, "--fail-on", "warning", code=code)
    assert [(one["id"], one["severity"]) for one in found["advice"]] == [expected]
    assert [one["id"] for one in found["findings"]] == [expected[0]] * code


def test_looking_leaves_idle_times_alone_where_it_can(server: TestServer) -> None:
    client = server.client()
    client.set("one", "x" * 300)
    dump = client.dump("one")
    for number in range(50):
        client.restore(f"a:{number}", 0, dump, idletime=5000)
    found = document(server, "--no-values")
    assert found["values_read"] == 0
    assert client.object("idletime", "a:7") >= 5000
    done = cachectl("--url", server.url, "memory", "advise", "-o", "plain").check()
    touches = server.flavour in ("redis-6.2", "redis-7.0")
    assert (client.object("idletime", "a:7") < 5000) is touches
    assert ("has reset their idle times" in done.stderr) is touches


def test_values_are_read_up_to_a_cap(valkey: TestServer) -> None:
    client = valkey.client()
    for number in range(400):
        client.set(f"page:{number}", "some text " * 1000, ex=1000)
    client.set("huge", "y" * 3_000_000)
    all_of_it = document(valkey)
    some = document(valkey, "--read", "500kb")
    check("memory-advise", some)
    assert all_of_it["values_read"] == 401
    assert all_of_it["bytes_read"] < 400 * 11_000 + 200_000
    assert 0 < some["bytes_read"] < 4_000_000
    (advice,) = [one for one in all_of_it["advice"] if one["subject"] == "page:{id}"]
    assert advice["saves"] == pytest.approx(400 * 10_000, rel=0.05)
    # Of the huge one only the beginning was read; the rest is taken to be like it.
    (huge,) = [one for one in all_of_it["advice"] if one["subject"] == "huge"]
    assert huge["saves"] == pytest.approx(3_000_000, rel=0.05)


def test_a_login_that_may_not_all_gets_the_rest(any_server: TestServer) -> None:
    client = any_server.client()
    for number in range(500):
        client.set(f"archive:{number}", b"x" * 400, ex=1000)
    password = any_server.add_user("some", "~*", "+@all", "-config", "-getrange")
    done = cachectl(
        *("--url", f"redis://some@{any_server.address}", "memory", "advise", "-o", "json"),
        env={"REDISCLI_AUTH": password},
        secrets=[password],
    ).check(3)
    gaps = {gap["what"]: gap["reason"] for gap in done.json["unavailable"]}
    assert set(gaps) == {"the limits of compact encodings", "what is in values"}
    assert "getrange" in gaps["what is in values"]
    assert done.json["values_read"] == 0


def test_a_sample_carries_intervals_that_hold(valkey: TestServer) -> None:
    client = valkey.client()
    pipe = client.pipeline(transaction=False)
    for number in range(6000):
        pipe.set(f"page:{number}", "some text " * (20 + number % 30), ex=9000)
        pipe.set(f"other:{number}", number, ex=9000)
    pipe.execute()
    exact = document(valkey, "--read", "1gb")
    truth = {(one["id"], one["subject"]): one["saves"] for one in exact["advice"]}
    found = document(valkey, "--sample", "3000")
    check("memory-advise", found)
    (advice,) = [one for one in found["advice"] if one["id"] == "memory.compress"]
    width = advice["saves_high"] - advice["saves_low"]
    assert 0 < width < 0.3 * advice["saves"]
    assert abs(advice["saves"] - truth["memory.compress", "page:{id}"]) < width
    assert found["sample"]["size"] >= 3000


def test_memory_that_the_process_keeps_is_given_back(
    start_server: Callable[..., TestServer],
) -> None:
    """Fragmentation and free pages, on the jemalloc that comes with Redis."""
    settings = {"maxmemory": "2gb", "activedefrag": "no", "jemalloc-bg-thread": "no"}
    fragmented = start_server("redis-8.2", config=settings)
    client = fragmented.client()
    client.execute_command("DEBUG", "POPULATE", 160_000, "f", 500)
    pipe = client.pipeline(transaction=False)
    for number in range(160_000):
        if number % 4:
            pipe.delete(f"f:{number}")
    pipe.execute()
    time.sleep(0.3)  # INFO's figures of the allocator are ten a second
    found = document(fragmented, "--no-values")
    advice = {one["id"]: one for one in found["advice"]}
    lost = fragmented.info("memory")["allocator_frag_bytes"]
    (one,) = [advice["memory.defragment"]]
    for name, value in (
        ("active-defrag-ignore-bytes", "1mb"),
        ("active-defrag-cycle-min", "60"),
        ("active-defrag-cycle-max", "90"),
        ("activedefrag", "yes"),
    ):
        client.config_set(name, value)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        time.sleep(0.2)
        now = fragmented.info("memory")["allocator_frag_bytes"]
        ratio = fragmented.info("memory")["allocator_frag_ratio"]
        if ratio < 1.12:
            break
    saved = lost - now
    print(f"defragment: said {one['saves']:,}, saved {saved:,}")
    assert 0.8 <= saved / one["saves"] <= 1.2
    client.config_set("activedefrag", "no")
    time.sleep(0.3)
    found = {one["id"]: one for one in document(fragmented, "--no-values")["advice"]}
    said = found["memory.purge"]["saves"]
    before = fragmented.info("memory")["allocator_resident"]
    client.memory_purge()
    deadline = time.monotonic() + 5
    given_back = 0
    while given_back < 0.9 * said and time.monotonic() < deadline:
        time.sleep(0.1)
        given_back = before - fragmented.info("memory")["allocator_resident"]
    print(f"purge: said {said:,}, gave back {given_back:,}")
    assert 0.8 <= given_back / said <= 1.2
