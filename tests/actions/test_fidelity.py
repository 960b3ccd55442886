"""What is removed on one server comes back on any other, equal by its elements."""

from __future__ import annotations

import keyspace
import pytest
from programs import cachectl
from servers import FLAVOURS

PAIRS = [(one, other) for one in FLAVOURS for other in FLAVOURS]
# One pair of each kind in the normal run: newer, older, across projects, with field TTLs.
SAMPLE = [
    ("redis-6.2", "redis-7.0"),
    ("redis-7.0", "redis-6.2"),
    ("redis-8.2", "valkey-9.1"),
    ("valkey-9.1", "redis-8.2"),
    ("valkey-9.1", "redis-6.2"),
]


def removed_and_undone(source, target, *, field_ttls):
    """Return (mode, number of keys, keys that differ) of a run on source, undone on target."""
    one, other = source.client(protocol=2), target.client(protocol=2)
    keyspace.everything(one, field_ttls=field_ttls)
    before = keyspace.truth(one)
    cachectl("--url", source.url, "invalidate", "--all", "--max-percent", "100", "--yes").check()
    assert one.dbsize() == 0
    done = cachectl("--url", target.url, "undo", "last", "-o", "json").check().json
    assert (done["restored"], done["failed"], done["conflicts"]) == (len(before), 0, 0)
    after = keyspace.truth(other)
    # Where fields can't have TTLs, they are left out, and the undo says so.
    differ = [key for key in before if before[key] != after.get(key)]
    assert not [key for key in other.scan_iter() if key.startswith(b"cachectl:")]
    if differ == [b"k:hf"]:
        assert "field TTLs" in done["lost"][0]
        differ = []
    other.flushall()
    return done["mode"], len(before), differ


@pytest.mark.parametrize(("source", "target"), SAMPLE)
def test_keys_come_back_on_another_server(start_server, source, target):
    has_field_ttls = source in ("redis-8.2", "valkey-9.1")
    one, other = start_server(source), start_server(target)
    _, _, differ = removed_and_undone(one, other, field_ttls=has_field_ttls)
    assert differ == []


@pytest.mark.soak
def test_keys_come_back_from_each_server_to_each(start_server):
    servers = {flavour: start_server(flavour) for flavour in FLAVOURS}
    others = {flavour: start_server(flavour) for flavour in FLAVOURS}
    for source, target in PAIRS:
        ttls = source in ("redis-8.2", "valkey-9.1")
        mode, keys, differ = removed_and_undone(servers[source], others[target], field_ttls=ttls)
        print(f"{source:11} to {target:11} {mode:8} {keys - len(differ)} of {keys} equal")
        assert differ == []


def test_asking_whether_payloads_are_taken_creates_nothing(server):
    """The probe of undo: a payload with a TTL in the past, on every flavour."""
    client = server.client(protocol=2)
    client.set("k", "v")
    payload = client.dump("k")
    client.delete("k")
    assert client.execute_command("RESTORE", "probe", 1, payload, "ABSTTL") == b"OK"
    assert client.dbsize() == 0
    broken = payload[:-1] + bytes([payload[-1] ^ 1])
    with pytest.raises(Exception, match="DUMP payload"):
        client.execute_command("RESTORE", "probe", 1, broken, "ABSTTL")
    assert client.dbsize() == 0


def test_undo_can_be_repeated_and_keeps_what_is_newer(server):
    client = server.client(protocol=2)
    keyspace.everything(client)
    before = keyspace.truth(client)
    url = ("--url", server.url)
    cachectl(*url, "invalidate", "k:*", "--max-percent", "100", "--yes").check()
    cachectl(*url, "undo", "last").check()
    assert keyspace.truth(client) == before
    again = cachectl(*url, "undo", "last", "-o", "json").check().json
    assert (again["restored"], again["conflicts"], again["failed"]) == (len(before), 0, 0)
    client.set("k:s", "newer")
    client.delete("k:l")
    third = cachectl(*url, "undo", "last", "-o", "json").check(3).json
    assert (third["restored"], third["conflicts"]) == (len(before) - 1, 1)
    assert client.get("k:s") == b"newer"
    cachectl(*url, "undo", "last", "--overwrite", "--yes").check()
    assert keyspace.truth(client) == before
