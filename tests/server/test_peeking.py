"""Values of drawn keys, read whole where they are small; what we look up is made known."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from filling import fill
from servers import TestServer
from targets import target_of

from cachectl.model.keys import Page
from cachectl.server.scanning.columns import Field
from cachectl.server.scanning.sample import sample
from cachectl.server.scanning.scan import ScanRequest
from cachectl.server.topology.connect import open_server
from cachectl.server.values.peeking import COLLECTION_CAP, STRING_CAP, Peeker


@dataclass
class Recorder:
    """A gate that remembers what it was told. says: `enter`, `leave` and `close`, in order."""

    says: list[str] = field(default_factory=list)
    counts: tuple[int, int, int] = (0, 0, 0)
    wanted: bool = False

    def enter(self) -> None:
        self.says.append("enter")

    def note(self, hits: int, misses: int, commands: int) -> None:
        self.counts = hits, misses, commands

    def leave(self, hits: int, misses: int, commands: int) -> None:
        self.note(hits, misses, commands)
        self.says.append("leave")

    def close(self) -> None:
        self.says.append("close")


def lookups(server: TestServer) -> tuple[int, int]:
    stats = server.info("stats")
    return stats["keyspace_hits"], stats["keyspace_misses"]


def page_of(server: TestServer, *keys: str) -> Page:
    client = server.client()
    names = [key.encode() for key in keys]
    types = [client.type(key).decode() for key in keys]
    return Page(server.address, names, types, sizes=[client.memory_usage(key) for key in keys])


@pytest.mark.parametrize("protocol", [2, 3])
def test_values_of_all_types(server: TestServer, protocol: int) -> None:
    client = server.client()
    client.set("text", "abc")
    client.set("long", "x" * (STRING_CAP + 5))
    client.hset("hash", mapping={"f": "1", "g": "2"})
    client.rpush("list", "a", "b")
    client.sadd("set", "m")
    client.zadd("zset", {"a": 1, "b": 2.5})
    client.xadd("stream", {"a": 1})
    client.rpush("giant", *(b"x" * 1000 for _ in range(COLLECTION_CAP // 1000 + 50)))
    page = page_of(server, "text", "long", "hash", "list", "set", "zset", "stream", "giant")
    page.keys.append(b"gone")
    page.types = [*(page.types or ()), "hash"]
    page.sizes = [*(page.sizes or ()), 100]
    gate = Recorder()
    with open_server(target_of(server, protocol=protocol)) as opened:
        opened.gates = lambda run_id, address: gate
        before = lookups(server)
        with Peeker(opened) as peeker:
            found = peeker.values(page)
        after = lookups(server)
        assert peeker.touched is (server.flavour in ("redis-6.2", "redis-7.0"))
    text, long, hash_, list_, set_, zset, stream, giant, gone = found.values
    assert (text, hash_) != (None, None)
    assert text is not None
    assert text.elements == [b"abc"]
    assert long is not None
    assert long.elements == [b"x" * STRING_CAP]
    assert hash_ is not None
    assert hash_.elements == [(b"f", b"1", None), (b"g", b"2", None)]
    assert list_ is not None
    assert list_.elements == [b"a", b"b"]
    assert set_ is not None
    assert set_.elements == [b"m"]
    assert zset is not None
    assert zset.elements == [(b"a", 1.0), (b"b", 2.5)]
    assert (stream, giant, gone) == (None, None, None)
    assert (found.skipped, found.refused) == (1, 0)
    assert gate.counts[:2] == (after[0] - before[0], after[1] - before[1]) == (6, 1)
    assert gate.says == ["enter", "leave", "close"]


@pytest.mark.parametrize("pace", ["gentle", "normal"])
def test_a_sample_makes_its_look_ups_known(valkey: TestServer, pace: str) -> None:
    fill(valkey, 5000)
    request = ScanRequest(frozenset(Field), pace=pace)  # type: ignore[arg-type]
    gate = Recorder()
    with open_server(target_of(valkey)) as opened:
        opened.gates = lambda run_id, address: gate
        before = lookups(valkey)
        drawn = sample(opened, 1000, request)
        after = lookups(valkey)
    assert not drawn.exact
    assert gate.counts[:2] == (after[0] - before[0], after[1] - before[1])
    assert gate.counts[0] == drawn.hits > 3000
    # Nothing is under way whenever it leaves, and at the end.
    assert gate.says[0] == "enter"
    assert gate.says[-2:] == ["leave", "close"]
