"""Verifying: each kind of fault is found where it is, and a sample's interval holds."""

from __future__ import annotations

import random
import time
import zlib

import pytest
from targets import target_of
from warmable import Listed, Warmer, entry, ids, manifest

from cachectl.actions.warming.batch import parts
from cachectl.actions.warming.examining import Fault
from cachectl.actions.warming.lifetimes import lifetimes_of
from cachectl.actions.warming.verify import Verification
from cachectl.actions.warming.verify_result import quantiles, share_of
from cachectl.config.manifest import Pending, Tag, Ttl, Value
from cachectl.server.pace import Pace
from cachectl.server.topology.connect import open_server
from cachectl.sources.interface import SourceError


def verify(endpoint, meant, *sources, pace="normal", **options):
    target = target_of(endpoint, topology=options.pop("topology", "standalone"))
    with open_server(target) as server:
        return Verification(
            server,
            meant,
            {one.name: one for one in sources},
            lifetimes_of(meant, None),
            Pace.of(target.limits, pace),
            **options,
        ).perform()


HASHES = {"type": "hash", "value": Value("fields", names={"id": "{id}", "n": "name {id}"})}


def warmed(server, count=100):
    meant = manifest(entry(tags=(Tag("tag:all"),)), entry("hashes", "h:{id}", **HASHES))
    assert Warmer(server, {})(meant, Listed(ids(count))).total.written == 2 * count
    return meant


def faults(result):
    total = result.total
    return {fault.value: total.of(fault) for fault in Fault if total.of(fault)}


def break_some(server):
    client = server.client(protocol=2)
    client.delete("item:1", "h:2")
    client.set("item:3", "other", keepttl=True)
    client.hset("h:4", "n", "other")
    client.delete("item:5")
    client.rpush("item:5", "list")
    client.persist("h:6")
    client.expire("item:7", 5)
    return {"missing": 2, "different": 2, "wrong_type": 1, "wrong_ttl": 1, "expiring": 1}


def test_every_fault_is_found_and_repaired(server):
    meant = warmed(server)
    assert faults(verify(server, meant, Listed(ids(100)))) == {"ok": 200}
    broken = break_some(server)
    found = verify(server, meant, Listed(ids(100)))
    assert faults(found) == broken | {"ok": 193}
    assert {(one.key, one.fault.value) for one in found.told} >= {
        (b"item:1", "missing"),
        (b"item:3", "different"),
        (b"item:5", "wrong_type"),
        (b"h:6", "wrong_ttl"),
        (b"item:7", "expiring"),
    }
    assert server.client().exists("item:1") == 0
    server.client(protocol=2).srem("tag:all", "item:1")
    repaired = verify(server, meant, Listed(ids(100)), repairs=True)
    assert repaired.total.repaired == 7
    assert faults(verify(server, meant, Listed(ids(100)))) == {"ok": 200}
    assert server.client(protocol=2).sismember("tag:all", "item:1")


def test_looking_does_not_disturb_and_is_counted(valkey):
    meant = warmed(valkey)
    valkey.admin.config_set("maxmemory-policy", "allkeys-lru")
    before = valkey.info("stats")
    result = verify(valkey, meant, Listed(ids(100)))
    after = valkey.info("stats")
    assert after["keyspace_hits"] - before["keyspace_hits"] == result.own_lookups


def test_what_the_source_says_now_is_what_counts(valkey):
    meant = warmed(valkey)
    changed = [{"id": i} for i in range(90)] + [{"id": i + 1000} for i in range(10)]
    result = verify(valkey, meant, Listed(changed))
    assert faults(result) == {"ok": 180, "missing": 20}


def test_compressed_values_are_compared_by_what_is_in_them(valkey):
    meant = manifest(entry(codec=("zlib",)))
    Warmer(valkey, {})(meant, Listed(ids(20)))
    valkey.admin.set("item:3", zlib.compress(b"value 3", 1), keepttl=True)
    valkey.admin.set("item:4", zlib.compress(b"other", 1), keepttl=True)
    valkey.admin.set("item:5", "not compressed", keepttl=True)
    assert faults(verify(valkey, meant, Listed(ids(20)))) == {"ok": 18, "different": 2}


def test_an_application_that_is_faster_than_the_repair_keeps_its_value(valkey, start_proxy):
    meant = warmed(valkey)
    valkey.admin.delete("item:1")
    valkey.admin.expire("item:2", 5)
    proxy = start_proxy(valkey)
    proxy.before("SET item:1", lambda: valkey.run("SET", "item:1", "newer", "EX", "999"))
    proxy.before("WATCH item:2", lambda: valkey.run("SET", "item:2", "newer", "EX", "3500"))
    result = verify(proxy, meant, Listed(ids(100)), repairs=True)
    assert faults(result) == {"ok": 198, "missing": 1, "expiring": 1}
    assert valkey.admin.mget("item:1", "item:2") == [b"newer", b"newer"]


def test_a_source_that_breaks_makes_it_partial(valkey):
    meant = warmed(valkey)
    result = verify(valkey, meant, Listed(ids(100), faults={51: SourceError("died")}))
    assert result.errors == {"rows": "died"}
    assert result.is_partial
    assert faults(result) == {"ok": 100}


def test_time_that_is_over_makes_it_partial(valkey):
    meant = warmed(valkey)
    result = verify(valkey, meant, Listed(ids(100)), until=time.monotonic())
    assert "time is over" in result.stopped
    assert result.is_partial


def test_a_cut_connection_is_looked_over_again(valkey, start_proxy):
    meant = warmed(valkey)
    proxy = start_proxy(valkey)
    proxy.lose_reply("TYPE item:60")
    assert faults(verify(proxy, meant, Listed(ids(100)))) == {"ok": 200}


def test_a_pace_that_changes_leaves_no_key_out(valkey):
    meant = warmed(valkey)
    target = target_of(valkey)
    pace = Pace.of(target.limits, "normal")
    pace.max_latency = 1e-9  # every flight is late: the next one is half as large
    with open_server(target) as server:
        result = Verification(
            server, meant, {"rows": Listed(ids(100))}, lifetimes_of(meant, None), pace
        ).perform()
    assert faults(result) == {"ok": 200}
    assert [len(one) for one in parts(range(10), 4)] == [4, 4, 2]


def test_a_cluster(cluster):
    settings = {"topology": "cluster"}
    meant = manifest(entry(), entry("hashes", "h:{id}", **HASHES))
    Warmer(cluster.primaries[0], settings)(meant, Listed(ids(100)))
    client = cluster.client()
    client.delete("item:1")
    found = verify(cluster.primaries[0], meant, Listed(ids(100)), topology="cluster")
    assert faults(found) == {"ok": 199, "missing": 1}
    client.close()


# --- samples ----------------------------------------------------------------------------------


def test_a_sample_is_drawn_with_equal_chances(valkey):
    meant = warmed(valkey, 200)
    for i in range(0, 200, 4):
        valkey.admin.delete(f"item:{i}")
    result = verify(valkey, meant, Listed(ids(200)), sample=150, rng=random.Random(3))
    assert (result.total.checked, result.keys) == (150, 400)
    assert result.wrong.low <= 50 / 400 <= result.wrong.high
    everything = verify(valkey, meant, Listed(ids(200)), sample=1000)
    assert (everything.total.checked, everything.wrong.value) == (400, 0.125)


@pytest.mark.parametrize(("wrong", "drawn"), [(20, 200), (100, 400), (500, 100), (5, 700)])
def test_the_interval_of_a_sample_holds(wrong, drawn):
    """A population of 1,000 of which `wrong` are wrong, drawn from without replacement."""
    rng = random.Random(wrong)
    population = [True] * wrong + [False] * (1000 - wrong)
    held = 0
    for _ in range(600):
        found = share_of(sum(rng.sample(population, drawn)), drawn, 1000)
        held += found.low <= wrong / 1000 <= found.high
    assert held / 600 >= 0.93


def test_quantiles_count_weights():
    assert list(quantiles([(1.0, 90), (5.0, 9), (9.0, 1)])) == [1.0, 5.0]
    assert list(quantiles([])) == []


# --- write-behind -----------------------------------------------------------------------------


def behind(pending):
    return manifest(entry(ttl=Ttl("never"), pending=pending))


STREAM = Pending("stream", b"writes", b"writer", "key")
LIST = Pending("list", b"queue", key_field="key")


@pytest.mark.parametrize("flavour", ["stream", "list"])
def test_only_what_is_settled_is_compared(valkey, flavour):
    client = valkey.client(protocol=2)
    pending = STREAM if flavour == "stream" else LIST
    meant = behind(pending)
    Warmer(valkey, {})(meant, Listed(ids(20)))
    client.set("item:3", "changed and queued")
    client.set("item:4", "changed and given to a consumer")
    client.set("item:5", "changed by somebody else")
    if flavour == "stream":
        client.xgroup_create("writes", "writer", "$", mkstream=True)
        client.xadd("writes", {"key": "item:4"})
        client.xreadgroup("writer", "one", {"writes": ">"})
        client.xadd("writes", {"key": "item:3"})
    else:
        client.rpush("queue", '{"key": "item:3"}', '{"key": "item:4"}')
    result = verify(valkey, meant, Listed(ids(20)))
    assert faults(result) == {"ok": 17, "different": 1}
    assert (result.total.unsettled, result.total.checked) == (2, 20)
    assert [one.key for one in result.told] == [b"item:5"]
    assert result.queues == [(pending.key, 2)]


def test_what_is_queued_while_the_source_is_read_is_not_settled(valkey):
    client = valkey.client(protocol=2)
    meant = behind(STREAM)
    Warmer(valkey, {})(meant, Listed(ids(100)))
    client.xgroup_create("writes", "writer", "$", mkstream=True)

    def change(row):
        if row == 51:  # written to the database, and acknowledged, while we read on
            client.set("item:90", "newer")
            client.xadd("writes", {"key": "item:90"})
            [[_, [[entry_id, _]]]] = client.xreadgroup("writer", "one", {"writes": ">"})
            client.xack("writes", "writer", entry_id)

    result = verify(valkey, meant, Listed(ids(100), before=change))
    assert (faults(result), result.total.unsettled) == ({"ok": 99}, 1)


def test_a_queue_that_names_no_keys_settles_nothing_until_it_is_empty(valkey):
    client = valkey.client(protocol=2)
    meant = behind(Pending("list", b"queue"))
    Warmer(valkey, {})(meant, Listed(ids(20)))
    client.set("item:3", "changed")
    client.rpush("queue", "something")
    result = verify(valkey, meant, Listed(ids(20)))
    assert (faults(result), result.total.unsettled) == ({"ok": 19}, 1)
    client.delete("queue")
    assert faults(verify(valkey, meant, Listed(ids(20)))) == {"ok": 19, "different": 1}


def test_a_queue_that_is_not_there_is_told(valkey):
    meant = behind(Pending("stream", b"writes", b"nobody", "key"))
    Warmer(valkey, {})(meant, Listed(ids(2)))
    valkey.admin.xadd("writes", {"key": "x"})
    result = verify(valkey, meant, Listed(ids(2)))
    assert "no group" in result.notes[0]
