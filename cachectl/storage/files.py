"""Private files: 0600 in 0700 directories, durable when we say so, replaced in one step."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from cachectl.errors import CachectlError, PartialError


class StorageError(PartialError):
    """The disk refused: full, read-only, or broken. Nothing was removed without its record."""

    slug = "storage"


def state_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where runs, plans and the audit log live: $XDG_STATE_HOME/cachectl."""
    base = environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "cachectl"


def private_directory(path: Path) -> Path:
    """Create `path` (and its parents) for this user alone, 0700. Raises StorageError."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.stat().st_mode & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise disk_error(path, error) from error
    return path


def create_private(path: Path) -> BinaryIO:
    """Create a new file, 0600, refusing to follow a link or to overwrite. Raises StorageError."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.fdopen(os.open(path, flags, 0o600), "w+b")
    except OSError as error:
        raise disk_error(path, error) from error


def append_private(path: Path) -> BinaryIO:
    """Open a file for appending, creating it 0600. Raises StorageError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.fdopen(os.open(path, flags, 0o600), "ab")
    except OSError as error:
        raise disk_error(path, error) from error


def make_durable(file: BinaryIO) -> None:
    """Return when what was written would survive a crash of the machine. Raises StorageError."""
    try:
        file.flush()
        os.fsync(file.fileno())
    except OSError as error:
        raise disk_error(Path(str(file.name)), error) from error


def sync_directory(path: Path) -> None:
    """Make the creation, renaming or removal of files in `path` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, data: bytes) -> None:
    """Write `data` to `path` in one step: readers see the old file or the new one."""

    def write(file: BinaryIO) -> None:
        file.write(data)

    replace_with(path, write)


def publish_file(path: Path, data: bytes) -> None:
    """Write `data` to `path` in one step, for everybody to read. Raises StorageError."""

    def write(file: BinaryIO) -> None:
        file.write(data)
        os.fchmod(file.fileno(), 0o644)

    replace_with(path, write)


def replace_with(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Let `write` fill a temporary file beside `path`, make it durable, and rename it there."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise disk_error(path, error) from error
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            write(file)
            make_durable(file)
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise disk_error(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def disk_error(path: Path, error: OSError) -> CachectlError:
    """Return the error for a disk that refused."""
    reason = (error.strerror or type(error).__name__).lower()
    return StorageError(
        f"cannot write {path}: {reason}",
        hint="free space or name another directory with XDG_STATE_HOME, then resume",
        target=str(path),
    )
