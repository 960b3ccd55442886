"""What `invalidate` and `undo` take care of: files, logins, policies, runs that were stopped."""

from __future__ import annotations

import fcntl
import json
import re
from pathlib import Path

import keyspace
import pytest
from programs import ROOT, cachectl
from topologies import wait_replicated, wait_until

EVERYTHING = ("--max-percent", "100", "--yes", "-o", "json")


@pytest.fixture
def cache(any_server):
    client = any_server.client(protocol=2)
    for i in range(20):
        client.set(f"app:{i}", f"v{i}", ex=9000)
        client.set(f"secret:{i}", "x")
    return any_server


def run(server, *words, **options):
    return cachectl("--url", server.url, *words, **options)


def profile(home, server, name="here", **fields):
    directory = home / ".config" / "cachectl" / "profiles"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.yaml").write_text(json.dumps({"url": server.url, **fields}))
    return name


# --- files ------------------------------------------------------------------------------------


def test_a_file_that_exists_is_no_place_for_a_plan_and_stays(cache, tmp_path):
    (tmp_path / "plan").write_text("precious")
    done = run(cache, "invalidate", "app:*", "--plan", tmp_path / "plan").check(2)
    assert "exists already" in done.stderr
    assert (tmp_path / "plan").read_text() == "precious"
    run(cache, "invalidate", "app:*", "--plan", tmp_path / "nowhere" / "plan").check(2)


def test_a_plan_does_not_get_round_what_a_profile_protects(cache, isolated_home, tmp_path):
    plan = tmp_path / "plan"
    run(cache, "invalidate", "app:*", "--plan", plan).check()
    name = profile(isolated_home, cache, protected=["app:7"])
    done = cachectl("-p", name, "invalidate", "apply", plan, "--yes").check(5)
    assert "app:7" in done.stderr
    assert cache.client().dbsize() == 40


@pytest.mark.parametrize("words", [(), ("--no-archive",)])
def test_a_giant_that_changed_since_the_plan_is_left_alone(any_server, tmp_path, words):
    client = any_server.client(protocol=2)
    for key in ("giant:1", "giant:2"):
        for start in range(0, 60_000, 20_000):
            names = (f"field {i}" for i in range(start, start + 20_000))
            client.hset(key, mapping=dict.fromkeys(names, "v" * 60))
    plan = tmp_path / "plan"
    run(any_server, "invalidate", "giant:*", "--plan", plan).check()
    client.hset("giant:1", "field 7", "w" * 60)  # as many fields, as many bytes
    done = run(any_server, "invalidate", "apply", plan, *words, *EVERYTHING).check(3).json
    assert (done["removed"], done["changed"]) == (1, 1)
    assert client.keys("*") == [b"giant:1"]
    if not words:
        run(any_server, "undo", "last").check()
        assert client.hlen("giant:2") == 60_000
        assert client.hget("giant:1", "field 7") == b"w" * 60


# --- production -------------------------------------------------------------------------------


def test_without_an_archive_production_wants_its_name_on_the_command_line(cache, isolated_home):
    name = profile(isolated_home, cache, "prod", environment="production")
    words = ("-p", name, "invalidate", "app:*", "--no-archive", "--yes")
    assert "--no-archive" in cachectl(*words).check(5).stderr
    assert cache.client().dbsize() == 40
    cachectl(*words, "--confirm", "prod").check()
    assert cache.client().dbsize() == 20


def test_nothing_is_trimmed_without_asking(cache, isolated_home):
    client = cache.client(protocol=2)
    client.sadd("tag:x", "app:1", "gone:1")
    name = profile(isolated_home, cache, "prod", environment="production")
    words = ("-p", name, "invalidate", "--tag", "tag:x", "--type", "hash")
    cachectl(*words, "--yes").check(5)
    assert client.scard("tag:x") == 2
    cachectl(*words, "--yes", "--confirm", "prod").check()
    assert client.smembers("tag:x") == {b"app:1"}


# --- logins -----------------------------------------------------------------------------------


def documented(*rows):
    """The ACL rules of these rows of `cachectl help acl`, after those that everybody needs."""
    text = (ROOT / "cachectl" / "cli" / "topics" / "acl.md").read_text()
    block = re.search(r"ACL SETUSER cachectl on >PASSWORD (resetkeys.*?)\n\n", text, re.DOTALL)
    rules = block[1].split()
    for row in rows:
        line = next(line for line in text.splitlines() if line.startswith(f"| {row}"))
        rules += re.search(r"`([^`]+)`", line)[1].split()
    return rules


def login(server, *rules):
    """Return words and environment of a login with these rules."""
    password = server.add_user("worker", *rules)
    url = server.url.replace("redis://", "redis://worker@")
    return ("--url", url), {"REDISCLI_AUTH": password}


def test_the_documented_login_removes_and_puts_back(cache):
    words, env = login(
        cache,
        *documented("change keys at all", "remove keys, with", "put them back", "repair TTLs"),
    )
    before = keyspace.truth(cache.client(protocol=2))
    for mode in ((), ("--mode", "expire", "--in", "1h")):
        done = cachectl(*words, "invalidate", "app:*", *mode, *EVERYTHING, env=env).check()
        assert done.json["removed"] == 20
        cachectl(*words, "undo", "last", env=env).check()
        assert keyspace.truth(cache.client(protocol=2)) == before


@pytest.mark.parametrize("words", [(), ("--no-archive",), ("--mode", "expire")])
def test_keys_that_a_login_may_not_read_are_left_alone_and_said(cache, words):
    rules = documented("change keys at all", "remove keys, with", "repair TTLs")
    url, env = login(cache, *rules)
    done = cachectl(*url, "invalidate", "*", *words, *EVERYTHING, env=env).check(3)
    assert done.json["removed"] == 20
    assert done.json["partial"]
    unread = "20 keys" in json.dumps(done.json["unavailable"])
    assert unread or done.json["refused"] == 20  # without copies nobody has to read them
    assert cache.client().dbsize() == (40 if "expire" in words else 20)


@pytest.mark.parametrize("words", [(), ("--no-archive",), ("--mode", "expire")])
def test_keys_that_a_login_may_read_but_not_change_are_left_alone(cache, words):
    rules = documented("change keys at all", "remove keys, with", "repair TTLs")
    url, env = login(cache, *rules, "%R~secret:*")
    done = cachectl(*url, "invalidate", "*", *words, *EVERYTHING, env=env).check(3)
    assert (done.json["removed"], done.json["refused"]) == (20, 20)
    assert "permission" in done.json["troubled"][0]["reason"].lower()
    client = cache.client(protocol=2)
    assert len(client.keys("secret:*")) == 20
    assert client.ttl("secret:1") == -1


def test_a_login_that_can_not_tell_giants_is_refused(cache):
    """Whoever may not ask for sizes would be made to DUMP whatever there is."""
    rules = documented("change keys at all", "remove keys, with")
    rules = [rule for rule in rules if rule != "+memory|usage"]
    url, env = login(cache, *rules)
    done = cachectl(*url, "invalidate", "app:*", "--yes", env=env).check(5)
    assert "MEMORY USAGE" in done.stderr
    assert cache.client().dbsize() == 40


# --- policies ---------------------------------------------------------------------------------

POLICY = """
version: 1
rules:
  - name: apps
    match: app:*
  - name: keys nobody touches
    match: secret:*
    protected: true
"""


@pytest.fixture
def policy(tmp_path):
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY)
    return file


def test_a_namespace_of_the_policy_can_be_meant(cache, policy):
    words = ("invalidate", "--namespace", "apps", "--policy", policy, "--yes", "-o", "json")
    assert run(cache, *words).check().json["removed"] == 20
    assert len(cache.client().keys("secret:*")) == 20


def test_what_the_policy_protects_refuses_the_whole_run(cache, policy):
    done = run(cache, "invalidate", "*", "--policy", policy, *EVERYTHING).check(5)
    assert "keys nobody touches" in done.error["message"]
    assert cache.client().dbsize() == 40


# --- what the database behind has to expect -----------------------------------------------------


def test_a_dry_run_under_lfu_says_how_many_loads_to_expect(cache):
    client = cache.client(protocol=2)
    client.config_set("maxmemory-policy", "allkeys-lfu")
    for i in range(5):
        for _ in range(300):
            client.get(f"app:{i}")
    done = run(cache, "invalidate", "app:*", "--dry-run", "-o", "json").check().json
    assert done["used_last_minute"] is None
    assert 5 <= done["loads_first_minute"] <= 20
    assert "by their frequencies" in run(cache, "invalidate", "app:*", "--dry-run").stderr


# --- quarantine ---------------------------------------------------------------------------------


def test_a_quarantine_is_dropped_by_naming_it_and_not_by_accident(cache):
    client = cache.client(protocol=2)
    done = run(cache, "invalidate", "app:*", "--mode", "rename", "--yes").check()
    pattern = re.search(r"'(cachectl:quarantine:[^']*)'", done.stderr)[1]
    run(cache, "invalidate", "*", "--not", "match=secret:*", *EVERYTHING).check()
    assert client.dbsize() == 40
    assert run(cache, "invalidate", pattern, *EVERYTHING).check().json["removed"] == 20
    assert client.dbsize() == 20


# --- runs ---------------------------------------------------------------------------------------


def stopped_run(server, start_proxy):
    """A run that lost its server and gave up."""
    proxy = start_proxy(server)
    proxy.answer("EXEC", b"-MISCONF the disk is full\r\n", nth=2)
    words = ("invalidate", "app:*", *EVERYTHING)
    return cachectl("--url", proxy.url, *words)


def test_a_stopped_run_is_called_stopped_and_can_be_resumed(cache, start_proxy):
    assert "MISCONF" in stopped_run(cache, start_proxy).check(3).error["message"]
    (listed,) = cachectl("invalidate", "runs", "-o", "json").check().json["runs"]
    assert listed["state"] == "stopped"
    journal = keyspace.last_run() / "journal"
    with journal.open("ab") as file:  # as the process that carries it out would have it
        fcntl.flock(file, fcntl.LOCK_EX)
        (listed,) = cachectl("invalidate", "runs", "-o", "json").check().json["runs"]
        assert listed["state"] == "running"
        assert "another process" in run(cache, "invalidate", "resume", "last").check(6).stderr
    run(cache, "invalidate", "resume", "last").check()
    assert cachectl("invalidate", "show", "last", "-o", "json").json["state"] == "done"


def test_a_stopped_run_is_pruned_like_any_other(cache, start_proxy):
    stopped_run(cache, start_proxy).check(3)
    cachectl("invalidate", "prune", "--older-than", "0s", "--yes").check()
    assert cachectl("invalidate", "runs", "-o", "json").json["runs"] == []


def test_a_run_that_found_nothing_is_not_the_last_one(cache):
    run(cache, "invalidate", "app:*", "--yes").check()
    run(cache, "invalidate", "app:*", "--yes").check()
    assert run(cache, "undo", "last", "-o", "json").check().json["restored"] == 20


def audit_events(home: Path):
    (log,) = home.rglob("audit.log")
    return [json.loads(line)["event"] for line in log.read_text().splitlines()]


def test_every_undo_leaves_an_audit_line_however_it_ends(cache, isolated_home):
    run(cache, "invalidate", "app:*", "--yes").check()
    run(cache, "undo", "last", "--audit-stream", "audit").check()
    assert cache.client(protocol=2).xlen("audit") == 1
    archive = keyspace.last_run() / "archive"
    archive.write_bytes(archive.read_bytes()[:-40] + b"x" * 40)
    run(cache, "undo", "last").check(7)
    assert audit_events(isolated_home) == ["invalidate", "undo", "undo stopped"]


# --- limits -------------------------------------------------------------------------------------


def test_a_replica_that_lags_too_far_stops_the_run(cache, start_server, isolated_home):
    client = cache.client(protocol=2)
    with start_server("valkey-9.1") as replica:
        replica.run("REPLICAOF", cache.host, cache.port)
        wait_until("it follows", lambda: replica.info()["master_link_status"] == "up")
        limits = {"max_lag": "10kb", "critical_lag": "100kb"}
        name = profile(isolated_home, cache, limits=limits)
        words = ("-p", name, "invalidate")
        with replica.suspended():
            client.set("big", "x" * 2_000_000)
            done = cachectl(*words, "app:*", "--yes").check(3)
            assert "bytes behind" in done.stderr
            assert client.dbsize() == 41
        wait_replicated(cache)
        assert cachectl(*words, "resume", "last", "-o", "json").check().json["removed"] == 20


def test_an_archive_that_would_be_too_large_is_refused_before(cache, isolated_home):
    client = cache.client(protocol=2)
    client.set("app:big", "x" * 3_000_000)
    name = profile(isolated_home, cache, limits={"max_archive": "1mb"})
    done = cachectl("-p", name, "invalidate", "app:*", "--yes").check(5)
    assert "max_archive" in done.stderr
    assert client.dbsize() == 41
    cachectl("-p", name, "invalidate", "app:*", "--no-archive", "--yes").check()


def test_more_keys_than_one_run_may_change_are_refused(cache, isolated_home):
    client = cache.client(protocol=2)
    client.mset({f"more:{i}": "x" for i in range(400)})
    for words in (("--max-keys", "399"), ("--max-percent", "90"), ()):
        done = run(cache, "invalidate", "more:*", "--yes", *words).check(5)
        assert "--max-" in done.stderr
    name = profile(isolated_home, cache, limits={"max_keys": 50, "max_percent": 100})
    assert "50" in cachectl("-p", name, "invalidate", "more:*", "--yes").check(5).stderr
    assert client.dbsize() == 440
