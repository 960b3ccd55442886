from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from servers import TestServer
from targets import target_of
from topologies import TestCluster

from cachectl.config.target import Limits
from cachectl.model.keys import Page
from cachectl.model.values import LogicalValue
from cachectl.server.pace import Pace
from cachectl.server.scanning.columns import Field
from cachectl.server.scanning.scan import Scan
from cachectl.server.scanning.scan_types import ScanRequest
from cachectl.server.topology.connect import open_server
from cachectl.server.topology.handle import Server
from cachectl.server.topology.slots import slot_of
from cachectl.server.values.bulk import SMALL, Bulk
from cachectl.server.values.logical import PIECE

FIELDS = frozenset({Field.TYPE, Field.TTL, Field.BYTES})
MEMBERS = [b"%d" % i for i in range(PIECE * 2 + 5)]


def fill(client: Any) -> dict[bytes, LogicalValue]:
    """Fill a server with values small and large; return what they are, sets sorted."""
    large = b"x" * (SMALL * 3)
    for i in range(50):
        client.set(f"s:{i}", b"\xff\x00%d" % i)
    client.set("large", large)
    client.set("empty", b"")
    for name, members in (("few", MEMBERS[:3]), ("many", MEMBERS)):
        client.rpush(f"list:{name}", *members)
        client.sadd(f"set:{name}", *members)
        client.zadd(f"zset:{name}", {member: int(member) / 2 for member in members})
        client.hset(f"hash:{name}", mapping={member: member for member in members})
    client.xadd("stream", {b"a": b"b"}, id="5-1")
    values = {b"s:%d" % i: LogicalValue("string", [b"\xff\x00%d" % i]) for i in range(50)}
    values |= {b"large": LogicalValue("string", [large]), b"empty": LogicalValue("string", [b""])}
    for name, members in ((b"few", MEMBERS[:3]), (b"many", MEMBERS)):
        values[b"list:" + name] = LogicalValue("list", members)
        values[b"set:" + name] = LogicalValue("set", sorted(members))
        values[b"zset:" + name] = LogicalValue("zset", sorted((m, int(m) / 2) for m in members))
        values[b"hash:" + name] = LogicalValue("hash", sorted((m, m, None) for m in members))
    values[b"stream"] = LogicalValue("stream", [((5, 1), ((b"a", b"b"),))])
    return values


def plain(value: Any) -> Any:
    if not isinstance(value, LogicalValue):
        return value
    ordered = value.type not in ("set", "zset", "hash")
    elements = list(value.elements) if ordered else sorted(value.elements)
    return LogicalValue(value.type, elements)


def last_of(scan: Callable[..., Any], key: str) -> list[bytes]:
    """Return the names that the last reply of a scan brings."""
    cursor, elements = scan(key, count=PIECE)
    while cursor:
        cursor, elements = scan(key, cursor=cursor, count=PIECE)
    return [one[0] if isinstance(one, tuple) else one for one in elements]


def end_in_nothing(client: Any) -> None:
    """Remove from the large collections what comes in the last reply of a scan."""
    for scan, key, remove in (
        (client.sscan, "set:many", client.srem),
        (client.zscan, "zset:many", client.zrem),
        (client.hscan, "hash:many", client.hdel),
    ):
        if last := last_of(scan, key):
            remove(key, *last)
        assert last_of(scan, key) == []


@contextmanager
def reading(*endpoints: Any, most: int = 2**30, **settings: Any) -> Iterator[tuple[Server, Bulk]]:
    with open_server(target_of(*endpoints, **settings)) as server:
        bulk = Bulk(server, Pace.of(Limits(), "flat-out"), most)
        with closing(bulk):
            yield server, bulk


def everything(server: Server, bulk: Bulk) -> dict[bytes, Any]:
    found: dict[bytes, Any] = {}
    for page in Scan(server, ScanRequest(FIELDS)):
        assert isinstance(page, Page)
        found |= zip(page.keys, map(plain, bulk.read(page)), strict=True)
    return found


@pytest.mark.parametrize("protocol", [2, 3])
def test_every_value_is_what_was_written(server: TestServer, protocol: Any) -> None:
    expected = fill(server.admin)
    with reading(server, protocol=protocol) as (opened, bulk):
        assert everything(opened, bulk) == expected


def test_a_cluster(cluster: TestCluster) -> None:
    expected = fill(cluster.client())
    with reading(*cluster.nodes, topology="cluster") as (opened, bulk):
        assert everything(opened, bulk) == expected


def test_values_whose_slot_has_moved_are_followed(cluster: TestCluster) -> None:
    expected = fill(cluster.client())
    with reading(*cluster.nodes, topology="cluster") as (opened, bulk):
        pages = [page for page in Scan(opened, ScanRequest(FIELDS)) if isinstance(page, Page)]
        moved = {slot_of(key) for key in expected if cluster.owner(key) is cluster.nodes[0]}
        assert cluster.move_slots(moved, cluster.nodes[0], cluster.nodes[1])
        found: dict[bytes, Any] = {}
        for page in pages:
            found |= zip(page.keys, map(plain, bulk.read(page)), strict=True)
    assert found == expected


def test_what_cannot_be_had_is_told_and_what_is_gone_is_none(valkey: TestServer) -> None:
    valkey.admin.rpush("list", "a")
    valkey.admin.set("large", b"x" * SMALL * 4)
    page = Page(
        "",
        [b"gone", b"list", b"large", b"new"],
        types=["string", "string", "string", "module"],
        sizes=[10, 10, SMALL * 4, 10],
    )
    with reading(valkey, most=SMALL * 2) as (_, bulk):
        gone, changed, large, unknown = bulk.read(page)
    assert gone is None
    assert changed == "has changed its type while it was read"
    assert large == "has 262,144 bytes, more than max_row (131,072)"
    assert unknown == "is of the type module, which only its own server can read"


def test_a_login_that_may_not_read_is_told(valkey: TestServer) -> None:
    valkey.admin.set("k", "v")
    password = valkey.add_user("blind", "~*", "+@all", "-get", password="pw")
    page = Page("", [b"k"], types=["string"], sizes=[10])
    with reading(valkey, username="blind", password=password) as (_, bulk):
        (refused,) = bulk.read(page)
    assert isinstance(refused, str)
    assert refused.startswith("was refused by its server: ")


@pytest.mark.parametrize("ends_in_nothing", [False, True])
def test_our_lookups_are_counted_exactly(valkey: TestServer, ends_in_nothing: bool) -> None:
    expected = fill(valkey.admin)
    if ends_in_nothing:
        end_in_nothing(valkey.admin)
    counted = [0, 0]

    class Gate:
        wanted = False

        def enter(self) -> None: ...

        def note(self, hits: int, misses: int, commands: int) -> None: ...

        def leave(self, hits: int, misses: int, commands: int) -> None:
            counted[:] = [hits, misses]

        def close(self) -> None: ...

    with reading(valkey) as (opened, bulk):
        pages = [page for page in Scan(opened, ScanRequest(FIELDS)) if isinstance(page, Page)]
        pages.append(Page("", [b"no", b"nope"], types=["string", "list"], sizes=[1, 1]))
        opened.gates = lambda _run_id, _address: Gate()
        before = valkey.info("stats")
        for page in pages:
            bulk.read(page)
        after = valkey.info("stats")
    hits, misses = (after[name] - before[name] for name in ("keyspace_hits", "keyspace_misses"))
    assert counted == [hits, misses]
    assert hits >= len(expected)


def test_idle_times_are_left_alone(valkey: TestServer) -> None:
    valkey.admin.set("k", "v")
    valkey.admin.execute_command("DEBUG", "SLEEP", 0)
    with reading(valkey) as (opened, bulk):
        assert opened.primaries[0].connection.no_touch
        bulk.read(Page("", [b"k"], types=["string"], sizes=[10]))
        assert bulk.lanes.lane(opened.primaries[0]).no_touch
