"""Files of records in frames: a plan's keys and a run's archive, written and read as streams.

Memory holds one frame, whatever the number of keys.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

from cachectl.errors import ConfigError, DamagedError
from cachectl.model.changes import KeyCopy, PlannedKeys
from cachectl.storage.files import create_private
from cachectl.storage.frames import Reader, Writer
from cachectl.storage.records import pack_copies, pack_planned, unpack_copies, unpack_planned

_FRAME_BYTES = 1024 * 1024
_RECORD_BYTES = 48
VERSION = 2
VERSIONS = range(2, 3)


P = TypeVar("P", bound=Sized)
"""A page of records."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[P]):
    """What a spool holds. weigh: about how many bytes a page takes, besides _RECORD_BYTES each."""

    name: bytes
    pack: Callable[[Sequence[P]], bytes]
    unpack: Callable[[bytes], P]
    weigh: Callable[[P], int]


def _strings_of(copies: Sequence[KeyCopy]) -> int:
    return sum([len(copy.key) + len(copy.data) for copy in copies])


Copies = Sequence[KeyCopy]
_PLAN: Kind[PlannedKeys] = Kind(
    b"plan", pack_planned, unpack_planned, lambda page: sum(map(len, page.keys))
)
_ARCHIVE: Kind[Copies] = Kind(b"archive", pack_copies, unpack_copies, _strings_of)


class SpoolWriter(Generic[P]):
    """Appends pages of records; a frame is closed at about 1 MiB, by `flush`, and by `end`."""

    def __init__(self, file: BinaryIO, writer: Writer, kind: Kind[P]) -> None:
        self._file = file
        self._writer = writer
        self._kind = kind
        self._pending: list[P] = []
        self._pending_records = self._pending_bytes = 0
        self.count = self._durable = writer.records

    def add(self, page: P) -> None:
        """Append some records; they are not on the disk before `flush`, `sync` or `end`."""
        self._pending.append(page)
        self._pending_records += len(page)
        self._pending_bytes += self._kind.weigh(page) + _RECORD_BYTES * len(page)
        self.count += len(page)
        if self._pending_bytes >= _FRAME_BYTES:
            self.flush()

    def flush(self) -> None:
        """Close the frame. Raises StorageError."""
        if self._pending_records:
            self._writer.add(self._kind.pack(self._pending), self._pending_records)
        self._pending.clear()
        self._pending_records = self._pending_bytes = 0

    def sync(self) -> None:
        """Return when every record so far would survive a crash. Raises StorageError."""
        self.flush()
        self._writer.sync()
        self._durable = self.count

    @property
    def is_pending(self) -> bool:
        """Whether some records are not durable yet."""
        return self.count > self._durable

    @property
    def is_broken(self) -> bool:
        """Whether a write failed or was interrupted, and nothing more may be written."""
        return self._writer.is_broken

    @property
    def digest(self) -> str:
        """The digest of the whole frames so far, in hex."""
        return self._writer.digest.hex()

    def end(self) -> str:
        """Write the end, make it durable, close. Return the digest of the whole, in hex."""
        self.flush()
        self._writer.end()
        self._file.close()
        return self._writer.digest.hex()

    @property
    def bytes_written(self) -> int:
        """The size of the file so far."""
        return self._writer.position

    def close(self) -> None:
        """Close without an end: what is there stays readable up to its last whole frame.

        Records that no `sync` has made durable may be lost: nothing depends on them.
        """
        if self._file.closed:
            return
        try:
            if not self._writer.is_broken:
                self.flush()
        finally:
            with contextlib.suppress(OSError):
                self._file.close()


class SpoolReader(Generic[P]):
    """Reads a spool. `header` is at hand at once; `pages` checks every frame as it goes.

    digest_before: of the frames before the one that the last page came from.
    """

    def __init__(self, path: Path, kind: Kind[P], *, torn: bool) -> None:
        try:
            self._file = path.open("rb")
        except OSError as error:
            reason = (error.strerror or "").lower()
            raise ConfigError(f"cannot read {path}: {reason}", target=str(path)) from error
        self._unpack = kind.unpack
        self._torn = torn
        self.digest_before = ""
        try:
            self.reader = Reader(self._file, kind.name, VERSIONS)
        except BaseException:
            self._file.close()
            raise

    @property
    def header(self) -> dict[str, Any]:
        """What the writer said of the whole."""
        return self.reader.header

    @property
    def digest(self) -> str:
        """The digest so far, in hex; of the whole after the last page."""
        return self.reader.digest.hex()

    @property
    def chain(self) -> str:
        """The digest of the frames so far, without the end, in hex."""
        return self.reader.chain.hex()

    def pages(self) -> Iterator[P]:
        """Yield the records of each frame. Raises DamagedError."""
        before = self.reader.chain
        for count, raw in self._frames():
            self.digest_before, before = before.hex(), self.reader.chain
            page = self._unpack(raw)
            if len(page) != count:
                path = str(self._file.name)
                raise DamagedError(
                    f"{path} is damaged: a frame has another number of records than it says",
                    target=path,
                )
            yield page

    def verify(self) -> str:
        """Check every frame, raise DamagedError when one is wrong, return the digest in hex."""
        for _ in self._frames():
            pass
        return self.digest

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        with self._file:
            yield from self.reader.whole_frames() if self._torn else self.reader

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> SpoolReader[P]:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def create_plan(path: Path, header: Mapping[str, Any]) -> SpoolWriter[PlannedKeys]:
    """Return a writer of planned keys into a new file. Raises StorageError."""
    file = create_private(path)
    return SpoolWriter(file, Writer(file, _PLAN.name, VERSION, header), _PLAN)


def read_plan(path: Path) -> SpoolReader[PlannedKeys]:
    """Return a reader of planned keys. Raises DamagedError, ConfigError."""
    return SpoolReader(path, _PLAN, torn=False)


def create_archive(path: Path, header: Mapping[str, Any]) -> SpoolWriter[Copies]:
    """Return a writer of copies into a new file. Raises StorageError."""
    file = create_private(path)
    return SpoolWriter(file, Writer(file, _ARCHIVE.name, VERSION, header), _ARCHIVE)


def resume_archive(path: Path) -> SpoolWriter[Copies]:
    """Return a writer that goes on after the last whole frame of an archive. Raises DamagedError.

    What a crash left behind that frame is cut off: it was not durable, so nothing depends on it.
    """
    with read_archive(path) as spool:
        spool.verify()
        reader = spool.reader
    file = path.open("r+b")
    return SpoolWriter(file, Writer.resume(file, reader), _ARCHIVE)


def read_archive(path: Path) -> SpoolReader[Copies]:
    """Return a reader of copies, which stops at a torn end. Raises DamagedError, ConfigError."""
    return SpoolReader(path, _ARCHIVE, torn=True)
