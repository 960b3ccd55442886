"""`keys list`: the right keys, each once, exact and harmless, in whatever way the listing ends."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filling import fill, keys_of
from hostile import NAMES, SINGLE_BYTES
from programs import PROGRAM, Outcome, cachectl, cachectl_started, cachectl_tty, environment
from proxies import Proxy
from servers import TestServer
from topologies import TestCluster

from cachectl.main import run


def listed(server: Any, *args: str | bytes, **options: Any) -> Outcome:
    return cachectl("--url", server.url, "keys", "list", *args, **options)


@pytest.fixture
def listed_here(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> Iterator[Callable[..., Outcome]]:
    """Return `listed` without a process of its own, for the many cases of one thing."""
    signals = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}

    def listed_here(server: Any, *args: str) -> Outcome:
        code = run(["--url", server.url, "keys", "list", *args])
        out, err = capfdbinary.readouterr()
        return Outcome(args, code, out, err, 0.0)

    yield listed_here
    for number, handler in signals.items():
        signal.signal(number, handler)


def names(done: Outcome) -> set[bytes]:
    """Return the names of ndjson records, each of which must stand there once."""
    found = [key_of(record) for record in done.ndjson]
    assert len(found) == len(set(found))
    return set(found)


def key_of(record: dict[str, Any]) -> bytes:
    if "key_b64" in record:
        return base64.b64decode(record["key_b64"])
    return str(record["key"]).encode()


# --- what is listed -----------------------------------------------------------------------------


def test_records_are_what_the_server_says(server: TestServer) -> None:
    fill(server, 200)
    columns = "type,ttl,bytes,encoding,idle,namespace,node"
    records = listed(server, "--columns", columns, "-o", "ndjson").check(0).ndjson
    assert {key_of(r) for r in records} == set(keys_of(200))
    client = server.client()
    for record in records:
        key = key_of(record)
        assert list(record) == ["key", *columns.split(",")]
        assert record["type"] == client.type(key).decode()
        assert record["bytes"] == client.memory_usage(key)
        assert record["encoding"] == client.object("ENCODING", key).decode()
        assert record["node"] == server.address
        left = client.pttl(key)
        if left == -1:
            assert record["ttl"] is None
        else:
            assert 0 <= record["ttl"] - left / 1000 < 60


def test_both_protocols_and_all_formats_say_the_same(any_server: TestServer) -> None:
    fill(any_server, 60)
    outcomes = []
    for protocol in (2, 3):
        url = f"{any_server.url}?protocol={protocol}"
        args = ("keys", "list", "--columns", "type,bytes,encoding", "-o", "json")
        outcomes.append(cachectl("--url", url, *args).check(0).json)
    assert outcomes[0]["keys"] == outcomes[1]["keys"]
    assert outcomes[0]["schema"] == "cachectl.keys/1"
    assert (outcomes[0]["listed"], outcomes[0]["more"], outcomes[0]["partial"]) == (
        60,
        False,
        False,
    )
    rows = listed(any_server, "--columns", "type", "-o", "tsv").check(0).stdout.splitlines()
    assert rows[0] == "key\ttype"
    assert len(rows) == 61


@pytest.fixture
def shelf(valkey: TestServer) -> TestServer:
    client = valkey.client()
    client.set("user:1", json.dumps({"state": "done", "n": 5}))
    client.set("user:2", json.dumps({"state": "open", "tags": ["a", "b"]}), ex=50)
    client.set("user:list", "no json", ex=7200)
    client.set("big", "x" * 5000)
    client.hset("h:1", mapping={"status": "closed"})
    client.hset("h:2", mapping={"status": "open", "x": "1"})
    client.hset("h:3", mapping={"x": "1"})
    client.rpush("l:1", *range(50))
    client.sadd("a[b]", 1)
    return valkey


ALL = {"user:1", "user:2", "user:list", "big", "h:1", "h:2", "h:3", "l:1", "a[b]"}


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((), ALL),
        (("user:*",), {"user:1", "user:2", "user:list"}),
        (("h:1", "--match", "l:?"), {"h:1", "l:1"}),
        (("a[b]",), set()),
        (("a[b]", "--literal"), {"a[b]"}),
        (("--type", "hash"), {"h:1", "h:2", "h:3"}),
        (("--type", "LIST", "--type", "set"), {"l:1", "a[b]"}),
        (("--namespace", "user:{id}"), {"user:1", "user:2"}),
        (
            ("--namespace", "user:{*}", "--namespace", "big"),
            {"user:1", "user:2", "user:list", "big"},
        ),
        (("--no-ttl", "user:*"), {"user:1"}),
        (("--ttl-under", "5m"), {"user:2"}),
        (("--ttl-over", "1h"), {"user:list"}),
        (("--larger-than", "4kb"), {"big"}),
        (("--elements-over", "49", "--type", "list"), {"l:1"}),
        (("--idle-over", "1h"), set()),
        (("--where", "ttl<5m", "--where", "type=string"), {"user:2"}),
        (("--not", "match=user:*", "--not", "type=hash"), {"big", "l:1", "a[b]"}),
        (("--not", "ttl=none"), {"user:2", "user:list"}),
        (("--where", "json:$.state=done"), {"user:1"}),
        (("--where", "json:$.n=5"), {"user:1"}),
        (("--not", "json:$.state=done"), {"user:2"}),
        (("--where", "json:$.tags[-1]=b"), {"user:2"}),
        (("--where", "field:status=closed"), {"h:1"}),
        (("--not", "field:status=closed"), {"h:2"}),
        (("--where", "field:status=open", "--where", "field:x=1"), {"h:2"}),
        (("--type", "hash", "--where", "json:$.state=done"), set()),
    ],
)
def test_conditions_choose(
    shelf: TestServer,
    listed_here: Callable[..., Outcome],
    args: tuple[str, ...],
    expected: set[str],
) -> None:
    found = names(listed_here(shelf, *args, "-o", "ndjson").check(0))
    assert found == {name.encode() for name in expected}


def test_what_was_filtered_by_is_shown(shelf: TestServer) -> None:
    record = listed(shelf, "l:1", "--elements-over", "1", "-o", "ndjson").check(0).ndjson[0]
    assert list(record) == ["key", "type", "ttl", "bytes", "elements"]
    assert record["elements"] == 50


def test_only_what_is_needed_is_asked(valkey: TestServer) -> None:
    fill(valkey, 1000)
    listed(valkey, "-0").check(0)
    calls = valkey.command_calls()
    assert not {"type", "pttl", "memory|usage", "object|idletime"} & set(calls)
    listed(valkey, "--type", "hash", "--columns", "ttl").check(0)
    hashes = calls_since(valkey, calls, "pttl")
    assert hashes == len(listed(valkey, "--type", "hash", "-0").out.split(b"\0")) - 1


def calls_since(server: TestServer, before: dict[str, int], command: str) -> int:
    return server.command_calls().get(command, 0) - before.get(command, 0)


@pytest.mark.parametrize("namespace", ["user:{id}:profile", "session:{hex}"])
def test_the_server_sends_no_more_names_than_a_namespace_needs(
    valkey: TestServer, start_proxy: Callable[..., Proxy], namespace: str
) -> None:
    fill(valkey, 300)
    proxy = start_proxy(valkey)
    proxy.record = True
    listed(proxy, "--namespace", namespace, "-0").check(0)
    scans = [command for command in proxy.commands if command[0] == b"SCAN"]
    assert all(
        command[2:4] == (b"MATCH", namespace.encode().split(b"{")[0] + b"*") for command in scans
    )


def test_values_above_the_cap_are_counted_not_read(valkey: TestServer) -> None:
    valkey.client().set("small", '{"a": 1}')
    valkey.client().set("large", '{"a": 1, "b": "' + "x" * 2_000_000 + '"}')
    done = listed(valkey, "--where", "json:$.a=1", "-o", "json").check(3)
    assert [record["key"] for record in done.json["keys"]] == ["small"]
    assert done.json["unavailable"][0]["what"] == "the values of 1 keys"


def test_fields_that_expire_are_no_ttl_of_the_key(server: TestServer) -> None:
    server.client().hset("h", mapping={"a": 1, "b": 2})
    done = listed(server, "--no-ttl", "-0").check(0)
    assert "expire by themselves" not in done.stderr
    if server.flavour in ("redis-8.2", "valkey-9.1"):
        server.run("HPEXPIRE", "h", 50_000, "FIELDS", 1, "a")
        done = listed(server, "--no-ttl", "-0").check(0)
        assert done.out == b"h\0"
        assert "1 hash has fields that expire by themselves" in done.stderr


# --- names --------------------------------------------------------------------------------------


@pytest.fixture
def hostile(any_server: TestServer) -> TestServer:
    client = any_server.client()
    for name in {*NAMES, *SINGLE_BYTES}:
        client.set(name, "v")
    return any_server


def test_hostile_names_round_trip(hostile: TestServer) -> None:
    every = {*NAMES, *SINGLE_BYTES}
    assert names(listed(hostile, "-o", "ndjson").check(0)) == every
    assert {
        key_of(record) for record in listed(hostile, "-o", "json").check(0).json["keys"]
    } == every
    assert set(listed(hostile, "-0").check(0).out.split(b"\0")[:-1]) >= {
        name for name in every if b"\0" not in name
    }
    raw = listed(hostile, "a*", "--raw").check(0).out
    assert b"a\rb\n" in raw


def test_hostile_names_do_nothing_to_a_terminal(hostile: TestServer) -> None:
    with cachectl_tty("--url", hostile.url, "keys", "list", "-o", "table") as screen:
        done = screen.finish()
        assert screen.sane()
    assert done.exit_code == 0
    for dangerous in (b"\x1b]", b"\x1bP", b"\x07", b"\x9b", "\u202e".encode(), b"\x1b[2J"):
        assert dangerous not in done.out


def test_a_terminal_of_80_columns_shows_every_figure(shelf: TestServer) -> None:
    with cachectl_tty("--url", shelf.url, "keys", "list", "user:2", columns=80) as screen:
        screen.expect(r"key\s+type\s+TTL\s+bytes")
        screen.expect(r"user:2\s+string\s+\d+s\s+\d+ B")
        screen.expect(r"1 key listed")
        assert screen.finish().exit_code == 0


# --- how it ends --------------------------------------------------------------------------------


def test_the_limit_is_no_failure(valkey: TestServer) -> None:
    fill(valkey, 1000)
    done = listed(valkey, "--limit", "7", "-o", "json").check(0)
    assert (len(done.json["keys"]), done.json["more"], done.json["partial"]) == (7, True, False)
    done = listed(valkey, "--limit", "7", "-0").check(0)
    assert done.out.count(b"\0") == 7
    assert "there are more" in done.stderr
    assert listed(valkey, "--limit", "1000", "-o", "json").check(0).json["more"] is False


def test_an_empty_database(valkey: TestServer) -> None:
    done = listed(valkey, "-o", "json").check(0)
    assert (done.json["keys"], done.json["listed"]) == ([], 0)
    assert listed(valkey, "-0").check(0).out == b""


def test_a_reader_that_has_seen_enough(valkey: TestServer) -> None:
    fill(valkey, 20_000)
    command = [*PROGRAM, "--url", valkey.url, "keys", "list", "-o", "ndjson"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment(None, 80), **pipes) as run:
        assert json.loads(run.stdout.readline())["key"]
        run.stdout.close()
        assert run.wait(20) == 0
        assert run.stderr.read() == b""


@pytest.mark.parametrize("output", ["json", "ndjson", "plain"])
def test_interrupted(valkey: TestServer, output: str) -> None:
    fill(valkey, 5000)
    args = ("--url", valkey.url, "keys", "list", "--rate", "500", "-o", output)
    with cachectl_started(*args) as run:
        run.wait_for("string")
        run.signal(signal.SIGINT)
        done = run.finish().check(130)
    if output == "json":
        assert done.json["partial"] is True
        assert 0 < done.json["listed"] == len(done.json["keys"]) < 5000
    else:
        assert "partial" in done.stderr


def test_a_node_that_starts_over_repeats_nothing(
    valkey: TestServer, start_server: Callable[..., TestServer], start_proxy: Callable[..., Proxy]
) -> None:
    other = start_server("redis-8.2")
    expected = set(keys_of(3000))
    for one in (valkey, other):
        fill(one, 3000)
    proxy = start_proxy(valkey)
    # Not on the proxy's own thread, which has to do the switching.
    switch = threading.Thread(target=proxy.switch, args=(other,))
    proxy.before("SCAN", switch.start, nth=6)
    done = listed(proxy, "-o", "ndjson", "--rate", "5000").check(0)
    switch.join()
    assert names(done) == expected
    assert "it is read again, what was listed is not repeated" in done.stderr


@pytest.fixture
def cluster_profile(cluster: TestCluster, isolated_home: Path) -> str:
    """The name of a profile of the cluster."""
    path = isolated_home / ".config" / "cachectl" / "profiles" / "three.yaml"
    path.parent.mkdir(parents=True)
    nodes = ", ".join(cluster.addresses)
    path.write_text(f"cluster: {{nodes: [{nodes}]}}\n")
    return "three"


def test_a_cluster_is_one_list(cluster: TestCluster, cluster_profile: str) -> None:
    fill(cluster, 600)
    args = ("-p", cluster_profile, "keys", "list", "-o", "ndjson")
    done = cachectl(*args, "--columns", "node").check(0)
    assert names(done) == set(cluster.keys())
    assert {record["node"] for record in done.ndjson} == set(cluster.addresses)


def test_a_cluster_with_a_dead_node_is_partial(cluster: TestCluster, cluster_profile: str) -> None:
    fill(cluster, 300)
    cluster.primaries[2].kill9()
    done = cachectl("-p", cluster_profile, "keys", "list", "-o", "json", timeout=60).check(3)
    assert done.json["partial"] is True
    assert done.json["unavailable"]
    assert 0 < len(done.json["keys"]) < 300


# --- what cannot be known -----------------------------------------------------------------------


def test_the_other_policy_is_refused_up_front(valkey: TestServer) -> None:
    fill(valkey, 10)
    done = listed(valkey, "--freq-under", "5", "-o", "json").check(5)
    assert "keeps idle times instead" in done.error["message"]
    valkey.run("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    assert len(listed(valkey, "--freq-under", "250", "-0").check(0).out.split(b"\0")) == 11
    assert "keeps frequencies instead" in listed(valkey, "--idle-over", "1d").check(5).stderr


def test_a_column_that_the_login_may_not_ask(valkey: TestServer) -> None:
    fill(valkey, 50)
    rules = ("~*", "-@all", "+scan", "+type", "+pttl", "+info", "+ping", "+client", "+hello")
    password = valkey.add_user("reader", *rules)
    url = f"redis://reader@{valkey.address}"
    env = {"CACHECTL_PASSWORD": password, "REDISCLI_AUTH": password}
    done = cachectl("--url", url, "keys", "list", "-o", "json", env=env).check(0)
    assert {record["bytes"] for record in done.json["keys"]} == {None}
    assert [gap["what"] for gap in done.json["unavailable"]] == ["bytes"]
    done = cachectl("--url", url, "keys", "list", "--larger-than", "1kb", env=env).check(5)
    assert "cannot choose keys by bytes" in done.stderr
    done = cachectl("--url", url, "keys", "list", "--where", "field:a=b", env=env).check(5)
    assert "HGET" in done.stderr


def test_keys_that_the_login_may_not_read_are_counted(valkey: TestServer) -> None:
    client = valkey.client()
    client.set("app:1", "{}")
    client.set("secret:1", "{}")
    password = valkey.add_user("app", "~app:*", "+@all")
    url, env = f"redis://app@{valkey.address}", {"REDISCLI_AUTH": password}
    done = cachectl("--url", url, "keys", "list", env=env).check(0)
    assert "secret" not in done.stdout
    assert "1 key not readable for this login" in done.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--where", "nonsense"), "is not a condition"),
        (("--not", "size>1k"), "is not a condition"),
        (("--where", "ttl=5m"), "write ttl=none"),
        (("--where", "freq<x"), "must be a whole number"),
        (("--where", "json:state=x"), "begins with $"),
        (("--ttl-under", "soon"), "--ttl-under 'soon': must be a duration"),
        (("--larger-than", "much"), "--larger-than 'much': must be a size"),
        (("--elements-over", "-1"), "less than 0"),
        (("--columns", "key,age"), "there is no column 'age'"),
        (("-0", "-o", "json"), "exclude each other"),
        (("-0", "--raw"), "exclude each other"),
    ],
)
def test_words_that_make_no_sense(
    valkey: TestServer, listed_here: Callable[..., Outcome], args: tuple[str, ...], message: str
) -> None:
    done = listed_here(valkey, *args).check(2)
    assert message in done.stderr
