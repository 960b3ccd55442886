"""kill -9 at every durable write and every flight: nothing is lost, and `resume` ends as it should.

The full sweep runs by hand (`-m soak -s`, prints its figures); the normal run takes a sample.
"""

from __future__ import annotations

import json
import os
import shutil

import keyspace
import pytest
from crashing import KILLED, Crasher, points_of

from cachectl.server.topology.lanes import LANES
from cachectl.server.transactions.units import WATCHED

MODES = {
    "unlink": ("invalidate",),
    "no-archive": ("invalidate", "--no-archive"),
    "expire": ("invalidate", "--mode", "expire", "--in", "2h"),
    "rename": ("invalidate", "--mode", "rename"),
    "ttl": ("ttl", "set", "--ttl", "3h"),
}
# Batches of 30: a rate of 300 keys a second makes a batch a tenth of it.
PACE = ("--rate", "300")


@pytest.fixture(scope="module")
def crasher():
    with Crasher() as running:
        yield running


def fill_some(client):
    """75 keys of every type, one of them a giant: three batches and one in pieces."""
    client.flushall()
    keyspace.everything(client)
    pipe = client.pipeline(transaction=False)
    for i in range(58):
        pipe.set(f"k:more:{i}", f"value {i}", ex=3_000_000 if i % 2 else None)
    for start in range(0, 60_000, 10_000):
        pipe.hset("k:giant", mapping={f"field {i}": "v" * 40 for i in range(start, start + 10_000)})
    pipe.set("other:1", "stays")
    pipe.execute()


def changed(done):
    return done["changed_ttl" if done["change"] == "ttl" else "removed"]


def sweep(crasher, server, mode, most):
    """Crash at up to `most` points; return (points tried, recovered, unrecorded removals)."""
    client = server.client(protocol=2)
    command = ("--url", server.url, *MODES[mode], "--match", "k:*", "--max-percent", "100")
    command += ("--yes", *PACE, "-o", "json")
    fill_some(client)
    before = keyspace.truth(client)
    env = {k: v for k, v in os.environ.items() if k == "HOME" or k.startswith("XDG_")}
    code, total, out, err = crasher.run(*command, env=env)
    assert code == 0, err
    whole = json.loads(out)
    after = keyspace.truth(client)
    tried = recovered = unrecorded = 0
    for at in points_of(total, most):
        shutil.rmtree(keyspace.state_home(), ignore_errors=True)
        fill_some(client)
        code, _, _, err = crasher.run(*command, at=at, env=env)
        if code != KILLED:
            continue  # the points of threads and of latency differ a little from run to run
        tried += 1
        run = keyspace.last_run()
        left = set(client.scan_iter(count=1000))
        missing = set(before) - left
        if mode == "unlink":
            kept = keyspace.archived(run / "archive") if run else {}
            lost = missing - set(kept)
            unrecorded += len(lost)
            assert not lost, (at, sorted(lost))
        elif mode == "rename":
            moved = [key for key in left if key.startswith(b"cachectl:quarantine:")]
            assert len(moved) == len(missing), at
        if run is None or not (run / "run.json").exists():
            assert not missing, at
            recovered += 1
            continue
        facts = json.loads((run / "run.json").read_text())
        if facts["state"] == "running":
            code, _, out, err = crasher.run(
                "--url", server.url, "invalidate", "resume", "last", "-o", "json", env=env
            )
            assert code == 0, (at, err)
            done = json.loads(out)
            assert changed(done) + done["unknown"] == changed(whole), (at, done)
            assert done["already_gone"] == done["changed"] == done["refused"] == 0, (at, done)
            if mode != "no-archive":
                assert done["unknown"] == 0, (at, done)
                assert changed(done) == changed(whole), at
        assert keyspace.truth(client) == after, at
        if mode != "no-archive":
            code, _, out, err = crasher.run(
                "--url", server.url, "undo", "last", "-o", "json", env=env
            )
            assert code == 0, (at, err, out)
            assert json.loads(out)["restored"] == changed(whole), (at, out)
            assert keyspace.truth(client) == before, at
        recovered += 1
    client.close()
    return tried, recovered, unrecorded


@pytest.mark.parametrize("mode", MODES)
def test_a_sample_of_crashes_is_recovered_from(crasher, valkey, mode, isolated_home):
    tried, recovered, unrecorded = sweep(crasher, valkey, mode, 4)
    assert tried >= 3
    assert (recovered, unrecorded) == (tried, 0)


@pytest.mark.soak
@pytest.mark.parametrize("mode", MODES)
def test_every_crash_is_recovered_from(crasher, valkey, mode, isolated_home):
    tried, recovered, unrecorded = sweep(crasher, valkey, mode, 40)
    print(f"\n{mode}: {tried} crash points, {recovered} recovered, {unrecorded} without a record")
    assert tried >= 15
    assert (recovered, unrecorded) == (tried, 0)


def sweep_units(crasher, server, most):
    """Crash at points while several units of keys are under way. Return as `sweep` does."""
    client = server.client(protocol=2)
    values = {b"k:%d" % i: b"v%d" % i for i in range(2 * LANES * WATCHED + 100)}
    url = ("--url", server.url)
    resume = (*url, "invalidate", "resume", "last", "-o", "json")
    command = (*url, "invalidate", "k:*", "--max-percent", "100", "--yes", "-o", "json")
    env = {k: v for k, v in os.environ.items() if k == "HOME" or k.startswith("XDG_")}
    client.mset(values)
    code, total, _, err = crasher.run(*command, env=env)
    assert code == 0, err
    tried = recovered = unrecorded = 0
    for at in points_of(total, most):
        shutil.rmtree(keyspace.state_home(), ignore_errors=True)
        client.flushall()
        client.mset(values)
        if crasher.run(*command, at=at, env=env)[0] != KILLED:
            continue
        tried += 1
        run = keyspace.last_run()
        missing = set(values) - set(client.scan_iter(count=1000))
        kept = keyspace.archived(run / "archive") if missing else {}
        unrecorded += len(missing - set(kept))
        assert missing <= set(kept), at
        facts = run and (run / "run.json").exists() and json.loads((run / "run.json").read_text())
        if facts and facts["state"] == "running":
            code, _, out, err = crasher.run(*resume, env=env)
            assert code == 0, (at, err)
            done = json.loads(out)
            assert (done["removed"], done["unknown"]) == (len(values), 0), (at, done)
        if facts:
            assert client.dbsize() == 0, at
            assert crasher.run(*url, "undo", "last", env=env)[0] == 0, at
        assert client.mget(list(values)) == list(values.values()), at
        recovered += 1
    client.close()
    return tried, recovered, unrecorded


def test_crashes_with_several_units_under_way_are_recovered_from(crasher, valkey, isolated_home):
    tried, recovered, unrecorded = sweep_units(crasher, valkey, 6)
    assert tried >= 4
    assert (recovered, unrecorded) == (tried, 0)


@pytest.mark.soak
def test_every_crash_with_several_units_is_recovered_from(crasher, valkey, isolated_home):
    tried, recovered, unrecorded = sweep_units(crasher, valkey, 60)
    print(f"\nunits: {tried} crash points, {recovered} recovered, {unrecorded} without a record")
    assert tried >= 40
    assert (recovered, unrecorded) == (tried, 0)
