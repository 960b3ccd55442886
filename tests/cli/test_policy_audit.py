"""`cachectl policy audit` against servers in which violations were planted: the truth is known."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from programs import Outcome, cachectl
from servers import TestServer
from topologies import TestCluster

POLICY = r"""
version: 1
name: shop
rules:
  - {name: users, match: "user:{id}", types: [string], max_bytes: 200b, value: json, owner: web}
  - name: carts
    match: ["cart:{*}", '\{cart\}:*']
    types: [hash, set]
    max_elements: 3
    naming: {max_length: 12, characters: "a-z0-9:", hash_tag: forbidden}
    value: integer
  - {name: reference, match: "ref:*", max_memory_share: 10%, protected: true, types: [string]}
"""
TRUTH = {
    ("users", "user:{id}", "wrong_type"): 7,
    ("users", "user:{id}", "too_large"): 3,
    ("users", "user:{id}", "poisoned"): 5,
    ("carts", "cart:{id}", "too_many_elements"): 4,
    ("carts", "cart:{id}", "poisoned"): 8,
    ("carts", "cart:A_{id}", "badly_named"): 6,
    ("carts", "cart:{id}", "badly_named"): 2,
    ("carts", "{cart}:{id}", "badly_named"): 1,
    ("reference", "ref:h", "wrong_type"): 1,
    ("reference", None, "share_exceeded"): 10,
}
KEYS = 100 + 15 + 40 + 4 + 8 + 6 + 2 + 1 + 10 + 11


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


def plant(client: Any) -> None:
    pipe = client.pipeline(transaction=False)
    for number in range(100):
        pipe.set(f"user:{number}", '{"a": 1}')
    for number in range(5):
        pipe.set(f"user:{1000 + number}", '{"a": secret')
    for number in range(7):
        pipe.rpush(f"user:{2000 + number}", "x")
    for number in range(3):
        pipe.set(f"user:{3000 + number}", '"' + "x" * 500 + '"')
    for number in range(40):
        pipe.hset(f"cart:{number}", mapping={"a": 1, "b": 2})
    for number in range(4):
        pipe.hset(f"cart:{100 + number}", mapping={str(field): 1 for field in range(6)})
    for number in range(8):
        pipe.sadd(f"cart:{200 + number}", 1, "x") if number % 2 else pipe.hset(
            f"cart:{200 + number}", "a", "x"
        )
    for number in range(6):
        pipe.hset(f"cart:A_{number}", "a", 1)
    for number in range(2):
        pipe.hset(f"cart:123456789{number}", "a", 1)
    pipe.hset("{cart}:1", "a", 1)
    for number in range(9):
        pipe.set(f"ref:{number}", "x" * 2000)
    pipe.hset("ref:h", "a", "b")
    for number in range(11):
        pipe.set(f"other:{number}", "x")
    pipe.execute()


def audit(where: str, policy: Path, *words: str, option: str = "--url") -> Outcome:
    return cachectl(option, where, "policy", "audit", "--policy", str(policy), *words)


def counts(document: Any) -> dict[tuple[str, str | None, str], int]:
    return {
        (one["rule"], one["namespace"], one["kind"]): one["keys"] for one in document["violations"]
    }


def test_the_planted_truth_is_found_exactly(server: TestServer, policy: Path) -> None:
    plant(server.admin)
    done = audit(server.url, policy, "--values", "1000", "-o", "json")
    truth, violating = dict(TRUTH), {"users": 10, "carts": 13, "reference": 1}
    if server.flavour in ("redis-6.2", "redis-7.0"):
        # Without NO-TOUCH nobody asks for the elements of all keys: it would make them look used.
        found = done.check(3).json
        assert [one["what"] for one in found["unavailable"]] == ["elements"]
        violating["carts"] -= truth.pop(("carts", "cart:{id}", "too_many_elements"))
    else:
        found = done.check(0).json
    assert found["schema"] == "cachectl.policy-audit/1"
    assert counts(found) == truth
    assert (found["policy"], found["keys"], found["sample"]) == ("shop", KEYS, None)
    assert (found["violating"], found["protected"], found["no_rule"]) == (
        *(sum(violating.values()), 10, 11),
    )
    assert [(one["namespace"], one["keys"]) for one in found["unruled"]] == [("other:{id}", 11)]
    rules = {one["rule"]: one for one in found["rules"]}
    shown = ("keys", "violating", "values_read", "poisoned", "protected")
    assert {name: tuple(one[field] for field in shown) for name, one in rules.items()} == {
        "users": (115, violating["users"], 108, 5, False),
        "carts": (61, violating["carts"], 61, 8, False),
        "reference": (10, violating["reference"], 0, None, True),
    }
    usage = {key: server.admin.memory_usage(key) for key in server.admin.scan_iter()}
    total = sum(usage.values())
    assert found["bytes"] == total
    held = sum(size for key, size in usage.items() if key.startswith(b"ref:"))
    assert rules["reference"]["share"] == pytest.approx(held / total)
    for one in found["violations"]:
        if one["kind"] == "too_large":
            assert one["bytes"] == sum(usage[b"user:%d" % (3000 + number)] for number in range(3))


def test_examples_say_what_is_wrong_and_nothing_of_the_value(
    valkey: TestServer, policy: Path
) -> None:
    plant(valkey.admin)
    done = audit(valkey.url, policy, "-o", "json").check(0)
    assert "secret" not in done.stdout
    problems = {
        (one["rule"], one["kind"]): one["examples"][0]["problem"]
        for one in done.json["violations"]
        if one["examples"]
    }
    assert problems["users", "wrong_type"] == "is of type list"
    assert problems["carts", "too_many_elements"] == "has 6 elements"
    assert problems["users", "poisoned"].startswith("is not JSON: expecting value")
    assert problems["carts", "poisoned"] == "has an element that is not an integer of 64 bits"
    named = [one for one in done.json["violations"] if one["kind"] == "badly_named"]
    assert {example["problem"] for one in named for example in one["examples"]} == {
        "has characters other than [a-z0-9:]",
        "is 15 bytes long; at most 12 are allowed",
        "has characters other than [a-z0-9:]; has a hash tag",
    }


def test_remedies_choose_just_the_keys_that_are_wrong(valkey: TestServer, policy: Path) -> None:
    plant(valkey.admin)
    for number in range(9):
        valkey.run("RPUSH" if number % 2 else "SET", f"cart:{500 + number}", "x" * 100)
    found = audit(valkey.url, policy, "-o", "json").check(0).json
    remedies = {(one["id"], one["subject"]): one["remedy"] for one in found["findings"]}
    wanted = {
        ("policy.wrong-type", "carts"): 9,
        ("policy.too-many-elements", "carts"): 4,
    }
    for finding, keys in wanted.items():
        words = shlex.split(remedies[finding])
        assert words[0] == "cachectl"
        assert "--dry-run" in words
        assert cachectl(*words[1:], "-o", "json").check(0).json["matched"] == keys
    # No run may change these.
    words = shlex.split(remedies["policy.wrong-type", "reference"])
    assert words[3:5] == ["keys", "list"]
    assert cachectl(*words[1:], "-o", "json").check(0).json["keys"][0]["key"] == "ref:h"
    assert remedies["policy.too-large", "users"].endswith("--larger-than 200 --dry-run")
    cachectl(*shlex.split(remedies["policy.badly-named", "carts"])[1:]).check(0)
    assert "keys show user:100" in remedies["policy.poisoned", "users"]


def test_findings_decide_for_ci(valkey: TestServer, policy: Path) -> None:
    valkey.run("SET", "user:1", "{}")
    valkey.run("SET", "other:1", "x")
    done = audit(valkey.url, policy, "-o", "json", "--fail-on", "warning").check(0)
    assert [one["id"] for one in done.json["findings"]] == ["policy.no-rule"]
    valkey.run("SET", "user:2", "{")
    done = audit(valkey.url, policy, "-o", "json", "--fail-on", "warning").check(1)
    poisoned = done.json["findings"][0]
    assert (poisoned["id"], poisoned["severity"], poisoned["subject"]) == (
        *("policy.poisoned", "warning", "users"),
    )


def test_what_people_see(valkey: TestServer, policy: Path) -> None:
    plant(valkey.admin)
    shown = audit(valkey.url, policy, "-o", "table", "--limit", "1").check(0).stdout
    assert "WARNING policy.too-large: 3 keys larger than allowed [users]" in shown
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert "9 more violations; --limit shows more" in shown
    clean = " ".join(audit(valkey.url, policy, "nothing:*", "-o", "table").check(0).stdout.split())
    assert "Every key that a rule names is what the rule says" in clean
    assert "shares of the memory are not judged" in clean


def test_values_are_read_without_a_trace_or_not_at_all(start_server: Any, policy: Path) -> None:
    old = start_server("redis-7.0")
    plant(old.admin)
    before = old.info("stats")["keyspace_hits"]
    found = audit(old.url, policy, "-o", "json").check(3).json
    assert found["values_read"] == 0
    assert {one["what"] for one in found["unavailable"]} == {"elements", "values"}
    assert old.info("stats")["keyspace_hits"] - before == KEYS  # TYPE of each
    done = audit(old.url, policy, "--values", "10", "-o", "table").check(3)
    read = "20 values were read, which makes their keys look used"
    assert read in " ".join(done.stdout.split())


def test_some_values_say_how_many_are_poisoned(valkey: TestServer, policy: Path) -> None:
    pipe = valkey.admin.pipeline(transaction=False)
    for number in range(2000):
        pipe.set(f"user:{number}", "{}" if number % 4 else "{")
    pipe.execute()
    found = audit(valkey.url, policy, "--values", "400", "-o", "json").check(0).json
    (one,) = (one for one in found["violations"] if one["kind"] == "poisoned")
    assert found["values_read"] == 400
    # Five standard errors of 400 draws: this must not fail by chance.
    assert one["keys"] == pytest.approx(500, abs=5 * 40)
    assert 0 < one["keys_low"] < one["keys"] < one["keys_high"] < 2000
    assert one["bytes_low"] < one["bytes"] < one["bytes_high"]
    assert audit(valkey.url, policy, "--values", "0", "-o", "json").json["violations"] == []


def test_a_sample_says_how_sure_it_is(valkey: TestServer, policy: Path) -> None:
    pipe = valkey.admin.pipeline(transaction=False)
    for number in range(3000):
        if number % 10 == 0:
            pipe.rpush(f"user:{number}", "x")
        else:
            pipe.set(f"user:{number}", "{" if number % 10 == 1 else "{}")
    for number in range(1000):
        pipe.set(f"ref:{number}", "x" * 100)
    pipe.execute()
    found = audit(valkey.url, policy, "--sample", "1000", "-o", "json").check(0).json
    assert found["sample"]["size"] >= 1000
    assert found["keys"] == 4000
    kinds = {one["kind"]: one for one in found["violations"]}
    assert set(kinds) == {"wrong_type", "poisoned", "share_exceeded"}
    # Five standard errors each.
    assert kinds["wrong_type"]["keys"] == pytest.approx(300, abs=5 * 35)
    assert kinds["poisoned"]["keys"] == pytest.approx(300, abs=5 * 70)
    share = kinds["share_exceeded"]
    assert share["share_low"] < share["share"] < share["share_high"]
    assert share["keys_low"] <= share["keys"] <= share["keys_high"]
    everything = audit(valkey.url, policy, "--sample", "100000", "-o", "json").check(0).json
    assert counts(everything)["users", "user:{id}", "wrong_type"] == 300


def test_a_cluster_is_one_cache(cluster: TestCluster, policy: Path, tmp_path: Path) -> None:
    plant(cluster.client())
    profile = tmp_path / "shards.yaml"
    nodes = ", ".join(cluster.addresses)
    profile.write_text(f"cluster: {{nodes: [{nodes}]}}\npolicy: policy.yaml\n")
    found = cachectl("-p", str(profile), "policy", "audit", "-o", "json").check(0).json
    assert counts(found) == TRUTH


@pytest.mark.parametrize(
    ("denied", "lost", "kinds"),
    [
        ("-memory", {"bytes"}, {"wrong_type", "too_many_elements", "badly_named", "poisoned"}),
        ("-type", {"type", "elements"}, {"too_large", "badly_named", "share_exceeded"}),
        (
            "-getrange",
            {"values"},
            {"wrong_type", "too_large", "too_many_elements", "badly_named", "share_exceeded"},
        ),
    ],
)
def test_a_login_that_may_not_see_all_of_it(
    denied: str, lost: set[str], kinds: set[str], valkey: TestServer, policy: Path
) -> None:
    plant(valkey.admin)
    valkey.add_user("blind", "on", "~*", "+@all", denied, password="x")
    url = valkey.url.replace("://", "://blind@")
    words = ("policy", "audit", "--policy", str(policy), "-o", "json")
    found = cachectl("--url", url, *words, env={"REDISCLI_AUTH": "x"}).check(3).json
    assert found["partial"]
    assert lost <= {one["what"] for one in found["unavailable"]}
    assert kinds == {one["kind"] for one in found["violations"]}


def test_without_a_policy_there_is_nothing_to_compare_with(valkey: TestServer) -> None:
    done = cachectl("--url", valkey.url, "policy", "audit").check(2)
    assert "there is no policy" in done.stderr
