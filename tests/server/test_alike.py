"""Comparing values with what is in a server: every difference is seen, and nothing else is."""

from __future__ import annotations

import random

import pytest

from cachectl.config.target import Address, Target
from cachectl.model.values import LogicalValue
from cachectl.server.values.alike import alike
from cachectl.server.values.logical import PIECE, Abilities, write_commands
from cachectl.server.wire.connection import NodeConnection

NAMES = [b"a", b"\xff\x00", b"", *(b"m%d" % i for i in range(PIECE + 3))]


def values() -> dict[str, bytes | LogicalValue]:
    rng = random.Random(5)
    return {
        "empty": b"",
        "text": b"caf\xc3\xa9",
        "long": rng.randbytes(1024 * 1024),
        "list": LogicalValue("list", [*NAMES, b"a"]),
        "piece": LogicalValue("list", NAMES[:PIECE]),
        "set": LogicalValue("set", NAMES),
        "zset": LogicalValue("zset", [(name, rng.random()) for name in NAMES]),
        "inf": LogicalValue("zset", [(b"a", float("inf")), (b"b", float("-inf")), (b"c", -0.0)]),
        "hash": LogicalValue("hash", [(name, b"v" + name, None) for name in NAMES]),
        "stream": LogicalValue(
            "stream", [((1, i + 1), ((b"f", b"%d" % i), (b"g", b""))) for i in range(PIECE + 2)]
        ),
    }


def changed(value: bytes | LogicalValue) -> list[bytes | LogicalValue]:
    """Return values that differ from this one by little: more, less, and something else."""
    if isinstance(value, bytes):
        return [value + b"x", value[:-1] + b"y" if value else b"y"]
    others = {
        "list": b"other",
        "set": b"other",
        "zset": (b"other", 1.0),
        "hash": (b"other", b"x", None),
        "stream": ((9, 9), ((b"f", b"x"),)),
    }
    other = others[value.type]
    elements = list(value.elements)
    found = [[*elements, other], [*elements[:-1], other]]
    if value.type == "zset":
        found.append([*elements[:-1], (elements[-1][0], 0.25)])
    if value.type == "hash":
        found.append([*elements[:-1], (elements[-1][0], b"changed", None)])
    return [LogicalValue(value.type, some) for some in found]


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def connection(server, request):
    target = Target("t", addresses=(Address(server.host, server.port),), protocol=request.param)
    with NodeConnection(target, target.addresses[0]) as opened:
        yield opened


def test_equal_values_are_alike_and_all_others_are_not(connection):
    abilities = Abilities.of(connection)
    meant = values()
    for name, value in meant.items():
        key = name.encode()
        if isinstance(value, bytes):
            connection.call("SET", key, value)
            continue
        connection.pipeline(write_commands(key, value, abilities, 0))
    wanted = [(name.encode(), value) for name, value in meant.items()]
    assert list(alike(connection, wanted)) == [True] * len(wanted)
    others = [(key, other) for key, value in wanted for other in changed(value)]
    assert list(alike(connection, others)) == [False] * len(others)


def test_another_type_and_a_missing_key_are_different(connection):
    connection.call("SET", "string", "x")
    connection.call("RPUSH", "list", "x")
    wanted = [
        (b"string", LogicalValue("list", [b"x"])),
        (b"string", LogicalValue("hash", [(b"x", b"y", None)])),
        (b"list", b"x"),
        (b"nobody", b"x"),
        (b"nobody", LogicalValue("set", [b"x"])),
    ]
    assert list(alike(connection, wanted)) == [False] * len(wanted)


def test_of_what_is_written_twice_the_last_counts(connection):
    connection.call("HSET", "h", "f", "1", "f", "2")
    connection.call("ZADD", "z", "1", "m", "2", "m")
    wanted = [
        (b"h", LogicalValue("hash", [(b"f", b"1", None), (b"f", b"2", None)])),
        (b"z", LogicalValue("zset", [(b"m", 1.0), (b"m", 2.0)])),
    ]
    assert list(alike(connection, wanted)) == [True, True]
