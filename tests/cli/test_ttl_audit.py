"""`cachectl ttl audit` against servers in which violations were planted, and the truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from programs import Outcome, cachectl
from servers import TestServer
from topologies import TestCluster

POLICY = """\
version: 1
name: shop
rules:
  - {name: profiles, match: "user:{id}:profile", ttl: {tier: medium}, owner: accounts}
  - {name: sessions, match: "sess:*", ttl: {min: 1m, expiry: sliding}}
  - {name: reference, match: "ref:*", ttl: forbidden}
"""
TRUTH = {
    ("profiles", "user:{id}:profile", "missing"): 40,
    ("profiles", "user:{id}:profile", "too_long"): 20,
    ("profiles", "user:{id}:profile", "too_short"): 30,
    ("reference", "ref:{id}", "unexpected"): 25,
    ("sessions", "sess:{id}", "missing"): 15,
}
KEYS_OF = {
    ("profiles", "missing"): [f"user:{number}:profile" for number in range(1000, 1040)],
    ("profiles", "too_long"): [f"user:{number}:profile" for number in range(2000, 2020)],
    ("profiles", "too_short"): [f"user:{number}:profile" for number in range(3000, 3030)],
    ("reference", "unexpected"): [f"ref:{number}" for number in range(25)],
    ("sessions", "missing"): [f"sess:{number}" for number in range(15)],
}
EXPIRIES = {
    ("profiles", "missing"): None,
    ("profiles", "too_long"): 40_000,
    ("profiles", "too_short"): 120,
    ("reference", "unexpected"): 1000,
    ("sessions", "missing"): None,
}
KEYS = 300 + sum(TRUTH.values()) + 12


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


def plant(client: Any) -> None:
    pipe = client.pipeline(transaction=False)
    for number in range(300):
        pipe.set(f"user:{number}:profile", "x", ex=400 + number)
    for wrong, seconds in EXPIRIES.items():
        for key in KEYS_OF[wrong]:
            pipe.set(key, "x", ex=seconds)
    for number in range(12):
        pipe.set(f"cart:{number}", "x", ex=1000) if number % 2 else pipe.set(f"cart:{number}", "x")
    pipe.execute()


def audit(where: str, policy: Path, *words: str, option: str = "--url") -> Outcome:
    return cachectl(option, where, "ttl", "audit", "--policy", str(policy), *words)


def counts(document: Any) -> dict[tuple[str, str, str], int]:
    return {
        (one["rule"], one["namespace"], one["kind"]): one["keys"] for one in document["violations"]
    }


def test_the_planted_truth_is_found_exactly(server: TestServer, policy: Path) -> None:
    plant(server.admin)
    found = audit(server.url, policy, "-o", "json").check(0).json
    assert found["schema"] == "cachectl.ttl-audit/1"
    assert counts(found) == TRUTH
    assert (found["policy"], found["keys"], found["sample"]) == ("shop", KEYS, None)
    assert found["violating"] == sum(TRUTH.values())
    assert [(one["namespace"], one["keys"], one["no_ttl"]) for one in found["unruled"]] == [
        ("cart:{id}", 12, 6)
    ]
    assert {one["rule"]: (one["keys"], one["violating"]) for one in found["rules"]} == {
        "profiles": (390, 90),
        "sessions": (15, 15),
        "reference": (25, 25),
    }
    for one in found["violations"]:
        # Keys that look alike need not take the same: an allocator rounds as it finds room.
        planted = KEYS_OF[one["rule"], one["kind"]]
        assert one["bytes"] == sum(map(server.admin.memory_usage, planted))
        assert {example["key"] for example in one["examples"]} < set(planted)
        assert len(one["examples"]) == 3
    held = sum(
        one["bytes"] for one in found["violations"] if one["kind"] in ("missing", "too_long")
    )
    assert found["held_bytes"] == held
    long = next(one for one in found["violations"] if one["kind"] == "too_long")
    assert (long["tiers"], long["due"], long["owner"]) == (
        {"low": 20},
        "5m–1h (medium)",
        "accounts",
    )
    short = next(one for one in found["violations"] if one["kind"] == "too_short")
    assert (short["tiers"], short["may_be_age"]) == ({"high": 30}, False)


def test_findings_decide_for_ci(valkey: TestServer, policy: Path) -> None:
    valkey.run("SET", "ref:1", "x")
    valkey.run("SET", "cart:1", "x")
    done = audit(valkey.url, policy, "-o", "json", "--fail-on", "warning").check(0)
    assert [one["id"] for one in done.json["findings"]] == ["ttl.no-rule"]
    audit(valkey.url, policy, "--fail-on", "info").check(1)
    valkey.run("SET", "sess:1", "x")
    done = audit(valkey.url, policy, "-o", "json", "--fail-on", "warning").check(1)
    missing = done.json["findings"][0]
    assert (missing["id"], missing["severity"], missing["subject"]) == (
        *("ttl.missing", "warning", "sessions"),
    )
    assert "ttl set --namespace 'sess:{id}' --no-ttl" in missing["remedy"]


def test_what_people_see(valkey: TestServer, policy: Path) -> None:
    plant(valkey.admin)
    shown = audit(valkey.url, policy, "-o", "table").check(0).stdout
    assert "too long: tier low" in shown
    assert "too short: tier high" in shown
    assert "WARNING ttl.missing: 40 keys never expire, and have to [profiles]" in shown
    assert all(len(line) <= 80 for line in shown.splitlines())
    shown = audit(valkey.url, policy, "-o", "table", "--limit", "1").check(0)
    assert "4 more violations; --limit shows more" in shown.stdout
    clean = audit(valkey.url, policy, "nothing:*").check(0).stdout
    assert "Every key that a rule names has the TTL that it should have." in clean


@pytest.mark.parametrize("flavour", ["redis-8.2", "valkey-9.1"])
def test_a_hash_whose_fields_expire_is_not_without_ttl(
    flavour: str, start_server: Any, policy: Path
) -> None:
    server = start_server(flavour)
    pipe = server.admin.pipeline(transaction=False)
    for number in range(600):
        key = f"user:{number}:profile"
        pipe.hset(key, mapping={"a": "1", "b": "2"})
        fields = {0: ("a", "b"), 1: ("a",), 2: ()}[number % 3]
        if fields:
            pipe.execute_command("HEXPIRE", key, 1000, "FIELDS", len(fields), *fields)
    pipe.execute()
    server.run("HSET", "user:1000:profile", "a", "1")
    server.run("HEXPIRE", "user:1000:profile", 100_000, "FIELDS", 1, "a")
    server.run("HSET", "ref:1", "a", "1")
    server.run("HEXPIRE", "ref:1", 1000, "FIELDS", 1, "a")
    before = server.info("stats")["keyspace_hits"]
    found = audit(server.url, policy, "-o", "json").check(0).json
    assert {(one["rule"], one["kind"]): one["keys"] for one in found["violations"]} == {
        ("profiles", "missing"): 200,
        ("profiles", "partly"): 200,
        ("profiles", "too_long"): 1,
        ("reference", "unexpected"): 1,
    }
    # TYPE, PTTL and OBJECT IDLETIME of each key, and of the hashes no more than three look-ups.
    assert server.info("stats")["keyspace_hits"] - before <= 602 * 3 + 602 * 3
    sampled = audit(server.url, policy, "--sample", "200", "-o", "json").check(0).json
    kinds = {one["kind"]: one for one in sampled["violations"] if one["rule"] == "profiles"}
    for kind in ("partly", "missing"):
        # Four standard errors: this must not fail by chance.
        assert kinds[kind]["keys"] == pytest.approx(200, abs=4 * 17)


def test_a_sample_says_how_sure_it_is(valkey: TestServer, policy: Path) -> None:
    plant(valkey.admin)
    found = audit(valkey.url, policy, "--sample", "200", "-o", "json").check(0).json
    assert found["sample"]["size"] >= 200
    assert found["keys"] == KEYS
    inside = [
        one["keys_low"] <= TRUTH[one["rule"], one["namespace"], one["kind"]] <= one["keys_high"]
        for one in found["violations"]
    ]
    # One of five intervals misses now and then, three of five do not.
    assert sum(inside) >= len(inside) - 2
    everything = audit(valkey.url, policy, "--sample", "100000", "-o", "json").check(0).json
    assert counts(everything) == TRUTH


@pytest.mark.parametrize("flavour", ["redis-7.0", "valkey-9.1"])
def test_expired_and_still_counted(flavour: str, start_server: Any, policy: Path) -> None:
    server = start_server(flavour, "--enable-debug-command", "yes")
    server.run("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    client = server.admin
    for number in range(50):
        client.set(f"ref:{number}", "x", px=1)
    for number in range(70):
        client.set(f"ref:{1000 + number}", "x")
    assert client.dbsize() == 120
    found = audit(server.url, policy, "-o", "json").check(0).json
    assert (found["keys"], found["expired_counted"], found["violating"]) == (70, 50, 0)
    again = audit(server.url, policy, "-o", "json").check(0).json
    assert (again["keys"], again["expired_counted"]) == (70, 0)


def test_a_cluster_is_one_cache(cluster: TestCluster, policy: Path, tmp_path: Path) -> None:
    plant(cluster.client())
    profile = tmp_path / "shards.yaml"
    nodes = ", ".join(cluster.addresses)
    profile.write_text(f"cluster: {{nodes: [{nodes}]}}\npolicy: policy.yaml\n")
    found = cachectl("-p", str(profile), "ttl", "audit", "-o", "json").check(0).json
    assert counts(found) == TRUTH


def test_an_lfu_server_has_no_idle_times(start_server: Any, policy: Path) -> None:
    server = start_server("valkey-9.1", "--maxmemory-policy", "allkeys-lfu", "--maxmemory", "100mb")
    plant(server.admin)
    found = audit(server.url, policy, "-o", "json").check(0).json
    assert counts(found) == TRUTH
    assert [one["what"] for one in found["unavailable"]] == ["idle"]


def test_without_a_policy_there_is_nothing_to_compare_with(valkey: TestServer) -> None:
    done = cachectl("--url", valkey.url, "ttl", "audit").check(2)
    assert "there is no policy" in done.stderr
    assert "cachectl policy init" in done.stderr


def test_an_invalid_policy_is_said_before_anybody_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("version: 1\nrules: [{name: a, match: 'a:*', ttl: {tier: medum}}]\n")
    done = audit("redis://127.0.0.1:1", path).check(2)
    assert "did you mean medium?" in done.stderr


@pytest.mark.parametrize("words", [("audit",), ("audit", "--sample", "50"), ("histogram",)])
def test_a_login_that_may_not_ask_for_ttls(
    words: tuple[str, ...], valkey: TestServer, policy: Path
) -> None:
    plant(valkey.admin)
    valkey.add_user("blind", "on", "~*", "+@all", "-pttl", password="x")
    url = valkey.url.replace("://", "://blind@")
    named = ("--policy", str(policy)) if words[0] == "audit" else ()
    done = cachectl("--url", url, "ttl", *words, *named, env={"REDISCLI_AUTH": "x"}).check(5)
    assert "may not run PTTL" in done.stderr
    assert "+pttl" in done.stderr


def test_keys_that_this_login_may_not_read_are_said(valkey: TestServer, policy: Path) -> None:
    plant(valkey.admin)
    valkey.add_user("half", "on", "~user:*", "+@all", password="x")
    url = valkey.url.replace("://", "://half@")
    words = ("ttl", "audit", "--policy", str(policy), "-o", "json")
    done = cachectl("--url", url, *words, env={"REDISCLI_AUTH": "x"}).check(0)
    assert (done.json["keys"], done.json["unreadable"]) == (390, 52)


def test_the_distribution_of_ttls(valkey: TestServer) -> None:
    plant(valkey.admin)
    found = cachectl("--url", valkey.url, "ttl", "histogram", "-o", "json").check(0).json
    assert (found["schema"], found["keys"], found["no_ttl"]) == (
        *("cachectl.ttl-histogram/1", KEYS, 61),
    )
    profiles = {
        (one["from"], one["to"]): one["keys"]
        for one in found["bins"]
        if one["namespace"] == "user:{id}:profile"
    }
    assert profiles == {(60, 300): 30, (300, 900): 300, (21_600, 86_400): 20}
    shown = cachectl("--url", valkey.url, "ttl", "histogram", "-o", "table").check(0).stdout
    assert any(
        line.split()[0] == "5m–15m" and line.endswith(" 300")
        for line in shown.splitlines()
        if line.strip()
    )
    words = ("ttl", "histogram", "user:*", "--sample", "100", "-o", "json")
    sampled = cachectl("--url", valkey.url, *words).check(0).json
    (space,) = sampled["namespaces"]
    assert space["namespace"] == "user:{id}:profile"
    assert sum(one["keys"] for one in sampled["bins"]) + space["no_ttl"] == pytest.approx(
        space["keys"], abs=5
    )
