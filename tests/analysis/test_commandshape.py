"""What of a logged command may be shown: syntax and templates of keys, nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachectl.analysis.naming.commandshape import shape_of

SECRET = b"hunter2"


@pytest.mark.parametrize(
    ("command", "shape"),
    [
        (b"GET user:123:name", "GET user:{id}:name"),
        (b"SET session:1 hunter2 EX 60 NX", "SET session:{id} ? EX ? NX"),
        (b"set session:1 hunter2 ex 60", "SET session:{id} ? EX ?"),
        (b"MGET a:1 a:2 a:3", "MGET a:{id} …"),
        (b"MSET a:1 hunter2 a:2 hunter2", "MSET a:{id} ? …"),
        (b"HSET h:1 f hunter2 g hunter2", "HSET h:{id} ? …"),
        (b"AUTH hunter2", "AUTH ?"),
        (b"AUTH bob hunter2", "AUTH ? …"),
        (b"HELLO 3 AUTH bob hunter2", "HELLO ? …"),
        (b"CONFIG SET requirepass hunter2", "CONFIG SET ? …"),
        (b"ACL SETUSER bob on >hunter2", "ACL SETUSER ? …"),
        (b"EVAL hunter2 1 user:1 hunter2", "EVAL ? … user:{id} ?"),
        (b"KEYS session:*", "KEYS session:*"),
        (b"SCAN 17 MATCH hunter2* COUNT 10", "SCAN ? MATCH ? COUNT ?"),
        (b"OBJECT ENCODING user:1", "OBJECT ENCODING user:{id}"),
        (b"MEMORY USAGE user:1", "MEMORY USAGE user:{id}"),
        (b"DEBUG SLEEP 1", "DEBUG SLEEP ?"),
        (b"XREAD COUNT 2 STREAMS events:1 0", "XREAD COUNT ? STREAMS events:{id} ?"),
        (b"ZUNIONSTORE d:1 2 a:1 a:2", "ZUNIONSTORE d:{id} ? a:{id} …"),
        (b"MIGRATE host 6379 hunter2 0 5000 AUTH hunter2", "MIGRATE ? …"),
        (b"NEWCOMMAND hunter2 hunter2", "NEWCOMMAND ? …"),
        (b"PING", "PING"),
    ],
)
def test_shapes(command: bytes, shape: str) -> None:
    found, _ = shape_of(command.split(b" "))
    assert found.decode() == shape
    assert SECRET not in found


def test_what_the_server_cut() -> None:
    found, _ = shape_of([b"MGET", b"a:1", b"a:2", b"... (30 more arguments)"])
    assert found.decode() == "MGET a:{id} …"
    found, _ = shape_of([b"SET", b"k:1", b"x" * 128 + b"... (900 more bytes)"])
    assert found.decode() == "SET k:{id} ?"


def test_nothing_at_all() -> None:
    assert shape_of([]) == (b"(empty)", b"")
    assert shape_of([b"\x1b[2J", b"x"]) == (b"(not a command)", b"")


@given(
    st.sampled_from([b"SET", b"HSET", b"AUTH", b"EVAL", b"ZADD", b"CONFIG", b"FOO", b"LPUSH"]),
    st.lists(st.binary(max_size=8), max_size=40),
)
def test_values_never_show(name: bytes, others: list[bytes]) -> None:
    secret = b"s3cr3t-Value"
    arguments = [name, b"k", *(secret + other for other in others)]
    shape, _ = shape_of(arguments)
    assert secret not in shape
