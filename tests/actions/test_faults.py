"""Lost replies, cut connections and moving slots: counts are the truth, nothing is lost."""

from __future__ import annotations

import keyspace
import pytest
from programs import cachectl


def fill(server, count=900):
    client = server.client(protocol=2)
    client.mset({f"k:{i}": f"v{i}" for i in range(count)})
    client.set("other", "stays")
    return client


def run(proxy, *words, code=0):
    return (
        cachectl(
            "--url",
            proxy.url,
            "invalidate",
            "k:*",
            "--max-percent",
            "100",
            "--yes",
            "-o",
            "json",
            *words,
        )
        .check(code)
        .json
    )


PACES = [("--pace", "gentle"), ("--pace", "flat-out"), ("--rate", "20000"), ()]


@pytest.mark.parametrize("pace", PACES, ids=lambda words: " ".join(words) or "as it is")
def test_no_key_is_left_out_at_any_pace(valkey, pace):
    client = fill(valkey, 4000)
    before = keyspace.truth(client)
    assert run(valkey, *pace)["removed"] == 4000
    assert client.keys("k:*") == []
    cachectl("--url", valkey.url, "undo", "last").check()
    assert keyspace.truth(client) == before


def test_no_key_is_left_out_when_the_server_turns_slow(valkey, start_proxy):
    """Smaller flights, one at a time: what a pace does above `max_latency`."""
    client = fill(valkey, 3000)
    proxy = start_proxy(valkey, delay=0.03)
    profile = keyspace.state_home().parent / "slow.yaml"
    profile.parent.mkdir(parents=True, exist_ok=True)
    profile.write_text(f"url: {proxy.url}\nlimits: {{max_latency: 1ms, critical_latency: 20s}}\n")
    words = ("invalidate", "k:*", "--max-percent", "100", "--yes", "-o", "json")
    assert cachectl("-p", str(profile), *words, timeout=60).check().json["removed"] == 3000
    assert client.keys("k:*") == []


# The first EXEC asks whether this login may.
@pytest.mark.parametrize("nth", [2, 4])
@pytest.mark.parametrize("what", ["lose_reply", "lose_request"])
def test_a_lost_exec_is_settled_by_looking(valkey, start_proxy, what, nth):
    client = fill(valkey)
    before = keyspace.truth(client)
    proxy = start_proxy(valkey)
    getattr(proxy, what)("EXEC", nth=nth)
    done = run(proxy)
    assert (done["removed"], done["unknown"], done["already_gone"]) == (900, 0, 0)
    assert client.keys("k:*") == []
    cachectl("--url", valkey.url, "undo", "last").check()
    assert keyspace.truth(client) == before


@pytest.mark.parametrize(("last", "words"), [("EXEC", ()), ("UNLINK", ("--no-archive",))])
def test_keys_that_come_back_after_the_last_batch_are_removed(valkey, start_proxy, last, words):
    """The server is replaced by one that has the keys, when the last removal is done."""
    fill(valkey, 40)
    proxy = start_proxy(valkey)

    replaced = []

    def replace():
        replaced.append(True)
        valkey.kill9()
        valkey.restart()
        fill(valkey, 40)

    # The first one only asks whether this login may; after the second comes one more PING.
    proxy.before(last, lambda: proxy.before("PING", replace), nth=2)
    done = run(proxy, *words)
    assert replaced
    assert valkey.client(protocol=2).keys("k:*") == []
    assert done["removed"] == 40


def test_a_lost_unlink_is_reported_as_gone_and_not_known_by_whom(valkey, start_proxy):
    client = fill(valkey)
    proxy = start_proxy(valkey)
    proxy.lose_reply("UNLINK k:", nth=1)
    proxy.lose_reply("UNLINK", nth=2)
    done = run(proxy, "--no-archive")
    assert done["removed"] + done["unknown"] == 900
    assert done["unknown"] <= 600
    assert client.keys("k:*") == []


def test_a_lost_unlink_request_is_sent_again(valkey, start_proxy):
    client = fill(valkey)
    proxy = start_proxy(valkey)
    proxy.lose_request("UNLINK", nth=2)
    done = run(proxy, "--no-archive")
    assert done["removed"] + done["unknown"] == 900
    assert client.keys("k:*") == []


def test_flushing_meanwhile_is_already_gone(valkey, start_proxy):
    client = fill(valkey)
    proxy = start_proxy(valkey)
    proxy.before("EXEC", lambda: valkey.run("FLUSHALL"), nth=3)
    done = run(proxy)
    assert done["removed"] + done["already_gone"] == 900
    assert done["changed"] == done["unknown"] == 0
    assert client.dbsize() == 0


def test_a_newer_value_is_what_is_archived(valkey, start_proxy):
    client = fill(valkey, 40)  # one batch, so that this key is in it
    proxy = start_proxy(valkey)
    # The first MULTI asks whether this login may; the second comes after the copies are taken.
    proxy.before("MULTI", lambda: valkey.run("SET", "k:1", "newer"), nth=2)
    assert run(proxy)["removed"] == 40
    assert client.keys("k:*") == []
    cachectl("--url", valkey.url, "undo", "last").check()
    assert client.get("k:1") == b"newer"


def test_a_server_out_of_memory_still_removes_and_says_what_it_can_not_take_back(server):
    """What one wants at three in the morning; the lock must not be in the way."""
    client = fill(server, 60)
    before = keyspace.truth(client)
    url = ("--url", server.url)
    client.config_set("maxmemory", 1)
    done = cachectl(*url, "invalidate", "k:*", "--max-percent", "100", "--yes", "-o", "json")
    assert done.check().json["removed"] == 60
    undone = cachectl(*url, "undo", "last", "-o", "json").check(3).json
    assert (undone["restored"], undone["failed"]) == (0, 60)
    assert "OOM" in undone["left"][0]["reason"]
    client.config_set("maxmemory", 0)
    cachectl(*url, "undo", "last").check()
    assert keyspace.truth(client) == before
    client.close()


# A rename needs both names in one place: it waits until the slot has come to rest.
@pytest.mark.parametrize("words", [(), ("--no-archive",)])
def test_a_slot_on_its_way_is_followed_key_by_key(cluster, words, tmp_path):
    profile = tmp_path / "cluster.yaml"
    node = cluster.primaries[0]
    profile.write_text(f"host: {node.host}\nport: {node.port}\ntopology: cluster\n")
    client = cluster.client()
    keys = [f"{{moving}}:{i}".encode() for i in range(40)]
    for key in keys:
        client.set(key, b"v" + key)
    client.set("k:elsewhere", "stays")
    source = cluster.owner(keys[0])
    target = next(node for node in cluster.primaries if node is not source)
    slot = client.keyslot(keys[0])
    plan = tmp_path / "moving.plan"
    cachectl(
        *("-p", profile, "invalidate", "--keys-from", "-", "--plan", plan),
        *("--max-percent", "100"),
        input=b"\n".join(keys),
    ).check()
    cluster.begin_move(slot, source, target)
    source.client().execute_command(
        *("MIGRATE", target.host, target.port, "", 0, 5000, "KEYS", *keys[:20])
    )
    flags = [word for word in words if word == "--no-archive"]
    command = ("invalidate", "apply", plan, "--yes", "--max-percent", "100", "-o", "json", *flags)
    done = cachectl("-p", profile, *command).check().json
    assert (done["removed"], done["unknown"], done["refused"]) == (40, 0, 0)
    cluster.finish_move(slot, source, target)
    cluster.wait_ok()
    assert [key for key in keys if client.exists(key)] == []
    if "--no-archive" not in words:
        cachectl("-p", profile, "undo", "last").check()
        assert [client.get(key) for key in keys] == [b"v" + key for key in keys]
    client.close()
