"""Writing a snapshot: all or nothing, at the end of a scan.

While the scan runs its pages are spooled to a file without a name beside the snapshot, since what
the names of namespaces fold into is known only at the end. Memory holds one page.
"""

from __future__ import annotations

import gzip
import io
import marshal
import os
import struct
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

from cachectl.errors import CachectlError, DamagedError, UsageError
from cachectl.model.keys import NO_TTL, Page
from cachectl.storage.files import StorageError, replace_with
from cachectl.storage.snapshot_rows import Escape, lines
from cachectl.storage.snapshots import Snapshot, SnapshotInfo, described, place_of_sum

_COLUMNS = {"types": "type", "ttls": "ttl", "sizes": "bytes", "idles": "idle", "freqs": "freq"}
_ALL = ("keys", *_COLUMNS)
_HEAD = struct.Struct("<I")
_LEVEL = 3
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_FOREIGN = (".csv", ".tsv", ".parquet", ".rdb", ".xlsx", ".yaml", ".zst", ".zip", ".bz2", ".xz")

NamesOf = Callable[[Sequence[int], Page], Sequence[bytes]]
"""(groups, page) → the namespace of each key."""


class SnapshotWriter:
    """Collects pages, and writes them at the end: all or nothing, readable by this user alone.

    Raises UsageError at once when `path` is not a place for a snapshot, StorageError when the disk
    refuses.
    """

    def __init__(self, path: Path, escape: Escape, *, now: Callable[[], float] = time.time) -> None:
        self.path = _suitable(path)
        self.keys = 0
        self.begun_at = now()
        self._escape = escape
        self._now = now
        self._alive: dict[str, int] = {}
        self._columns: dict[str, frozenset[str]] = {}
        self._counts: dict[str, int] = {}
        self._telling: dict[str, tuple[int, str]] = {}
        self._end = 0
        try:
            spool = tempfile.TemporaryFile(dir=self.path.parent)  # noqa: SIM115 - see close
            self._spool = cast(BinaryIO, spool)
        except OSError as error:
            raise _refused(path, error) from error

    def add(self, page: Page, groups: Sequence[int], scanned_at: str | None = None) -> None:
        """Take a page. groups: the group of each key; `save` asks what their names are.

        scanned_at: when, if not now.
        """
        if not page.keys:
            return
        alive = self._alive.setdefault(page.node, 0)
        had = frozenset(
            column for name, column in _COLUMNS.items() if getattr(page, name) is not None
        )
        # What a node stopped answering halfway is not known of it.
        self._columns[page.node] = self._columns.get(page.node, had) & had
        self._counts[page.node] = self._counts.get(page.node, 0) + len(page)
        self.keys += len(page)
        for name in _ALL:
            if name not in self._telling and _has(page, name):
                self._telling[name] = self._end, page.node
        columns = [getattr(page, name) for name in _ALL]
        scanned_at = scanned_at or time.strftime(_TIME, time.gmtime(self._now()))
        blob = marshal.dumps((page.node, alive, list(groups), scanned_at, columns))
        try:
            self._spool.write(_HEAD.pack(len(blob)) + blob)
        except OSError as error:
            raise _refused(self.path, error) from error
        self._end += _HEAD.size + len(blob)

    def drop(self, node: str) -> None:
        """Forget what came from this node: it is read again from the start."""
        self._alive[node] = self._alive.get(node, 0) + 1
        self._columns.pop(node, None)
        self.keys -= self._counts.pop(node, 0)
        self._telling = {name: at for name, at in self._telling.items() if at[1] != node}

    @property
    def nodes(self) -> set[str]:
        """The nodes that keys came from."""
        return {*self._counts}

    def columns_of(self, node: str) -> tuple[str, ...]:
        """Return which columns all pages of a node had."""
        return tuple(sorted(self._columns.get(node, ())))

    def keys_of(self, node: str) -> int:
        """Return how many keys came from a node."""
        return self._counts.get(node, 0)

    def save(
        self,
        info: SnapshotInfo,
        names_of: NamesOf,
        on_progress: Callable[[int], None] = lambda _done: None,
    ) -> None:
        """Write the file. on_progress: called with rows written. Raises StorageError."""

        def write(file: BinaryIO) -> None:
            if self.path.suffix == ".gz":
                with gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as packed:
                    self._write(cast(BinaryIO, packed), info, names_of, on_progress)
            else:
                summed = _Summed(file)
                self._write(cast(BinaryIO, summed), info, names_of, on_progress)
                summed.put_sum()

        try:
            replace_with(self.path, write)
        except StorageError as error:
            raise _unwritable(self.path, error.message) from error

    def close(self) -> None:
        """Give the disk back what the spool takes."""
        self._spool.close()

    def _write(
        self,
        file: BinaryIO,
        info: SnapshotInfo,
        names_of: NamesOf,
        on_progress: Callable[[int], None],
    ) -> None:
        scan: str | None = described(info)
        done = 0
        for page, groups, scanned_at in self._spooled():
            file.write(
                lines(
                    page,
                    names_of(groups, page),
                    scanned_at=scanned_at,
                    server=info.server,
                    scan=scan,
                    escape=self._escape,
                )
            )
            scan = None
            done += len(page)
            on_progress(done)

    def _spooled(self) -> Iterator[tuple[Page, list[int], str]]:
        """Yield the pages that still count.

        DuckDB tells types from the first 20,480 rows: those that have a value in a column where
        most have none come first.
        """
        first = sorted({at for at, _ in self._telling.values()})
        for at in first:
            self._spool.seek(at)
            yield from self._next_page()
        self._spool.seek(0)
        at = 0
        while at < self._end:
            if at in first:
                at = self._spool.seek(at + _HEAD.size + self._length())
            else:
                yield from self._next_page()
                at = self._spool.tell()

    def _length(self) -> int:
        (length,) = _HEAD.unpack(self._spool.read(_HEAD.size))
        return int(length)

    def _next_page(self) -> Iterator[tuple[Page, list[int], str]]:
        # Our own bytes, from a file that has no name and that nobody else can open.
        blob = self._spool.read(self._length())
        node, alive, groups, scanned_at, columns = marshal.loads(blob)  # noqa: S302
        if alive == self._alive[node]:
            yield Page(node, *columns), groups, scanned_at


def _has(page: Page, name: str) -> bool:
    """Return whether a page has a value in a column where whole pages may have none."""
    if name == "ttls":
        return bool(page.ttls) and max(page.ttls or ()) > NO_TTL
    if name == "keys":  # key_b64 has one for a name that is not UTF-8
        try:
            b"\n".join(page.keys).decode()
        except UnicodeDecodeError:
            return True
        return False
    column = getattr(page, name)
    return column is not None and column.count(None) < len(column)


class _Summed(io.RawIOBase):
    """Writes to a file, and puts the checksum of it in its first line at the end."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sum = 0
        self._place: int | None = None

    def write(self, data: Any) -> int:
        """Write data."""
        if self._place is None:
            self._place = place_of_sum(data)
        self._sum = zlib.crc32(data, self._sum)
        return self._file.write(data)

    def put_sum(self) -> None:
        """Replace the place-holder."""
        if self._place is not None:
            self._file.seek(self._place)
            self._file.write(b"%08x" % self._sum)


def _suitable(path: Path) -> Path:
    """Return where to write; never over something that is not a snapshot."""
    path = Path(os.path.realpath(path))
    if path.suffix in _FOREIGN:
        raise UsageError(
            f"snapshots are NDJSON, and {path.name} is not named so",
            hint=f"--save {path.stem}.ndjson.gz; DuckDB and pandas read that as it is",
        )
    if not path.parent.is_dir():
        raise UsageError(f"there is no directory {path.parent}")
    if not path.exists():
        return path
    if not path.is_file():
        raise UsageError(f"{path} is not a file")
    if path.stat().st_size:
        try:
            Snapshot(path)
        except CachectlError as error:
            if not isinstance(error, DamagedError) or error.message.endswith("not a snapshot"):
                raise UsageError(
                    f"{path} exists and is not a snapshot; it is left alone",
                    hint="name another file",
                ) from error
    return path


def _refused(path: Path, error: OSError) -> CachectlError:
    return _unwritable(path, f"cannot write {path}: {(error.strerror or str(error)).lower()}")


def _unwritable(path: Path, message: str) -> CachectlError:
    return StorageError(
        message, hint="free space, or name another file with --save", target=str(path)
    )
