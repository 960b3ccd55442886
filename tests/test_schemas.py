"""What the program prints is what its JSON Schemas say, field by field."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from programs import ROOT, Outcome, cachectl
from servers import TestServer

from cachectl.views.schemas import schema, schema_names


def strict(document: Any) -> Any:
    """Return the schema with no field allowed that it does not name.

    The published ones allow more, since additions keep the version; but a field that is printed
    and not described is a defect.
    """
    document = copy.deepcopy(document)

    def close(part: Any) -> None:
        if isinstance(part, dict):
            if "properties" in part and "additionalProperties" not in part:
                part["additionalProperties"] = False
            for value in part.values():
                close(value)
        elif isinstance(part, list):
            for value in part:
                close(value)

    close(document)
    return document


def check(name: str, document: Any) -> None:
    errors = Draft202012Validator(strict(schema(name))).iter_errors(document)
    # Without the schema and the document, which jsonschema would print whole.
    assert [f"{error.json_path}: {error.message}"[:300] for error in errors] == []


@pytest.mark.parametrize("name", schema_names())
def test_every_schema_is_a_schema(name: str) -> None:
    Draft202012Validator.check_schema(schema(name))
    json.dumps(schema(name))


@pytest.mark.parametrize("name", schema_names())
def test_every_field_is_explained(name: str) -> None:
    def explained(properties: dict[str, Any], path: str) -> None:
        for field, part in properties.items():
            assert part.get("description") or part.get("enum") or part.get("type") == "object", (
                f"{path}.{field}"
            )
            explained(part.get("properties", {}), f"{path}.{field}")
            explained(part.get("items", {}).get("properties", {}), f"{path}.{field}[]")

    explained(schema(name)["properties"], name)


def test_every_report_has_a_schema() -> None:
    """A new report's schema goes beside the others, in cachectl/views/schemas."""
    views = ROOT / "cachectl" / "views"
    found = {
        identifier
        for path in [*views.glob("*.py"), *(ROOT / "cachectl" / "cli").glob("*.py")]
        for identifier in re.findall(r'"(cachectl\.[a-z-]+/\d+)"', path.read_text("utf-8"))
    }
    described = {schema(name)["title"] for name in schema_names()}
    assert found <= described, f"without a schema: {sorted(found - described)}"


@pytest.fixture
def filled(valkey: TestServer) -> TestServer:
    admin = valkey.admin
    for number in range(20):
        admin.set(f"session:{number}", "x", ex=600)
        admin.hset(f"user:{number}:profile", mapping={"name": "n", "age": number})
    admin.set(b"\xff\x1b[31m", "binary")
    admin.set("", "the key without a name")
    admin.xadd("stream:orders", {"a": 1})
    return valkey


SCANS = [(), ("--by", "type"), ("--by", "prefix", "--depth", "2"), ("--limit", "1")]


@pytest.mark.parametrize("words", SCANS)
def test_scan(filled: TestServer, words: tuple[str, ...]) -> None:
    document = cachectl("--url", filled.url, "scan", *words, "-o", "json").check().json
    assert document["keys"] == 43
    check("scan", document)


def test_scan_of_an_empty_database(valkey: TestServer) -> None:
    check("scan", cachectl("--url", valkey.url, "scan", "-o", "json").check().json)


@pytest.mark.parametrize(
    "words", [(), ("--limit", "3"), ("--columns", "idle,encoding,elements,namespace,node")]
)
def test_keys_list(filled: TestServer, words: tuple[str, ...]) -> None:
    done = cachectl("--url", filled.url, "keys", "list", *words, "-o", "json")
    check("keys", done.json)


def test_scan_of_a_sample(filled: TestServer) -> None:
    filled.admin.mset({f"sampled:{number}": "x" for number in range(3000)})
    words = ("scan", "--sample", "100", "-o", "json")
    document = cachectl("--url", filled.url, *words).check().json
    assert document["sample"]["size"] > 0
    check("scan", document)


def test_warm_check(tmp_path: Path) -> None:
    manifest = tmp_path / "m.yaml"
    manifest.write_text(
        "manifest: 1\nsources: {a: {range: [1, 2]}, b: {file: x.csv}, c: {cache: {profile: p}}}\n"
        "entries: [{source: a, key: '{n}'}, {source: b, key: '{x}'}, {source: c}]\n"
    )
    check("warm-check", cachectl("warm", "check", str(manifest), "-o", "json").check(1).json)


def test_diff(filled: TestServer, tmp_path: Path) -> None:
    files = [str(tmp_path / "a.ndjson"), str(tmp_path / "b.ndjson")]
    for file in files:
        cachectl("--url", filled.url, "scan", "--save", file).check()
        filled.admin.set("another", "x")
        filled.admin.persist("session:1")
    check("diff", cachectl("diff", *files, "-o", "json").check().json)


KEYS = ["string", "hash", "list", "set", "zset", "stream", "binary", "json", "expiring"]


@pytest.fixture
def typed(filled: TestServer) -> TestServer:
    """One key of each type, and values that are not text."""
    admin = filled.admin
    admin.set("string", "text")
    admin.set("json", b'{"a": [1, 2.5, null]}')
    admin.set("binary", b"\x00\xff")
    admin.set("expiring", "x", ex=100)
    admin.hset("hash", mapping={"field": "value", b"\xff": b"\xfe"})
    admin.hexpire("hash", 100, "field")
    admin.rpush("list", "a", b"\xff")
    admin.sadd("set", "a", b"\xff")
    admin.zadd("zset", {"a": 1.5, b"\xff": 2})
    admin.xadd("stream", {"a": 1, b"\xff": b"\xff"})
    admin.xgroup_create("stream", "group", "0")
    return filled


@pytest.mark.parametrize("key", KEYS)
def test_one_key(typed: TestServer, key: str) -> None:
    for command, name in (("show", "key"), ("get", "value")):
        done = cachectl("--url", typed.url, "keys", command, key, "-o", "json").check()
        check(name, done.json)


def test_one_key_without_its_value(typed: TestServer) -> None:
    words = ("keys", "show", "hash", "--no-value", "-o", "json")
    check("key", cachectl("--url", typed.url, *words).check().json)


def test_invalidate_and_undo(filled: TestServer) -> None:
    url = ("--url", filled.url)

    def run(*words: str) -> Any:
        return cachectl(*url, *words, "-o", "json").check().json

    check("invalidate-plan", run("invalidate", "session:*", "--dry-run"))
    done = run("invalidate", "session:*", "--yes")
    check("invalidate", done)
    check("runs", run("invalidate", "runs"))
    check("run", run("invalidate", "show", done["run"]))
    check("undo", run("undo", done["run"], "--yes"))


def test_warm_run(filled: TestServer, tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    rows = "[{id: 1, t: a}, {id: 2, t: 3}, {id: null, t: 4}]"
    entries = '[{source: s, key: "warm:{id}", ttl: 1h}]'
    path.write_text(f"manifest: 1\nsources: {{s: {{rows: {rows}}}}}\nentries: {entries}\n")
    words = ("--url", filled.url, "warm", "run", path, "-o", "json")
    check("warm-estimate", cachectl(*words, "--dry-run").check().json)
    check("warm", cachectl(*words).check(3).json)
    filled.admin.delete("warm:1")
    verify = ("--url", filled.url, "warm", "verify", path, "-o", "json")
    check("warm-verify", cachectl(*verify).check(3).json)
    check("warm-verify", cachectl(*verify, "--sample", "1").json)
    refresh = ("--url", filled.url, "warm", "refresh", path, "-o", "json")
    check("warm-refresh", cachectl(*refresh).check(3).json)


STATS = {
    "stats": ("-w", "200ms"),
    "stats-watch": ("--watch", "--every", "200ms", "--count", "2"),
    "stats-commands": ("commands", "-w", "200ms"),
    "stats-latency": ("latency", "-w", "200ms"),
    "stats-clients": ("clients", "-w", "200ms"),
    "stats-slow": ("slow",),
}


EVENTS = {
    "stats-hotkeys": ("hotkeys", "-w", "500ms"),
    "stats-events": ("events", "--enable", "--yes", "-w", "200ms"),
    "stats-events-watch": (
        *("events", "--enable", "--yes", "--watch"),
        *("--every", "200ms", "--count", "2"),
    ),
}


@pytest.mark.parametrize("name", EVENTS)
def test_events(valkey: TestServer, name: str) -> None:
    valkey.run("SET", b"k:\xff", "x")
    words = ("stats", *EVENTS[name], "-o", "json")
    check(name, cachectl("--url", valkey.url, *words).check().json)


def test_evictions(valkey: TestServer) -> None:
    words = ("evictions", "--enable", "--yes", "-w", "300ms", "-o", "json")
    check("evictions", cachectl("--url", valkey.url, *words).check().json)


@pytest.mark.parametrize("name", STATS)
def test_stats(server: TestServer, name: str) -> None:
    server.run("CONFIG", "SET", "slowlog-log-slower-than", "0")
    server.run("CONFIG", "SET", "latency-monitor-threshold", "1")
    server.run("SET", b"k:\xff", "x")
    words = ("stats", *STATS[name], "-o", "json")
    check(name, cachectl("--url", server.url, *words).check().json)


def test_profiles() -> None:
    check("profiles", cachectl("profiles", "list", "-o", "json").check().json)
    check("profile", cachectl("profiles", "show", "-o", "json").check().json)
    with_tls = cachectl("--url", "rediss://me@host", "profiles", "show", "-o", "json").check().json
    assert with_tls["tls"]
    check("profile", with_tls)


def test_profiles_check(server: TestServer) -> None:
    document = cachectl("--url", server.url, "profiles", "check", "-o", "json").check().json
    check("profile-check", document)


@pytest.mark.parametrize(
    "words", [("scan", "--nonsense"), ("--url", "redis://127.0.0.1:1", "scan"), ("-p", "x", "scan")]
)
def test_errors(words: tuple[str, ...]) -> None:
    done: Outcome = cachectl(*words, "-o", "json")
    assert done.exit_code in (2, 4)
    check("error", json.loads(done.err))


def test_the_check_is_strict() -> None:
    document = cachectl("profiles", "list", "-o", "json").check().json
    for broken in (
        document | {"surplus": 1},
        document | {"partial": "no"},
        {name: value for name, value in document.items() if name != "unavailable"},
        document | {"profiles": [document["profiles"][0] | {"surplus": 1}]},
    ):
        assert not Draft202012Validator(strict(schema("profiles"))).is_valid(broken)


@pytest.mark.parametrize("words", [(), ("backlog:none", "share:x*", "memory")])
def test_check(valkey: TestServer, words: tuple[str, ...]) -> None:
    words = ("check", *words, "--warn", "latency=60", "--since-last", "-o", "json")
    check("check", cachectl("--url", valkey.url, *words).check(0).json)


def test_check_of_nobody() -> None:
    check("check", cachectl("--url", "redis://127.0.0.1:1", "check", "-o", "json").check(2).json)


TTL = [("audit", "--limit", "1"), ("audit",), ("histogram",), ("storms",)]


@pytest.mark.parametrize("words", TTL)
@pytest.mark.parametrize("sample", [(), ("--sample", "100")])
def test_ttl(
    filled: TestServer, words: tuple[str, ...], sample: tuple[str, ...], tmp_path: Path
) -> None:
    filled.admin.mset({f"sampled:{number}": "x" for number in range(1000)})
    path = tmp_path / "policy.yaml"
    path.write_text("version: 1\nrules: [{name: all, match: 's*', ttl: {tier: high}}]\n")
    policy = ("--policy", str(path)) if words[0] == "audit" else ()
    done = cachectl("--url", filled.url, "ttl", *words, *policy, *sample, "-o", "json").check()
    check(f"ttl-{words[0]}", done.json)


def test_doctor(filled: TestServer, tmp_path: Path) -> None:
    words = ("--url", filled.url, "doctor", "-w", "100ms", "-o", "json")
    check("doctor", cachectl(*words).check().json)
    file = tmp_path / "s.yaml"
    file.write_text("suppressions: [{id: security.*, reason: a test, until: 2999-01-01}]")
    document = cachectl(*words, "--suppressions", file).check().json
    assert document["suppressed"]
    check("doctor", document)


def test_a_profile_with_suppressions_and_ranges(tmp_path: Path) -> None:
    profile = tmp_path / "p.yaml"
    profile.write_text(
        "host: cache\nthresholds: {checks: {keys: {warn: '1:'}}}\n"
        "suppressions: [{id: x.y, reason: known, until: 2999-01-01}]\n"
    )
    document = cachectl("-p", profile, "profiles", "show", "-o", "json").check().json
    assert document["thresholds"]["checks"] == {"keys": {"warn": "1:", "critical": None}}
    check("profile", document)


POLICIES = [("show",), ("lint",), ("lint", "--from-scan"), ("test", "session:1", "x", "user:1:z")]


@pytest.mark.parametrize("words", POLICIES)
def test_policy(filled: TestServer, words: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(
        "version: 1\nrules: [{name: all, match: 's*', ttl: {tier: high}}, {name: u, match: 'u*'}]\n"
    )
    done = cachectl("--url", filled.url, "policy", *words, "--policy", str(path), "-o", "json")
    check("policy" if words == ("show",) else f"policy-{words[0]}", done.check().json)
