"""Removing and putting back on a cluster, across a failover, and on a disk that is full."""

from __future__ import annotations

import json
import os

import keyspace
import pytest
from crashing import Crasher
from programs import cachectl, cachectl_started
from topologies import wait_until

ALL = ("--max-percent", "100", "--yes", "-o", "json")


def on_cluster(cluster, tmp_path, **fields):
    """Return words that name the cluster by a profile."""
    node = cluster.primaries[0]
    profile = tmp_path / "cluster.yaml"
    facts = {"host": node.host, "port": node.port, "topology": "cluster", **fields}
    profile.write_text(json.dumps(facts))
    return ("-p", profile)


def test_keys_of_a_cluster_are_removed_on_every_node_and_come_back(cluster, tmp_path):
    words = on_cluster(cluster, tmp_path)
    client = cluster.client()
    for i in range(150):
        client.set(f"k:{i}", f"v{i}", ex=5000)
        client.set(f"{{same}}k:{i}", f"v{i}")
    for i in range(10):
        client.set(f"k:}}{{{i}", "braces")
        client.set(f"other:{i}", "stays")
    names = cluster.keys()
    shown = cachectl(*words, "invalidate", "*k:*", *ALL[:2], "--dry-run", "-o", "json").json
    assert len(shown["nodes"]) == 3
    assert sum(node["keys"] for node in shown["nodes"]) == shown["matched"] == 310
    for mode in ((), ("--mode", "rename")):
        done = cachectl(*words, "invalidate", "*k:*", *mode, *ALL).check().json
        assert (done["removed"], done["already_gone"], done["unknown"]) == (310, 0, 0)
        left = set(filter(lambda key: not key.startswith(b"cachectl:"), cluster.keys()))
        assert left == {b"other:%d" % i for i in range(10)}
        undone = cachectl(*words, "undo", "last", "-o", "json").check().json
        assert (undone["restored"], undone["conflicts"], undone["failed"]) == (310, 0, 0)
        assert cluster.keys() == names
    assert client.get("k:7") == b"v7"
    assert 4000 < client.ttl("k:7") <= 5000
    done = cachectl(*words, "invalidate", "*k:*", "--no-archive", *ALL).check().json
    assert done["removed"] == 310
    client.close()


@pytest.mark.soak
@pytest.mark.parametrize("words", [(), ("--no-archive",), ("--mode", "rename")])
def test_a_failover_in_the_middle_loses_nothing(start_sentinel, words):
    """What the new primary had not received comes back, and is removed again."""
    group = start_sentinel()
    url = f"redis+sentinel://{','.join(group.addresses)}/{group.name}"
    old = group.current_primary()
    client = old.client()
    count = 6000
    client.mset({f"k:{i}": f"v{i}" for i in range(count)})
    command = ("--url", url, "invalidate", "k:*", *words, *ALL, "--rate", "600")
    with cachectl_started(*command) as running:
        wait_until("some are gone", lambda: len(client.keys("k:*")) < count - 300)
        old.kill9()
        outcome = running.finish(180)
    outcome.check()
    done = outcome.json
    fresh = group.current_primary().client()
    assert fresh.keys("k:*") == []
    assert done["removed"] + done["unknown"] + done["already_gone"] == count
    print(words, {name: done[name] for name in ("removed", "unknown", "already_gone")})
    if "--no-archive" not in words:
        assert done["removed"] == count
        cachectl("--url", url, "undo", "last", timeout=120).check()
        assert len(fresh.keys("k:*")) == count


@pytest.mark.parametrize("limit", [3_000, 30_000, 60_000])
def test_a_full_disk_stops_the_run_and_nothing_is_lost(valkey, isolated_home, limit):
    """RLIMIT_FSIZE stands for the disk: a write that would make a file longer fails."""
    client = valkey.client(protocol=2)
    client.mset({f"k:{i}": os.urandom(60) for i in range(1500)})
    before = keyspace.truth(client)
    env = {k: v for k, v in os.environ.items() if k == "HOME" or k.startswith("XDG_")}
    words = ("--url", valkey.url, "invalidate")
    with Crasher() as program:
        command = (*words, "k:*", *ALL, "--rate", "3000")
        code, _, _, err = program.run(*command, env=env, limit=limit)
        assert code == 3, (code, err)
        left = set(client.scan_iter(match="k:*", count=1000))
        run = keyspace.last_run()
        kept = keyspace.archived(run / "archive") if run else {}
        missing = set(before) - left
        assert missing <= set(kept)
        if run is None or not (run / "run.json").exists():
            assert not missing
            return
        assert "resume" in err
        code, _, out, err = program.run(*words, "resume", "last", "-o", "json", env=env)
    assert code == 0, err
    assert json.loads(out)["removed"] == 1500
    assert client.keys("k:*") == []
    cachectl("--url", valkey.url, "undo", "last").check()
    assert keyspace.truth(client) == before
