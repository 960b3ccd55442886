"""Values as elements: what is read and written again is the same value, on every server."""

from __future__ import annotations

import random
import time

import pytest

from cachectl.config.target import Address, Target
from cachectl.model.values import LogicalValue
from cachectl.server.values.logical import (
    PIECE,
    STRING_PIECE,
    Abilities,
    UnknownTypeError,
    loses,
    read_value,
    write_commands,
)
from cachectl.server.wire.connection import NodeConnection


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def connection(server, request):
    target = Target("t", addresses=(Address(server.host, server.port),), protocol=request.param)
    with NodeConnection(target, target.addresses[0]) as opened:
        yield opened


def copy(connection, source: bytes, target: bytes) -> list[LogicalValue]:
    kind = connection.call("TYPE", source).decode()
    pieces = list(read_value(connection, source, kind))
    abilities = Abilities.of(connection)
    for piece in pieces:
        for command in write_commands(target, piece, abilities, int(time.time() * 1000)):
            connection.call(*command)
    return pieces


def fill(client, rng: random.Random) -> None:
    client.set("string", rng.randbytes(STRING_PIECE + 17))
    client.set("empty", b"")
    client.rpush("list", *(rng.randbytes(9) for _ in range(PIECE * 2 + 1)))
    client.sadd("set", *(rng.randbytes(9) for _ in range(PIECE * 3)))
    client.hset("hash", mapping={rng.randbytes(9): rng.randbytes(20) for _ in range(PIECE * 3)})
    scores = {rng.randbytes(9): rng.uniform(-1e9, 1e9) for _ in range(PIECE)}
    client.zadd(
        "zset", scores | {b"+": float("inf"), b"-": float("-inf"), b"0": -0.0, b"e": 5e-324}
    )


def test_every_type_is_read_in_pieces_and_written_the_same(server, connection):
    client = server.client(protocol=2)
    fill(client, random.Random(7))
    for kind in ("string", "empty", "list"):
        copy(connection, kind.encode(), b"copy:" + kind.encode())
    assert client.get("copy:string") == client.get("string")
    assert client.exists("copy:empty")
    assert client.lrange("copy:list", 0, -1) == client.lrange("list", 0, -1)
    assert len(copy(connection, b"set", b"copy:set")) > 1
    assert client.smembers("copy:set") == client.smembers("set")
    assert len(copy(connection, b"hash", b"copy:hash")) > 1
    assert client.hgetall("copy:hash") == client.hgetall("hash")
    copy(connection, b"zset", b"copy:zset")
    assert client.zrange("copy:zset", 0, -1, withscores=True) == client.zrange(
        "zset", 0, -1, withscores=True
    )


def test_a_stream_keeps_entries_groups_consumers_and_what_is_pending(server, connection):
    client = server.client(protocol=2)
    for i in range(PIECE + 5):
        client.xadd("s", {"n": i, "m": "x"}, id=f"{5 + i // 2}-{i}")
    client.xgroup_create("s", "g", id="0")
    client.xgroup_createconsumer("s", "g", "idle")
    client.xreadgroup("g", "alice", {"s": ">"}, count=10)
    client.xreadgroup("g", "alice", {"s": "0"}, count=3)
    client.xdel("s", f"{5 + (PIECE + 4) // 2}-{PIECE + 4}", "5-0")
    copy(connection, b"s", b"t")
    assert client.xrange("t") == client.xrange("s")
    old, new = client.xinfo_stream("s"), client.xinfo_stream("t")
    for field in ("length", "last-generated-id", "groups", "entries-added", "max-deleted-entry-id"):
        assert new.get(field) == old.get(field)
    groups = [
        {k: v for k, v in client.xinfo_groups(key)[0].items() if k != "lag"} for key in ("s", "t")
    ]
    # An entry that was deleted while it was pending cannot be claimed again since 7.0.
    assert groups[0]["pending"] - groups[1]["pending"] in (0, 1)
    for group in groups:
        group.pop("pending")
    assert groups[0] == groups[1]
    pending = [
        {p["message_id"]: (p["consumer"], p["times_delivered"]) for p in page}
        for page in (client.xpending_range(k, "g", "-", "+", 50) for k in ("s", "t"))
    ]
    assert pending[1].items() <= pending[0].items()
    assert len(pending[1]) >= 9


def test_a_stream_without_entries_keeps_its_last_id(server, connection):
    client = server.client(protocol=2)
    client.xadd("s", {"a": 1}, id="7-7")
    client.xdel("s", "7-7")
    copy(connection, b"s", b"t")
    assert client.xinfo_stream("t")["last-generated-id"] == b"7-7"
    assert client.xlen("t") == 0


def test_field_ttls_are_kept_where_there_are_any(server, connection):
    abilities = Abilities.of(connection)
    client = server.client(protocol=2)
    now = int(time.time() * 1000)
    value = LogicalValue(
        "hash", [(b"a", b"1", None), (b"b", b"2", now + 60_000), (b"gone", b"3", now - 1)]
    )
    for command in write_commands(b"h", value, abilities, now):
        connection.call(*command)
    assert set(client.hgetall("h")) == {b"a", b"b"}
    assert (loses(value, abilities) is None) is abilities.field_ttls
    assert abilities.field_ttls is (server.flavour in ("redis-8.2", "valkey-9.1"))
    if abilities.field_ttls:
        assert client.execute_command("HPEXPIRETIME", "h", "FIELDS", 2, "a", "b") == [
            -1,
            now + 60_000,
        ]
        (piece,) = read_value(connection, b"h", "hash")
        assert {name: at for name, _, at in piece.elements}[b"b"] == now + 60_000


def test_a_key_that_is_gone_has_no_pieces_and_a_strange_type_no_form(connection):
    assert list(read_value(connection, b"none", "list")) == []
    assert list(read_value(connection, b"none", "string")) == []
    with pytest.raises(UnknownTypeError):
        read_value(connection, b"none", "vectorset")
