"""`ttl set` and `ttl spread` as their users meet them: chosen, planned, guarded, undone."""

from __future__ import annotations

import json

import keyspace
import pytest
from programs import cachectl

from cachectl.cli.ttl.changes import retiming
from cachectl.errors import UsageError
from cachectl.model.changes import NEVER

YES = ("--yes", "-o", "json", "--max-percent", "100")


@pytest.fixture
def cache(any_server):
    client = any_server.client(protocol=2)
    for i in range(30):
        client.set(f"user:{i}", f"v{i}", ex=3000 if i % 2 else None)
        client.hset(f"item:{i}", mapping={"a": i})
        client.expire(f"item:{i}", 600)
    return any_server


def run(server, *words, **options):
    return cachectl("--url", server.url, *words, **options)


def ttls(server, pattern):
    client = server.client(protocol=2)
    return {key: client.ttl(key) for key in client.scan_iter(match=pattern, count=1000)}


@pytest.mark.parametrize(
    ("words", "count", "low", "high"),
    [
        (("user:*", "--ttl", "2h"), 30, 7190, 7200),
        (("user:*", "--ttl", "2h", "--jitter", "50%"), 30, 3590, 7200),
        (("user:*", "--ttl", "100m..110m"), 30, 5990, 6600),
        (("user:*", "--no-ttl", "--tier", "high"), 15, 55, 300),
        (("item:*", "--extend", "1h"), 30, 4180, 4200),
        (("user:*", "--at", "4102444800"), 30, 1e9, 3e9),
        (("--key", "item:1", "--key", "nobody", "--ttl", "9h"), 1, 32390, 32400),
        (("--namespace", "item:{id}", "--ttl", "5m"), 30, 290, 300),
    ],
)
def test_keys_get_the_ttl_that_was_asked_for_and_their_old_one_back(cache, words, count, low, high):
    client = cache.client(protocol=2)
    before = keyspace.truth(client)
    done = run(cache, "ttl", "set", *words, *YES).check().json
    assert (done["schema"], done["changed_ttl"]) == ("cachectl.ttl-run/1", count)
    after = keyspace.truth(client)
    changed = [key for key in after if after[key] != before[key]]
    assert len(changed) == count
    assert all(low <= client.ttl(key) <= high for key in changed)
    assert all(after[key][0] == before[key][0] for key in after)
    undone = run(cache, "undo", "last", "-o", "json").check().json
    assert (undone["restored"], undone["conflicts"]) == (count, 0)
    assert keyspace.truth(client) == before


def test_keys_are_kept_and_given_back_their_ttl(cache):
    before = keyspace.truth(cache.client(protocol=2))
    done = run(cache, "ttl", "set", "user:*", "--persist", *YES).check().json
    assert (done["matched"], done["changed_ttl"], done["fine"]) == (15, 15, 15)
    assert set(ttls(cache, "user:*").values()) == {-1}
    run(cache, "undo", "last").check()
    assert keyspace.truth(cache.client(protocol=2)) == before


def test_a_wave_is_spread_and_comes_together_again(cache):
    done = run(cache, "ttl", "spread", "item:*", "--over", "20m", *YES).check().json
    assert done["changed_ttl"] + done["fine"] == 30
    spread = ttls(cache, "item:*").values()
    assert min(spread) > 590
    assert max(spread) - min(spread) > 600
    run(cache, "undo", "last").check()
    assert all(580 < ttl <= 600 for ttl in ttls(cache, "item:*").values())


POLICY = """
version: 1
rules:
  - name: people
    match: user:*
    ttl: {presence: required, min: 10m, max: 20m, jitter: 50%}
  - name: things
    match: item:*
    ttl: {presence: forbidden}
    protected: true
"""


@pytest.fixture
def policy(tmp_path):
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY)
    return file


def test_the_policy_says_which_ttl_and_the_audit_has_nothing_more_to_say(cache, policy):
    words = ("ttl", "set", "--namespace", "people", "--from-policy", "--policy", policy)
    assert run(cache, *words, *YES).check().json["changed_ttl"] == 30
    assert all(590 <= ttl <= 1200 for ttl in ttls(cache, "user:*").values())
    audit = run(cache, "ttl", "audit", "user:*", "--policy", policy, "-o", "json").check().json
    assert audit["violations"] == []
    again = run(cache, *words, *YES).check().json
    assert (again["matched"], again["fine"]) == (0, 30)


def test_spreading_obeys_the_policy(cache, policy):
    client = cache.client(protocol=2)
    for i in range(30):
        client.expire(f"user:{i}", 1190)
    words = ("ttl", "spread", "user:*", "--over", "1h", "--policy", policy)
    run(cache, *words, *YES).check()
    assert all(590 <= ttl <= 1200 for ttl in ttls(cache, "user:*").values())


# --- as carefully as invalidate ---------------------------------------------------------------


def test_the_guards_are_those_of_invalidate(cache, policy, isolated_home):
    directory = isolated_home / ".config" / "cachectl" / "profiles"
    directory.mkdir(parents=True)
    for name, fields in {
        "prod": {"environment": "production"},
        "safe": {"read_only": True},
        "kept": {"protected": ["user:7"]},
    }.items():
        (directory / f"{name}.yaml").write_text(json.dumps({"url": cache.url, **fields}))
    before = keyspace.truth(cache.client(protocol=2))
    words = ("ttl", "set", "user:*", "--ttl", "1m", "--yes")
    for options in (("-p", "prod"), ("-p", "safe"), ("-p", "kept")):
        cachectl(*options, *words).check(5)
    run(cache, *words, "--max-keys", "5").check(5)
    run(cache, "ttl", "set", "user:*", "--ttl", "1m").check(5)
    run(cache, "ttl", "set", "item:*", "--ttl", "1m", "--yes", "--policy", policy).check(5)
    assert keyspace.truth(cache.client(protocol=2)) == before
    cachectl("-p", "prod", *words, "--confirm", "prod").check()


@pytest.mark.parametrize(
    ("asked", "jitter"),
    [
        ({}, "0%"),
        ({"--ttl": "1m", "--persist": True}, "0%"),
        ({"--ttl": "0"}, "0%"),
        ({"--ttl": "2h..1h"}, "0%"),
        ({"--ttl": "1h..2h"}, "10%"),
        ({"--at": "2001-01-01T00:00Z"}, "0%"),
        ({"--at": "tomorrow"}, "0%"),
        ({"--tier": "nobody"}, "0%"),
        ({"--extend": "1h"}, "150%"),
        ({"--extend": "1h"}, "nan"),
        ({"--persist": True}, "10%"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(asked, jitter):
    options = ("--ttl", "--tier", "--at", "--extend", "--persist", "--from-policy")
    with pytest.raises(UsageError):
        retiming({one: asked.get(one) for one in options}, jitter, None, 1.8e9)


def test_saying_which_ttl_is_asked_for(cache):
    assert "give one of" in run(cache, "ttl", "set", "user:*", "--yes").check(2).stderr
    assert "policy" in run(cache, "ttl", "set", "user:*", "--from-policy", "--yes").check(2).stderr


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("2100-01-01T00:00Z", 4102444800),
        ("2100-01-01", 4102444800),
        ("2100-01-01T02:00+02:00", 4102444800),
        ("4102444800.5", 4102444800.5),
    ],
)
def test_a_moment_can_be_written_in_several_ways(written, seconds):
    options = ("--ttl", "--tier", "--extend", "--persist", "--from-policy")
    asked = {**dict.fromkeys(options), "--at": written}
    change = retiming(asked, "0%", None, 1.8e9)("run")
    assert change.target(b"k", NEVER, 0) == round(seconds * 1000)


def test_a_dry_run_shows_and_a_plan_does_it(cache, tmp_path):
    plan = tmp_path / "plan"
    words = ("ttl", "set", "user:*", "--ttl", "1h", "-o", "json")
    shown = run(cache, *words, "--plan", plan, "--max-percent", "100").check().json
    assert (shown["matched"], shown["fine"], shown["change"]) == (30, 0, "given a TTL of 1h")
    assert shown["loads_first_minute"] is None  # nothing is removed
    client = cache.client(protocol=2)
    client.set("user:1", "newer", keepttl=True)
    client.expire("user:3", 50)
    done = run(cache, "invalidate", "apply", plan, *YES).check(3).json
    assert (done["changed_ttl"], done["changed"]) == (29, 1)  # a value may change, a TTL not
    assert client.get("user:1") == b"newer"
    assert client.ttl("user:3") <= 50


def test_newer_ttls_are_kept_by_undo(cache):
    client = cache.client(protocol=2)
    run(cache, "ttl", "set", "user:*", "--ttl", "2h", *YES).check()
    client.expire("user:1", 77)
    client.persist("user:2")
    client.set("user:3", "newer", keepttl=True)
    client.delete("user:4")
    undone = run(cache, "undo", "last", "-o", "json").check(3).json
    # Without a TTL it is as it was before: nobody can tell who did that.
    assert (undone["restored"], undone["conflicts"], undone["expired"]) == (28, 1, 1)
    assert client.ttl("user:1") <= 77
    assert 0 < client.ttl("user:3") <= 3000
    assert client.get("user:3") == b"newer"


def test_the_members_of_a_tag_set_get_a_ttl_and_the_set_stays(cache):
    client = cache.client(protocol=2)
    client.sadd("tag:x", "user:1", "user:2", "gone:1")
    assert run(cache, "ttl", "set", "--tag", "tag:x", "--ttl", "5m", *YES).json["changed_ttl"] == 2
    assert client.scard("tag:x") == 3
    assert client.ttl("tag:x") == -1


def test_a_lost_reply_is_settled(valkey, start_proxy):
    client = valkey.client(protocol=2)
    client.mset({f"k:{i}": "v" for i in range(200)})
    proxy = start_proxy(valkey)
    proxy.lose_reply("EXEC", nth=3)
    words = ("ttl", "set", "k:*", "--ttl", "1h", *YES)
    done = cachectl("--url", proxy.url, *words).check().json
    assert (done["changed_ttl"], done["unknown"]) == (200, 0)
    assert all(ttl > 3500 for ttl in ttls(valkey, "k:*").values())


def test_on_a_cluster(cluster, tmp_path):
    profile = tmp_path / "cluster.yaml"
    node = cluster.primaries[0]
    profile.write_text(f"host: {node.host}\nport: {node.port}\ntopology: cluster\n")
    client = cluster.client()
    for i in range(100):
        client.set(f"k:{i}", "v", ex=1000)
    words = ("-p", profile, "ttl", "spread", "k:*", "--over", "1h", *YES)
    done = cachectl(*words).check().json
    assert done["changed_ttl"] + done["fine"] == 100
    assert max(client.ttl(f"k:{i}") for i in range(100)) > 2000
    cachectl("-p", profile, "undo", "last").check()
    assert all(900 < client.ttl(f"k:{i}") <= 1000 for i in range(100))
