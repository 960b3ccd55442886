"""What works with a server and a login: found by asking, with nothing changed by it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from proxies import Proxy, error
from servers import TestServer
from targets import target_of
from topologies import TestCluster

from cachectl.server.rights.capabilities import Capability, LoginFacts, capabilities
from cachectl.server.rights.check import check
from cachectl.server.topology.connect import open_server

StartProxy = Callable[..., Proxy]


def login_facts(endpoint: object, **settings: object) -> LoginFacts:
    with open_server(target_of(endpoint, **settings)) as server:  # type: ignore[arg-type]
        return capabilities(server)


def by_name(facts: LoginFacts) -> dict[str, Capability]:
    return {one.feature: one for one in facts.capabilities}


def lacking(facts: LoginFacts) -> set[str]:
    return {one.feature for one in facts.capabilities if not one.works}


def has_no_touch(server: TestServer) -> bool:
    return server.flavour not in ("redis-6.2", "redis-7.0")


@pytest.mark.parametrize("protocol", [2, 3])
def test_full_access(server: TestServer, protocol: int) -> None:
    server.run("SET", "app:1", "x")
    facts = login_facts(server, protocol=protocol)
    expected = {"scan.frequency"} | (set() if has_no_touch(server) else {"no-touch"})
    assert lacking(facts) == expected
    assert facts.user == "default"
    assert facts.keys_seen is None
    assert "idle times instead" in (by_name(facts)["scan.frequency"].reason or "")


def test_nothing_is_changed(server: TestServer) -> None:
    server.run("SET", "app:1", "x")
    server.add_user("reader", "~app:*", "-@all", "+scan", password="p")
    config = server._read_config()
    users = server.run("ACL", "LIST")
    changes = server.info("persistence")["rdb_changes_since_last_save"]
    login_facts(server)
    login_facts(server, username="reader", password="p")
    assert server.run("DBSIZE") == 1
    assert server.info("persistence")["rdb_changes_since_last_save"] == changes
    assert server._read_config() == config
    assert server.run("ACL", "LIST") == users
    assert server.command_calls().get("monitor") is None


# Each recipe that docs and messages give, and the features that it must be enough for.
RECIPES = {
    "scan": (
        ["+ping", "+info", "+select", "+scan", "+type", "+ttl", "+pttl", "+exists",
         "+object|encoding", "+object|idletime", "+object|freq", "+memory|usage", "+dbsize"],
        {"scan", "scan.types", "scan.ttl", "scan.bytes", "scan.idle", "scan.encoding", "stats"},
    ),
    "delete": (["+scan", "+unlink"], {"scan", "invalidate"}),
    "undo": (["+scan", "+restore"], {"scan", "undo"}),
    "ttl": (["+scan", "+pexpire", "+persist"], {"scan", "ttl.repair"}),
    "stats": (
        ["+info", "+config|get", "+slowlog|get", "+latency|latest", "+client|list"],
        {"stats", "stats.config", "stats.slowlog", "stats.latency", "stats.clients"},
    ),
    "events": (["&__keyevent@*", "+subscribe", "+config|get"], {"events", "stats.config"}),
}  # fmt: skip


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes(server: TestServer, recipe: str, protocol: int) -> None:
    """Exactly what the rules allow works, nothing else, on servers with and without DRYRUN."""
    rules, works = RECIPES[recipe]
    server.run("SET", "app:1", "x")
    server.run("SET", "other:1", "x")
    # "resetchannels" is no default on 6.2.
    password = server.add_user("me", "resetchannels", "~app:*", "-@all", *rules)
    facts = login_facts(server, username="me", password=password, protocol=protocol)
    assert {one.feature for one in facts.capabilities if one.works} == works
    assert facts.user == "me"


def test_acl_line_is_enough(server: TestServer) -> None:
    """Run every line that is offered: then everything works that can work at all."""
    server.run("SET", "app:1", "x")
    password = server.add_user("me", "resetchannels", "~*", "-@all")
    before = login_facts(server, username="me", password=password)
    lines = {one.acl for one in before.capabilities if one.acl}
    assert len(lines) > 15
    for line in lines:
        assert line.startswith(("ACL SETUSER me +", "ACL SETUSER me &"))
        server.run(*line.split())
    # What was hidden behind another refusal (a channel behind a command) is offered next.
    for one in login_facts(server, username="me", password=password).capabilities:
        if one.acl:
            server.run(*one.acl.split())
    after = login_facts(server, username="me", password=password)
    # Without MULTI and without DRYRUN nobody can tell whether MONITOR, RPUSH and SADD may be used.
    expected = {"scan.frequency", "monitor", "warm"}
    expected |= set() if has_no_touch(server) else {"no-touch"}
    assert lacking(after) == expected
    server.run("ACL", "SETUSER", "me", "+multi", "+discard")
    told = login_facts(server, username="me", password=password)
    assert lacking(told) == expected - {"monitor", "warm"}


def test_dry_run_leaves_no_trace_in_the_log(start_server: Callable[..., TestServer]) -> None:
    server = start_server("redis-8.2")
    rules = ["~*", "+@read", "+acl|dryrun", "+acl|whoami", "+info", "+client", "+ping", "+role"]
    password = server.add_user("careful", "-@all", *rules)
    facts = login_facts(server, username="careful", password=password)
    assert {"invalidate", "undo", "warm", "monitor"} <= lacking(facts)
    assert by_name(facts)["monitor"].reason == "this login may not run MONITOR"
    assert server.run("ACL", "LOG") == []


def test_some_keys_only(server: TestServer) -> None:
    for i in range(3):
        server.run("SET", f"app:{i}", "x")
        server.run("SET", f"other:{i}", "x")
    password = server.add_user("me", "~app:*", "-@all", "+scan", "+type")
    facts = login_facts(server, username="me", password=password)
    assert (facts.keys_seen, facts.keys_allowed) == (6, 3)
    result = check(target_of(server, username="me", password=password))
    assert "user me may use some keys only: 3 of the first 6 that SCAN shows" in result.warnings


def test_lfu_policy(server: TestServer) -> None:
    server.run("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    facts = by_name(login_facts(server))
    assert facts["scan.frequency"].works
    assert not facts["scan.idle"].works
    assert "allkeys-lfu" in (facts["scan.idle"].reason or "")


def test_managed_service(any_server: TestServer, start_proxy: StartProxy) -> None:
    proxy = start_proxy(any_server)
    proxy.block("CONFIG", "MONITOR", "SLOWLOG", "MEMORY", "ACL")
    facts = by_name(login_facts(proxy))
    missing = {"stats.config", "stats.slowlog", "scan.bytes", "events", "events.enable", "monitor"}
    missing.add("doctor.rights")
    assert {name for name, one in facts.items() if not one.works} - {"scan.frequency"} == missing
    reason = "the server does not know SLOWLOG GET (too old, or disabled)"
    assert facts["stats.slowlog"].reason == reason
    assert facts["stats.slowlog"].acl is None


def test_refusal_in_the_services_own_words(any_server: TestServer, start_proxy: StartProxy) -> None:
    proxy = start_proxy(any_server)
    proxy.answer("DUMP", error("ERR not offered in this plan"), times=None)
    one = by_name(login_facts(proxy))["archive"]
    assert one.reason == "DUMP: ERR not offered in this plan"
    assert one.acl is None


def test_renamed_command(start_server: Callable[..., TestServer]) -> None:
    server = start_server("redis-7.0", "--rename-command", "UNLINK", "")
    facts = by_name(login_facts(server))
    assert facts["invalidate"].works  # by DEL
    server = start_server("redis-6.2", "--rename-command", "RESTORE", "secret-restore")
    assert "does not know RESTORE" in (by_name(login_facts(server))["undo"].reason or "")


def test_replica_refuses_writes(start_server: Callable[..., TestServer]) -> None:
    primary = start_server()
    replica = start_server("valkey-9.1", "--replicaof", primary.host, str(primary.port))
    facts = login_facts(replica)
    assert {"invalidate", "undo", "ttl.repair", "warm"} <= lacking(facts)
    assert "replica" in (by_name(facts)["warm"].reason or "")


def test_read_only_profile_sends_no_write(any_server: TestServer, start_proxy: StartProxy) -> None:
    proxy = start_proxy(any_server)
    proxy.record = True
    facts = login_facts(proxy, read_only=True)
    assert by_name(facts)["invalidate"].reason == "the profile is read-only"
    sent = {command[0].upper() for command in proxy.commands}
    assert sent.isdisjoint({b"UNLINK", b"RESTORE", b"SET", b"PEXPIRE", b"PERSIST", b"HSET"})


def test_memory_full_is_said(any_server: TestServer) -> None:
    any_server.run("CONFIG", "SET", "maxmemory", "1")
    one = by_name(login_facts(any_server))["warm"]
    assert "OOM" in (one.reason or "")
    assert one.acl is None


def test_cluster_names_the_node_that_differs(start_cluster: Callable[..., TestCluster]) -> None:
    cluster = start_cluster("redis-7.0")
    for node in cluster.primaries:
        node.add_user("me", "~*", "-@all", "+@read", "+cluster|slots", password="p")
    odd = cluster.primaries[1]
    odd.run("ACL", "SETUSER", "me", "-dump")
    target = target_of(cluster.primaries[0], topology="cluster", username="me", password="p")
    result = check(target)
    archive = next(one for one in result.capabilities if one.feature == "archive")
    assert archive.reason == f"on {odd.address}: this login may not run DUMP"
    assert [step.name for step in result.steps] == [
        "resolve", "connect", "login", "slots", "nodes", "round trip", "permissions",
    ]  # fmt: skip


@pytest.mark.parametrize("protocol", [2, 3])
def test_check(server: TestServer, protocol: int) -> None:
    result = check(target_of(server, protocol=protocol))
    assert result.server.version == server.version
    assert result.server.flavour == server.flavour.partition("-")[0]
    assert result.protocol == protocol
    assert not result.tls
    names = [step.name for step in result.steps]
    assert names == ["resolve", "connect", "login", "info", "round trip", "permissions"]
    assert all(0 < step.seconds < 5 for step in result.steps)
    assert 0 < result.seconds < sum(step.seconds for step in result.steps)
    assert result.server.nodes[0].maxmemory == 0
    assert result.server.nodes[0].policy == "noeviction"
