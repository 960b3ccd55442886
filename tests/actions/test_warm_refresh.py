"""Refreshing: what is about to expire is loaded again, the soonest first, and nobody misses it."""

from __future__ import annotations

import random
import threading
import time
from contextlib import closing
from math import inf

import pytest
from targets import target_of
from warmable import Listed, Warmer, entry, ids, manifest

from cachectl.actions.warming.lifetimes import lifetimes_of
from cachectl.actions.warming.refresh import Pass, Refresher, early
from cachectl.config.manifest import Tag, Ttl, Value
from cachectl.errors import PartialError
from cachectl.server.pace import Pace
from cachectl.server.topology.connect import open_server
from cachectl.sources.interface import SourceError

LISTS = {"type": "list", "value": Value("elements", elements=("a{id}", "b"))}


class Refreshing:
    """A refresher of one endpoint, as a context."""

    def __init__(self, endpoint, meant, source, *, topology="standalone", pace="normal", **options):
        self.target = target_of(endpoint, topology=topology)
        self.meant, self.source, self.options = meant, source, {"beta": 0.0} | options
        self.pace = Pace.of(self.target.limits, pace)

    def __enter__(self):
        self.server = open_server(self.target)
        sources = {"rows": self.source}
        lifetimes = lifetimes_of(self.meant, None)
        self.refresher = Refresher(
            self.server, self.meant, sources, lifetimes, self.pace, **self.options
        )
        return self.refresher

    def __exit__(self, *exc_info):
        self.refresher.close()
        self.server.close()


def refresh(endpoint, meant, source, **options):
    with Refreshing(endpoint, meant, source, **options) as refresher:
        return refresher.run()


def test_what_expires_within_the_window_is_loaded_again(server):
    meant = manifest(entry(tags=(Tag("tags"),)), entry("lists", "l:{id}", **LISTS))
    Warmer(server, {})(meant, Listed(ids(50)))
    client = server.client(protocol=2)
    client.expire("item:1", 20)
    client.expire("l:2", 25)
    client.expire("item:3", 100)
    client.delete("item:4")
    client.persist("item:5")
    client.delete("l:6")
    client.set("l:6", "another type")
    client.srem("tags", "item:4")
    newer = [{"id": i} for i in range(50)]
    done = refresh(server, meant, Listed(newer), within=60.0)
    assert (done.checked, done.due, done.missing, done.written) == (100, 2, 1, 3)
    assert not done.is_partial
    assert all(client.ttl(key) > 3000 for key in ("item:1", "l:2", "item:4"))
    assert 90 < client.ttl("item:3") <= 100
    assert 80 < done.soonest <= 100
    assert client.ttl("item:5") == -1
    assert client.get("l:6") == b"another type"
    assert client.sismember("tags", "item:4")
    again = refresh(server, meant, Listed(newer), within=60.0)
    assert (again.due, again.missing, again.written) == (0, 0, 0)


def test_the_soonest_go_first(valkey, start_proxy):
    meant = manifest(entry())
    Warmer(valkey, {})(meant, Listed(ids(60)))
    order = list(range(60))
    random.Random(1).shuffle(order)
    for place, i in enumerate(order):
        valkey.admin.pexpire(f"item:{i}", 20_000 + 100 * place)
    valkey.admin.delete(f"item:{order[-1]}")
    proxy = start_proxy(valkey)
    proxy.record = True
    refresh(proxy, meant, Listed(ids(60), size=7), within=60.0)
    written = [c[1] for c in proxy.commands if c[0] == b"SET" and c[1].startswith(b"item:")]
    wanted = [order[-1], *order[:-1]]
    assert written == [b"item:%d" % i for i in wanted]


def test_what_the_application_renewed_meanwhile_is_kept(valkey, start_proxy):
    meant = manifest(entry())
    Warmer(valkey, {})(meant, Listed(ids(10)))
    valkey.admin.expire("item:1", 10)
    proxy = start_proxy(valkey)
    proxy.before("WATCH item:1", lambda: valkey.run("SET", "item:1", "newer", "EX", "900"))
    done = refresh(proxy, meant, Listed(ids(10)), within=60.0)
    assert (done.due, done.written, done.kept) == (1, 0, 1)
    assert valkey.admin.get("item:1") == b"newer"


def test_xfetch_is_early_by_the_cost_of_a_pass():
    rng = random.Random(4)
    draws = [early(0.5, 2.0, 1 - rng.random()) for _ in range(20_000)]
    assert 0.97 < sum(draws) / len(draws) < 1.03  # the mean of an exponential: delta · beta
    assert min(draws) >= 0
    assert early(0.5, 0.0, 0.3) == 0
    assert early(1.0, 1.0, 1.0) == 0


def test_the_rest_between_passes_leaves_time_for_the_next(valkey):
    with Refreshing(valkey, manifest(entry()), Listed(ids(1)), within=60.0) as refresher:
        refresher.beta = 1.0
        assert refresher.pause(Pass(soonest=inf), None) == 30
        assert refresher.pause(Pass(soonest=inf), 5.0) == 5
        assert refresher.pause(Pass(soonest=80.0, seconds=2.0), None) == 80 - 60 - 6 - 2
        assert refresher.pause(Pass(soonest=1.0, seconds=2.0), None) == 0.5


def test_a_source_that_fails_is_told(valkey):
    source = Listed(ids(20), faults={11: SourceError("died")}, size=5)
    done = refresh(valkey, manifest(entry()), source, within=60.0)
    assert done.is_partial
    assert (done.written, done.problems) == (10, ["source rows: died"])


def test_it_stops_when_it_is_told_to(valkey):
    def idle():
        raise PartialError("enough")

    meant = manifest(entry())
    with (
        Refreshing(valkey, meant, Listed(ids(5)), within=60.0, idle=idle) as refresher,
        pytest.raises(PartialError),
    ):
        list(refresher.passes(None))


def test_readers_never_miss(valkey):
    """Keys live for six seconds and are read for nine; each pass costs almost nothing."""
    meant = manifest(entry(ttl=Ttl("range", 6, 6, 0.1)))
    Warmer(valkey, {})(meant, Listed(ids(100)))
    misses, reads, stop = [], [0], threading.Event()

    def read():
        client = valkey.client(protocol=2)
        while not stop.is_set():
            found = client.mget([f"item:{i}" for i in range(100)])
            reads[0] += 1
            misses.extend(i for i, value in enumerate(found) if value is None)
            time.sleep(0.02)

    reader = threading.Thread(target=read)
    reader.start()
    until = time.monotonic() + 9
    written = 0
    with (
        Refreshing(valkey, meant, Listed(ids(100)), within=4.0, beta=1.0) as refresher,
        closing(refresher.passes(None)) as passes,
    ):
        for one in passes:
            written += one.written
            if time.monotonic() > until:
                break
    stop.set()
    reader.join()
    assert misses == []
    assert reads[0] > 20
    assert written >= 200


def test_a_cluster(cluster):
    meant = manifest(entry())
    Warmer(cluster.primaries[0], {"topology": "cluster"})(meant, Listed(ids(100)))
    client = cluster.client()
    for i in range(30):
        client.expire(f"item:{i}", 10)
    done = refresh(cluster.primaries[0], meant, Listed(ids(100)), within=60.0, topology="cluster")
    assert (done.due, done.written, done.failed) == (30, 30, 0)
    client.close()
