"""Several units of keys under way at once: what is kept is what was removed, whatever happens."""

from __future__ import annotations

import threading

import keyspace
import pytest
from programs import cachectl
from redis.exceptions import RedisError

from cachectl.config.target import Address, Target
from cachectl.server.topology.connect import open_server
from cachectl.server.topology.lanes import LANES, TEAMS, Lanes
from cachectl.server.transactions.transaction import Wanted
from cachectl.server.transactions.units import WATCHED, units

UNIT = LANES * WATCHED
MANY = 4 * UNIT + 100


def names():
    return [b"k:%d" % i for i in range(MANY)]


def fill(server):
    client = server.client(protocol=2)
    client.mset({name: b"v" + name[2:] for name in names()})
    return client


def invalidate(url):
    words = ("k:*", "--max-percent", "100", "--yes", "-o", "json")
    return cachectl("--url", url, "invalidate", *words)


# The first EXEC asks whether this login may; some of what is lost holds the next unit's look, too.
@pytest.mark.parametrize(
    ("what", "command", "nth"),
    [("lose_reply", "EXEC", 30), ("lose_request", "EXEC", 60), ("lose_reply", "WATCH", 40)],
)
def test_what_is_lost_between_two_units_is_settled(valkey, start_proxy, what, command, nth):
    client = fill(valkey)
    proxy = start_proxy(valkey)
    getattr(proxy, what)(command, nth=nth)
    done = invalidate(proxy.url).check().json
    assert (done["removed"], done["unknown"], done["already_gone"]) == (MANY, 0, 0)
    assert client.dbsize() == 0
    cachectl("--url", valkey.url, "undo", "last").check()
    assert client.mget(names()) == [b"v%d" % i for i in range(MANY)]


def test_what_others_write_meanwhile_is_what_comes_back(any_server):
    """A key that is there keeps being written until it is removed: the last value is the copy."""
    client = fill(any_server)
    latest = {name: b"v" + name[2:] for name in names()}
    over = threading.Event()
    written = 0

    def write():
        nonlocal written
        other = any_server.client(protocol=2)
        number = 0
        while not over.wait(0.001):
            number += 1
            keys = [b"k:%d" % ((number * 8 + i) * 7919 % MANY) for i in range(8)]
            pipe = other.pipeline(transaction=False)
            for key in keys:
                pipe.set(key, b"newer %d" % number, xx=True)
            for key, done in zip(keys, pipe.execute(), strict=True):
                if done:
                    latest[key] = b"newer %d" % number
                    written += 1
        other.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        run = invalidate(any_server.url)
    finally:
        over.set()
        writer.join()
    done = run.check(3 if run.json["changed"] else 0).json  # some may have been written too often
    assert written
    assert done["removed"] + done["changed"] == MANY
    assert client.dbsize() == done["changed"]
    cachectl("--url", any_server.url, "undo", "last").check()
    assert dict(zip(latest, client.mget(list(latest)), strict=True)) == latest


def test_a_payload_tells_the_type_as_the_server_does(server):
    client = server.client(protocol=2)
    try:
        keyspace.everything(client, field_ttls=True)
    except RedisError:  # no TTLs of fields here
        client.delete("k:hf")
    types = {key: client.type(key).decode() for key in client.scan_iter()}
    target = Target("here", addresses=(Address(server.host, server.port),))
    with open_server(target) as opened, Lanes(opened) as lanes:
        for unit in units(lanes, [Wanted(key) for key in types], UNIT, teams=TEAMS):
            for group in unit:
                group.send_look(values=True, frequency=False)
                group.receive_look(values=True, frequency=False)
                assert {copy.key: copy.type for copy in group.present} == {
                    wanted.key: types[wanted.key] for wanted in group.keys
                }
    client.close()


def test_units_that_are_under_way_together_share_no_lane(any_server):
    target = Target("here", addresses=(Address(any_server.host, any_server.port),))
    keys = [Wanted(b"k:%d" % i) for i in range(3 * UNIT)]
    with open_server(target) as opened, Lanes(opened) as lanes:
        first, second, third = (
            [id(group.lane) for group in unit] for unit in units(lanes, keys, UNIT, teams=TEAMS)
        )
        assert len({*first, *second}) == 2 * LANES
        assert third == first
