"""`invalidate` and `undo` as their users meet them: words in, exit codes and reports out."""

from __future__ import annotations

import json
import time

import pytest
from filling import fill
from programs import cachectl


@pytest.fixture
def cache(any_server):
    """A small cache whose keys are known."""
    client = any_server.client(protocol=2)
    for i in range(40):
        client.set(f"user:{i}:name", f"name {i}", px=3_600_000 if i % 2 else None)
        client.hset(f"product:{i}", mapping={"status": "closed" if i % 4 else "open", "n": i})
    for i in range(200):
        client.set(f"other:{i}", "x")
    client.set("raw:\xff".encode("latin-1"), b"\xff\x00", px=60_000)
    return any_server


def names(server, pattern="*"):
    return set(server.client(protocol=2).scan_iter(match=pattern, count=1000))


def run(server, *words, **options):
    return cachectl("--url", server.url, *words, **options)


def test_removed_and_put_back_with_its_ttl(cache):
    client = cache.client(protocol=2)
    before = {key: (client.dump(key), client.pttl(key)) for key in names(cache, "user:*")}
    done = run(cache, "invalidate", "user:*", "--yes", "-o", "json").check(0).json
    assert (done["matched"], done["removed"], done["already_gone"]) == (40, 40, 0)
    assert not names(cache, "user:*")
    undone = run(cache, "undo", done["run"], "-o", "json").check(0).json
    assert (undone["restored"], undone["conflicts"], undone["failed"]) == (40, 0, 0)
    for key, (payload, ttl) in before.items():
        assert client.dump(key) == payload
        assert abs(client.pttl(key) - ttl) < 30_000
        assert (client.pttl(key) < 0) is (ttl < 0)


def test_a_dry_run_says_all_and_changes_nothing(cache):
    shown = run(cache, "invalidate", "product:*", "--dry-run", "-o", "json").check(0).json
    assert shown["schema"] == "cachectl.invalidate-plan/1"
    assert (shown["matched"], shown["namespaces"][0]["keys"]) == (40, 40)
    assert shown["bytes"] > 0
    assert 0 < shown["share"] < 0.2
    assert len(shown["sample"]) == 10
    assert len(names(cache)) == 281
    plain = run(cache, "invalidate", "product:*", "--dry-run").check(0)
    assert "product:{id}" in plain.stdout
    assert "nothing was changed" in plain.stderr


def test_without_yes_and_without_a_terminal_nothing_happens(cache):
    done = run(cache, "invalidate", "user:*").check(5)
    assert "--yes" in done.stderr
    assert len(names(cache)) == 281


def test_saying_nothing_is_a_usage_error(cache):
    assert "--all" in run(cache, "invalidate", "--yes").check(2).stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--type", "hash"], 40),
        (["user:*", "--no-ttl"], 20),
        (["user:*", "--not", "ttl=none"], 20),
        (["--namespace", "product:{id}"], 40),
        (["--where", "field:status=open"], 10),
        (["product:*", "--not", "field:status=open"], 30),
        (["user:1?:name", "--ttl-under", "2h"], 5),
        (["--literal", "user:1*"], 0),
        (["--key", "user:1:name", "--key", "user:2:name", "--key", "nobody"], 2),
    ],
)
def test_what_is_meant(cache, words, expected):
    done = run(cache, "invalidate", *words, "--dry-run", "-o", "json").check(0).json
    assert done["matched"] == expected
    done = run(cache, "invalidate", *words, "--yes", "-o", "json").check(0).json
    assert done["removed"] == expected
    assert len(names(cache)) == 281 - expected


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("lines", b"user:1:name\nuser:2:name\n"),
        ("nul", b"user:1:name\0user:2:name\0"),
        (
            "ndjson",
            b'{"key": "user:1:name", "type": "x"}\n{"key": "?", "key_b64": "dXNlcjoyOm5hbWU="}\n',
        ),
    ],
)
def test_keys_from_stdin_and_from_a_file(cache, tmp_path, how, text):
    words = ["invalidate", "--keys-format", how, "--yes", "-o", "json", "--keys-from"]
    assert run(cache, *words, "-", input=text).check(0).json["removed"] == 2
    (tmp_path / "list").write_bytes(text)
    again = run(cache, *words, str(tmp_path / "list")).check(0).json
    assert again["removed"] == 0


def test_what_keys_list_prints_can_be_removed(cache):
    listed = run(cache, "keys", "list", "raw:*", "-o", "ndjson").check(0)
    words = ["invalidate", "--keys-from", "-", "--keys-format", "ndjson", "--yes", "-o", "json"]
    assert run(cache, *words, input=listed.out).check(0).json["removed"] == 1
    assert not names(cache, "raw:*")


def test_a_broken_list_is_a_usage_error_with_its_line(cache):
    words = ["invalidate", "--keys-from", "-", "--keys-format", "ndjson", "--yes"]
    done = run(cache, *words, input=b'{"key": "user:1:name"}\nnonsense\n').check(2)
    assert "line 2" in done.stderr
    assert len(names(cache)) == 281


def test_a_tag_set_goes_with_its_members(cache):
    client = cache.client(protocol=2)
    client.sadd("tag:vip", *(f"user:{i}:name" for i in range(5)))
    done = run(cache, "invalidate", "--tag", "tag:vip", "--yes", "-o", "json").check(0).json
    assert done["removed"] == 6
    assert not client.exists("tag:vip")
    run(cache, "undo", "last").check(0)
    assert client.scard("tag:vip") == 5
    assert client.exists("user:3:name")


# --- guards -----------------------------------------------------------------------------------


def profile(isolated_home, server, name="here", **fields):
    directory = isolated_home / ".config" / "cachectl" / "profiles"
    directory.mkdir(parents=True, exist_ok=True)
    facts = {"url": server.url, **fields}
    (directory / f"{name}.yaml").write_text(json.dumps(facts))
    return name


def test_production_wants_its_name(cache, isolated_home):
    prod = profile(isolated_home, cache, "prod", environment="production")
    for words in (["--yes"], ["--yes", "--confirm", "staging"], []):
        done = cachectl("-p", prod, "invalidate", "user:*", *words).check(5)
        assert "prod" in done.stderr
        assert len(names(cache)) == 281
    cachectl("-p", prod, "invalidate", "user:*", "--yes", "--confirm", "prod").check(0)
    assert not names(cache, "user:*")
    assert cachectl("-p", prod, "undo", "last").check(5)
    cachectl("-p", prod, "undo", "last", "--confirm", "prod").check(0)
    assert len(names(cache)) == 281


def test_production_without_copies_is_refused_without_its_name(cache, isolated_home):
    prod = profile(isolated_home, cache, "prod", environment="production")
    cachectl("-p", prod, "invalidate", "user:*", "--no-archive", "--yes").check(5)
    assert len(names(cache)) == 281


def test_a_read_only_profile_refuses(cache, isolated_home):
    name = profile(isolated_home, cache, read_only=True)
    done = cachectl("-p", name, "invalidate", "user:*", "--yes").check(5)
    assert "read-only" in done.stderr
    assert len(names(cache)) == 281


def test_protected_keys_refuse_the_whole_run(cache, isolated_home):
    name = profile(isolated_home, cache, protected=["user:7:*"])
    done = cachectl("-p", name, "invalidate", "user:*", "--yes").check(5)
    assert "user:7:*" in done.stderr
    assert len(names(cache)) == 281
    cachectl("-p", name, "invalidate", "user:*", "--not", "match=user:7:*", "--yes").check(0)
    assert names(cache, "user:*") == {b"user:7:name"}


def test_too_many_keys_are_refused_before_the_first_one(cache):
    done = run(cache, "invalidate", "user:*", "--max-keys", "39", "--yes").check(5)
    assert "40 keys" in done.stderr
    done = run(cache, "invalidate", "--all", "--yes").check(5)
    assert "100 %" in done.stderr
    assert len(names(cache)) == 281
    run(cache, "invalidate", "--all", "--max-percent", "100", "--yes").check(0)
    assert not names(cache)


def test_a_login_that_may_not_remove_is_refused_before_anything(cache):
    password = cache.add_user(
        "reader",
        "~*",
        "-@all",
        "+@read",
        "+info",
        "+select",
        "+scan",
        "+ping",
        "+@transaction",
        "+client|setname",
        "+client|no-touch",
        "+acl|whoami",
        "+time",
        "+role",
    )
    url = cache.url.replace("redis://", "redis://reader@")
    done = cachectl(
        "--url",
        url,
        "invalidate",
        "user:*",
        "--yes",
        env={"REDISCLI_AUTH": password},
        secrets=[password],
    ).check(5)
    assert "UNLINK" in done.stderr
    assert len(names(cache)) == 281


def test_a_replica_refuses_and_names_its_primary(cache, start_server):
    replica = start_server("valkey-9.1")
    replica.run("REPLICAOF", cache.host, cache.port)
    deadline = time.monotonic() + 10
    while replica.info("replication").get("master_link_status") != "up":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    done = run(replica, "invalidate", "user:*", "--yes").check(5)
    assert f"{cache.host}:{cache.port}" in done.stderr


# --- plans ------------------------------------------------------------------------------------


@pytest.fixture
def plan(cache, tmp_path):
    run(cache, "invalidate", "user:*", "--plan", str(tmp_path / "p")).check(0)
    return tmp_path / "p"


def test_a_plan_does_what_it_showed(cache, plan):
    done = run(cache, "invalidate", "apply", str(plan), "--yes", "-o", "json").check(0).json
    assert (done["matched"], done["removed"]) == (40, 40)
    run(cache, "undo", "last").check(0)
    assert len(names(cache)) == 281


def test_keys_that_changed_since_the_plan_are_left_alone(cache, plan):
    client = cache.client(protocol=2)
    client.set("user:1:name", "someone else", keepttl=True)
    client.delete("user:2:name")
    client.delete("user:3:name")
    client.rpush("user:3:name", "another type")
    client.persist("user:5:name")
    done = run(cache, "invalidate", "apply", str(plan), "--yes", "-o", "json").check(3).json
    assert (done["removed"], done["changed"], done["already_gone"]) == (36, 3, 1)
    assert {row["key"] for row in done["troubled"]} == {
        "user:1:name",
        "user:3:name",
        "user:5:name",
    }
    assert client.get("user:1:name") == b"someone else"


def test_an_altered_plan_is_refused(cache, plan):
    data = bytearray(plan.read_bytes())
    data[len(data) // 2] ^= 1
    plan.write_bytes(data)
    assert run(cache, "invalidate", "apply", str(plan), "--yes").check(7)
    assert len(names(cache)) == 281


def test_an_old_plan_and_a_plan_for_another_server_are_refused(cache, tmp_path, start_server):
    old = tmp_path / "old"
    run(cache, "invalidate", "user:*", "--plan", str(old), "--valid-for", "1ms").check(0)
    time.sleep(0.01)
    assert "expired" in run(cache, "invalidate", "apply", str(old), "--yes").check(5).stderr
    fresh = tmp_path / "fresh"
    run(cache, "invalidate", "user:*", "--plan", str(fresh)).check(0)
    other = start_server("valkey-9.1")
    assert "belongs to" in run(other, "invalidate", "apply", str(fresh), "--yes").check(5).stderr
    assert len(names(cache)) == 281


# --- softer ways ------------------------------------------------------------------------------


def test_expiry_is_spread_and_can_be_taken_back(cache):
    client = cache.client(protocol=2)
    before = {key: client.pttl(key) for key in names(cache, "user:*")}
    words = ["--mode", "expire", "--in", "30s", "--spread", "5m", "--yes"]
    run(cache, "invalidate", "user:*", *words).check(0)
    ttls = [client.pttl(key) for key in before]
    assert all(25_000 < ttl <= 330_000 for ttl in ttls)
    assert max(ttls) - min(ttls) > 100_000
    client.set("user:1:name", "newer", ex=10_000)
    undone = run(cache, "undo", "last", "-o", "json").check(3).json
    assert (undone["restored"], undone["conflicts"]) == (39, 1)
    for key, ttl in before.items():
        if key != b"user:1:name":
            assert abs(client.pttl(key) - ttl) < 30_000
    assert client.get("user:1:name") == b"newer"


def test_quarantine_hides_keys_and_gives_them_back(cache):
    run(cache, "invalidate", "user:*", "--mode", "rename", "--yes").check(0)
    assert not names(cache, "user:*")
    assert len(names(cache)) == 281
    run(cache, "invalidate", "--all", "--max-percent", "100", "--dry-run", "-o", "json").check(0)
    run(cache, "undo", "last").check(0)
    assert len(names(cache, "user:*")) == 40


# --- undo -------------------------------------------------------------------------------------


def test_newer_values_are_kept_unless_told_otherwise(cache):
    client = cache.client(protocol=2)
    run(cache, "invalidate", "user:*", "--yes").check(0)
    client.set("user:1:name", "newer")
    undone = run(cache, "undo", "last", "-o", "json").check(3).json
    assert (undone["restored"], undone["conflicts"]) == (39, 1)
    assert client.get("user:1:name") == b"newer"
    run(cache, "undo", "last", "--overwrite", "--yes").check(0)
    assert client.get("user:1:name") == b"name 1"


def test_what_expired_meanwhile_is_said_to_have_expired(cache):
    client = cache.client(protocol=2)
    client.set("short:1", "x", px=6000)
    over = time.monotonic() + 6.1
    client.set("short:2", "x")
    done = run(cache, "invalidate", "short:*", "--yes", "-o", "json").check(0).json
    assert done["removed"] == 2
    time.sleep(max(0, over - time.monotonic()))
    undone = run(cache, "undo", "last", "-o", "json").check(0).json
    assert (undone["restored"], undone["expired"]) == (1, 1)


def test_undo_of_a_part(cache):
    run(cache, "invalidate", "user:*", "--yes").check(0)
    undone = run(cache, "undo", "last", "--match", "user:1?:*", "-o", "json").check(0).json
    assert undone["restored"] == 10
    assert len(names(cache, "user:*")) == 10


def test_without_an_archive_there_is_nothing_to_undo(cache):
    run(cache, "invalidate", "user:*", "--no-archive", "--yes").check(0)
    assert not names(cache, "user:*")
    assert "--no-archive" in run(cache, "undo", "last").check(2).stderr


# --- runs -------------------------------------------------------------------------------------


def test_runs_are_listed_shown_pruned_and_audited(cache, isolated_home):
    run(cache, "invalidate", "user:*", "--yes").check(0)
    run(cache, "invalidate", "product:*", "--yes", "--audit-stream", "audit").check(0)
    listed = cachectl("invalidate", "runs", "-o", "json").check(0).json["runs"]
    assert [one["keys"] for one in listed] == [40, 40]
    shown = cachectl("invalidate", "show", "last", "-o", "json").check(0).json
    assert (shown["state"], shown["archived"], shown["selection"]) == (
        "done",
        40,
        "match=product:*",
    )
    assert cache.client(protocol=2).xlen("audit") == 1
    (log,) = isolated_home.rglob("audit.log")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["outcome"] for line in lines] == [{"done": 40}, {"done": 40}]
    assert all(line["plan"] for line in lines)
    cachectl("invalidate", "prune", "--older-than", "1d", "--yes").check(0)
    assert len(cachectl("invalidate", "runs", "-o", "json").json["runs"]) == 2
    time.sleep(0.01)
    cachectl("invalidate", "prune", "--older-than", "1ms", "--yes").check(0)
    assert cachectl("invalidate", "runs", "-o", "json").json["runs"] == []
    assert "no run" in cachectl("invalidate", "show", "last").check(2).stderr


def test_flush_always_wants_the_name(cache):
    run(cache, "invalidate", "flush").check(5)
    run(cache, "invalidate", "flush", "--confirm", "wrong").check(5)
    assert len(names(cache)) == 281
    name = f"{cache.host}:{cache.port}"
    run(cache, "invalidate", "flush", "--confirm", name).check(0)
    assert not names(cache)


def test_a_second_run_is_told_of_the_first(cache):
    client = cache.client(protocol=2)
    client.set("cachectl:lock", b'{"what": "run x"}', px=60_000)
    done = run(cache, "invalidate", "user:*", "--yes").check(6)
    assert "another run" in done.stderr
    assert len(names(cache, "user:*")) == 40


def test_many_keys_of_every_type_come_back(server):
    client = server.client(protocol=2)
    fill(server, 3000, seed=4)
    before = {key: client.pttl(key) for key in names(server)}
    values = {key: client.execute_command("DEBUG", "DIGEST-VALUE", key) for key in before}
    run(server, "invalidate", "--all", "--max-percent", "100", "--yes").check(0)
    assert not names(server)
    run(server, "undo", "last").check(0)
    assert names(server) == set(before)
    for key, ttl in before.items():
        assert client.execute_command("DEBUG", "DIGEST-VALUE", key) == values[key]
        assert abs(client.pttl(key) - ttl) < 90_000
