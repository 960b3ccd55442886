r"""The journal of a run: what was meant, what was done, line by line.

One line is `JSON \t CRC-32 \n`. A crash leaves at most one torn line at the end, which is cut off
when the journal is opened again; a wrong line anywhere else is damage.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from cachectl.errors import ConfigError, DamagedError, LockedError
from cachectl.storage.files import append_private, disk_error, make_durable

Entry = dict[str, Any]


def _line(entry: Mapping[str, Any]) -> bytes:
    text = json.dumps(entry, ensure_ascii=True, separators=(",", ":")).encode()
    return b"%b\t%08x\n" % (text, zlib.crc32(text))


class Journal:
    """Appends entries to the journal at `path`, creating it when it is not there.

    Raises LockedError when another process writes it, StorageError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = append_private(path)
        if not _lock(self._file, fcntl.LOCK_EX):
            self._file.close()
            raise LockedError(
                "another process is at this run",
                hint="wait for it, or end it",
                target=path.parent.name,
            )

    def record(self, kind: str, **fields: Any) -> None:
        """Append one entry and return when it is durable. Raises StorageError."""
        self.note(kind, **fields)
        make_durable(self._file)

    def note(self, kind: str, **fields: Any) -> None:
        """Append one entry that the end of this process does not take away, but a power cut may.

        The next `record` makes it durable. Raises StorageError.
        """
        try:
            self._file.write(_line({"kind": kind, **fields}))
            self._file.flush()
        except OSError as error:
            raise disk_error(self.path, error) from error

    def close(self) -> None:
        """Make everything durable and close the file. Raises StorageError."""
        if self._file.closed:
            return
        try:
            make_durable(self._file)
        finally:
            with contextlib.suppress(OSError):
                self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def is_written(path: Path) -> bool:
    """Return whether a process has the journal at `path` open to write."""
    try:
        with path.open("rb") as file:
            return not _lock(file, fcntl.LOCK_SH)
    except OSError:
        return False


def _lock(file: BinaryIO, kind: int) -> bool:
    """Take the file's lock, which ends with the process; False when another one has it."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def read_journal(path: Path) -> Iterator[Entry]:
    """Yield the entries; a torn last line is left out. Raises DamagedError, ConfigError."""
    for entry, _ in _read(path):
        yield entry


def reopen(path: Path) -> Journal:
    """Return a journal to go on with; a torn last line is cut off. Raises DamagedError."""
    whole = max((end for _, end in _read(path)), default=0)
    if path.stat().st_size > whole:
        try:
            with path.open("r+b") as file:
                file.truncate(whole)
                make_durable(file)
        except OSError as error:
            raise disk_error(path, error) from error
    return Journal(path)


def _read(path: Path) -> Iterator[tuple[Entry, int]]:
    """Yield (entry, where it ends). Memory holds one line."""
    try:
        file = path.open("rb")
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise ConfigError(f"cannot read {path}: {reason}", target=str(path)) from error
    whole = 0
    with file:
        for number, line in enumerate(file, start=1):
            entry = _parse(line[:-1]) if line.endswith(b"\n") else None
            if entry is None:
                if any(_parse(later.rstrip(b"\n")) is not None for later in file):
                    why = f"line {number} does not fit its checksum"
                    raise DamagedError(f"{path} is damaged: {why}", target=str(path))
                return
            whole += len(line)
            yield entry, whole


def _parse(line: bytes) -> Entry | None:
    text, tab, checksum = line.rpartition(b"\t")
    try:
        if not tab or int(checksum, 16) != zlib.crc32(text):
            return None
        entry = json.loads(text)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
