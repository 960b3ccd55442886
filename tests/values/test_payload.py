"""What our decoder reads in a DUMP payload is what the server says of the key itself."""

from __future__ import annotations

import contextlib
import os
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachectl.values.payload import UndecodableError, decode_payload, payload_version
from cachectl.values.payload.cursor import lzf_decompress

INTEGERS = [0, 1, 12, 13, 127, 128, 255, 256, 4095, -1, -13, -128, -129, -4096, -4097, 8191, 8192]
INTEGERS += [32767, 32768, -32768, -32769, 2**23 - 1, 2**23, -(2**23), 2**31 - 1, 2**31]
INTEGERS += [-(2**31), -(2**31) - 1, 2**63 - 1, -(2**63)]
LENGTHS = [0, 1, 62, 63, 64, 65, 127, 128, 4095, 4096, 16383, 16384, 70_000]


def strings(rng: random.Random) -> list[bytes]:
    noise = [rng.randbytes(length) for length in LENGTHS]
    repeated = [b"ab" * length for length in LENGTHS]
    return [b"%d" % i for i in INTEGERS] + noise + repeated


def small(rng: random.Random) -> list[bytes]:
    return [b"%d" % i for i in INTEGERS] + [rng.randbytes(n) for n in (0, 1, 30, 63)]


@pytest.fixture
def client(server):
    return server.client(protocol=2)


def decoded(client, key=b"k"):
    value = decode_payload(client.execute_command("DUMP", key))
    assert value.type.encode() == client.execute_command("TYPE", key)
    return value


def test_strings(client):
    for text in strings(random.Random(1)):
        client.set("k", text)
        assert decoded(client).elements == [text]


@pytest.mark.parametrize("many", [False, True])
def test_lists_of_all_encodings(client, many):
    rng = random.Random(2)
    elements = strings(rng) * 20 if many else small(rng)
    client.rpush("k", *elements)
    assert decoded(client).elements == elements


@pytest.mark.parametrize("kind", ["integers", "wide integers", "mixed", "many"])
def test_sets_of_all_encodings(client, kind):
    rng = random.Random(3)
    members = {
        "integers": [b"%d" % i for i in range(-50, 50)],
        "wide integers": [b"%d" % i for i in INTEGERS],
        "mixed": small(rng),
        "many": [rng.randbytes(8) for _ in range(2000)],
    }[kind]
    client.sadd("k", *members)
    value = decoded(client)
    assert set(value.elements) == set(members)
    assert len(value.elements) == len(set(members))


@pytest.mark.parametrize("many", [False, True])
def test_hashes_of_all_encodings(client, many):
    rng = random.Random(4)
    values = strings(rng) * 10 if many else small(rng)
    mapping = {b"f%d" % i: value for i, value in enumerate(values)}
    client.hset("k", mapping=mapping)
    value = decoded(client)
    assert {name: text for name, text, _ in value.elements} == mapping
    assert all(expires_at is None for _, _, expires_at in value.elements)


@pytest.mark.parametrize("many", [2, 700])
def test_hash_fields_with_ttls(client, many):
    client.hset("k", mapping={f"f{i}": f"v{i}" for i in range(many)})
    at = int(time.time() * 1000) + 3_600_000
    try:
        client.execute_command("HPEXPIREAT", "k", at, "FIELDS", 1, "f0")
        client.execute_command("HPEXPIREAT", "k", at + 123_456, "FIELDS", 1, "f1")
    except Exception as error:
        assert "unknown command" in str(error)  # noqa: PT017 - servers before field TTLs
        return
    expires = {name: expires_at for name, _, expires_at in decoded(client).elements}
    assert expires[b"f0"] == at
    assert expires[b"f1"] == at + 123_456
    assert all(expires[b"f%d" % i] is None for i in range(2, many))


@pytest.mark.parametrize("many", [False, True])
def test_sorted_sets_of_all_encodings(client, many):
    scores = [0.0, -0.0, 1.5, 1e300, 5e-324, float("inf"), float("-inf"), 3.0, 2.0**53 + 2]
    count = 900 if many else len(scores)
    mapping = {f"m{i}": scores[i % len(scores)] for i in range(count)}
    client.zadd("k", mapping)
    expected = {m: client.zscore("k", m) for m in mapping}
    value = decoded(client)
    assert {member.decode(): score for member, score in value.elements} == expected


def test_streams_with_groups_and_pending_entries(client):
    rng = random.Random(5)
    for i in range(400):
        fields = {b"price": b"%d" % i, b"side": b"buy"}
        if i % 7 == 0:
            fields = {rng.randbytes(5): rng.randbytes(70)}
        client.xadd("k", fields, id=f"{1000 + i // 3}-{i}")
    client.xgroup_create("k", "g1", id="0")
    client.xgroup_create("k", "g2", id="$")
    client.xreadgroup("g1", "alice", {"k": ">"}, count=7)
    client.xreadgroup("g1", "bob", {"k": ">"}, count=5)
    client.xack("k", "g1", "1000-1")
    for i in range(0, 400, 5):
        client.xdel("k", f"{1000 + i // 3}-{i}")
    value = decoded(client)
    entries = client.xrange("k")
    assert [b"%d-%d" % entry_id for entry_id, _ in value.elements] == [e[0] for e in entries]
    assert [dict(pairs) for _, pairs in value.elements] == [e[1] for e in entries]
    state = value.stream
    assert state.last_id == (1133, 399)
    assert [group.name for group in state.groups] == [b"g1", b"g2"]
    pending = client.xpending_range("k", "g1", "-", "+", 100)
    assert [(b"%d-%d" % p.id, p.consumer, p.deliveries) for p in state.groups[0].pending] == [
        (p["message_id"], p["consumer"], p["times_delivered"]) for p in pending
    ]
    assert set(state.groups[0].consumers) == {b"alice", b"bob"}
    if state.entries_added is not None:
        assert state.entries_added == 400


def test_the_version_tells_what_a_server_writes(client, server):
    client.set("k", "v")
    version = payload_version(client.execute_command("DUMP", "k"))
    known = {"redis-6.2": 9, "redis-7.0": 10, "redis-8.2": 12, "valkey-8.1": 11, "valkey-9.1": 80}
    assert version == known[server.flavour]


@given(st.binary(max_size=300))
def test_noise_is_undecodable_or_a_value(data):
    with contextlib.suppress(UndecodableError):
        decode_payload(data)


@given(st.data())
def test_a_damaged_payload_never_does_worse_than_undecodable(data):
    valid = data.draw(st.sampled_from(SAMPLES))
    at = data.draw(st.integers(0, len(valid) - 1))
    byte = data.draw(st.integers(0, 255))
    with contextlib.suppress(UndecodableError):
        decode_payload(valid[:at] + bytes([byte]) + valid[at + 1 :])


def _footer(body: bytes) -> bytes:
    return body + (12).to_bytes(2, "little") + os.urandom(8)


SAMPLES = [
    _footer(b"\x00\x05hello"),
    _footer(b"\x00\xc3\x05\x0a\x00a\xe0\x00\x00"),
    _footer(b"\x0b\x0c\x02\x00\x00\x00\x02\x00\x00\x00\x01\x00\x02\x00"),
    _footer(b"\x02\x02\x01a\x01b"),
    _footer(b"\x04\x01\x01f\x01v"),
]


def test_lzf_that_overlaps_itself_and_lzf_that_lies():
    assert lzf_decompress(b"\x00a\xe0\x00\x00", 10) == b"a" * 10
    with pytest.raises(UndecodableError):
        lzf_decompress(b"\x00a\xe0\x00\x00", 9)
    with pytest.raises(UndecodableError):
        lzf_decompress(b"\x00a\xe0\x00\x05", 10)
