"""Writing whole keys: what is counted is what is there, whatever breaks on the way."""

from __future__ import annotations

import time

import pytest
from targets import target_of

from cachectl.actions.warming.batch import Batch
from cachectl.actions.warming.writing import Writer
from cachectl.config.manifest import Existing
from cachectl.errors import PartialError
from cachectl.model.changes import NEVER
from cachectl.model.values import LogicalValue
from cachectl.server.pace import Pace
from cachectl.server.topology.connect import open_server
from cachectl.sources.rendered import TagMember

IN_AN_HOUR = 3_600_000


def soon(milliseconds=IN_AN_HOUR):
    return int(time.time() * 1000) + milliseconds


def strings(start, stop, rule="keep", **options):
    keys = [b"k:%d" % i for i in range(start, stop)]
    values = [b"v%d" % i for i in range(start, stop)]
    expiries = [soon() + i for i in range(start, stop)]
    return Batch(keys, values, expiries, Existing(rule, options.pop("within", 0)), **options)


COLLECTIONS = {
    b"list": LogicalValue("list", [b"a", b"b", b"a"]),
    b"set": LogicalValue("set", [b"a", b"b"]),
    b"zset": LogicalValue("zset", [(b"a", 1.5), (b"b", float("inf"))]),
    b"hash": LogicalValue("hash", [(b"f", b"v", None), (b"g", b"", None)]),
    b"stream": LogicalValue("stream", [((1, 1), ((b"f", b"v"),)), ((1, 2), ((b"f", b"w"),))]),
    b"large": LogicalValue("list", [b"%d" % i for i in range(5000)]),
}


def collections(rule="keep", **options):
    expiries = [soon() if i % 2 else NEVER for i in range(len(COLLECTIONS))]
    values = list(COLLECTIONS.values())
    return Batch(list(COLLECTIONS), values, expiries, Existing(rule, 0), **options)


@pytest.fixture
def write():
    """Return what writes batches to an endpoint and returns the writer."""

    def written(endpoint, *batches, topology="standalone", pace="normal", **options):
        landed = []
        target = target_of(endpoint, topology=topology, **options)
        with open_server(target) as server:
            on_doubt = landed_doubts.append
            writer = Writer(
                server, Pace.of(target.limits, pace), b"cachectl:test:", landed.append, on_doubt
            )
            try:
                for batch in batches:
                    writer.put(batch)
                writer.finish()
            finally:
                writer.close()
        assert landed == list(batches)
        return writer

    landed_doubts = []
    written.doubts = landed_doubts
    return written


def total(*batches):
    return (
        sum(batch.written for batch in batches),
        sum(batch.kept for batch in batches),
        sum(len(batch.failed) for batch in batches),
    )


def check_strings(client, count):
    keys = [b"k:%d" % i for i in range(count)]
    assert client.mget(keys) == [b"v%d" % i for i in range(count)]
    assert all(3_500_000 < client.pttl(key) <= 3_602_000 for key in keys[:: max(1, count // 20)])


def check_collections(client):
    assert client.lrange("list", 0, -1) == [b"a", b"b", b"a"]
    assert client.smembers("set") == {b"a", b"b"}
    assert client.zrange("zset", 0, -1, withscores=True) == [(b"a", 1.5), (b"b", float("inf"))]
    assert client.hgetall("hash") == {b"f": b"v", b"g": b""}
    assert client.xrange("stream") == [(b"1-1", {b"f": b"v"}), (b"1-2", {b"f": b"w"})]
    assert client.llen("large") == 5000
    assert client.ttl("list") == -1
    assert 3500 < client.ttl("set") <= 3600
    assert not list(client.scan_iter("cachectl:*"))


def test_every_type_is_written_whole_and_kept_the_second_time(server, write):
    client = server.client(protocol=2)
    first = [strings(0, 300), strings(300, 500), collections()]
    write(server, *first)
    assert total(*first) == (506, 0, 0)
    check_strings(client, 500)
    check_collections(client)
    second = [strings(0, 300), strings(300, 500), collections()]
    write(server, *second)
    assert total(*second) == (0, 506, 0)
    check_collections(client)


def test_what_exists_is_kept_or_replaced_as_the_rule_says(server, write):
    client = server.client(protocol=2)
    client.set("k:0", "old")
    client.rpush("hash", "old")
    kept = [strings(0, 2), collections()]
    write(server, *kept)
    assert total(*kept) == (6, 2, 0)
    assert client.get("k:0") == b"old"
    assert client.type("hash") == b"list"
    replaced = [strings(0, 2, "replace"), collections("replace")]
    write(server, *replaced)
    assert total(*replaced) == (8, 0, 0)
    check_strings(client, 2)
    check_collections(client)


def test_only_what_expires_soon_is_replaced(server, write):
    client = server.client(protocol=2)
    client.set("k:0", "expires", px=50_000)
    client.set("k:1", "later", px=100_000)
    client.set("k:2", "never")
    batch = strings(0, 4, "replace-if-expires-within", within=60)
    write(server, batch)
    assert total(batch) == (2, 2, 0)
    assert client.mget("k:0", "k:1", "k:2", "k:3") == [b"v0", b"later", b"never", b"v3"]


def test_only_what_differs_is_replaced(server, write):
    client = server.client(protocol=2)
    write(server, collections())
    client.persist("set")
    client.rpush("list", "more")
    client.delete("hash")
    client.set("zset", "another type")
    client.set("k:0", "other")
    client.set("k:1", "v1", px=5000)
    batches = [strings(0, 3, "replace-if-different"), collections("replace-if-different")]
    write(server, *batches)
    assert total(*batches) == (5, 4, 0)
    assert client.pttl("k:1") <= 5000
    assert client.ttl("set") == -1
    client.expire("set", 3600)
    check_collections(client)


def test_a_key_that_is_written_while_it_is_looked_at_keeps_the_newer_value(
    valkey, write, start_proxy
):
    proxy = start_proxy(valkey)
    valkey.admin.set("k:0", "old", px=1000)
    valkey.admin.set("k:1", "old", px=1000)
    proxy.before("MULTI", lambda: valkey.run("SET", "k:1", "newer", "PX", "900000"))
    batch = strings(0, 2, "replace-if-expires-within", within=60)
    write(proxy, batch)
    assert total(batch) == (1, 1, 0)
    assert valkey.admin.mget("k:0", "k:1") == [b"v0", b"newer"]


def test_a_key_that_the_server_refuses_fails_alone(server, write):
    client = server.client(protocol=2)
    broken = Batch(
        [b"stream", b"zset", b"fine"],
        [
            LogicalValue("stream", [((5, 5), ((b"f", b"v"),)), ((1, 1), ((b"f", b"v"),))]),
            LogicalValue("zset", [(b"a", float("nan"))]),
            LogicalValue("list", [b"x"]),
        ],
        [soon()] * 3,
        Existing("replace"),
    )
    client.set("stream", "old")
    write(server, broken)
    assert (broken.written, broken.kept, len(broken.failed)) == (1, 0, 2)
    assert client.get("stream") == b"old"
    assert sorted(client.keys("*")) == [b"fine", b"stream"]


# --- tags -------------------------------------------------------------------------------------


def tagged(keys, expiries, kind="set"):
    tags = [(TagMember(kind, b"tag", key, 1.5),) for key in keys]
    return Batch(keys, [b"v"] * len(keys), expiries, tags=tags)


@pytest.mark.parametrize("kind", ["set", "zset"])
def test_a_tag_set_lives_as_long_as_its_longest_member(server, write, kind):
    client = server.client(protocol=2)
    write(server, tagged([b"a", b"b"], [soon(10_000), soon(90_000)], kind))
    assert client.type("tag") == kind.encode()
    assert 85_000 < client.pttl("tag") <= 90_000
    write(server, tagged([b"c"], [soon(5_000)], kind))
    assert client.pttl("tag") > 80_000
    write(server, tagged([b"d"], [soon(200_000)], kind))
    assert client.pttl("tag") > 190_000
    write(server, tagged([b"e"], [NEVER], kind))
    assert client.pttl("tag") == -1
    write(server, tagged([b"f"], [soon(5_000)], kind))
    assert client.pttl("tag") == -1
    names = client.smembers("tag") if kind == "set" else set(client.zrange("tag", 0, -1))
    assert names == {b"a", b"b", b"c", b"d", b"e", b"f"}


def test_a_key_whose_tag_cannot_be_kept_is_not_written(any_server, write):
    any_server.admin.set("tag", "not a set")
    batch = tagged([b"a"], [soon()])
    write(any_server, batch)
    assert total(batch) == (0, 0, 1)
    assert "WRONGTYPE" in batch.failed[0][1]
    assert not any_server.admin.exists("a")


# --- faults -----------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["lose_reply", "lose_request"])
@pytest.mark.parametrize("nth", [1, 450])
@pytest.mark.parametrize("rule", ["keep", "replace"])
def test_a_lost_reply_is_settled_by_looking(valkey, write, start_proxy, what, nth, rule):
    valkey.admin.set("k:7", "theirs")
    proxy = start_proxy(valkey)
    getattr(proxy, what)("SET", nth=nth)
    batches = [strings(i, i + 300, rule) for i in range(0, 900, 300)]
    write(proxy, *batches)
    assert total(*batches) == ((899, 1, 0) if rule == "keep" else (900, 0, 0))
    assert valkey.admin.get("k:7") == (b"theirs" if rule == "keep" else b"v7")


@pytest.mark.parametrize("what", ["lose_reply", "lose_request"])
@pytest.mark.parametrize("rule", ["keep", "replace", "replace-if-different"])
def test_a_lost_exec_is_settled_by_looking(valkey, write, start_proxy, what, rule):
    proxy = start_proxy(valkey)
    getattr(proxy, what)("EXEC", nth=2)
    batch = collections(rule)
    write(proxy, batch)
    assert total(batch) == (6, 0, 0)
    check_collections(valkey.client(protocol=2))


def test_what_an_earlier_process_wrote_is_known_by_its_expiry(valkey, write):
    earlier = strings(0, 50)
    write(valkey, earlier)
    valkey.admin.set("k:50", "theirs", px=5000)
    again = strings(0, 60, is_doubtful=True)
    again.expiries = [*earlier.expiries, *[soon()] * 10]
    write(valkey, again)
    assert total(again) == (59, 1, 0)


def test_a_server_without_memory_refuses_key_by_key(start_server, write):
    full = start_server("valkey-9.1")
    full.run("CONFIG", "SET", "maxmemory-policy", "noeviction")
    full.run("CONFIG", "SET", "maxmemory", "1")
    batches = [strings(0, 5), collections(), collections("replace-if-different")]
    write(full, *batches)
    assert total(*batches) == (0, 0, 17)
    assert {reason.partition(" ")[0] for batch in batches for _, reason in batch.failed} == {"OOM"}


def test_a_restarted_server_is_doubted(start_server, write):
    server = start_server("valkey-9.1")
    batches = [strings(0, 300), strings(300, 600)]
    done = []

    def restart(batch):
        done.append(batch)
        if len(done) == 1:
            server.kill9()
            server.restart()

    target = target_of(server)
    doubts = []
    with open_server(target) as opened:
        writer = Writer(
            opened, Pace.of(target.limits, "gentle"), b"cachectl:test:", restart, doubts.append
        )
        for batch in batches:
            writer.put(batch)
        writer.finish()
        writer.close()
    assert total(batches[1]) == (300, 0, 0)
    assert doubts == [float("inf")]


def test_a_server_that_is_gone_stops_the_writing(start_server, write, monkeypatch):
    monkeypatch.setattr("cachectl.actions.execution.recovery.PATIENCE", 0.3)
    server = start_server("valkey-9.1")
    target = target_of(server)
    with open_server(target) as opened:
        writer = Writer(opened, Pace.of(target.limits, "normal"), b"cachectl:test:", list)
        server.kill9()
        writer.put(strings(0, 10))
        with pytest.raises(PartialError):
            writer.finish()


# --- clusters ---------------------------------------------------------------------------------


def test_a_cluster_is_written_node_by_node(cluster, write):
    batches = [strings(0, 300), strings(0, 300), collections(), collections("replace")]
    batches.append(strings(0, 300, "replace-if-different"))
    write(cluster.primaries[0], *batches, topology="cluster")
    assert total(*batches) == (312, 600, 0)
    client = cluster.client()
    check_collections(client)
    assert [client.get(b"k:%d" % i) for i in range(300)] == [b"v%d" % i for i in range(300)]
    client.close()


@pytest.mark.parametrize("rule", ["keep", "replace"])
def test_keys_of_a_slot_on_its_way_are_written_where_it_is(cluster, write, rule):
    keys = [b"{moving}:%d" % i for i in range(20)]
    source = cluster.owner(keys[0])
    target = next(node for node in cluster.primaries if node is not source)
    client = cluster.client()
    slot = client.keyslot(keys[0])
    client.set(keys[0], "old")
    cluster.begin_move(slot, source, target)
    batch = Batch(keys, [b"new"] * 20, [soon()] * 20, Existing(rule))
    write(cluster.primaries[0], batch, topology="cluster")
    assert total(batch) == ((19, 1, 0) if rule == "keep" else (20, 0, 0))
    cluster.move_keys(slot, source, target)
    cluster.finish_move(slot, source, target)
    cluster.wait_ok()
    assert [client.get(key) for key in keys[1:]] == [b"new"] * 19
    client.close()


def test_a_slot_that_has_moved_is_found(cluster, write):
    keys = [b"{moved}:%d" % i for i in range(20)]
    source = cluster.owner(keys[0])
    target = next(node for node in cluster.primaries if node is not source)
    client = cluster.client()
    options = target_of(cluster.primaries[0], topology="cluster")
    batches = [
        Batch(keys, [b"v"] * 20, [soon()] * 20),
        Batch(keys, [LogicalValue("set", [b"m"])] * 20, [soon()] * 20, Existing("replace")),
        Batch(keys, [b"w"] * 20, [soon()] * 20, Existing("replace-if-different")),
    ]
    with open_server(options) as opened:
        cluster.move_slots([client.keyslot(keys[0])], source, target)
        cluster.wait_ok()
        writer = Writer(
            opened, Pace.of(options.limits, "normal"), b"cachectl:test:", lambda _: None
        )
        for batch in batches:
            writer.put(batch)
        writer.finish()
        writer.close()
    assert [total(batch) for batch in batches] == [(20, 0, 0)] * 3
    assert [client.get(key) for key in keys] == [b"w"] * 20
    client.close()


def test_a_node_that_is_lost_does_not_stop_the_others(start_cluster, monkeypatch):
    monkeypatch.setattr("cachectl.actions.execution.recovery.PATIENCE", 0.5)
    cluster = start_cluster("valkey-9.1")
    cluster.primaries[0].run("CONFIG", "SET", "cluster-require-full-coverage", "no")
    for node in cluster.primaries:
        node.run("CONFIG", "SET", "cluster-require-full-coverage", "no")
    lost = cluster.primaries[2]
    target = target_of(cluster.primaries[0], topology="cluster")
    batches = [strings(0, 300), strings(300, 600), strings(600, 900, "replace-if-different")]
    theirs = sum(cluster.owner(b"k:%d" % i) is lost for i in range(900))
    with open_server(target) as opened:
        writer = Writer(opened, Pace.of(target.limits, "normal"), b"cachectl:test:", lambda _: None)
        lost.kill9()
        for batch in batches:
            writer.put(batch)
        writer.finish()
        writer.close()
    assert total(*batches) == (900 - theirs, 0, theirs)
    assert len(writer.down) == 1
