"""Notes about settings of servers that a command has changed for as long as it runs.

$XDG_STATE_HOME/cachectl/borrowed/<digest of the node>.json says what the setting was, what we made
of it, and who uses it. It is durable before the setting is changed and goes when it is put back: a
command that is killed leaves it, and the next one that meets the node can put things right.
Who holds `locked` may read, change and act upon the note of that node; nobody else does meanwhile.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from cachectl.storage.files import (
    disk_error,
    private_directory,
    replace_file,
    state_directory,
    sync_directory,
)

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Note:
    """One changed setting of one node.

    node: what tells the process (its run id), or its address where that is hidden. address: where
    it was met. setting: the setting's name. before: its value then, whole; ours: what we set;
    shown: how the server shows that. users: who needs it, packed (see server.locks.Owner).
    """

    node: str
    address: str
    setting: str
    before: str
    ours: str
    shown: str
    users: tuple[str, ...] = ()


def _directory() -> Path:
    return state_directory() / "borrowed"


def _path(node: str) -> Path:
    digest = hashlib.sha256(node.encode("utf-8", "surrogateescape")).hexdigest()[:24]
    return _directory() / f"{digest}.json"


def any_notes() -> bool:
    """Return whether there is a note about any node: nearly always there is none."""
    try:
        with os.scandir(_directory()) as entries:
            return any(entry.name.endswith(".json") for entry in entries)
    except OSError:
        return False


def all_notes() -> list[Note]:
    """Return all notes that can be read, without a lock: look again when you hold it."""
    try:
        paths = sorted(_directory().glob("*.json"))
    except OSError:
        return []
    return [note for path in paths if (note := _read(path)) is not None]


@contextlib.contextmanager
def locked(node: str) -> Iterator[None]:
    """Keep other commands of this user away from the note of a node. Raises StorageError."""
    path = _path(node).with_suffix(".lock")
    private_directory(path.parent)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        raise disk_error(path, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def load(node: str) -> Note | None:
    """Return the note of a node; None when there is none, or it can't be read any more."""
    return _read(_path(node))


def save(note: Note) -> None:
    """Write a note so that it survives a crash. Raises StorageError."""
    path = _path(note.node)
    private_directory(path.parent)
    data = json.dumps({"version": _VERSION, **asdict(note)}, ensure_ascii=True)
    replace_file(path, data.encode("ascii"))


def drop(node: str) -> None:
    """Remove the note of a node, if there is one. Raises StorageError."""
    path = _path(node)
    try:
        path.unlink(missing_ok=True)
        sync_directory(path.parent)
    except OSError as error:
        raise disk_error(path, error) from error


def _read(path: Path) -> Note | None:
    try:
        document = json.loads(path.read_bytes())
        if document.pop("version") != _VERSION:
            return None
        return Note(**{**document, "users": tuple(map(str, document["users"]))})
    except (OSError, ValueError, KeyError, TypeError):
        return None
