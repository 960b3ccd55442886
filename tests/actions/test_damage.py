"""Archives and journals that are damaged, foreign or bombs: refused, with the server untouched."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import struct
import zlib

import keyspace
import pytest
from crashing import Crasher
from programs import cachectl


@pytest.fixture
def removed(valkey):
    """A run whose keys were removed, and (server, its directory)."""
    client = valkey.client(protocol=2)
    keyspace.everything(client)
    cachectl("--url", valkey.url, "invalidate", "k:*", "--max-percent", "100", "--yes").check()
    return valkey, keyspace.last_run()


def mutations(data, seed, count):
    chance = random.Random(seed)
    for number in range(count):
        kind = number % 4
        at = chance.randrange(len(data))
        if kind == 0:
            yield data[:at]
        elif kind == 1:
            yield data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]
        elif kind == 2:
            yield data[:at] + chance.randbytes(3) + data[at:]
        else:
            yield data[:at] + data[at + chance.randrange(1, 9) :]


def refusals(server, run, count):
    """Undo with mutated archives; return how many were refused with 7."""
    env = {k: v for k, v in os.environ.items() if k == "HOME" or k.startswith("XDG_")}
    archive = run / "archive"
    whole = archive.read_bytes()
    client = server.client(protocol=2)
    refused = 0
    with Crasher() as program:
        for data in mutations(whole, 1, count):
            archive.write_bytes(data)
            code, _, _, err = program.run("--url", server.url, "undo", "last", env=env)
            assert code == 7, (code, err)
            assert client.dbsize() == 0
            refused += 1
    archive.write_bytes(whole)
    return refused


def test_damaged_archives_are_refused(removed):
    server, run = removed
    assert refusals(server, run, 40) == 40
    cachectl("--url", server.url, "undo", "last").check()


@pytest.mark.soak
def test_many_damaged_archives_are_refused(removed):
    server, run = removed
    print(f"\ncorrupt archives refused: {refusals(server, run, 400)} of 400")


def test_an_archive_of_another_run_is_refused(removed):
    server, run = removed
    client = server.client()
    client.set("k:s", "another")
    cachectl("--url", server.url, "invalidate", "k:*", "--max-percent", "100", "--yes").check()
    shutil.copy(keyspace.last_run() / "archive", run / "archive")
    done = cachectl("--url", server.url, "undo", run.name).check(7)
    assert "another run" in done.stderr
    assert client.dbsize() == 0


def forged(run, raw, claims=None):
    """An archive whose checksums fit, holding `raw` as its one frame."""
    whole = (run / "archive").read_bytes()
    (length,) = struct.unpack_from("<I", whole, 18)
    opening = whole[: 22 + length]
    digest = hashlib.sha256(opening).digest()
    data = zlib.compress(raw)
    sizes = struct.pack("<III", 1, claims or len(raw), len(data))
    digest = hashlib.sha256(digest + sizes + data).digest()
    frame = b"FRAM" + sizes + digest + data
    end = struct.pack("<IQ", 1, 1)
    last = hashlib.sha256(digest + b"DONE" + end).digest()
    (run / "archive").write_bytes(opening + frame + b"DONE" + end + last)


@pytest.mark.parametrize(
    ("raw", "claims"),
    [(b"\0" * 300_000_000, None), (b"x", 500_000_000), (b"x", 2**32 - 1)],
    ids=["zeros", "claims-much", "claims-more"],
)
def test_a_bomb_is_refused(removed, raw, claims):
    server, run = removed
    forged(run, raw, claims)
    cachectl("--url", server.url, "undo", "last").check(7)
    assert server.client().dbsize() == 0


def test_a_damaged_journal_is_refused(removed):
    server, run = removed
    data = (run / "journal").read_bytes()
    (run / "journal").write_bytes(data[:5] + bytes([data[5] ^ 1]) + data[6:])
    cachectl("--url", server.url, "undo", "last").check(7)
    assert server.client().dbsize() == 0


def test_another_server_is_refused_unless_it_is_named(removed, start_server, isolated_home):
    server, run = removed
    other = start_server("valkey-9.1")
    facts = json.loads((run / "run.json").read_text())
    assert facts["state"] == "done"
    # Named by a default in the environment only: that may be an oversight.
    done = cachectl("--url", other.url, "undo", "last", "--other-server", "-o", "json").check()
    assert done.json["restored"] == facts["counts"]["done"]
    assert server.client().dbsize() == 0
