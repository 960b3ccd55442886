"""The scan engine on one healthy server: every key once, every column true, every key accounted."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from filling import fill, keys_of
from proxies import Proxy, error
from scanning import scan
from servers import TestServer
from targets import target_of
from topologies import wait_until

from cachectl.errors import PermissionDeniedError, RefusedError, UsageError
from cachectl.model.keys import NO_TTL
from cachectl.server.scanning.estimate import estimate
from cachectl.server.scanning.scan import Field, Progress, Scan, ScanRequest
from cachectl.server.topology.connect import open_server

EVERYTHING = frozenset(Field)
HAS_NO_TOUCH = ("redis-8.2", "valkey-8.1", "valkey-9.1")
COUNTS_TYPE_HITS = ("redis-6.2", "redis-7.0")


def lookups(server: TestServer) -> tuple[int, int]:
    stats = server.info("stats")
    return stats["keyspace_hits"], stats["keyspace_misses"]


def test_each_column_is_what_the_server_says(server: TestServer) -> None:
    fill(server, 500)
    seen = scan(server, fields=EVERYTHING)
    assert sorted(seen.keys) == sorted(keys_of(500))
    assert seen.outcome.complete
    lengths = {b"string": "STRLEN", b"hash": "HLEN", b"list": "LLEN", b"set": "SCARD"}
    lengths |= {b"zset": "ZCARD", b"stream": "XLEN"}
    for record in seen.records:
        kind = server.run("TYPE", record.key)
        assert record.type == kind.decode()
        assert record.bytes == server.run("MEMORY", "USAGE", record.key)
        assert record.encoding == server.run("OBJECT", "ENCODING", record.key).decode()
        assert record.idle is not None
        assert record.idle <= 60
        assert record.freq is None
        ttl = server.run("PTTL", record.key)
        assert record.ttl_ms is not None
        assert record.ttl_ms == ttl == NO_TTL or 0 <= record.ttl_ms - ttl < 60_000
        if server.flavour in HAS_NO_TOUCH:
            assert record.elements == server.run(lengths[kind], record.key)
        else:
            assert record.elements is None
    gaps = [gap.what for gap in seen.outcome.unavailable]
    assert gaps == ([] if server.flavour in HAS_NO_TOUCH else ["elements"])


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("pace", ["gentle", "normal", "flat-out"])
def test_protocols_and_paces_agree(any_server: TestServer, protocol: int, pace: str) -> None:
    filled = fill(any_server, 3000)
    target = target_of(any_server, protocol=protocol)
    seen = scan(target, pace=pace, fields=frozenset({Field.TYPE, Field.TTL}))
    assert sorted(seen.keys) == sorted(keys_of(3000))
    types = [record.type for record in seen.records]
    assert {kind: types.count(kind) for kind in filled.by_type} == filled.by_type
    assert sum(record.ttl_ms == NO_TTL for record in seen.records) == filled.no_ttl
    assert {record.bytes for record in seen.records} == {None}


def test_only_names(valkey: TestServer) -> None:
    fill(valkey, 1000)
    before = lookups(valkey)
    seen = scan(valkey, fields=frozenset())
    assert sorted(seen.keys) == sorted(keys_of(1000))
    assert lookups(valkey) == before
    assert set(valkey.command_calls()) & {"type", "pttl", "memory|usage"} == set()


def test_own_lookups_are_counted_exactly(server: TestServer) -> None:
    fill(server, 2000)
    before = lookups(server)
    outcome = scan(server, fields=EVERYTHING).outcome
    assert outcome.lookups_exact
    assert outcome.hits >= 4 * 2000
    after = lookups(server)
    assert (after[0] - before[0], after[1] - before[1]) == (outcome.hits, outcome.misses)


def test_vanished_keys_and_their_misses(
    server: TestServer, start_proxy: Callable[..., Proxy]
) -> None:
    fill(server, 1000)
    gone = sorted(keys_of(1000))[:400]
    proxy = start_proxy(server)
    proxy.before("TYPE", lambda: server.run("DEL", *gone))
    before = lookups(server)
    fields = EVERYTHING - {Field.ELEMENTS}
    seen = scan(target_of(proxy), fields=fields, pace="gentle")
    after = lookups(server)
    assert not set(seen.keys) & set(gone)
    assert len(seen.keys) == 600
    outcome = seen.outcome
    assert 0 < outcome.vanished <= 400
    assert outcome.complete
    assert outcome.misses == 4 * outcome.vanished  # TYPE, PTTL, OBJECT IDLETIME, OBJECT ENCODING
    assert (after[0] - before[0], after[1] - before[1]) == (outcome.hits, outcome.misses)


def test_keys_that_arrive_are_estimated(valkey: TestServer) -> None:
    fill(valkey, 2000)

    def add(page: int) -> None:
        if page == 2:
            valkey.client().mset({f"new:{i}": "1" for i in range(500)})

    outcome = scan(valkey, pace="gentle", on_page=add).outcome
    assert outcome.complete
    assert outcome.arrived == 500


# --- Patterns and types ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern", [b"user:*:seen", b"*1*2*3*", b"", b"*", b"user:[12]?:*", b"nothing*", b"ref\\.*"]
)
def test_patterns_mean_what_keys_says(server: TestServer, pattern: bytes) -> None:
    fill(server, 3000)
    server.run("SET", b"", b"the empty name")
    expected = server.run("KEYS", pattern)
    seen = scan(server, match=pattern)
    assert sorted(seen.keys) == sorted(expected)
    assert seen.outcome.complete


def test_a_pattern_that_hangs_old_servers_is_not_sent(
    start_server: Callable[..., TestServer], start_proxy: Callable[..., Proxy]
) -> None:
    old = start_server("redis-6.2")
    old.run("SET", b"a" * 2000, "1")
    old.run("SET", b"a" * 100 + b"b", "1")
    proxy = start_proxy(old)
    proxy.record = True
    begun = time.monotonic()
    seen = scan(target_of(proxy), match=b"a*a*a*a*a*a*a*a*b")
    assert time.monotonic() - begun < 2
    assert seen.keys == [b"a" * 100 + b"b"]
    sent = [command for command in proxy.commands if command[0] == b"SCAN"]
    assert {command[command.index(b"MATCH") + 1] for command in sent} == {b"a*"}


def test_an_endless_pattern_is_never_sent(
    valkey: TestServer, start_proxy: Callable[..., Proxy]
) -> None:
    valkey.run("SET", "x" * 3000, "1")
    valkey.run("SET", "xy", "1")
    proxy = start_proxy(valkey)
    proxy.record = True
    seen = scan(target_of(proxy), match=b"x" * 3000 + b"*")
    assert seen.keys == [b"x" * 3000]
    scans = [command for command in proxy.commands if command[0] == b"SCAN"]
    assert max(len(word) for command in scans for word in command) <= 1024


@pytest.mark.parametrize("kind", ["hash", "stream", "HASH", "nothing-of-that"])
def test_type_filter_and_its_lookups(server: TestServer, kind: str) -> None:
    filled = fill(server, 2000)
    before = lookups(server)
    if kind == "nothing-of-that" and server.flavour.startswith("valkey"):
        with pytest.raises(UsageError, match="knows no such type"):
            scan(server, type=kind)
        return
    seen = scan(server, type=kind)
    assert len(seen.keys) == filled.by_type.get(kind.lower(), 0)
    assert {record.type for record in seen.records} <= {kind.lower()}
    assert all(record.bytes for record in seen.records)
    after = lookups(server)
    assert after[0] - before[0] == seen.outcome.hits


def test_pattern_and_type_together(server: TestServer) -> None:
    fill(server, 2000)
    seen = scan(server, match=b"user:*", type="list", fields=frozenset({Field.BYTES}))
    assert len(seen.keys) == 80
    assert all(key.endswith(b":recent") for key in seen.keys)
    assert {record.type for record in seen.records} == {""}


# --- What is refused ------------------------------------------------------------------------


def test_a_login_that_may_scan_but_not_look(server: TestServer) -> None:
    fill(server, 1000)
    rules = ("~*", "-@all", "+scan", "+ping", "+info", "+select")
    password = server.add_user("scanner", *rules)
    target = target_of(server, username="scanner", password=password)
    seen = scan(target, fields=EVERYTHING - {Field.FREQ})
    assert sorted(seen.keys) == sorted(keys_of(1000))
    assert seen.outcome.complete
    assert {(r.type, r.ttl_ms, r.bytes, r.idle) for r in seen.records} == {("", None, None, None)}
    gaps = {gap.what: gap for gap in seen.outcome.unavailable}
    assert set(gaps) == {"type", "ttl", "bytes", "idle", "encoding", "elements"}
    assert gaps["bytes"].reason == "this login may not run MEMORY USAGE"
    assert gaps["bytes"].remedy is not None
    assert "+memory|usage" in gaps["bytes"].remedy
    # What is refused is not asked for again and again.
    assert seen.outcome.commands < 4 * 1000


def test_one_column_refused(server: TestServer) -> None:
    fill(server, 1000)
    password = server.add_user("most", "~*", "+@all", "-pttl")
    seen = scan(target_of(server, username="most", password=password))
    assert {record.ttl_ms for record in seen.records} == {None}
    assert all(record.type and record.bytes for record in seen.records)
    assert [gap.what for gap in seen.outcome.unavailable] == ["ttl"]


def test_keys_that_the_login_may_not_read(server: TestServer) -> None:
    fill(server, 2000)
    password = server.add_user("app", "~user:*", "+@all")
    before = lookups(server)
    seen = scan(target_of(server, username="app", password=password))
    mine = [key for key in keys_of(2000) if key.startswith(b"user:")]
    assert sorted(seen.keys) == sorted(mine)
    assert seen.outcome.unreadable == 2000 - len(mine)
    assert seen.outcome.complete
    assert seen.outcome.unavailable == []
    assert lookups(server)[0] - before[0] == seen.outcome.hits == 3 * len(mine)


def test_scan_forbidden(server: TestServer) -> None:
    password = server.add_user("blind", "~*", "+@all", "-scan")
    with pytest.raises(PermissionDeniedError, match="may not run SCAN") as caught:
        scan(target_of(server, username="blind", password=password))
    assert caught.value.hint is not None
    assert "+scan" in caught.value.hint


def test_scan_renamed_away(valkey: TestServer, start_proxy: Callable[..., Proxy]) -> None:
    fill(valkey, 10)
    proxy = start_proxy(valkey)
    proxy.block("SCAN")
    with pytest.raises(RefusedError, match="SCAN is unavailable"):
        scan(target_of(proxy))
    assert "keys" not in valkey.command_calls()


@pytest.mark.parametrize("command", ["MEMORY", "OBJECT", "INFO", "DBSIZE", "CLIENT"])
def test_servers_without_a_command(
    valkey: TestServer, start_proxy: Callable[..., Proxy], command: str
) -> None:
    fill(valkey, 1000)
    proxy = start_proxy(valkey)
    proxy.block(command)
    seen = scan(target_of(proxy), fields=EVERYTHING - {Field.FREQ})
    assert sorted(seen.keys) == sorted(keys_of(1000))
    assert seen.outcome.complete
    missing = {"MEMORY": {"bytes"}, "OBJECT": {"idle", "encoding"}, "CLIENT": {"elements"}}
    assert {gap.what for gap in seen.outcome.unavailable} == missing.get(command, set())


@pytest.mark.parametrize("knows_policy", [True, False])
def test_idle_time_or_frequency(
    server: TestServer, start_proxy: Callable[..., Proxy], knows_policy: bool
) -> None:
    server.run("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    fill(server, 500)
    proxy = start_proxy(server)
    if not knows_policy:
        proxy.block("INFO")
    before = lookups(server)
    seen = scan(target_of(proxy))
    assert {record.idle for record in seen.records} == {None}
    assert all(record.freq is not None for record in seen.records)
    assert lookups(server)[0] - before[0] == seen.outcome.hits
    alone = scan(target_of(proxy), fields=frozenset({Field.IDLE}))
    [gap] = alone.outcome.unavailable
    assert gap.what == "idle"
    assert "LFU" in gap.reason or "lfu" in gap.reason


def test_asking_leaves_idle_times_alone(server: TestServer) -> None:
    fill(server, 200)
    time.sleep(2.1)
    scan(server, fields=EVERYTHING)
    idles = [server.run("OBJECT", "IDLETIME", key) for key in keys_of(200)]
    assert min(idles) >= 2


# --- Odd keyspaces --------------------------------------------------------------------------


def test_empty_database(server: TestServer) -> None:
    seen = scan(server)
    assert seen.keys == []
    assert seen.outcome.complete
    assert seen.outcome.nodes[0].size_before == 0


def test_another_database(valkey: TestServer) -> None:
    fill(valkey, 300, db=15)
    valkey.run("SET", "elsewhere", "1")
    seen = scan(target_of(valkey, database=15))
    assert sorted(seen.keys) == sorted(keys_of(300))


def test_hostile_names(server: TestServer) -> None:
    names = [bytes([i]) for i in range(256)] + [b"", b"\r\n$3\r\nfoo\r\n", b"{}", b"*2\r\n"]
    names += [b"%c%d" % (i % 256, i) + b"x" * 10_000 for i in range(300)]
    client = server.client()
    with client.pipeline(transaction=False) as pipeline:
        for name in names:
            pipeline.set(name, name[:10])
        pipeline.execute()
    seen = scan(server)
    assert sorted(seen.keys) == sorted(names)
    assert {record.type for record in seen.records} == {"string"}


def test_a_huge_value_and_a_huge_hash_cost_nothing(valkey: TestServer) -> None:
    valkey.run("SETRANGE", "huge", 512 * 1024 * 1024 - 1, "x")
    client = valkey.client()
    for part in range(10):
        client.hset("wide", mapping={f"{part}:{i}": "v" for i in range(10_000)})
    valkey.run("SLOWLOG", "RESET")
    seen = scan(valkey, fields=EVERYTHING)
    assert valkey.run("SLOWLOG", "LEN") == 0
    assert seen.by_key[b"huge"].bytes >= 512 * 1024 * 1024
    assert seen.by_key[b"huge"].elements == 512 * 1024 * 1024
    assert seen.by_key[b"wide"].elements == 100_000


@pytest.mark.parametrize("kept", [100, 5000])
def test_shrinking_tables_repeat_nothing(server: TestServer, kept: int) -> None:
    """Keys that stay are yielded once, though SCAN repeats some when the table shrinks."""
    names = [b"k%d" % i for i in range(60_000)]
    with server.client() as client, client.pipeline(transaction=False) as pipeline:
        for at in range(0, len(names), 1000):
            pipeline.mset(dict.fromkeys(names[at : at + 1000], b"1"))
        pipeline.execute()
    stay, drop = names[:kept], names[kept:]

    def shrink(page: int) -> None:
        if page == 60:
            for at in range(0, len(drop), 5000):
                server.run("DEL", *drop[at : at + 5000])
            for _ in range(20):  # the server resizes a table now and then
                server.run("PING")
                time.sleep(0.02)

    seen = scan(server, fields=frozenset({Field.TYPE}), pace="gentle", on_page=shrink)
    assert seen.outcome.complete
    assert [key for key in set(stay) if seen.keys.count(key) != 1] == []
    assert len(set(seen.keys)) == len(seen.keys)


# --- Stopping, going on, progress -----------------------------------------------------------


def test_stopped_and_resumed(server: TestServer) -> None:
    fill(server, 5000)
    first = scan(server, stop_after=7)
    assert not first.outcome.complete
    assert first.outcome.errors == []
    point = first.outcome.resume[server.address]
    assert point.cursor is not None
    assert point.cursor.isdigit()
    second = scan(server, start=first.outcome.resume)
    assert second.outcome.complete
    assert second.restarts == []
    assert set(first.keys) | set(second.keys) == set(keys_of(5000))
    # The page in hand when it was stopped is the only one that comes again.
    assert len(first.keys) + len(second.keys) <= 5000 + 400
    third = scan(server, start=second.outcome.resume)
    assert third.keys == []
    assert third.outcome.complete


def test_resumed_after_a_restart(start_server: Callable[..., TestServer]) -> None:
    server = start_server()
    fill(server, 3000)
    first = scan(server, stop_after=3)
    server.restart()
    fill(server, 3000)
    second = scan(server, start=first.outcome.resume)
    assert [restart.node for restart in second.restarts] == [server.address]
    assert sorted(second.keys) == sorted(keys_of(3000))


def test_closing_leaves_the_server_usable(valkey: TestServer) -> None:
    fill(valkey, 3000)
    with open_server(target_of(valkey)) as server:
        running = Scan(server, ScanRequest())
        next(iter(running))
        running.close()
        assert server.primaries[0].connection.call("DBSIZE") == 3000

        def open_connections() -> int:
            return sum(one["name"] == "cachectl" for one in valkey.admin.client_list())

        wait_until("the scan's connection is closed", lambda: open_connections() == 1)


def test_an_interrupt_while_waiting_is_partial(valkey: TestServer) -> None:
    fill(valkey, 3000)

    def read_a_little(running: Scan) -> None:
        with running:
            for page, _ in enumerate(running):
                if page == 4:
                    raise KeyboardInterrupt

    with open_server(target_of(valkey)) as server:
        running = Scan(server, ScanRequest())
        with pytest.raises(KeyboardInterrupt):
            read_a_little(running)
        assert not running.outcome.complete
        assert 0 < running.outcome.keys < 3000
        assert running.outcome.resume[valkey.address].cursor is not None


def test_progress_is_rare_and_ends_at_the_total(valkey: TestServer) -> None:
    fill(valkey, 10_000)
    told: list[Progress] = []
    with open_server(target_of(valkey)) as server:
        begun = time.monotonic()
        for _ in Scan(server, ScanRequest(pace="gentle"), told.append):
            pass
        seconds = time.monotonic() - begun
    assert len(told) <= seconds * 10 + 2
    assert told[-1].done == told[-1].total == 10_000
    assert [one.done for one in told] == sorted(one.done for one in told)


def test_rate_is_kept(valkey: TestServer) -> None:
    fill(valkey, 3000)
    begun = time.monotonic()
    seen = scan(valkey, max_rate=3000)
    assert 0.8 <= time.monotonic() - begun <= 2.5
    assert len(seen.keys) == 3000


def test_estimate(valkey: TestServer) -> None:
    fill(valkey, 20_000)
    with open_server(target_of(valkey)) as server:
        before = lookups(valkey)
        quick = estimate(server, ScanRequest(pace="normal"))
        after = lookups(valkey)
        slow = estimate(server, ScanRequest(max_rate=1000))
    assert quick.keys == 20_000
    assert 0.01 < quick.seconds < 10
    # The glance is cut off with a flight on its way: about two pages more than it counted.
    assert 0 <= after[0] - before[0] - quick.hits <= 4 * 700
    assert slow.seconds >= 20


def test_not_more_commands_than_needed(valkey: TestServer) -> None:
    fill(valkey, 3000)
    valkey.run("CONFIG", "RESETSTAT")
    outcome = scan(valkey, fields=frozenset({Field.TYPE, Field.BYTES})).outcome
    calls = valkey.command_calls()
    assert calls["type"] == calls["memory|usage"] == 3000
    assert calls["scan"] <= 12
    assert outcome.commands == calls["scan"] + 6000


def test_a_sparse_pattern_strides_wider(valkey: TestServer) -> None:
    fill(valkey, 20_000)
    valkey.run("CONFIG", "RESETSTAT")
    scan(valkey, match=b"lb:1")
    assert valkey.command_calls()["scan"] < 20_000 / 600


def test_a_server_that_cannot_answer_yet(
    valkey: TestServer, start_proxy: Callable[..., Proxy]
) -> None:
    fill(valkey, 1000)
    proxy = start_proxy(valkey)
    proxy.answer("SCAN", error("BUSY Valkey is busy running a script"), times=1)
    seen = scan(target_of(proxy))
    assert sorted(seen.keys) == sorted(keys_of(1000))
    proxy.answer("SCAN", error("MASTERDOWN Link with MASTER is down"))
    with pytest.raises(Exception, match="cannot answer now: MASTERDOWN"):
        scan(target_of(proxy))


def test_names_are_sifted_before_anything_is_asked_about_them(valkey: TestServer) -> None:
    fill(valkey, 1000)
    wanted = {key for key in keys_of(1000) if hash(key) % 10 == 0}
    seen = scan(valkey, sift=lambda keys: [key for key in keys if key in wanted])
    assert set(seen.keys) == wanted
    assert valkey.command_calls()["type"] == len(wanted)


def test_a_login_that_expires_is_renewed(
    valkey: TestServer, start_proxy: Callable[..., Proxy]
) -> None:
    fill(valkey, 1000)
    proxy = start_proxy(valkey)
    proxy.answer("PTTL", error("NOAUTH Authentication required."), nth=50, times=1)
    seen = scan(target_of(proxy))
    assert sorted(seen.keys) == sorted(keys_of(1000))
    assert seen.outcome.complete
    assert seen.outcome.unavailable == []
