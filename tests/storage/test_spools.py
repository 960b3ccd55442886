"""Plans and archives: read as written, refused when damaged, nothing lost in a crash."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachectl.errors import ConfigError, DamagedError
from cachectl.model.changes import KeyCopy, PlannedKey, PlannedKeys
from cachectl.storage.frames import Reader, Writer
from cachectl.storage.records import pack_copies, pack_planned, unpack_copies, unpack_planned
from cachectl.storage.spool import (
    create_archive,
    create_plan,
    read_archive,
    read_plan,
    resume_archive,
)

KEYS = [PlannedKey(b"k\x00%d\xff" % i, "hash", i, i * 3, -1, b"g" * (i % 5)) for i in range(50)]

planned = st.builds(
    PlannedKey,
    st.binary(),
    st.sampled_from(["string", "hash", "ReJSON-RL"]),
    st.integers(-1, 2**62),
    st.integers(0, 2**62),
    st.integers(-1, 2**40),
    st.binary(max_size=16),
)
copies = st.builds(
    KeyCopy,
    st.binary(),
    st.sampled_from(["string", "stream"]),
    st.sampled_from(["payload", "pieces", "ttl", "renamed"]),
    st.binary(),
    st.integers(-1, 2**62),
    st.integers(-1, 2**40),
    st.integers(-1, 255),
    st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=2),
)


@given(st.lists(planned, min_size=1))
def test_planned_keys_round_trip(records):
    pages = [PlannedKeys.of(records[:2]), PlannedKeys.of([]), PlannedKeys.of(records[2:])]
    read = unpack_planned(pack_planned(pages))
    assert list(read) == records
    assert pack_planned([read]) == pack_planned(pages)


@given(st.lists(copies, min_size=1))
def test_copies_round_trip(records):
    assert unpack_copies(pack_copies([records[:1], records[1:]])) == records


@given(st.binary())
def test_any_bytes_as_records_are_damage_or_records(raw):
    try:
        unpack_planned(raw)
        unpack_copies(raw)
    except DamagedError:
        pass
    except ValueError:  # the extra of a copy is JSON that a checksum protects
        pass


def plan_file(path, flush_every=7):
    writer = create_plan(path, {"target": "here"})
    for i, key in enumerate(KEYS):
        writer.add(PlannedKeys.of([key]))
        if i % flush_every == 0:
            writer.flush()
    return writer.end()


def test_a_plan_is_read_as_it_was_written_and_is_private(tmp_path):
    digest = plan_file(tmp_path / "plan")
    with read_plan(tmp_path / "plan") as plan:
        assert plan.header == {"target": "here"}
        assert [key for page in plan.pages() for key in page] == KEYS
        assert plan.digest == digest
    assert stat.S_IMODE((tmp_path / "plan").stat().st_mode) == 0o600


def test_every_changed_byte_and_every_missing_end_of_a_plan_is_noticed(tmp_path):
    plan_file(tmp_path / "plan")
    good = (tmp_path / "plan").read_bytes()
    for position in range(len(good)):
        bad = bytearray(good)
        bad[position] ^= 0x41
        (tmp_path / "bad").write_bytes(bad)
        with pytest.raises(DamagedError):
            read_plan(tmp_path / "bad").verify()
    for length in range(len(good)):
        (tmp_path / "bad").write_bytes(good[:length])
        with pytest.raises(DamagedError):
            read_plan(tmp_path / "bad").verify()
    (tmp_path / "bad").write_bytes(good + b"x")
    with pytest.raises(DamagedError):
        read_plan(tmp_path / "bad").verify()


def test_frames_in_another_order_are_noticed(tmp_path):
    with (tmp_path / "f").open("w+b") as file:
        writer = Writer(file, b"plan", 1, {})
        starts = []
        for raw in (b"first" * 9, b"second" * 9):
            starts.append(writer.position)
            writer.add(raw, 1)
        starts.append(writer.position)
        writer.end()
    good = (tmp_path / "f").read_bytes()
    a, b = good[starts[0] : starts[1]], good[starts[1] : starts[2]]
    (tmp_path / "f").write_bytes(good[: starts[0]] + b + a + good[starts[2] :])
    with (tmp_path / "f").open("rb") as file, pytest.raises(DamagedError):
        list(Reader(file, b"plan", range(1, 2)))


def test_a_frame_that_claims_to_be_small_is_not_inflated(tmp_path):
    """A forged frame: the digest fits, but fifty megabytes hide behind a length of ten."""
    data = zlib.compress(b"\0" * 50_000_000)
    with (tmp_path / "f").open("w+b") as file:
        writer = Writer(file, b"plan", 1, {})
        digest = hashlib.sha256(writer.digest + struct.pack("<III", 1, 10, len(data)) + data)
        file.write(struct.pack("<4sIII32s", b"FRAM", 1, 10, len(data), digest.digest()) + data)
    tracemalloc.start()
    with (tmp_path / "f").open("rb") as file, pytest.raises(DamagedError, match="another size"):
        list(Reader(file, b"plan", range(1, 2)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


@settings(max_examples=30)
@given(st.integers(0, 400))
def test_a_torn_archive_keeps_its_whole_frames_and_can_be_gone_on_with(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("archive") / "archive"
    writer = create_archive(path, {"run": "r"})
    synced = []
    for i in range(6):
        writer.add([KeyCopy(b"key%d" % i, "string", "payload", os.urandom(40))])
        writer.sync()
        synced.append(writer.bytes_written)
    writer.close()
    size = max(synced[0], synced[-1] - cut)
    os.truncate(path, size)
    whole = sum(end <= size for end in synced)
    again = resume_archive(path)
    assert again.count == whole
    again.add([KeyCopy(b"later", "string", "ttl")])
    again.end()
    with read_archive(path) as archive:
        names = [copy.key for page in archive.pages() for copy in page]
        assert archive.reader.ended
    assert names == [b"key%d" % i for i in range(whole)] + [b"later"]


def test_an_existing_file_or_a_link_is_never_overwritten(tmp_path):
    (tmp_path / "there").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("there", "link"):
        with pytest.raises(Exception, match="cannot write"):
            create_plan(tmp_path / name, {})
    assert (tmp_path / "there").read_text() == "mine"
    assert not (tmp_path / "elsewhere").exists()


def test_a_missing_or_foreign_file_is_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        read_plan(tmp_path / "nothing")
    (tmp_path / "other").write_bytes(b"#!/bin/sh\necho no, this is not one of ours\n")
    with pytest.raises(DamagedError, match="not a cachectl plan"):
        read_plan(tmp_path / "other")
    create_archive(tmp_path / "archive", {}).end()
    with pytest.raises(DamagedError, match="not a cachectl plan"):
        read_plan(tmp_path / "archive")
