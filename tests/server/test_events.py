"""The feed of events on real servers: complete, in order, bounded, and back after a break."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hostile import NAMES as HOSTILE_NAMES
from proxies import Proxy
from servers import TestServer
from targets import target_of
from topologies import TestCluster, TestSentinels, wait_until

from cachectl.config.target import Target
from cachectl.errors import PermissionDeniedError
from cachectl.model.events import EventBatch, EventGap, EventMark
from cachectl.server.events import listening
from cachectl.server.events.events import EventFeed, EventItem, Inbox
from cachectl.server.topology.connect import open_server

NAMES = ("expired", "evicted", "keymiss", "set", "del")


@contextmanager
def feed_of(target: Target) -> Iterator[EventFeed]:
    with open_server(target) as server, EventFeed(server, NAMES) as feed:
        yield feed


def pairs(items: list[EventItem]) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for item in items:
        if isinstance(item, EventBatch):
            found += zip(item.names, item.keys, strict=True)
    return found


def marks(items: list[EventItem]) -> list[EventMark]:
    return [item for item in items if isinstance(item, EventMark)]


def switch_on(server: TestServer, letters: str = "KEAm") -> None:
    server.run("CONFIG", "SET", "notify-keyspace-events", letters)


@pytest.mark.parametrize("protocol", [2, 3])
def test_events_come_in_order_and_up_to_the_mark(server: TestServer, protocol: int) -> None:
    switch_on(server)
    with feed_of(target_of(server, protocol=protocol)) as feed:
        server.run("SET", "a", 1)
        server.run("GET", "absent")
        server.run("DEL", "a")
        items = feed.take_to_mark()
        assert pairs(items) == [("set", b"a"), ("keymiss", b"absent"), ("del", b"a")]
        mark = marks(items)[0]
        assert mark.info is not None
        assert mark.info["keyspace_misses"] == "1"
        server.run("GET", "absent")
        again = feed.take_to_mark()
        assert pairs(again) == [("keymiss", b"absent")]
        assert (marks(again)[0].info or {})["keyspace_misses"] == "2"


def test_names_are_whole_whatever_is_in_them(server: TestServer) -> None:
    switch_on(server)
    names = [b"a\nb\x00c", b"\r\n+OK\r\n", b"\xff\xfe", b"", *HOSTILE_NAMES]
    with feed_of(target_of(server)) as feed:
        for name in names:
            server.run("SET", name, 1)
        assert [key for _, key in pairs(feed.take_to_mark())] == names


def test_counted_events_of_other_databases_are_counted_alone(valkey: TestServer) -> None:
    switch_on(valkey)
    other = valkey.client(db=3)
    with feed_of(target_of(valkey, database=1)) as feed:
        other.get("absent")
        other.set("a", 1)
        valkey.client(db=1).get("mine")
        items = feed.take_to_mark()
    assert pairs(items) == [("keymiss", b"mine")]
    elsewhere = [dict(item.elsewhere) for item in items if isinstance(item, EventBatch)]
    assert sum(one.get("keymiss", 0) for one in elsewhere) == 1
    assert (marks(items)[0].info or {})["keyspace_misses"] == "2"


def test_a_burst_is_whole(valkey: TestServer) -> None:
    switch_on(valkey)
    with feed_of(target_of(valkey)) as feed:
        pipe = valkey.client().pipeline(transaction=False)
        for number in range(30_000):
            pipe.get(number)
        pipe.execute()
        items = feed.take_to_mark(30)
    assert [key for _, key in pairs(items)] == [b"%d" % number for number in range(30_000)]


def test_between_marks_are_exactly_the_events_that_info_counts(server: TestServer) -> None:
    """Under traffic that does not stop for anybody."""
    switch_on(server)
    stop = threading.Event()

    def work() -> None:
        client, number = server.client(), 0
        while not stop.is_set():
            pipe = client.pipeline(transaction=False)
            for _ in range(20):
                number += 1
                pipe.get(number)
                pipe.set(number, 1, px=1)
            pipe.execute()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        with feed_of(target_of(server)) as feed:
            before = marks(feed.take_to_mark())[0].info or {}
            for _ in range(20):
                time.sleep(0.01)
                items = feed.take_to_mark()
                now = marks(items)[0].info or {}
                seen = [name for name, _ in pairs(items)]
                for name, field in (("keymiss", "keyspace_misses"), ("expired", "expired_keys")):
                    assert seen.count(name) == int(now[field]) - int(before[field]), name
                before = now
    finally:
        stop.set()
        thread.join()


def test_silence_is_no_reason_to_stop(valkey: TestServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver gave up after 5 s. Here the patience is 0.3 s, and more than that is waited."""
    monkeypatch.setattr(listening, "_QUIET", 0.1)
    switch_on(valkey)
    with feed_of(target_of(valkey, timeout=0.3)) as feed:
        pings = valkey.command_calls().get("ping", 0)
        wait_until("it asks three times", lambda: valkey.command_calls()["ping"] >= pings + 3)
        valkey.run("GET", "absent")
        items = feed.take_to_mark()
    assert pairs(items) == [("keymiss", b"absent")]
    assert not any(isinstance(item, EventGap) for item in items)


def test_a_server_that_answers_no_more_is_a_gap(
    valkey: TestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "_QUIET", 0.1)
    switch_on(valkey)
    with feed_of(target_of(valkey, timeout=0.3, connect_timeout=0.3)) as feed:
        with valkey.suspended():
            assert marks(feed.take_to_mark(0.5)) == [EventMark(valkey.address, listening=False)]
            time.sleep(0.5)
        assert "does not answer" in gap_of(feed).reason
        valkey.run("GET", "absent")
        assert pairs(feed.take_to_mark()) == [("keymiss", b"absent")]


def gap_of(feed: EventFeed) -> EventGap:
    """Wait until there has been a gap, and return it."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for item in feed.take(1.0):
            if isinstance(item, EventGap):
                return item
    raise AssertionError("there was no gap")


@pytest.mark.parametrize("how", ["CLIENT KILL", "output buffer limit"])
def test_a_connection_that_is_cut_comes_back_after_a_gap(valkey: TestServer, how: str) -> None:
    switch_on(valkey)
    with feed_of(target_of(valkey)) as feed:
        if how == "CLIENT KILL":
            valkey.run("CLIENT", "KILL", "TYPE", "pubsub")
        else:
            valkey.run("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1 1 1")
            valkey.run("GET", "x" * 20_000)  # one message that is more than the limit
            valkey.run("CONFIG", "SET", "client-output-buffer-limit", "pubsub 32mb 8mb 60")
        gap = gap_of(feed)
        assert gap.node == valkey.address
        assert gap.seconds > 0
        assert "lost the connection" in gap.reason
        valkey.run("GET", "absent")
        assert pairs(feed.take_to_mark()) == [("keymiss", b"absent")]


def test_what_is_not_taken_is_dropped_and_counted(valkey: TestServer) -> None:
    switch_on(valkey)
    with open_server(target_of(valkey)) as server, EventFeed(server, NAMES, most=1000) as feed:
        pipe = valkey.client().pipeline(transaction=False)
        for number in range(5000):
            pipe.get(number)
        pipe.execute()
        for listener in feed._listeners.values():
            listener.mark()
        wait_until(
            "all is heard", lambda: any(isinstance(i, EventMark) for i in feed._inbox._items)
        )
        items = feed.take(0)
    batches = [item for item in items if isinstance(item, EventBatch)]
    assert sum(len(one.keys) for one in batches) <= 1000
    assert sum(len(one.keys) + one.dropped for one in batches) == 5000


def test_the_inbox_is_bounded_and_says_so() -> None:
    inbox = Inbox(most=10)
    for _ in range(5):
        inbox.put(EventBatch("a", ["set"] * 4, [b"k"] * 4))
    inbox.put(EventMark("a"))
    items = inbox.take(0)
    assert items == [
        EventBatch("a", dropped=12),
        *[EventBatch("a", ["set"] * 4, [b"k"] * 4)] * 2,
        EventMark("a"),
    ]
    assert inbox.take(0) == []


def test_it_ends_at_once_and_leaves_no_thread(valkey: TestServer) -> None:
    with feed_of(target_of(valkey)):
        assert any(thread.name == "events" for thread in threading.enumerate())
    assert not any(thread.name == "events" for thread in threading.enumerate())


def test_a_login_that_may_not_listen(valkey: TestServer) -> None:
    valkey.add_user("deaf", "~*", "resetchannels", "+@all", password="pw")
    with (
        pytest.raises(PermissionDeniedError) as refusal,
        feed_of(target_of(valkey, username="deaf", password="pw")),
    ):
        pass
    assert "&__keyevent@*" in str(refusal.value.hint)


def test_a_proxy_that_speaks_resp2_alone(
    valkey: TestServer, start_proxy: Callable[..., Proxy]
) -> None:
    switch_on(valkey)
    proxy = start_proxy(valkey)
    proxy.resp2_only()
    with feed_of(target_of(proxy)) as feed:
        valkey.run("GET", "absent")
        items = feed.take_to_mark()
    assert pairs(items) == [("keymiss", b"absent")]
    assert marks(items) == [EventMark(proxy.address, info=None)]


def test_every_node_of_a_cluster(cluster: TestCluster) -> None:
    for node in cluster.primaries:
        switch_on(node)
    keys = [b"key:%d" % number for number in range(60)]
    target = target_of(cluster.primaries[0], topology="cluster")
    with feed_of(target) as feed:
        client = cluster.client()
        for key in keys:
            client.get(key)
        items = feed.take_to_mark()
    assert sorted(key for _, key in pairs(items)) == sorted(keys)
    assert {mark.node for mark in marks(items)} == {node.address for node in cluster.primaries}


def test_a_failover_is_followed(start_sentinel: Callable[..., TestSentinels]) -> None:
    group = start_sentinel()
    for node in (group.primary, *group.replicas):
        switch_on(node)
    target = target_of(*group.sentinels, topology="sentinel", sentinel_master=group.name)
    with open_server(target) as server, EventFeed(server, NAMES) as feed:
        before = feed.nodes
        new = group.failover()
        server.reopen(server.primaries[0], 20)
        feed.follow()
        assert feed.nodes == [new.address] != before
        new.run("GET", "absent")
        assert ("keymiss", b"absent") in pairs(feed.take_to_mark())
