"""`keys get`: the value, the whole value and nothing but the value."""

from __future__ import annotations

import gzip
import hashlib
import random
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from programs import PROGRAM, Outcome, cachectl, cachectl_tty, environment
from proxies import Proxy
from servers import TestServer


def got(server: Any, *args: str | bytes, **options: Any) -> Outcome:
    return cachectl("--url", server.url, "keys", "get", *args, **options)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"plain",
        b"line\n",
        b"\x00\xff\x1b[31m\r\n",
        gzip.compress(b"{}", mtime=0),
        bytes(range(256)) * 999,
    ],
    ids=["empty", "text", "newline", "binary", "gzip", "long"],
)
def test_a_pipe_gets_every_byte_and_no_other(valkey: TestServer, value: bytes) -> None:
    valkey.client().set("k", value)
    done = got(valkey, "k").check(0)
    assert (done.out, done.err) == (value, b"")
    assert got(valkey, "k", "--raw").check(0).out == value


def test_every_server_says_when_reading_disturbs(server: TestServer) -> None:
    server.client().set("k", "v")
    done = got(server, "k").check(0)
    assert done.out == b"v"
    warned = "reading resets the key's idle time" in done.stderr
    assert warned is (server.flavour in ("redis-6.2", "redis-7.0"))


def test_a_terminal_gets_what_is_inside(valkey: TestServer) -> None:
    client = valkey.client()
    client.set("gz", gzip.compress(b'{"a": "\\u001b[31m", "b": [1]}', mtime=0))
    client.set("esc", "a\x1b[31m\nb\x07" + 80 * "text ")
    for key in ("gz", "esc"):
        with cachectl_tty("--url", valkey.url, "keys", "get", key) as screen:
            done = screen.finish()
            assert done.exit_code == 0
            assert b"\x1b[31m" not in done.out
            assert b"\x07" not in done.out
            if key == "gz":
                assert '"b": [' in screen.text
                assert "gzip > JSON" in screen.text
            else:
                assert "a\\x1b[31m" in screen.text


def test_fields(valkey: TestServer) -> None:
    client = valkey.client()
    client.hset("h", mapping={"name": b"ann\xff\n", b"\xff": "odd", "": "empty"})
    client.set("s", "v")
    assert got(valkey, "h", "--field", "name").check(0).out == b"ann\xff\n"
    assert got(valkey, "h", "--escaped", "--field", "\\xff").check(0).out == b"odd"
    assert got(valkey, "h", "--field", "").check(0).out == b"empty"
    done = got(valkey, "h", "--field", "nope").check(1)
    assert (done.out, done.stderr) == (b"", "error: no such field: nope\n")
    assert "is a string, not a hash" in got(valkey, "s", "--field", "x").check(2).stderr
    assert got(valkey, "none").check(1).out == b""


def test_collections_element_by_element(server: TestServer) -> None:
    client = server.client()
    client.rpush("l", "a", b"\xff")
    client.hset("h", mapping={"f": "v"})
    client.sadd("s", "m")
    client.zadd("z", {"m": 1700000000123.5})
    client.xadd("x", {"a": "1"}, id="5-1")
    for key, rows, raw in (
        (
            "l",
            [{"index": 0, "value": "a"}, {"index": 1, "value": "\\xff", "value_b64": "/w=="}],
            b"a\n\xff\n",
        ),
        ("h", [{"field": "f", "value": "v", "ttl": None}], b"f\nv\n"),
        ("s", [{"member": "m"}], b"m\n"),
        ("z", [{"member": "m", "score": 1700000000123.5}], b"m\n1700000000123.5\n"),
        ("x", [{"id": "5-1", "fields": [{"field": "a", "value": "1"}]}], b"5-1\na\n1\n"),
    ):
        document = got(server, key, "-o", "json").check(0).json
        assert document["value"] == rows
        assert (document["schema"], document["key"]) == ("cachectl.value/1", key)
        if server.flavour == "valkey-9.1":  # writing is the same for all
            assert got(server, key, "--raw").check(0).out == raw


@pytest.mark.parametrize("kind", ["list", "hash", "zset", "stream"])
def test_what_the_limit_leaves_out_is_said(valkey: TestServer, kind: str) -> None:
    client = valkey.client()
    pipeline = client.pipeline(transaction=False)
    for n in range(3000):
        match kind:
            case "list":
                pipeline.rpush("k", n)
            case "hash":
                pipeline.hset("k", n, n)
            case "zset":
                pipeline.zadd("k", {n: n})
            case "stream":
                pipeline.xadd("k", {"n": n})
    pipeline.execute()
    document = got(valkey, "k", "-o", "json").check(0).json
    assert (len(document["value"]), document["left_out"]) == (1000, 2000)
    done = got(valkey, "k", "--limit", "3000", "-o", "ndjson").check(0)
    assert len({str(row) for row in done.ndjson}) == 3000
    assert "2,990 of 3,000" in got(valkey, "k", "--limit", "10").check(0).stderr


def test_a_string_of_64_megabytes_goes_through_in_pieces(valkey: TestServer) -> None:
    value = random.Random(1).randbytes(64 * 1024 * 1024)
    valkey.client().set("giant", value)
    with subprocess.Popen(
        [*PROGRAM, "--url", valkey.url, "keys", "get", "giant"],
        stdout=subprocess.PIPE,
        env=environment(None, 80),
    ) as run:
        digest = hashlib.file_digest(run.stdout, "sha256")
        assert run.wait() == 0
    assert digest.digest() == hashlib.sha256(value).digest()
    done = got(valkey, "giant", "-o", "json").check(5)
    assert "67,108,864 bytes" in done.error["message"]
    with cachectl_tty("--url", valkey.url, "keys", "get", "giant") as screen:
        screen.expect("only the first 1,048,576 of 67,108,864 bytes")
        assert screen.finish().exit_code == 0


def test_a_giant_that_changes_meanwhile_is_no_success(
    valkey: TestServer, start_proxy: Callable[..., Proxy]
) -> None:
    valkey.run("SETRANGE", "giant", 20 * 1024 * 1024 - 1, "x")
    proxy = start_proxy(valkey)
    proxy.before("GETRANGE", lambda: valkey.run("SETRANGE", "giant", 0, "new"), nth=5)
    done = got(proxy, "giant").check(3)
    assert "changed while it was read" in done.stderr
    assert got(valkey, "giant").check(0).out[:3] == b"new"


def test_opaque_types(valkey: TestServer, start_proxy: Callable[..., Proxy]) -> None:
    valkey.client().set("k", "v")
    proxy = start_proxy(valkey)
    proxy.answer("TYPE", b"+TSDB-TYPE\r\n")
    done = got(proxy, "k").check(5)
    assert "TSDB-TYPE" in done.stderr


def test_words_that_exclude_each_other(valkey: TestServer) -> None:
    assert "exclude each other" in got(valkey, "k", "--raw", "-o", "json").check(2).stderr
    assert "exclude each other" in got(valkey, "k", "--b64", "--escaped").check(2).stderr
    assert "not a name" in got(valkey, "k?", "--b64").check(2).stderr
