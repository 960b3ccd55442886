"""`cachectl policy`: show, lint, test, init and schema, as their users meet them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from filling import fill
from programs import Outcome, cachectl
from servers import TestServer

from cachectl.analysis.audits.policy_lint import lint
from cachectl.config.policies import load_policy, policy_schema
from cachectl.config.policy_template import EXAMPLES, example_names
from cachectl.values.judging import judge_of

NAMES = example_names()
POLICY = """\
version: 1
rules:
  - {name: profiles, match: "user:{id}:profile", ttl: {tier: medium}, owner: accounts}
  - {name: users, match: "user:*", naming: {max_length: 12}, protected: true}
  - {name: carts, match: "cart:{id}", ttl: required}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "shop.yaml"
    path.write_text(POLICY)
    return path


def policy(*words: str | Path) -> Outcome:
    return cachectl("policy", *words)


# --- What ships -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_example_is_sound(name: str) -> None:
    path = EXAMPLES / f"{name}.yaml"
    found = load_policy(path)
    assert lint(found) == []
    assert all(rule.layer and rule.ttl for rule in found.rules)
    for rule in found.rules:
        if rule.value:
            judge_of(rule.value)
    jsonschema.validate(yaml.safe_load(path.read_text()), policy_schema())
    assert policy("init", "--example", name).check().stdout == path.read_text()


def test_the_examples_that_there_must_be() -> None:
    assert {"django", "layers", "rate-limiter", "sessions"} <= set(NAMES)
    layers = {rule.layer for rule in load_policy(EXAMPLES / "layers.yaml").rules}
    assert layers == {"session", "application", "shared"}
    assert policy("init").check().stdout == (EXAMPLES / "layers.yaml").read_text()
    done = policy("init", "--example", "djngo").check(2)
    assert f"there are {', '.join(NAMES)}" in done.stderr


@pytest.mark.parametrize(
    ("name", "key", "rule"),
    [
        ("django", "shop:1:django.contrib.sessions.cachex5k9", "sessions"),
        ("django", "shop:1:views.decorators.cache.cache_page..GET.abc.en", "pages"),
        ("django", "shop:1:anything", "everything-else"),
        ("sessions", "sess:remember:abc", "remembered"),
        ("sessions", "sess:q8Zk2LmN9xQr", "express"),
        ("sessions", "spring:session:sessions:expires:0b2f", "spring"),
        ("sessions", "spring:session:expirations:1790000000000", "spring-index"),
        ("rate-limiter", "rl:10.0.0.1:1790000000", "fixed-window"),
        ("rate-limiter", "rl:log:alice", "sliding-log"),
        ("layers", "session:q8Zk2LmN9xQr3TvW", "session"),
        ("layers", "user:7:profile", "profile"),
        ("layers", "config:shop", "configuration"),
    ],
)
def test_examples_name_the_keys_that_they_are_about(name: str, key: str, rule: str) -> None:
    done = policy("test", key, "--policy", EXAMPLES / f"{name}.yaml", "-o", "json").check()
    assert done.json["keys"][0]["rule"] == rule


# --- init -----------------------------------------------------------------------------------------


def test_a_first_policy_from_what_is_there(valkey: TestServer, tmp_path: Path) -> None:
    fill(valkey, 3000)
    valkey.run("SET", b"odd\xff:{braces}:*", "x")
    text = cachectl("--url", valkey.url, "policy", "init", "--from-scan").check().stdout
    path = tmp_path / "first.yaml"
    path.write_text(text)
    found = load_policy(path)
    assert len(found.rules) > 10
    audit = cachectl("--url", valkey.url, "ttl", "audit", "--policy", str(path), "-o", "json")
    document = audit.check().json
    # It says what is: nothing is too long, and every key has its rule.
    assert document["no_rule"] == 0
    assert "too_long" not in {one["kind"] for one in document["violations"]}
    lint_words = ("policy", "lint", "--policy", str(path), "--from-scan", "-o", "json")
    linted = cachectl("--url", valkey.url, *lint_words).check(0).json
    assert (linted["keys"], linted["no_rule"]) == (3001, 0)
    assert sum(one["keys"] for one in linted["rules"]) == 3001


def test_the_same_from_a_snapshot(valkey: TestServer, tmp_path: Path) -> None:
    fill(valkey, 1000)
    path = tmp_path / "monday.ndjson.gz"
    cachectl("--url", valkey.url, "scan", "--save", str(path)).check()
    text = policy("init", "--from", path, "--limit", "5").check().stdout
    assert text.startswith("# A first policy, from 1,000 keys of ")
    assert "smaller namespaces have no rule" in text
    file = tmp_path / "first.yaml"
    file.write_text(text)
    assert len(load_policy(file).rules) == 5
    linted = policy("lint", "--policy", file, "--from", path, "-o", "json").check().json
    assert linted["keys"] == 1000
    assert linted["no_rule"] > 0


def test_an_empty_cache_gives_an_empty_policy(valkey: TestServer, tmp_path: Path) -> None:
    text = cachectl("--url", valkey.url, "policy", "init", "--from-scan").check().stdout
    path = tmp_path / "p.yaml"
    path.write_text(text)
    assert load_policy(path).rules == ()


def test_one_source_at_a_time(tmp_path: Path) -> None:
    done = policy("init", "--example", "django", "--from-scan").check(2)
    assert "exclude each other" in done.stderr


# --- show, lint, test, schema ---------------------------------------------------------------------


def test_the_rules_as_a_table(file: Path) -> None:
    shown = policy("show", file, "-o", "table").check().stdout
    assert "give one of them" in policy("show", file, "--policy", file).check(2).stderr
    assert "5m–1h (medium)" in shown
    assert "user:{id}:profile" in shown
    assert all(len(line) <= 80 for line in shown.splitlines())
    found = policy("show", "--policy", file, "-o", "json").check().json
    assert [one["rule"] for one in found["rules"]] == ["profiles", "users", "carts"]
    assert found["rules"][0]["min"] == 300
    assert [one["tier"] for one in found["tiers"]] == ["high", "medium", "low"]


def test_lint_for_ci(file: Path, valkey: TestServer) -> None:
    policy("lint", file).check(0)
    valkey.run("SET", "cart:1", "x")
    words = ("policy", "lint", "--policy", str(file), "--from-scan")
    done = cachectl("--url", valkey.url, *words, "-o", "json").check(0)
    assert [one["subject"] for one in done.json["findings"]] == ["profiles", "users"]
    cachectl("--url", valkey.url, *words, "--fail-on", "info").check(1)
    file.write_text(POLICY + '  - {name: late, match: "user:{id}"}\n')
    done = policy("lint", "--policy", file).check(1)
    assert "WARNING policy.shadowed: this rule never applies" in done.stdout


def test_lint_says_that_a_schema_is_none(file: Path) -> None:
    file.write_text(
        "version: 1\nrules:\n  - {name: a, match: 'a:*', value: {format: json, "
        "schema: {type: objekt}}}\n"
    )
    assert "the JSON Schema is not valid" in policy("lint", "--policy", file).check(1).stdout


def test_which_rule_a_key_falls_under(file: Path) -> None:
    keys = ("user:1:profile", "user:1:settings", "cart:x", "user:1")
    done = policy("test", *keys, "--policy", file, "-o", "json").check(0)
    found = done.json["keys"]
    assert [one["rule"] for one in found] == ["profiles", "users", None, "users"]
    assert found[0]["later"] == ["users"]
    assert found[1]["problems"] == ["is 15 bytes long; at most 12 are allowed"]
    assert found[2]["closest"] == "carts: cart:{id}"
    assert [one["id"] for one in done.json["findings"]] == ["policy.name", "policy.no-rule"]
    policy("test", *keys, "--policy", file, "--fail-on", "warning").check(1)
    policy("test", "user:1", "--policy", file, "--fail-on", "warning").check(0)


def test_the_policy_of_a_profile(file: Path, tmp_path: Path) -> None:
    profile = tmp_path / "prod.yaml"
    profile.write_text("url: redis://127.0.0.1:1\npolicy: shop.yaml\n")
    found = cachectl("-p", str(profile), "policy", "show", "-o", "json").check().json
    assert (found["policy"], found["file"]) == ("shop", str(file))
    assert "there is no policy" in policy("show").check(2).stderr


def test_hostile_names_stay_harmless(file: Path) -> None:
    done = policy("test", r"user:\x1b[31m", "--escaped", "--policy", file, "-o", "table").check()
    assert "\x1b" not in done.stdout


def test_schema_for_editors() -> None:
    found: Any = json.loads(policy("schema").check().stdout)
    assert found == json.loads(json.dumps(policy_schema()))
