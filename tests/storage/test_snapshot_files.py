"""Snapshots: what goes in comes out, for every name; what was cut or altered is found out."""

from __future__ import annotations

import gzip
import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachectl.errors import DamagedError, UsageError
from cachectl.model.keys import NO_TTL, Page
from cachectl.output.escape import escape
from cachectl.storage.files import StorageError
from cachectl.storage.snapshot_writer import SnapshotWriter
from cachectl.storage.snapshots import NodeState, Snapshot, SnapshotInfo

NAMES = ("a.ndjson", "a.ndjson.gz")


def page_of(keys: Sequence[bytes], node: str = "n:1", **columns: object) -> Page:
    size = len(keys)
    given = {
        "types": ["string"] * size,
        "ttls": [NO_TTL] * size,
        "sizes": [64] * size,
        "idles": [3] * size,
    }
    return Page(node, list(keys), **given | columns)  # type: ignore[arg-type]


def info_of(writer: SnapshotWriter, **fields: object) -> SnapshotInfo:
    nodes = tuple(
        NodeState(name, writer.keys_of(name), writer.columns_of(name), complete=True)
        for name in sorted(writer.nodes)
    )
    given = {"server": "s", "keys": writer.keys, "begun_at": 1.5, "ended_at": 2.5, "nodes": nodes}
    return SnapshotInfo(**given | fields)  # type: ignore[arg-type]


def write(path: Path, *pages: Page, **fields: object) -> Path:
    writer = SnapshotWriter(path, escape)
    for page in pages:
        writer.add(page, [0] * len(page))
    writer.save(info_of(writer, **fields), lambda groups, page: [b"ns"] * len(groups))
    writer.close()
    return path


def read(path: Path) -> list[Page]:
    return list(Snapshot(path).pages())


@pytest.mark.parametrize("name", NAMES)
def test_pages_come_back_as_they_were(tmp_path: Path, name: str) -> None:
    pages = [
        page_of([b"a", b"b"], ttls=[NO_TTL, 1234], sizes=[1, None], idles=[0, None]),
        page_of([b"c"], node="n:2", types=["hash"]),
    ]
    path = write(tmp_path / name, *pages, match="a*", type="hash", partial=True, database=3)
    assert read(path) == pages
    info = Snapshot(path).info
    assert (info.keys, info.match, info.type, info.partial, info.database) == (
        3,
        "a*",
        "hash",
        True,
        3,
    )
    assert [node.columns for node in info.nodes] == [("bytes", "idle", "ttl", "type")] * 2


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=20))
def test_every_name_comes_back(tmp_path_factory: pytest.TempPathFactory, keys: list[bytes]) -> None:
    path = write(tmp_path_factory.mktemp("names") / "a.ndjson", page_of(keys))
    assert [key for page in read(path) for key in page.keys] == keys
    assert path.read_bytes().isascii()


def test_rows_are_what_the_help_promises(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    writer = SnapshotWriter(path, escape, now=lambda: 86_400.0)
    keys = [b"caf\xc3\xa9\x1b", b"\xff'"]
    writer.add(page_of(keys, ttls=[1500, NO_TTL], freqs=[7, None], idles=None), [4, 5])
    writer.save(info_of(writer), lambda groups, page: [b"ns%d" % group for group in groups])
    writer.close()
    first, second = map(json.loads, path.read_text().splitlines())
    assert json.loads(first.pop("scan"))["schema"] == "cachectl.snapshot/1"
    shared = {"type": "string", "bytes": 64, "idle": None, "node": "n:1", "server": "s"}
    shared |= {"scanned_at": "1970-01-02T00:00:00Z"}
    assert first == shared | {
        "key": "caf\u00e9\x1b",
        "key_b64": None,
        "ttl": 1.5,
        "freq": 7,
        "namespace": "ns4",
    }
    assert second == shared | {
        "key": escape(keys[1]),
        "key_b64": "/yc=",
        "ttl": None,
        "freq": None,
        "namespace": "ns5",
        "scan": None,
    }


def test_rows_with_rare_values_come_first(tmp_path: Path) -> None:
    """DuckDB tells the type of a column from the first rows, and reads the rest as null."""
    plain = [page_of([b"k%d" % n]) for n in range(5)]
    rare = page_of([b"\xff"], ttls=[1000])
    pages = read(write(tmp_path / "a.ndjson", *plain, rare))
    keys = [key for page in pages for key in page.keys]
    assert b"\xff" in keys[:2]
    assert sorted(keys) == [*(b"k%d" % n for n in range(5)), b"\xff"]


def test_what_a_node_stopped_answering_is_not_known(tmp_path: Path) -> None:
    """Half of a node's keys without TTLs must not read as half of its keys without a TTL."""
    path = write(tmp_path / "a.ndjson", page_of([b"a"], ttls=[5]), page_of([b"b"], ttls=None))
    assert [page.ttls for page in read(path)] == [None]


def test_a_dropped_node_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson.gz"
    writer = SnapshotWriter(path, escape)
    writer.add(page_of([b"old"], ttls=[5]), [0])
    writer.add(page_of([b"kept"], node="n:2"), [0])
    writer.drop("n:1")
    writer.add(page_of([b"new"]), [0])
    writer.save(info_of(writer), lambda groups, page: [b"ns"])
    writer.close()
    assert {key for page in read(path) for key in page.keys} == {b"kept", b"new"}
    assert Snapshot(path).info.keys == 2


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_keyspace(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name)
    assert read(path) == []
    assert Snapshot(path).info.keys == 0


def test_private_and_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    before = os.listdir(tmp_path)
    writer = SnapshotWriter(path, escape)
    writer.add(page_of([b"a"]), [0])
    assert os.listdir(tmp_path) == before
    writer.save(info_of(writer), lambda groups, page: [b"ns"])
    writer.close()
    assert {*os.listdir(tmp_path)} == {*before, "a.ndjson"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ndjson", page_of([b"old"]))
    before = os.listdir(tmp_path)
    writer = SnapshotWriter(path, escape)
    writer.add(page_of([b"new"]), [0])

    def names(groups: Sequence[int], page: Page) -> list[bytes]:
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match="no space left"):
        writer.save(info_of(writer), names)
    writer.close()
    assert os.listdir(tmp_path) == before
    assert read(path) == [page_of([b"old"])]


@pytest.mark.parametrize("name", NAMES)
def test_every_cut_is_found(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, page_of([b"key:%d" % n for n in range(40)]))
    whole = path.read_bytes()
    for length in [*range(1, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedError):
            read(path)


@pytest.mark.parametrize("name", NAMES)
def test_every_altered_byte_is_found(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, page_of([b"key:%d" % n for n in range(10)]))
    whole = path.read_bytes()
    # Bytes 4 to 9 of gzip say when and where it was made, which nobody reads.
    start = 10 if name.endswith(".gz") else 0
    for at in range(start, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(DamagedError):
            read(path)


def test_a_row_that_is_missing_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ndjson", page_of([b"a", b"b", b"c"]))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[2])
    with pytest.raises(DamagedError, match="2 of 3 keys"):
        read(path)


@pytest.mark.parametrize(
    "content",
    [
        b"key,type\na,string\n",
        b"{}\n",
        b'{"key":"a"}\n',
        b'{"key":"a","key_b64":null,"scan":null}\n',
        b'{"key":"a","key_b64":null,"scan":"{}"}\n',
        b'{"key":"a","key_b64":null,"scan":"{\\"schema\\": \\"other/1\\"}"}\n',
        b"\0" * 5000,
        gzip.compress(b"hello", mtime=0),
        b"\x1f\x8b\x08",
    ],
)
def test_foreign_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.ndjson"
    path.write_bytes(content)
    with pytest.raises(DamagedError):
        read(path)


def test_a_later_version_is_not_guessed_at(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ndjson", page_of([b"a"]))
    path.write_bytes(path.read_bytes().replace(b"cachectl.snapshot/1", b"cachectl.snapshot/2"))
    with pytest.raises(DamagedError, match="version 2"):
        Snapshot(path)


def test_what_is_no_snapshot_is_not_overwritten(tmp_path: Path) -> None:
    letter = tmp_path / "letter.ndjson"
    letter.write_text("dear all\n")
    (tmp_path / "pipe").symlink_to("/dev/null")
    os.mkfifo(tmp_path / "fifo")
    for name in ("letter.ndjson", "pipe", "fifo", "none/a.ndjson", "a.csv", "a.parquet", "."):
        with pytest.raises(UsageError):
            SnapshotWriter(tmp_path / name, escape)
    assert letter.read_text() == "dear all\n"


def test_a_snapshot_that_was_cut_may_be_overwritten(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ndjson", page_of([b"a", b"b"]))
    path.write_bytes(path.read_bytes()[:-5])
    assert read(write(path, page_of([b"c"]))) == [page_of([b"c"])]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        Snapshot(tmp_path / "none")
    with pytest.raises(UsageError, match="is a directory"):
        Snapshot(tmp_path)
