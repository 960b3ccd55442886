"""What our jobs add to a server's hit counters, shared between the processes of this machine.

A job has one small file a node, mapped into memory, in which it counts its look-ups; `settled`
reads the sum over all jobs at a moment when none of them has a command on its way. A job holds a
shared lock while commands are under way; who wants to read writes a deadline into the file, which
the job sees before its next flight, and takes the exclusive lock. A lock ends with its process, so
nobody waits for the dead. Jobs that have ended are added up in one file, so sums only grow.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import mmap
import os
import secrets
import struct
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cachectl.errors import CachectlError
from cachectl.model.counters import OwnWork
from cachectl.storage.files import private_directory

_WANTED: Final = struct.Struct("<d")
_LOST: Final = struct.Struct("<q")
_COUNTS: Final = struct.Struct("<qqqq64s")
_SIZE: Final = _WANTED.size + _COUNTS.size
_POLL = 0.0005
_PATIENCE = 0.5
"""Seconds that a reader waits for a job, which goes on by itself after twice as long."""
_KEPT = 7 * 86_400.0
"""Seconds after which sums of a server are forgotten."""
_TOTAL = "total"


def runtime_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where counts of running jobs live: $XDG_RUNTIME_DIR/cachectl, or below /tmp."""
    base = environ.get("XDG_RUNTIME_DIR")
    if base:
        return Path(base) / "cachectl"
    return Path(tempfile.gettempdir()) / f"cachectl-{os.getuid()}"


def _directory() -> Path:
    path = private_directory(runtime_directory()) / "lookups"
    private_directory(path)
    if path.stat().st_uid != os.getuid():
        raise OSError("the directory belongs to somebody else")
    return path


def _prefix(run_id: str) -> str:
    return hashlib.sha256(run_id.encode("utf-8", "surrogateescape")).hexdigest()[:24]


def files_of(run_id: str) -> Path:
    """Return the glob of all files about a node, for whoever knows that it is gone for good."""
    return runtime_directory() / "lookups" / f"{_prefix(run_id)}.*"


class JobCount:
    """The gate of one job at one node: see server.gate, whose interface this has."""

    def __init__(self, path: Path, address: str) -> None:
        self._file = _File(path, create=True)
        self._address = address
        self._inside = False
        self._lost = 0
        self.note(0, 0, 0)

    @property
    def wanted(self) -> bool:
        """Whether somebody waits until nothing is under way."""
        return self._file.wanted_until > time.monotonic()

    def enter(self) -> None:
        """Take the shared lock, after whoever is reading; after a second at the latest."""
        if self._inside:
            return
        deadline = time.monotonic() + 2 * _PATIENCE
        while self.wanted or not self._file.lock(fcntl.LOCK_SH):
            if time.monotonic() > deadline:
                self._lost = 1
                break
            time.sleep(_POLL)
        self._inside = True
        self._file.mark_busy()

    def note(self, hits: int, misses: int, commands: int) -> None:
        """Write down the counts."""
        lost = 1 if self._inside else self._lost
        work = OwnWork(hits, misses, commands, lost, addresses=frozenset({self._address}))
        self._file.write(work)

    def leave(self, hits: int, misses: int, commands: int) -> None:
        """Write down the counts and let the lock go."""
        self._inside = False
        self.note(hits, misses, commands)
        self._file.unlock()

    def close(self) -> None:
        """Add the count to the sum of the jobs that have ended."""
        self._file.unlock()
        with contextlib.suppress(OSError, CachectlError):
            total = _File(_total_of(self._file.path), create=True)
            with contextlib.closing(total):
                if total.lock_within(_PATIENCE):
                    _fold(self._file, total)
        self._file.close()


def job_count(run_id: str, address: str) -> JobCount | None:
    """Return the count of a new job at the node with this run id; None when the disk refuses.

    A node that does not say its run id gets none either: its file would be that of all such nodes.
    """
    if not run_id:
        return None
    try:
        directory = _directory()
        _forget_old(directory)
        name = f"{_prefix(run_id)}.{os.getpid()}.{secrets.token_hex(4)}"
        return JobCount(directory / name, address)
    except (OSError, CachectlError):
        return None


@contextlib.contextmanager
def settled(run_id: str) -> Iterator[OwnWork]:
    """Hold all jobs at this node still, and yield what they have added up to now.

    Takes half a second at most; `settled` is False when a job was not seen at rest, or when the
    node does not say its run id.
    """
    if not run_id:
        yield OwnWork(settled=False)
        return
    with contextlib.ExitStack() as stack:
        try:
            files = _opened(_directory(), run_id, stack)
        except (OSError, CachectlError):
            yield OwnWork(settled=False)
            return
        yield _held(files, stack)


def _opened(directory: Path, run_id: str, stack: contextlib.ExitStack) -> list[_File]:
    prefix = _prefix(run_id)
    total = stack.enter_context(contextlib.closing(_File(directory / f"{prefix}.{_TOTAL}", True)))
    locked = total.lock_within(_PATIENCE)
    files = [total]
    for path in sorted(directory.glob(f"{prefix}.*.*")):
        with contextlib.suppress(OSError):
            file = _File(path)
            if locked and _is_dead(path) and file.lock(fcntl.LOCK_EX):
                _fold(file, total)
                file.close()
                continue
            files.append(stack.enter_context(contextlib.closing(file)))
    return files


def _held(files: list[_File], stack: contextlib.ExitStack) -> OwnWork:
    deadline = time.monotonic() + _PATIENCE
    jobs = files[1:]
    for file in jobs:
        stack.callback(file.want, 0.0)
        file.want(deadline + _PATIENCE)
    taken = [file.lock_within(deadline - time.monotonic(), insist=True) for file in jobs]
    counts = [file.read() for file in files]
    return OwnWork(
        hits=sum(one.hits for one in counts),
        misses=sum(one.misses for one in counts),
        commands=sum(one.commands for one in counts),
        lost=sum(one.lost for one in counts),
        settled=all(taken),
        addresses=frozenset().union(*(one.addresses for one in counts[1:])),
    )


@dataclass(slots=True)
class _File:
    """One file, mapped. Locks go with it when it is closed."""

    path: Path
    _descriptor: int
    _map: mmap.mmap

    def __init__(self, path: Path, create: bool = False) -> None:
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if create else 0)
        self.path = path
        self._descriptor = os.open(path, flags, 0o600)
        try:
            if os.fstat(self._descriptor).st_size < _SIZE:
                os.ftruncate(self._descriptor, _SIZE)
            self._map = mmap.mmap(self._descriptor, _SIZE)
        except BaseException:
            os.close(self._descriptor)
            raise

    @property
    def wanted_until(self) -> float:
        return float(_WANTED.unpack_from(self._map, 0)[0])

    def want(self, until: float) -> None:
        _WANTED.pack_into(self._map, 0, until)

    def read(self) -> OwnWork:
        hits, misses, commands, lost, address = _COUNTS.unpack_from(self._map, _WANTED.size)
        text = address.rstrip(b"\0").decode("utf-8", "replace")
        addresses = frozenset({text}) if text else frozenset()
        return OwnWork(hits, misses, commands, lost, addresses=addresses)

    def write(self, work: OwnWork) -> None:
        address = next(iter(work.addresses), "").encode()[:64]
        counts = (work.hits, work.misses, work.commands, work.lost, address)
        _COUNTS.pack_into(self._map, _WANTED.size, *counts)

    def mark_busy(self) -> None:
        """Count the job as lost should it die before it writes again."""
        _LOST.pack_into(self._map, _WANTED.size + 3 * 8, 1)

    def lock(self, kind: int) -> bool:
        try:
            fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def lock_within(self, seconds: float, *, insist: bool = False) -> bool:
        """Take the exclusive lock; insist: say again that it is wanted, should another reader have
        taken that back."""
        deadline = time.monotonic() + seconds
        while not self.lock(fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                return False
            if insist and self.wanted_until < deadline:
                self.want(deadline + _PATIENCE)
            time.sleep(_POLL)
        return True

    def unlock(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        self._map.close()
        os.close(self._descriptor)


def _fold(file: _File, total: _File) -> None:
    """Add a job that has ended to the total, which is locked, and remove its file."""
    one, sum_ = file.read(), total.read()
    total.write(
        OwnWork(
            sum_.hits + one.hits,
            sum_.misses + one.misses,
            sum_.commands + one.commands,
            sum_.lost + one.lost,
        )
    )
    os.utime(total.path)  # writing into a map need not show in its time
    with contextlib.suppress(FileNotFoundError):
        file.path.unlink()


def _total_of(path: Path) -> Path:
    return path.with_name(f"{path.name.partition('.')[0]}.{_TOTAL}")


def _is_dead(path: Path) -> bool:
    pid = path.name.split(".")[1]
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return True
    except OSError:
        return False
    return False


def _forget_old(directory: Path) -> None:
    horizon = time.time() - _KEPT
    with os.scandir(directory) as entries:
        old = [entry.path for entry in entries if entry.stat().st_mtime < horizon]
    for path in old:
        with contextlib.suppress(OSError):
            os.unlink(path)
