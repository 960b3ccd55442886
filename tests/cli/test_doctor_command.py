"""`doctor` on real servers: what is planted is found, and a healthy one gets a clean bill."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from programs import Outcome, cachectl, cachectl_started, cachectl_tty
from servers import TestServer
from topologies import TestCluster, wait_until

QUICK = ("--window", "200ms")
DOCTOR = (
    "-@all",
    "+ping",
    "+info",
    "+select",
    "+dbsize",
    "+scan",
    "+type",
    "+pttl",
    *("+memory|usage", "+object|idletime"),
)
SEES = ("+config|get", "+acl|getuser", "+acl|dryrun", "+acl|whoami", "+command|info")
LOGS = ("+slowlog|get", "+commandlog|get", "+latency", "+client|list", "+time", "+role")
HEALTHY = ("--maxmemory", "500mb", "--maxmemory-policy", "allkeys-lru")


def doctor(server: TestServer, *words: str, **options: Any) -> Outcome:
    return cachectl("--url", server.url, "doctor", *QUICK, *words, **options)


def ids(done: Outcome) -> dict[str, str]:
    return {one["id"]: one["severity"] for one in done.json["findings"]}


def results(done: Outcome) -> dict[str, str]:
    return {one["rule"]: one["result"] for one in done.json["looked_at"]}


def fill(
    server: TestServer,
    names: str = "session:{}",
    number: int = 500,
    ttl: int = 600,
    apart: int = 7,
) -> None:
    """Set keys whose TTLs are so many seconds apart: without that they are a storm."""
    pipe = server.admin.pipeline(transaction=False)
    for i in range(number):
        pipe.set(names.format(i), "x" * 50, ex=ttl + i * apart if ttl else None)
    pipe.execute()


@pytest.fixture
def as_doctor(isolated_home: Path) -> Callable[..., tuple[Path, dict[str, str]]]:
    """Return a function that gives a profile of a login with these rules, and its environment."""

    def make(server: TestServer, *rules: str, more: str = "") -> tuple[Path, dict[str, str]]:
        password = server.add_user(
            "doctor", "%R~*" if server.flavour != "redis-6.2" else "~*", *rules
        )
        profile = isolated_home / "doctor.yaml"
        profile.write_text(f"url: redis://doctor@{server.address}\npassword: {{env: PW}}\n{more}\n")
        return profile, {"PW": password}

    return make


def test_a_quiet_healthy_server_has_no_findings(
    start_server: Callable[..., TestServer], as_doctor: Callable[..., tuple[Path, dict[str, str]]]
) -> None:
    server = start_server("valkey-9.1", *HEALTHY)
    fill(server)
    profile, env = as_doctor(server, *DOCTOR, *SEES, *LOGS)
    server.admin.execute_command("ACL", "SETUSER", "root", "on", ">pw", "~*", "+@all")
    server.admin.execute_command("ACL", "SETUSER", "default", ">pw2", "-@dangerous")
    words = ("-p", profile, "doctor", *QUICK, "--fail-on", "info")
    done = cachectl(*words, "-o", "json", env=env, secrets=[env["PW"]]).check(0)
    assert done.json["findings"] == []
    assert done.json["unavailable"] == []
    assert done.json["verdict"] == "healthy"
    found = results(done)
    assert found.pop("ttl") == found.pop("poisoned") == "covered"  # there is no policy
    assert set(found.values()) == {"well"}
    text = cachectl(*words, "-o", "table", env=env).check(0).stdout
    assert "healthy: nothing to mend" in text
    assert max(map(len, text.splitlines())) <= 80


SICK = (
    *("--disable-thp", "no", "--enable-debug-command", "yes", "--tcp-keepalive", "0"),
    *("--notify-keyspace-events", "AKE", "--maxmemory-samples", "2"),
    *("--slowlog-log-slower-than", "-1", "--client-output-buffer-limit", "pubsub 0 0 0"),
    *("--lazyfree-lazy-eviction", "no", "--appendonly", "yes", "--appendfsync", "always"),
    *("--maxmemory", "500mb", "--maxmemory-policy", "allkeys-lru"),
)
OF_SICK = {
    "security.no_password": "info",
    "security.debug_commands": "warning",
    "config.huge_pages": "warning",
    "config.dead_connections": "warning",
    "config.events_of_everything": "info",
    "config.maxmemory_samples": "info",
    "config.nothing_logged": "info",
    "config.pubsub_buffer": "warning",
    "config.lazy_freeing": "info",
    "config.appendfsync_always": "warning",
    "config.persistence_of_a_cache": "info",
    "memory.giant": "warning",
    "keys.without_ttl": "warning",
    "ttl.storm": "warning",
    "keys.long_names": "info",
    "keys.no_separator": "info",
    "keys.binary_names": "info",
}


def test_everything_that_is_planted_is_found(start_server: Callable[..., TestServer]) -> None:
    server = start_server("valkey-9.1", *SICK)
    fill(server, apart=0)
    fill(server, "job:{}:result", 60, ttl=0)
    fill(server, "x:{:0200d}", 60)
    fill(server, "abcdefgh{:05d}", 60)
    pipe = server.admin.pipeline(transaction=False)
    for number in range(60):
        pipe.set(b"\xff\x00:%d" % number, "x", ex=600)
    pipe.hset("giant:1", mapping={f"field:{number}": "x" * 40 for number in range(60_000)})
    pipe.execute()
    done = doctor(server, "-o", "json", timeout=60).check(0)
    assert OF_SICK.items() <= ids(done).items()
    assert done.json["verdict"] == "warning"
    by_id = {one["id"]: one for one in done.json["findings"]}
    assert by_id["keys.without_ttl"]["subject"] == "job:{id}:result"
    assert by_id["memory.giant"]["subject"] == "giant:1"
    assert all(one["remedy"] for one in done.json["findings"])
    order = [one["severity"] for one in done.json["findings"]]
    assert order == sorted(order, key=["critical", "warning", "info"].index)
    doctor(server, "--fail-on", "warning").check(1)
    doctor(server, "--fail-on", "critical").check(0)


def test_a_remedy_for_ttls_is_a_command_that_runs(valkey: TestServer) -> None:
    fill(valkey)
    fill(valkey, "job:{}:it's", 60, ttl=0)
    (finding,) = [
        one
        for one in doctor(valkey, "-o", "json").json["findings"]
        if one["id"] == "keys.without_ttl"
    ]
    words = shlex.split(finding["remedy"].partition(" shows")[0])[1:]
    listed = cachectl("--url", valkey.url, *words, "-o", "ndjson").check(0)
    assert len(listed.ndjson) == 60


def test_versions_with_known_flaws_and_all_formats(server: TestServer) -> None:
    fill(server)
    done = doctor(server, "-o", "json").check(0)
    old = server.flavour != "valkey-9.1"
    assert ("security.old_version" in ids(done)) is old
    assert done.json["unavailable"] == []
    assert "unknown" not in results(done).values()


@pytest.mark.parametrize(
    ("settings", "finding"),
    [
        ((), "memory.maxmemory_unset"),
        (("--maxmemory", "100000gb"), "memory.maxmemory_above_machine"),
        (
            ("--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru"),
            "evictions.nothing_evictable",
        ),
    ],
)
def test_memory_settings(
    start_server: Callable[..., TestServer], settings: tuple[str, ...], finding: str
) -> None:
    server = start_server("redis-7.0", *settings)
    fill(server, ttl=0)
    assert finding in ids(doctor(server, "-o", "json").check(0))


def test_ttls_against_a_policy(valkey: TestServer, isolated_home: Path) -> None:
    fill(valkey)
    policy = isolated_home / "policy.yaml"
    policy.write_text(
        "version: 1\nrules:\n"
        "  - {name: sessions, match: 'session:{id}', ttl: {max: 1m}, value: text}\n"
        "  - {name: prices, match: 'price:*', value: json}\n"
        "  - {name: lost, match: 'lost:*', ttl: required}\n"
        "  - {name: kept, match: 'kept:*', ttl: forbidden}\n"
        "  - {name: near, match: 'near:*', ttl: {min: 1h, max: 2h}}\n"
    )
    valkey.admin.set("lost:1", "x")
    fill(valkey, "kept:{}", 100, ttl=0)  # a rule wants them so
    fill(valkey, "stray:{}", 100, ttl=0)  # no rule names them
    valkey.admin.set("near:1", "x", ex=600)  # perhaps it is just old
    for name, value in (("a", "{}"), ("b", ""), ("c", "{'a': 1}")):
        valkey.admin.set(f"price:{name}", value)
    done = doctor(valkey, "--policy", str(policy), "-o", "json").check(0)
    (finding,) = [one for one in done.json["findings"] if one["id"] == "ttl.too-long"]
    assert finding["title"].startswith("500 keys")
    (missing,) = [one for one in done.json["findings"] if one["id"] == "ttl.missing"]
    assert (missing["title"], missing["subject"]) == ("1 key never expires, and has to", "lost")
    (stray,) = [one for one in done.json["findings"] if one["id"] == "keys.without_ttl"]
    assert stray["subject"] == "stray:{id}"
    assert "ttl.too-short" not in {one["id"] for one in done.json["findings"]}
    assert results(done)["ttl"] == "found"
    (poison,) = [one for one in done.json["findings"] if one["id"] == "keys.poisoned"]
    assert poison["title"].startswith("2 of 503 values")
    assert poison["subject"] == "prices"


def test_replicas(start_server: Callable[..., TestServer], isolated_home: Path) -> None:
    limit = "replica 0 0 0"
    primary = start_server("valkey-9.1", "--client-output-buffer-limit", limit)
    replica = start_server("valkey-9.1", "--replica-read-only", "no")
    replica.run("REPLICAOF", primary.host, str(primary.port))
    wait_until("it is online", lambda: "online" in str(primary.info("replication")))
    primary.run("CONFIG", "SET", "repl-backlog-size", "16384")
    words = ("--url", primary.url, "doctor", "--window", "1s", "-o", "json")
    with cachectl_started(*words) as run:
        wait_until("it watches", lambda: primary.command_calls().get("ping", 0) > 20)
        for _ in range(20):
            primary.admin.set("k", "x" * 20_000)
        done = run.finish().check(0)
    assert {"config.replica_buffer", "config.replication_backlog"} <= ids(done).keys()
    assert "config.writable_replica" in ids(doctor(replica, "-o", "json"))
    primary.kill9()
    wait_until("it is missed", lambda: replica.info("replication")["master_link_status"] == "down")
    found = ids(doctor(replica, "-o", "json"))
    assert found["replication.link_down"] == "critical"


def test_snapshots_that_fail(start_server: Callable[..., TestServer]) -> None:
    server = start_server("valkey-9.1", "--save", "3600 1000000")
    server.directory.joinpath("dump.rdb").mkdir()
    server.admin.set("a", "b")
    server.run("BGSAVE")
    wait_until("it failed", lambda: server.info("persistence")["rdb_last_bgsave_status"] == "err")
    assert ids(doctor(server, "-o", "json").check(0))["persistence.failing"] == "critical"


def test_one_hash_tag_in_a_cluster(cluster: TestCluster, isolated_home: Path) -> None:
    client = cluster.client()
    for number in range(200):
        client.set(f"{{all}}:{number}", "x", ex=600)
        client.set(f"user:{number}", "x", ex=600)
    client.close()
    profile = isolated_home / "c.yaml"
    profile.write_text(f"cluster: {{nodes: ['{cluster.primaries[0].address}']}}\n")
    done = cachectl("-p", profile, "doctor", *QUICK, "-o", "json").check(0)
    (finding,) = [one for one in done.json["findings"] if one["id"] == "keys.one_hash_tag"]
    assert finding["title"].startswith("50% of the keys share the hash tag {all}")


def test_a_default_user_with_a_password_and_a_login_that_may_do_much(
    valkey: TestServer, as_doctor: Callable[..., tuple[Path, dict[str, str]]]
) -> None:
    fill(valkey)
    profile, env = as_doctor(valkey, *DOCTOR, *SEES, *LOGS, "+flushall", "+keys")
    valkey.require_password("for-all")
    done = cachectl("-p", profile, "doctor", *QUICK, "-o", "json", env=env).check(0)
    expected = {"security.default_user", "security.dangerous_commands", "memory.maxmemory_unset"}
    assert ids(done).keys() == expected
    (dangerous,) = [one for one in done.json["findings"] if "dangerous" in one["id"]]
    assert "FLUSHALL" in dangerous["evidence"]
    assert "KEYS" in dangerous["evidence"]
    assert "SHUTDOWN" not in dangerous["evidence"]
    # Asking without a password is no attempt to log in.
    assert b"auth" not in {entry[b"reason"] for entry in valkey.run("ACL", "LOG")}


def test_a_login_that_may_do_nothing_gets_what_there_is(
    server: TestServer, as_doctor: Callable[..., tuple[Path, dict[str, str]]]
) -> None:
    fill(server)
    profile, env = as_doctor(server, "-@all", "+ping", "+info", "+time")
    done = cachectl("-p", profile, "doctor", *QUICK, "-o", "json", env=env, secrets=[env["PW"]])
    found = results(done.check(0))
    assert found["config.huge_pages"] == found["keys.long_names"] == "unknown"
    assert found["persistence.failing"] == "well"
    gaps = {one["what"]: one["remedy"] for one in done.json["unavailable"]}
    assert {"settings", "the keys", "the default user", "who is connected"} <= gaps.keys()
    assert "config" in gaps["settings"]


def test_a_managed_service_that_hides_config_and_acl(
    start_server: Callable[..., TestServer],
) -> None:
    hidden = [word for name in ("CONFIG", "ACL", "SLOWLOG", "COMMANDLOG", "LATENCY", "DEBUG")
              for word in ("--rename-command", name, "")]  # fmt: skip
    server = start_server("valkey-8.1", *hidden)
    fill(server)
    done = doctor(server, "-o", "json").check(0)
    assert done.json["partial"] is False
    whats = {one["what"] for one in done.json["unavailable"]}
    assert {"settings", "the default user", "slow commands", "what this login may do"} <= whats
    assert "security.no_password" in ids(done)
    text = doctor(server, "-o", "table").check(0).stdout
    assert "not available: settings: the server does not know CONFIG GET" in " ".join(text.split())


# --- Suppressions -----------------------------------------------------------------------------

SUPPRESSIONS = """
suppressions:
  - {{id: security.no_password, reason: a test server on loopback, until: {until}}}
"""


@pytest.mark.parametrize(("until", "hidden"), [("2999-12-31", True), ("2020-01-01", False)])
def test_suppressions_of_a_profile_and_of_a_file(
    valkey: TestServer, isolated_home: Path, until: str, hidden: bool
) -> None:
    fill(valkey)
    text = SUPPRESSIONS.format(until=until)
    profile, file = isolated_home / "p.yaml", isolated_home / "s.yaml"
    profile.write_text(f"url: {valkey.url}\n{text}")
    file.write_text(text)
    for words in (
        ("-p", profile, "doctor"),
        ("--url", valkey.url, "doctor", "--suppressions", file),
    ):
        done = cachectl(*words, *QUICK, "-o", "json").check(0)
        assert ("security.no_password" in ids(done)) is not hidden
        assert ("doctor.suppression_expired" in ids(done)) is not hidden
        shown = [one["finding"] for one in done.json.get("suppressed", [])]
        assert shown == ["security.no_password"] * hidden


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("suppressions:\n  - {id: x, until: 2026-01-01}\n", "reason"),
        ("suppressions:\n  - {id: x, reason: y}\n", "until"),
        ("suppressions:\n  - {id: x, reason: y, until: soon}\n", "must be a day"),
    ],
)
def test_suppressions_without_a_reason_or_an_end(
    isolated_home: Path, text: str, problem: str
) -> None:
    file = isolated_home / "s.yaml"
    file.write_text(text)
    words = ("--url", "redis://127.0.0.1:1", "doctor", "--suppressions", file)
    assert problem in cachectl(*words).check(2).stderr


def test_a_suppression_of_nothing_is_told(valkey: TestServer, isolated_home: Path) -> None:
    file = isolated_home / "s.yaml"
    file.write_text("suppressions:\n  - {id: no.such, reason: y, until: 2999-01-01}\n")
    assert "fits no finding" in doctor(valkey, "--suppressions", str(file)).check(0).stderr


# --- The page ---------------------------------------------------------------------------------


def test_one_page_on_a_terminal(valkey: TestServer) -> None:
    fill(valkey)
    with cachectl_tty("--url", valkey.url, "doctor", *QUICK, columns=80, rows=60) as screen:
        screen.finish().check(0)
        text = screen.text
    assert max(map(len, text.splitlines())) <= 80
    assert text.index("verdict") < text.index("Well") < text.index("INFO security.no_password")
    assert len(text.splitlines()) < 60


def test_looking_changes_nothing(valkey: TestServer) -> None:
    fill(valkey)
    valkey.run("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    valkey.run("CONFIG", "RESETSTAT")
    before = valkey.run("CONFIG", "GET", "*")
    doctor(valkey).check(0)
    assert valkey.run("CONFIG", "GET", "*") == before
    calls = valkey.command_calls()
    assert {"flushall", "config|set", "keys", "debug", "shutdown", "monitor"}.isdisjoint(calls)
    assert all(valkey.run("OBJECT", "IDLETIME", f"session:{n}") is not None for n in range(5))


def test_findings_are_the_tests_of_junit_and_the_state_of_a_plugin(valkey: TestServer) -> None:
    fill(valkey)
    fill(valkey, "job:{}:result", 60, ttl=0)
    junit = doctor(valkey, "-o", "junit").check(0).stdout
    assert '<testcase classname="cachectl.doctor.keys" name="keys.without_ttl" time="0">' in junit
    plugin = doctor(valkey, "-o", "nagios").check(1)
    assert plugin.stdout.startswith("CACHE WARNING - keys.without_ttl: ")


def test_the_demos_faults_are_found() -> None:
    with cachectl_started("demo", "--no-traffic", "--keys", "6000") as demo:
        demo.wait_for("Try next", timeout=60)
        done = cachectl("-p", "demo", "doctor", *QUICK, "-o", "json", timeout=60).check(0)
    found = {(one["id"], one["subject"]) for one in done.json["findings"]}
    assert {("ttl.missing", "strategy"), ("ttl.too-long", "quote")} <= found
    assert ("keys.poisoned", "account") in found
    assert "keys.without_ttl" not in dict(found)  # the policy's rule says it
    assert ("memory.cold", "research:note:{uuid}") in found
    assert ("ttl.storm", "report:eod:{id}") in found
    assert ("security.no_password", None) in found
