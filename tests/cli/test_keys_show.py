"""`keys show`: everything about one key, in few bounded commands, exact and undisturbed."""

from __future__ import annotations

import base64
import gzip
import json
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filling import key_slot
from hostile import NAMES
from hypothesis import given
from hypothesis import strategies as st
from programs import Outcome, cachectl, cachectl_tty
from proxies import Proxy
from servers import TestServer
from targets import target_of
from topologies import TestCluster

from cachectl.analysis.naming.namespaces import TemplateGrouper
from cachectl.cli.selectors import name_of
from cachectl.errors import UsageError
from cachectl.output.document import document
from cachectl.output.escape import escape
from cachectl.output.formats.machines import dumps
from cachectl.server.topology.connect import open_server
from cachectl.server.values.details import key_details
from cachectl.views.keys.key import show_report

NO_TOUCH = ("redis-8.2", "valkey-8.1", "valkey-9.1")
FIELD_TTLS = ("redis-8.2", "valkey-9.1")


def shown(server: Any, *args: str | bytes, **options: Any) -> Outcome:
    return cachectl("--url", server.url, "keys", "show", *args, **options)


def details(
    server: Any, key: str | bytes, *, value: bool = True, elements: int = 20, protocol: int = 3
) -> dict[str, Any]:
    """Return the JSON document, made in this process: a program of its own takes half a second."""
    name = key.encode() if isinstance(key, str) else key
    with open_server(target_of(server, protocol=protocol)) as opened:
        found = key_details(opened, name, value=value, elements=elements)
        assert found is not None
        namespace = TemplateGrouper().group(name)
        report = show_report(found, opened.facts, namespace, value=value, now=time.time())
    return dict(json.loads(dumps(document(report, time.time()))))


# --- every type -------------------------------------------------------------------------------


def fill_types(server: TestServer) -> None:
    client = server.client()
    client.set("string", "hällo", px=100_000)
    client.hset("hash", mapping={"name": "ann", b"\xff": b"\x00", "": "empty"})
    client.rpush("list", "a", b"\xfe", "c")
    client.sadd("set", "one")
    client.zadd("zset", {"a": 1.5, "b": float("inf"), "c": 1700000000123})
    client.xadd("stream", {"a": "1", b"\xff": "x"}, id="5-1")
    client.xadd("stream", {"b": "2"}, id="6-1")
    client.xgroup_create("stream", "workers", "0")
    client.xreadgroup("workers", "me", {"stream": ">"}, count=1)


VALUES: dict[str, Any] = {
    "string": "hällo",
    "hash": [
        {"field": "name", "value": "ann", "ttl": None},
        {"field": "\\xff", "field_b64": "/w==", "value": "\x00", "ttl": None},
        {"field": "", "value": "empty", "ttl": None},
    ],
    "list": [
        {"index": 0, "value": "a"},
        {"index": 1, "value": "\\xfe", "value_b64": "/g=="},
        {"index": 2, "value": "c"},
    ],
    "set": [{"member": "one"}],
    "zset": [
        {"member": "a", "score": 1.5},
        {"member": "c", "score": 1700000000123},
        {"member": "b", "score": "inf"},
    ],
    "stream": [
        {
            "id": "5-1",
            "fields": [
                {"field": "a", "value": "1"},
                {"field": "\\xff", "field_b64": "/w==", "value": "x"},
            ],
        },
        {"id": "6-1", "fields": [{"field": "b", "value": "2"}]},
    ],
}
LENGTHS = {"string": 6, "hash": 3, "list": 3, "set": 1, "zset": 3, "stream": 2}


def test_every_type_on_every_server_and_protocol(server: TestServer) -> None:
    fill_types(server)
    client = server.client()
    for kind, expected in VALUES.items():
        documents = [details(server, kind, protocol=protocol) for protocol in (2, 3)]
        found = documents[0]
        assert found["schema"] == "cachectl.key/1"
        assert (found["key"], found["type"], found["elements"]) == (kind, kind, LENGTHS[kind])
        assert found["value"] == expected
        assert found["left_out"] == 0
        assert found["bytes"] == client.memory_usage(kind)
        assert found["encoding"] == client.object("ENCODING", kind).decode()
        assert (found["node"], found["slot"], found["namespace"]) == (server.address, None, kind)
        # What passes with time is left out of the comparison.
        passing = {"generated_at", "idle", "ttl", "expires_at", "server"}
        assert [{k: v for k, v in one.items() if k not in passing} for one in documents[1:]] == [
            {k: v for k, v in found.items() if k not in passing}
        ]


def test_time_to_live_is_by_the_clock_of_the_server(valkey: TestServer) -> None:
    valkey.client().set("k", "v", px=100_000)
    found = details(valkey, "k")
    assert 90 < found["ttl"] <= 100
    assert abs(found["expires_at"] - valkey.run("PEXPIRETIME", "k") / 1000) < 0.1
    valkey.run("PERSIST", "k")
    found = details(valkey, "k")
    assert (found["ttl"], found["expires_at"]) == (None, None)


def test_consumer_groups(server: TestServer) -> None:
    fill_types(server)
    found = details(server, "stream")
    assert (found["first_id"], found["last_id"]) == ("5-1", "6-1")
    lag = None if server.flavour == "redis-6.2" else 1
    assert found["groups"] == [
        {"name": "workers", "consumers": 1, "pending": 1, "lag": lag, "last_id": "5-1"}
    ]
    shown_text = shown(server, "stream").check(0).stdout
    assert "workers" in shown_text


def test_fields_that_expire_in_a_hash_that_does_not(server: TestServer) -> None:
    server.client().hset("h", mapping={"a": 1, "b": 2, "c": 3})
    if server.flavour not in FIELD_TTLS:
        found = details(server, "h")
        assert "fields_expiring" not in found
        assert found["unavailable"] == []
        return
    server.run("HPEXPIRE", "h", 50_000, "FIELDS", 1, "b")
    found = details(server, "h")
    assert found["ttl"] is None
    assert (found["fields_looked_at"], found["fields_expiring"]) == (3, 1)
    assert 40 < found["first_field_ttl"] <= 50
    ttls = {row["field"]: row["ttl"] for row in found["value"]}
    assert ttls["a"] is None
    assert 40 < ttls["b"] <= 50
    text = " ".join(shown(server, "h").check(0).stdout.split())
    assert "TTL: none for the key, but fields of it expire" in text


@pytest.mark.parametrize("policy", ["allkeys-lfu", "allkeys-lru"])
def test_idle_time_or_frequency(valkey: TestServer, policy: str) -> None:
    valkey.run("CONFIG", "SET", "maxmemory-policy", policy)
    valkey.client().set("k", "v")
    found = details(valkey, "k")
    kept, other = ("freq", "idle") if "lfu" in policy else ("idle", "freq")
    assert found[kept] is not None
    assert found[other] is None
    assert found["unavailable"] == []


# --- values made readable -----------------------------------------------------------------------


def test_layers_are_opened_and_nothing_is_executed(valkey: TestServer, tmp_path: Path) -> None:
    canary = tmp_path / "executed"

    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (canary,))

    client = valkey.client()
    client.set("gz", gzip.compress(b'{"a": [1, 2]}', mtime=0))
    client.set("evil", pickle.dumps(Evil()))
    found = details(valkey, "gz")
    assert (found["format"], found["decoded"]) == ("gzip > json", {"a": [1, 2]})
    assert base64.b64decode(found["value_b64"]) == client.get("gz")
    assert "Loading it would" in shown(valkey, "evil").check(0).stderr
    assert not canary.exists()


def test_damaged_json_is_named_by_line_and_column(valkey: TestServer) -> None:
    valkey.client().set("bad", '{"a": 1,\n "b": }')
    found = details(valkey, "bad")
    assert found["findings"][0]["id"] == "value.damaged"
    assert "line 2, column 7" in found["damaged"]
    assert "line 2, column 7" in shown(valkey, "bad").check(0).stdout


def test_what_is_on_the_screen(valkey: TestServer) -> None:
    client = valkey.client()
    client.hset("user:42", mapping={"name": "ann", "bio": "x" * 5000, "esc": "\x1b[31m[red]\x07"})
    client.expire("user:42", 278)
    with cachectl_tty("--url", valkey.url, "keys", "show", "user:42", columns=80) as screen:
        done = screen.finish()
        text = screen.text
    assert done.exit_code == 0
    for word in ("user:42", "hash", "user:{id}", "4m 3", "ann", "\\x1b[31m[red]\\x07"):
        assert word in text
    assert b"\x1b[31m" not in done.out
    assert b"\x07" not in done.out
    assert text.count("x") < 500
    assert max(map(len, text.splitlines())) <= 80


# --- size -------------------------------------------------------------------------------------


def test_a_hash_of_a_million_fields_is_not_walked(valkey: TestServer) -> None:
    script = (
        "for i = 1, 1000000, 100 do local a = {} for j = i, i + 99 do a[#a+1] = 'field:' .. j "
        "a[#a+1] = j end redis.call('HSET', KEYS[1], unpack(a)) end"
    )
    valkey.run("EVAL", script, 1, "million")
    valkey.run("CONFIG", "RESETSTAT")
    found = details(valkey, "million", elements=5)
    assert found["elements"] == 1_000_000
    assert len(found["value"]) == 5
    assert found["left_out"] == 999_995
    slowest = max(
        stat["usec"] for name, stat in valkey.info("commandstats").items() if name != "cmdstat_info"
    )
    assert slowest < 50_000  # all calls of one command together, in microseconds
    assert (
        "999,995 of 1,000,000 fields are not shown"
        in shown(valkey, "million", "--limit", "5").check(0).stderr
    )


def test_of_a_giant_string_the_beginning_is_read(valkey: TestServer) -> None:
    valkey.run("SETRANGE", "giant", 64 * 1024 * 1024 - 1, "x")
    before = valkey.info("stats")["total_net_output_bytes"]
    found = details(valkey, "giant")
    assert found["elements"] == 64 * 1024 * 1024
    assert found["left_out"] == 63 * 1024 * 1024
    assert valkey.info("stats")["total_net_output_bytes"] - before < 2 * 1024 * 1024


def test_giant_elements_are_not_read(valkey: TestServer) -> None:
    client = valkey.client()
    for number in range(3):
        client.rpush("l", bytes(3_000_000 + number))
    found = details(valkey, "l")
    assert "value" not in found
    assert (found["elements"], found["left_out"]) == (3, 3)
    assert found["unavailable"][0]["what"] == "value"


def test_text_of_many_lines_is_an_excerpt_for_people(valkey: TestServer) -> None:
    valkey.client().set("log", "line\n" * 5000)
    text = shown(valkey, "log").check(0).stdout
    assert len(text.splitlines()) < 150
    assert "5,001 lines, 25,000 characters in all" in text
    assert details(valkey, "log")["value"] == "line\n" * 5000


# --- looking does not disturb -------------------------------------------------------------------


def test_idle_time_is_left_alone(server: TestServer) -> None:
    fill_types(server)
    time.sleep(2.1)
    for kind in VALUES:
        found = details(server, kind, value=server.flavour in NO_TOUCH)
        assert found["idle"] >= 2
        assert server.run("OBJECT", "IDLETIME", kind) >= 2
    assert ("value" in found) is (server.flavour in NO_TOUCH)
    if server.flavour not in NO_TOUCH:
        assert "elements" in {gap["what"] for gap in found["unavailable"]}
        assert "value" not in shown(server, "string", "--no-value", "-o", "json").check(0).json
        assert server.run("OBJECT", "IDLETIME", "string") >= 2
        done = shown(server, "string").check(0)
        assert "reading the value has reset its idle time" in done.stderr
        assert server.run("OBJECT", "IDLETIME", "string") < 2


# --- what cannot be had -------------------------------------------------------------------------


@pytest.mark.parametrize("output", [(), ("-o", "json")])
def test_no_such_key(valkey: TestServer, output: tuple[str, ...]) -> None:
    done = shown(valkey, "nope", *output).check(1)
    assert done.out == b""
    assert "no such key: nope" in done.stderr
    assert "no such key: (the empty name)" in shown(valkey, "", *output).check(1).stderr


def test_a_type_of_a_module_or_a_newer_server_is_opaque(
    start_server: Callable[..., TestServer], start_proxy: Callable[..., Proxy], valkey: TestServer
) -> None:
    redis = start_server("redis-8.2")
    redis.run("VADD", "v", "VALUES", 3, 1, 2, 3, "element")
    found = details(redis, "v")
    assert (found["type"], found["elements"]) == ("vectorset", 1)
    assert "opaque" in found["unavailable"][0]["reason"]
    valkey.client().set("k", "v")
    proxy = start_proxy(valkey)
    proxy.answer("TYPE", b"+ReJSON-RL\r\n")
    found = details(proxy, "k")
    assert (found["type"], found["elements"]) == ("ReJSON-RL", None)
    assert found["unavailable"][0]["what"] == "value"


def login(server: TestServer, *rules: str) -> tuple[str, dict[str, str]]:
    password = server.add_user("ann", *rules)
    return f"redis://ann@{server.address}", {"REDISCLI_AUTH": password}


def test_a_key_that_this_login_may_not_read(server: TestServer) -> None:
    server.client().set("secret", "v")
    url, env = login(server, "~app:*", "+@all")
    done = cachectl("--url", url, "keys", "show", "secret", env=env).check(5)
    assert "this login may not read this key" in done.stderr
    assert cachectl("--url", url, "keys", "get", "secret", env=env).check(5).out == b""


def test_commands_that_this_login_may_not_run_are_gaps(server: TestServer) -> None:
    fill_types(server)
    url, env = login(server, "~*", "+@all", "-memory", "-object", "-time", "-hscan", "-xinfo")
    for kind, missing in {
        "hash": {"bytes", "encoding", "idle", "freq", "value"},
        "stream": {"bytes", "encoding", "idle", "freq", "first and last entry", "consumer groups"},
    }.items():
        found = cachectl("--url", url, "keys", "show", kind, "-o", "json", env=env).check(0).json
        assert {gap["what"] for gap in found["unavailable"]} == missing
        assert (found["type"], found["elements"]) == (kind, LENGTHS[kind])
    url, env = login(server, "~*", "-@all", "+ping", "+info", "+hello", "+client")
    done = cachectl("--url", url, "keys", "show", "hash", env=env).check(5)
    assert "this login may not run TYPE" in done.stderr


# --- clusters -----------------------------------------------------------------------------------


@pytest.fixture
def cluster_profile(cluster: TestCluster, isolated_home: Path) -> str:
    path = isolated_home / ".config" / "cachectl" / "profiles" / "three.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(f"cluster: {{nodes: [{', '.join(cluster.addresses)}]}}\n")
    return "three"


def test_a_key_of_a_cluster_stands_where_it_is(cluster: TestCluster, cluster_profile: str) -> None:
    for name in (b"a", b"{tag}:b", b"c"):
        cluster.owner(name).run("SET", name, "v")
        args = ("-p", cluster_profile, "keys", "show", name, "-o", "json")
        found = cachectl(*args).check(0).json
        assert found["slot"] == key_slot(name)
        assert found["node"] == cluster.owner(name).address
        assert found["value"] == "v"


def test_a_key_whose_slot_is_on_its_way(cluster: TestCluster, cluster_profile: str) -> None:
    source = cluster.owner(b"h")
    target = next(node for node in cluster.primaries if node is not source)
    source.run("HSET", "h", "f", "v")
    slot = key_slot(b"h")
    cluster.begin_move(slot, source, target)
    cluster.move_keys(slot, source, target)
    base = ("-p", cluster_profile, "keys")
    found = cachectl(*base, "show", "h", "-o", "json").check(0).json
    assert found["value"] == [{"field": "f", "value": "v", "ttl": None}]
    assert cachectl(*base, "get", "h", "--field", "f").check(0).out == b"v"
    cachectl(*base, "show", "{h}nothing").check(1)
    cluster.finish_move(slot, source, target)
    assert cachectl(*base, "show", "h", "-o", "json").check(0).json["node"] == target.address


def test_one_node_of_a_cluster_says_where_the_key_is(cluster: TestCluster) -> None:
    owner = cluster.owner(b"k")
    other = next(node for node in cluster.primaries if node is not owner)
    done = cachectl("--url", other.url, "keys", "show", "k").check(4)
    assert owner.address in done.stderr
    assert "topology: cluster" in done.stderr


# --- names --------------------------------------------------------------------------------------


@given(st.binary() | st.sampled_from(NAMES))
def test_the_name_that_is_shown_can_be_given_back(name: bytes) -> None:
    assert name_of(escape(name), escaped=True) == name
    assert name_of(base64.b64encode(name).decode(), b64=True) == name


@pytest.mark.parametrize(
    ("text", "flags"),
    [("\\", {"escaped": True}), ("?", {"b64": True}), ("a", {"escaped": True, "b64": True})],
)
def test_what_is_no_name_is_a_sentence(text: str, flags: dict[str, bool]) -> None:
    with pytest.raises(UsageError):
        name_of(text, **flags)


@pytest.mark.parametrize(
    "name",
    [b"", b"\x00\x01\xff", b"a\nb", b"\x1b]0;title\x07", b"-rf", "\u202ex".encode(), b"x" * 10_000],
)
def test_hostile_names_are_shown_and_found(any_server: TestServer, name: bytes) -> None:
    any_server.client().set(name, "v")
    found = shown(any_server, "--escaped", "-o", "json", "--", escape(name)).check(0).json
    exact = base64.b64decode(found["key_b64"]) if "key_b64" in found else found["key"].encode()
    assert exact == name
    text = shown(any_server, "--b64", base64.b64encode(name)).check(0).out
    for dangerous in (b"\x1b", b"\x07", b"\0", "\u202e".encode()):
        assert dangerous not in text
    if b"\0" not in name:
        assert cachectl("--url", any_server.url, "keys", "get", "--", name).check(0).out == b"v"


def test_formats(valkey: TestServer) -> None:
    valkey.client().hset("h", mapping={"a": "1"})
    assert json.loads(shown(valkey, "h", "-o", "ndjson").check(0).out)["type"] == "hash"
    assert shown(valkey, "h", "-o", "csv").check(0).stdout.startswith("field,value\nkey,h\n")
    assert "| a" in shown(valkey, "h", "-o", "markdown").check(0).stdout
    assert "type: hash" in shown(valkey, "h", "-o", "yaml").check(0).stdout
