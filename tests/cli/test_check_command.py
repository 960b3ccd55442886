"""`check` on real servers: every threshold is met and missed, and each ending is a plugin's."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from programs import Outcome, cachectl, cachectl_started, cachectl_tty
from servers import TestServer
from topologies import TestCluster, wait_until

FAST = ("--since-last", "--skip", "latency")
"""No window and no probe: what changed since the last call."""
AS_LONG_AS_IT_TAKES = ("--warn", "latency=60")
"""For a machine that has other things to do."""


def check(server: TestServer, *words: str, **options: Any) -> Outcome:
    return cachectl("--url", server.url, "check", *words, **options)


def states(done: Outcome) -> dict[str, str]:
    return {one["check"]: one["state"] for one in done.json["checks"]}


def lookups(server: TestServer, hits: int, misses: int) -> None:
    client = server.client()
    client.set("known", "x")
    pipe = client.pipeline(transaction=False)
    for number in range(hits + misses):
        pipe.get("known" if number < hits else f"absent:{number}")
    pipe.execute()


def test_a_quiet_server_is_ok_in_one_line_with_performance_data(server: TestServer) -> None:
    done = check(server, "--window", "1s", *AS_LONG_AS_IT_TAKES).check(0)
    first = done.stdout.splitlines()[0]
    assert first.startswith("CACHE OK - ")
    assert "'hit_ratio'=U;80:;;0;100 'latency'=" in first
    assert done.stderr == ""
    assert "\x1b" not in done.stdout


def test_hit_ratio_over_the_time_since_the_last_call(any_server: TestServer) -> None:
    lookups(any_server, 0, 500)
    check(any_server, *FAST).check(1)
    lookups(any_server, 900, 100)
    assert "90.0% of 1,000 look-ups" in check(any_server, *FAST).check(0).stdout
    lookups(any_server, 700, 300)
    done = check(any_server, *FAST, "-o", "json").check(1)
    (ratio,) = [one for one in done.json["checks"] if one["check"] == "hit_ratio"]
    assert (ratio["value"], ratio["state"], ratio["warn"]) == (70.0, "WARNING", "80:")
    lookups(any_server, 700, 300)
    check(any_server, *FAST, "--crit", "hit_ratio=75:").check(2)
    lookups(any_server, 700, 300)
    check(any_server, *FAST, "--warn", "hit_ratio=70:").check(0)


def test_a_stats_in_between_does_not_shorten_the_window(valkey: TestServer) -> None:
    check(valkey, *FAST)
    lookups(valkey, 800, 200)
    cachectl("--url", valkey.url, "stats", "--since-last").check(0)
    assert "80.0% of 1,000 look-ups" in check(valkey, *FAST).stdout


def test_a_reset_and_a_restart_are_noticed(start_server: Callable[..., TestServer]) -> None:
    server = start_server("redis-7.0")
    lookups(server, 1000, 0)
    check(server, *FAST)
    server.run("CONFIG", "RESETSTAT")
    lookups(server, 90, 10)
    done = check(server, *FAST, "-o", "plain").check(0)
    assert "counters reset" in done.stderr
    assert "90.0% of 100 look-ups" in done.stdout
    server.kill9()
    server.restart()
    lookups(server, 50, 150)
    done = check(server, *FAST, "-o", "plain").check(1)
    assert "was restarted" in done.stderr
    assert "25.0% of 200 look-ups" in done.stdout


def test_memory_against_maxmemory_and_what_evicts_nothing(valkey: TestServer) -> None:
    valkey.run("DEBUG", "POPULATE", "30000", "k", "100")
    used = int(valkey.info("memory")["used_memory"])
    for share, policy, code in [
        (0.5, "noeviction", 0),
        (0.9, "noeviction", 1),
        (0.97, "noeviction", 2),
        (0.97, "allkeys-lru", 1),
    ]:
        valkey.run("CONFIG", "SET", "maxmemory-policy", policy)
        valkey.run("CONFIG", "SET", "maxmemory", str(int(used / share)))
        check(valkey, "memory", "--since-last").check(code)


def test_evictions_and_expirations(valkey: TestServer) -> None:
    check(valkey, *FAST)
    client = valkey.client()
    pipe = client.pipeline(transaction=False)
    for number in range(200):
        pipe.set(f"short:{number}", "x", px=1)
    pipe.execute()
    wait_until("all are expired", lambda: int(valkey.info("stats")["expired_keys"]) == 200)
    used = int(valkey.info("memory")["used_memory"])
    valkey.run("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    valkey.run("CONFIG", "SET", "maxmemory", str(used + 300_000))
    for number in range(1000):
        pipe.set(f"k:{number}", "x" * 1000)
    pipe.execute()
    words = ("--warn", "evictions=0", "--crit", "expirations=0", "-o", "json")
    found = states(check(valkey, *FAST, *words).check(2))
    assert (found["evictions"], found["expirations"]) == ("WARNING", "CRITICAL")


def test_clients_and_keys(valkey: TestServer) -> None:
    client = valkey.client()
    valkey.admin.mset({f"k:{number}": "x" for number in range(10)})
    words = ("--warn", "connected_clients=1", "--warn", "keys=20:", "--crit", "blocked_clients=0")
    assert client.ping()
    waiting = valkey.client()
    connection = waiting.connection_pool.get_connection()
    connection.send_command("BLPOP", "nothing:here", "0")
    wait_until("it waits", lambda: int(valkey.info("clients")["blocked_clients"]) == 1)
    found = states(check(valkey, *FAST, *words, "-o", "json").check(2))
    connection.disconnect()
    wanted = {"connected_clients": "WARNING", "keys": "WARNING", "blocked_clients": "CRITICAL"}
    assert wanted.items() <= found.items()


def test_latency_is_our_own_round_trip(
    valkey: TestServer, start_proxy: Callable[..., Any], isolated_home: Path
) -> None:
    proxy = start_proxy(valkey, delay=0.01)
    words = ("check", "latency", "-w", "4s", "--warn", "latency=0.005", "--crit", "latency=30")
    done = cachectl("--url", f"redis://{proxy.address}", *words, timeout=60).check(1)
    assert "latency: p99 " in done.stdout


def test_replicas_and_their_lag(start_server: Callable[..., TestServer]) -> None:
    primary, replica = start_server("valkey-9.1"), start_server("valkey-9.1")
    assert "replication_lag" not in states(check(primary, *FAST, "-o", "json").check(0))
    replica.run("REPLICAOF", primary.host, str(primary.port))
    wait_until("it is online", lambda: "online" in str(primary.info("replication")))
    found = states(check(primary, *FAST, "-o", "json").check(0))
    assert found["replication_lag"] == "OK"
    with replica.suspended():
        pipe = primary.client().pipeline(transaction=False)
        for _ in range(50):
            pipe.set("k", "x" * 10_000)
        pipe.execute()
        words = ("replication_lag", "--since-last", "--warn", "replication_lag=100000")
        done = check(primary, *words).check(1)
    assert "bytes behind, 1 replica" in done.stdout
    primary.kill9()
    wait_until("it is noticed", lambda: replica.info("replication")["master_link_status"] == "down")
    assert "has lost its primary" in check(replica, "replication_lag", "--since-last").stdout


def test_persistence_only_where_it_is_on(any_server: TestServer) -> None:
    asked = ("persistence_age", "--since-last")
    assert "persistence_age" not in states(check(any_server, *FAST, "-o", "json").check(0))
    assert "persistence is off" in check(any_server, *asked).check(0).stdout
    any_server.run("CONFIG", "SET", "save", "3600 1000000")
    assert states(check(any_server, *FAST, "-o", "json").check(0))["persistence_age"] == "OK"
    old = check(any_server, *asked, "--warn", "persistence_age=@0:").check(1)
    assert "the last save is " in old.stdout


def test_a_failed_snapshot_is_critical(start_server: Callable[..., TestServer]) -> None:
    server = start_server("valkey-9.1", "--save", "3600 1000000")
    server.directory.joinpath("dump.rdb").mkdir()
    server.admin.set("a", "b")
    server.run("BGSAVE")
    wait_until("it failed", lambda: server.info("persistence")["rdb_last_bgsave_status"] == "err")
    done = check(server, "persistence_age", "--since-last").check(2)
    assert "the last snapshot of " in done.stdout


def test_backlog_of_lists_streams_and_groups(server: TestServer) -> None:
    admin = server.admin
    admin.rpush("queue:mail", *range(7))
    for number in range(5):
        admin.xadd("orders", {"n": number})
    admin.xgroup_create("orders", "audit", "0")
    admin.xreadgroup("audit", "me", {"orders": ">"}, count=2)
    names = ["backlog:queue:mail", "backlog:orders", "backlog:absent", "backlog:orders@audit"]
    words = (*names, "--since-last", "--warn", "backlog:queue:mail=5", "-o", "json")
    done = check(server, *words)
    found = {one["check"]: (one["value"], one["state"]) for one in done.json["checks"]}
    assert found["backlog:queue:mail"] == (7, "WARNING")
    assert found["backlog:orders"] == (5, "OK")
    assert found["backlog:absent"] == (0, "OK")
    if server.flavour == "redis-6.2":  # groups know no lag there
        assert found["backlog:orders@audit"] == (None, "UNKNOWN")
        assert "Redis 7.0" in done.json["unavailable"][0]["remedy"]
    else:
        assert found["backlog:orders@audit"] == (3, "OK")


def test_what_has_no_backlog_is_unknown(any_server: TestServer) -> None:
    any_server.admin.set("text", "x")
    any_server.admin.rpush("queue", "x")
    any_server.admin.xadd("orders", {"n": 1})
    names = ("backlog:text", "backlog:orders@nobody", "backlog:queue@audit")
    done = check(any_server, *names, "--since-last", "-o", "json").check(3)
    assert set(states(done).values()) == {"UNKNOWN"}
    assert {one["what"] for one in done.json["unavailable"]} == set(names)


def test_share_of_a_pattern_exact_and_estimated(valkey: TestServer) -> None:
    pipe = valkey.admin.pipeline(transaction=False)
    for number in range(4000):
        pipe.set(f"{'big' if number % 4 == 0 else 'small'}:{number}", "x" * 50)
    pipe.execute()
    name = "share:big:*"
    exact = check(valkey, name, "--since-last", "-o", "json").check(0).json["checks"][0]
    assert exact["value"] == pytest.approx(25, abs=2)
    words = (name, "--since-last", "--sample", "500", "--warn", f"{name}=10", "-o", "json")
    part = check(valkey, *words).check(1).json["checks"][0]
    assert part["text"].startswith("about ")
    assert part["value"] == pytest.approx(exact["value"], abs=10)


PROFILE = """
url: {url}
thresholds:
  hit_ratio: 90%
  blocked_clients: 3
  checks:
    hit_ratio: {{critical: "10:"}}
    keys: {{warn: "5:", critical: 1}}
    backlog:queue: {{warn: 2}}
"""


def test_thresholds_of_a_profile(valkey: TestServer, isolated_home: Path) -> None:
    profile = isolated_home / "p.yaml"
    profile.write_text(PROFILE.format(url=valkey.url))
    valkey.admin.rpush("queue", *range(5))
    done = cachectl("-p", profile, "check", *FAST, "-o", "json").check(1)
    found = {one["check"]: one for one in done.json["checks"]}
    assert (found["hit_ratio"]["warn"], found["hit_ratio"]["critical"]) == ("90:", "10:")
    assert (found["blocked_clients"]["warn"], found["keys"]["state"]) == ("3", "WARNING")
    assert found["backlog:queue"]["state"] == "WARNING"
    profile.write_text(f"url: {valkey.url}\nthresholds: {{checks: {{hits: {{warn: 1}}}}}}\n")
    assert "no check called 'hits'" in cachectl("-p", profile, "check").check(3).stdout
    profile.write_text(f"url: {valkey.url}\nthresholds: {{checks: {{keys: {{warn: x}}}}}}\n")
    assert "must be a range" in cachectl("-p", profile, "check").check(3).stdout


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["--nonsense"],
        ["--warn", "memory"],
        ["--warn", "memory=x"],
        ["--crit", "nonsense=1"],
        ["backlog"],
        ["--window", "soon"],
        ["--window", "0"],
        ["--skip", "nonsense"],
    ],
)
def test_usage_errors_are_unknown(words: list[str]) -> None:
    done = cachectl("--url", "redis://127.0.0.1:1", "check", *words).check(3)
    assert done.stdout.startswith("CACHE UNKNOWN - ")
    assert done.stderr == ""


def test_nobody_answers(tmp_path: Path) -> None:
    textfile = tmp_path / "cache.prom"
    words = ("--url", "redis://127.0.0.1:1", "check", "--textfile", str(textfile))
    done = cachectl(*words).check(2)
    assert done.stdout.startswith("CACHE CRITICAL - connect: cannot connect to 127.0.0.1:1: ")
    assert 'redis_up{profile="127.0.0.1:1"} 0' in textfile.read_text()
    document = cachectl(*words, "-o", "json").check(2).json
    assert (document["state"], document["server"], document["partial"]) == ("CRITICAL", None, True)
    suite = ElementTree.fromstring(cachectl(*words, "-o", "junit").check(2).stdout)[0]
    assert (suite[0].attrib["name"], suite[0][0].tag) == ("connect", "failure")


def test_a_wrong_password_is_unknown_after_one_attempt(valkey: TestServer) -> None:
    valkey.require_password("right")
    env = {"REDISCLI_AUTH": "not-this-one"}
    done = check(valkey, env=env, secrets=["not-this-one"]).check(3)
    assert done.stdout.startswith("CACHE UNKNOWN - connect: ")
    assert len(valkey.run("ACL", "LOG")) == 1


def test_a_login_that_may_not_ask_leaves_checks_unknown_and_named(
    valkey: TestServer, isolated_home: Path
) -> None:
    password = valkey.add_user("blind", "~*", "-@all", "+ping", "+llen", "+type")
    valkey.admin.rpush("queue", "a")
    profile = isolated_home / "mine.yaml"
    profile.write_text(f"url: redis://blind@{valkey.address}\npassword: {{env: PW}}\n")
    words = ("-p", profile, "check", "memory", "hit_ratio", "backlog:queue", "--since-last")
    done = cachectl(*words, "-o", "json", env={"PW": password}, secrets=[password]).check(3)
    found = states(done)
    assert found == {"hit_ratio": "UNKNOWN", "memory": "UNKNOWN", "backlog:queue": "OK"}
    assert {one["remedy"] for one in done.json["unavailable"]} == {
        "allow it with the ACL rule +info"
    }
    metrics = cachectl(*words, "-o", "prometheus", env={"PW": password}).check(3).stdout
    assert 'redis_up{profile="mine"} 1' in metrics  # it answers, though not to this question
    password = valkey.add_user("watcher", "resetkeys", "-@all", "+ping", "+info")
    profile.write_text(f"url: redis://watcher@{valkey.address}\npassword: {{env: PW}}\n")
    words = ("-p", profile, "check", *FAST, "-o", "json")
    found = states(cachectl(*words, env={"PW": password}).check(0))
    assert "persistence_age" not in found
    words = ("-p", profile, "check", "persistence_age", "--since-last")
    done = cachectl(*words, env={"PW": password}).check(3)
    assert "+config\\x7cget" in done.stdout


def test_textfile_is_whole_readable_and_written_in_one_step(
    valkey: TestServer, tmp_path: Path
) -> None:
    textfile = tmp_path / "cache.prom"
    textfile.write_text("old")
    inode = textfile.stat().st_ino
    lookups(valkey, 30, 10)
    check(valkey, *FAST, "--textfile", str(textfile)).check(0)
    assert (textfile.stat().st_mode & 0o777, textfile.stat().st_ino != inode) == (0o644, True)
    assert os.listdir(tmp_path) in (["cache.prom", "home"], ["home", "cache.prom"])
    labels = f'{{profile="{valkey.address}",node="{valkey.address}"}}'
    lines = textfile.read_text().splitlines()
    assert f"redis_up{labels} 1" in lines
    assert f"redis_keyspace_hits_total{labels} 30" in lines
    assert f"redis_keyspace_misses_total{labels} 10" in lines
    assert "# TYPE redis_keyspace_hits_total counter" in lines
    assert f'cachectl_check_state{{profile="{valkey.address}",check="memory"}} 0' in lines
    gone = check(valkey, *FAST, "--textfile", str(tmp_path / "no" / "cache.prom")).check(3)
    assert gone.stdout.startswith("CACHE UNKNOWN - cannot write ")


def test_own_probes_are_not_taken_for_strangers(valkey: TestServer) -> None:
    done = check(valkey, "-w", "1s", "-o", "plain", *AS_LONG_AS_IT_TAKES).check(0)
    assert "not of this machine" not in done.stderr


def test_a_cluster_is_one_cache_and_a_lost_node_is_critical(
    start_cluster: Callable[..., TestCluster], isolated_home: Path
) -> None:
    cluster = start_cluster("valkey-9.1")
    client = cluster.client()
    for number in range(60):
        client.set(f"k:{number}", "x")
    client.close()
    profile = isolated_home / "c.yaml"
    profile.write_text(f"cluster: {{nodes: ['{cluster.primaries[0].address}']}}\n")
    done = cachectl("-p", profile, "check", *FAST, "-o", "json").check(0)
    keys = [one["value"] for one in done.json["checks"] if one["check"] == "keys"]
    assert keys == [60]
    cluster.primaries[1].kill9()
    done = cachectl("-p", profile, "check", *FAST).check(2)
    assert done.stdout.startswith("CACHE CRITICAL - connect: slots ")


def test_a_monitor_gets_nothing_but_the_answer(cluster: TestCluster) -> None:
    """Icinga reads both streams as one, and its first line is the state."""
    words = ("--url", cluster.primaries[0].url, "-v", "check", *FAST)
    done = cachectl(*words).check(0)
    assert done.stderr == ""
    assert "is one node of a cluster" in done.stdout
    assert "is one node of a cluster" in cachectl(*words, "-o", "tsv").check(0).stderr


def test_ctrl_c_shows_what_there_is(valkey: TestServer) -> None:
    with cachectl_started("-v", "--url", valkey.url, "check", "-w", "1m", "-o", "json") as run:
        run.wait_for("watching")
        run.signal(signal.SIGINT)
        done = run.finish().check(130)
    assert json.loads(done.stdout)["partial"] is True


def test_on_a_terminal_it_is_a_table_that_fits(valkey: TestServer) -> None:
    with cachectl_tty("--url", valkey.url, "check", *FAST, columns=80) as screen:
        screen.finish().check(0)
        text = screen.text
    assert "hit_ratio" in text
    assert max(map(len, text.splitlines())) <= 80


# --- With a policy ----------------------------------------------------------------------------

POLICY = """
version: 1
thresholds:
  keys: {critical: "1:"}
  hit_ratio: {warn: "55:"}
rules:
  - {name: sessions, match: "session:{id}", ttl: {min: 5m, max: 1h}, max_memory_share: 90%}
  - {name: jobs, match: "job:*", ttl: forbidden}
"""


@pytest.fixture
def policy(isolated_home: Path) -> Path:
    file = isolated_home / "policy.yaml"
    file.write_text(POLICY)
    return file


def planted(server: TestServer, *, good: int, endless: int, long: int, unexpected: int) -> None:
    pipe = server.admin.pipeline(transaction=False)
    for number in range(good + endless + long):
        ttl = 1800 if number < good else 86400 if number >= good + endless else None
        pipe.set(f"session:{number}", "x" * 30, ex=ttl)
    for number in range(unexpected):
        pipe.set(f"job:{number}", "x", ex=600)
    pipe.execute()


def test_ttl_violations_are_counted_exactly(any_server: TestServer, policy: Path) -> None:
    planted(any_server, good=200, endless=7, long=5, unexpected=3)
    words = ("--policy", str(policy), *FAST, "-o", "json")
    done = check(any_server, *words).check(1)
    found = {one["check"]: one for one in done.json["checks"]}
    assert found["ttl_violations"]["value"] == 15
    assert ": sessions 12, jobs 3" in found["ttl_violations"]["text"]
    assert (found["share:sessions"]["warn"], found["share:sessions"]["state"]) == ("90", "WARNING")
    assert found["keys"]["critical"] == "1:"
    assert found["hit_ratio"]["warn"] == "55:"
    check(any_server, "ttl_violations", *words, "--warn", "ttl_violations=15").check(0)


def test_ttl_violations_of_a_sample_are_estimated(valkey: TestServer, policy: Path) -> None:
    planted(valkey, good=8000, endless=2000, long=0, unexpected=0)
    words = ("ttl_violations", "--policy", str(policy), "--since-last", "--sample", "1000")
    (found,) = check(valkey, *words, "-o", "json").check(1).json["checks"]
    assert found["text"].startswith("about ")
    assert 1200 < found["value"] < 2800


def test_a_check_of_the_policy_without_one_is_unknown(valkey: TestServer) -> None:
    done = check(valkey, "ttl_violations", "--since-last").check(3)
    assert "there is no policy" in done.stdout


def test_a_storm_that_is_planted(valkey: TestServer) -> None:
    pipe = valkey.admin.pipeline(transaction=False)
    for number in range(3000):
        pipe.set(f"even:{number}", "x", px=600_000 + number * 3_000)
    pipe.execute()
    assert "none within 6 h" in check(valkey, "storms", "--since-last").check(0).stdout
    at = int(valkey.run("TIME")[0]) + 1800
    for number in range(400):
        pipe.execute_command("SET", f"report:{number}", "x", "EXAT", at)
    pipe.execute()
    done = check(valkey, "storms", "--since-last", "-o", "json").check(1)
    (found,) = done.json["checks"]
    assert found["value"] == 1
    assert "report:{id}" in found["text"]


VALUES = """
version: 1
rules:
  - {name: prices, match: "price:*", value: json}
  - {name: counters, match: "count:*", value: integer}
"""


def test_poisoned_values(any_server: TestServer, policy: Path) -> None:
    policy.write_text(VALUES)
    values = {"price:1": '{"a": 1}', "price:2": "<html>", "price:3": "", "count:1": "7"}
    values |= {f"count:x{number}": "1" for number in range(6)}
    any_server.admin.mset(values)
    words = ("poisoned", "--policy", str(policy), "--since-last", "-o", "json")
    done = check(any_server, *words).check(1)
    (found,) = done.json["checks"]
    assert found["value"] == 20.0
    assert found["text"].startswith("2 of 10 values that were read are not what the policy says")
    assert "prices 2: is not JSON" in found["text"]
    check(any_server, *words, "--warn", "poisoned=20").check(0)


@pytest.mark.parametrize(("flavour", "read"), [("redis-7.0", False), ("valkey-9.1", True)])
def test_unasked_values_are_read_only_where_that_leaves_no_trace(
    start_server: Callable[..., TestServer], policy: Path, flavour: str, read: bool
) -> None:
    policy.write_text(VALUES)
    server = start_server(flavour)
    server.admin.set("price:1", "{}")
    found = states(check(server, "--policy", str(policy), *FAST, "-o", "json").check(0))
    assert ("poisoned" in found) is read


def test_the_profile_goes_before_the_policy(
    valkey: TestServer, policy: Path, isolated_home: Path
) -> None:
    profile = isolated_home / "p.yaml"
    profile.write_text(
        f"url: {valkey.url}\npolicy: {policy}\n"
        "thresholds: {hit_ratio: 70%, checks: {keys: {critical: '0:'}}}\n"
    )
    done = cachectl("-p", profile, "check", *FAST, "-o", "json").check(0)
    found = {one["check"]: one for one in done.json["checks"]}
    assert (found["hit_ratio"]["warn"], found["keys"]["critical"]) == ("70:", "0:")
    policy.write_text(POLICY.replace("keys: {critical", "hits: {critical"))
    assert "no check called 'hits'" in cachectl("-p", profile, "check").check(3).stdout
