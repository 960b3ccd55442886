"""Warming: all is written once, what fails does not stop the rest, and nothing is forgotten."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from proxies import error
from warmable import Listed, Warmer, entry, ids, manifest

from cachectl.actions.warming.job import held, unfinished
from cachectl.config.manifest import Existing, Tag, Ttl, Value
from cachectl.errors import ConfigError, LockedError
from cachectl.policy import Policy, Rule, TtlRule
from cachectl.server.topology.connect import open_server
from cachectl.sources.interface import SourceError


@pytest.fixture
def warm(valkey):
    return Warmer(valkey, {})


def numbers(counts):
    return counts.written, counts.kept, counts.failed


def values(server, count, key="item:%d"):
    found = server.client(protocol=2).mget([key % i for i in range(count)])
    return sum(value == b"value %d" % i for i, value in enumerate(found))


def test_twice_changes_nothing(valkey, warm):
    meant = manifest(entry(), entry("hashes", "h:{id}", type="hash", value=fields()))
    result = warm(meant, Listed(ids(1234)))
    assert numbers(result.total) == (2468, 0, 0)
    assert not result.is_partial
    assert values(valkey, 1234) == 1234
    before = {key: valkey.admin.pttl(key) for key in ("item:7", "h:7")}
    assert all(3_200_000 < ttl <= 3_600_000 for ttl in before.values())
    again = warm(meant, Listed(ids(1234)))
    assert numbers(again.total) == (0, 2468, 0)
    assert all(valkey.admin.pttl(key) <= ttl for key, ttl in before.items())


def fields():
    return Value("fields", names={"id": "{id}", "text": "value {id}"})


def test_what_was_loaded_together_does_not_expire_together(valkey, warm):
    warm(manifest(entry()), Listed(ids(2000)))
    pipe = valkey.client(protocol=2).pipeline(transaction=False)
    for i in range(2000):
        pipe.pttl(f"item:{i}")
    ttls = pipe.execute()
    tenths = [0] * 10
    for ttl in ttls:
        tenths[min(9, max(0, (ttl - 3_230_000) // 37_000))] += 1
    assert all(120 < count < 290 for count in tenths), tenths


def test_bad_rows_are_told_and_do_not_stop_the_rest(valkey, warm):
    rows = [{"id": i} if i % 10 else {"other": i} for i in range(100)]
    result = warm(manifest(entry()), Listed(rows, bad=frozenset({4, 5})))
    assert numbers(result.total) == (88, 0, 12)
    assert result.is_partial
    assert result.stopped is None
    assert {(one.row, one.key) for one in result.failures} >= {(1, None), (4, None), (11, None)}
    resumed = warm(manifest(entry()), Listed(rows, bad=frozenset({4, 5})), resume=warm.run)
    assert numbers(resumed.total) == (88, 0, 12)


def test_a_source_that_fails_is_tried_again_from_where_it_was(valkey, warm):
    lost = SourceError("lost the connection", retryable=True, retry_after=0.0)
    source = Listed(ids(300), faults={120: lost})
    result = warm(manifest(entry()), source)
    assert source.asked == [0, 119]
    assert numbers(result.total) == (300, 0, 0)
    assert result.sources["rows"].retries == 1
    assert not result.is_partial


def test_a_source_that_is_broken_does_not_stop_the_others(valkey, warm):
    broken = SourceError("no such table", hint="mend the query")
    meant = manifest(entry(), entry("others", "other:{id}", source="fine"))
    result = warm(meant, Listed(ids(300), faults={120: broken}), Listed(ids(300), "fine"))
    assert numbers(result.entries["items"]) == (119, 0, 0)
    assert numbers(result.entries["others"]) == (300, 0, 0)
    assert result.sources["rows"].error == "no such table"
    assert result.is_partial
    resumed = warm(meant, Listed(ids(300)), Listed(ids(300), "fine"), resume=warm.run)
    assert numbers(resumed.entries["items"]) == (300, 0, 0)
    assert not resumed.is_partial


def test_a_source_that_stays_broken_is_given_up(valkey, warm):
    class Broken(Listed):
        def batches(self, after=0):
            self.asked.append(after)
            raise SourceError("busy", retryable=True, retry_after=0.0)
            yield

    source = Broken(ids(1))
    result = warm(manifest(entry(), retries=2), source)
    assert source.asked == [0, 0, 0]
    assert (result.sources["rows"].error, result.sources["rows"].retries) == ("busy", 2)


def test_a_collection_whose_rows_did_not_all_come_is_not_written(valkey, warm):
    rows = [{"id": i // 10, "m": i} for i in range(100)]
    meant = manifest(entry(type="set", gather=True, value=Value("elements", elements=("m{m}",))))
    broken = SourceError("died")
    result = warm(meant, Listed(rows, faults={56: broken}, size=7))
    assert numbers(result.total) == (5, 0, 0)
    assert valkey.admin.dbsize() == 5
    resumed = warm(meant, Listed(rows, size=9), resume=warm.run)
    assert numbers(resumed.total) == (10, 0, 0)
    assert valkey.admin.scard("item:9") == valkey.admin.scard("item:5") == 10


def test_tags_name_the_keys_that_were_written(valkey, warm):
    meant = manifest(entry(tags=(Tag("tag:{id}"), Tag("tag:all"))))
    assert numbers(warm(meant, Listed(ids(120))).total) == (120, 0, 0)
    assert valkey.admin.scard("tag:all") == 120
    assert valkey.admin.smembers("tag:7") == {b"item:7"}
    assert valkey.admin.pttl("tag:all") >= valkey.admin.pttl("item:7")


def test_protected_names_are_left_alone(valkey):
    warm = Warmer(valkey, {"protected": ("item:1*",)})
    result = warm(manifest(entry(), entry("ours", "cachectl:{id}")), Listed(ids(20)))
    assert numbers(result.entries["items"]) == (9, 0, 11)
    assert numbers(result.entries["ours"]) == (0, 0, 20)
    assert not valkey.admin.exists("item:1")


# --- TTLs from a policy -----------------------------------------------------------------------


def test_ttls_come_from_the_policy_where_the_entry_says_none(valkey, warm):
    rules = (
        Rule("ranged", (b"item:1*",), ttl=TtlRule(least=50, most=100)),
        Rule("forever", (b"item:2*",), ttl=TtlRule("forbidden")),
        Rule("least", (b"item:3*",), ttl=TtlRule(least=500)),
    )
    meant = manifest(entry(ttl=Ttl("policy")))
    result = warm(meant, Listed(ids(40)), policy=Policy("p", rules))
    assert numbers(result.total) == (33, 0, 7)
    assert "policy" in result.failures[0].reason
    ttl = valkey.admin.pttl
    assert all(85_000 < ttl(f"item:1{i}") <= 100_000 for i in range(10))
    assert ttl("item:22") == -1
    assert 490_000 < ttl("item:33") <= 550_000


def test_an_entry_without_ttl_needs_a_policy(valkey, warm):
    with pytest.raises(ConfigError, match="how long"):
        warm(manifest(entry(ttl=Ttl("policy"))), Listed(ids(1)))


# --- stopping and going on --------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["keep", "replace", "replace-if-different"])
def test_what_was_interrupted_goes_on_and_ends_the_same(valkey, warm, rule):
    meant = manifest(entry(existing=Existing(rule)), entry("lists", "l:{id}", **LISTS))

    def interrupt(source, rows, note):
        if rows >= stop_at[0]:
            raise KeyboardInterrupt

    for stop_at in ([150], [400], [550]):
        with pytest.raises(KeyboardInterrupt):
            warm(meant, Listed(ids(700)), resume=warm.run, on_progress=interrupt)
        stop_at[0] -= 100
    result = warm(meant, Listed(ids(700)), resume=warm.run)
    assert numbers(result.total) == (1400, 0, 0)
    assert values(valkey, 700) == 700
    assert numbers(warm(meant, Listed(ids(700))).total)[2] == 0


LISTS = {"type": "list", "value": Value("elements", elements=("a{id}", "b"))}


def test_time_that_is_over_stops_an_endless_source_and_it_goes_on(valkey, warm, monkeypatch):
    clock = SimpleNamespace(ahead=0.0, monotonic=lambda: time.monotonic() + clock.ahead)
    monkeypatch.setattr("cachectl.actions.warming.warming.time", clock)

    def time_flies(row):
        clock.ahead = 1000.0 if row > 2000 else 0.0

    endless = Listed(ids(100_000), before=time_flies)
    result = warm(manifest(entry()), endless, until=time.monotonic() + 500)
    assert "time is over" in result.stopped
    assert 0 < result.total.written < 10_000
    resumed = warm(manifest(entry()), Listed(ids(12_000)), resume=warm.run)
    assert numbers(resumed.total) == (12_000, 0, 0)


def test_a_source_that_hangs_is_left_when_the_time_is_over(valkey, warm):
    hang = threading.Event()
    source = Listed(ids(100), before=lambda row: row > 50 and hang.wait(20))
    result = warm(manifest(entry()), source, until=time.monotonic() + 0.5)
    hang.set()
    assert "time is over" in result.stopped
    assert result.total.written == 50


def test_a_server_that_refuses_everything_stops_the_run_and_nothing_is_forgotten(valkey, warm):
    valkey.run("CONFIG", "SET", "maxmemory-policy", "noeviction")

    def fill(row):
        if row > 400:
            valkey.run("CONFIG", "SET", "maxmemory", "1")

    source = Listed(ids(20_000), before=fill)
    result = warm(manifest(entry()), source, allow_evictions=True)
    assert "OOM" in result.stopped
    assert result.total.written + result.total.failed < 20_000
    valkey.run("CONFIG", "SET", "maxmemory", "0")
    resumed = warm(manifest(entry()), Listed(ids(20_000)), resume=warm.run)
    assert numbers(resumed.total) == (20_000, 0, 0)
    assert values(valkey, 20_000) == 20_000


def test_a_server_without_headroom_is_not_filled_up(valkey, warm):
    def shrink(row):
        if row > 1000:
            valkey.run("CONFIG", "SET", "maxmemory", "100kb")

    source = Listed(ids(100_000), before=shrink)
    result = warm(manifest(entry()), source, on_progress=lambda *_: time.sleep(0.002))
    assert "maxmemory" in result.stopped


def test_a_server_that_lost_everything_gets_it_again(start_server):
    server = start_server("valkey-9.1")
    warm = Warmer(server, {})

    def restart(row):
        if row == 501:
            server.kill9()
            server.restart()

    result = warm(manifest(entry()), Listed(ids(1000), before=restart), pace="gentle")
    assert values(server, 1000) == 1000
    assert numbers(result.total) == (1000, 0, 0)
    assert result.again > 300
    assert not result.is_partial


def test_a_server_that_was_replaced_between_two_processes_gets_it_again(start_server):
    server = start_server("valkey-9.1")
    warm = Warmer(server, {})
    broken = {601: SourceError("died")}
    assert warm(manifest(entry()), Listed(ids(1000), faults=broken)).total.written == 600
    server.kill9()
    server.restart()
    result = warm(manifest(entry()), Listed(ids(1000)), resume=warm.run)
    assert (numbers(result.total), result.again) == ((1000, 0, 0), 600)
    assert values(server, 1000) == 1000


def test_a_primary_that_becomes_a_replica_for_a_moment_is_waited_for(valkey, warm, start_proxy):
    proxy = start_proxy(valkey)
    proxy.answer(
        "SET item:130", error("READONLY You can't write against a read only replica."), times=2
    )
    result = Warmer(proxy, {})(manifest(entry()), Listed(ids(300)))
    assert numbers(result.total) == (300, 0, 0)


def test_a_sentinel_failover_loses_nothing(start_sentinel):
    group = start_sentinel()
    settings = {"topology": "sentinel", "sentinel_master": group.name}
    warm = Warmer(group.sentinels[0], settings)

    def fail_over(row):
        if row == 501:
            group.failover()

    result = warm(manifest(entry()), Listed(ids(1000), before=fail_over))
    assert numbers(result.total) == (1000, 0, 0), result.stopped
    assert values(group.current_primary(), 1000) == 1000


# --- two at once ------------------------------------------------------------------------------


def test_the_second_job_waits_and_finds_it_done(valkey, warm):
    meant = manifest(entry())
    going, waiting = threading.Event(), threading.Event()

    def hold(row):
        if row == 51:
            going.set()
            assert waiting.wait(20)

    first = []
    thread = threading.Thread(
        target=lambda: first.append(Warmer(valkey, {})(meant, Listed(ids(100), before=hold)))
    )
    thread.start()
    assert going.wait(20)
    source = Listed(ids(100))
    second = warm(meant, source, wait=30.0, on_wait=lambda _: waiting.set())
    thread.join()
    assert numbers(first[0].total) == (100, 0, 0)
    assert second.found_done == first[0].run
    assert source.asked == []
    assert not second.is_partial


def test_the_second_job_is_refused_when_it_may_not_wait(valkey, warm):
    from targets import target_of

    meant = manifest(entry())
    with (
        open_server(target_of(valkey)) as server,
        held(server, meant, "another", 0, lambda _: None),
        pytest.raises(LockedError, match="another"),
    ):
        warm(meant, Listed(ids(10)))
    other = replace(meant, digest="f" * 64)
    assert numbers(warm(other, Listed(ids(10))).total) == (10, 0, 0)


def test_only_an_unfinished_run_of_this_manifest_is_resumed(valkey, warm):
    from targets import target_of

    meant = manifest(entry())
    warm(meant, Listed(ids(10)))
    with open_server(target_of(valkey)) as server:
        assert unfinished(meant, server) is None
        warm(meant, Listed(ids(10), faults={5: SourceError("died")}))
        assert unfinished(meant, server) == warm.run
        assert unfinished(replace(meant, digest="f" * 64), server) is None


# --- clusters ---------------------------------------------------------------------------------


def test_a_cluster_that_is_resharded_meanwhile_has_everything(cluster):
    warm = Warmer(cluster.primaries[0], {"topology": "cluster"})
    slots = list(range(400))

    def reshard(row):
        if row == 501:
            cluster.move_slots(slots, cluster.primaries[0], cluster.primaries[1])

    meant = manifest(
        entry(), entry("sets", "s:{id}", type="set", value=Value("elements", elements=("m{id}",)))
    )
    result = warm(meant, Listed(ids(1000), before=reshard))
    cluster.wait_ok()
    assert numbers(result.total) == (2000, 0, 0), result.stopped
    client = cluster.client()
    assert all(client.get(f"item:{i}") == b"value %d" % i for i in range(1000))
    client.close()
