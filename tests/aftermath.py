"""What a program leaves behind: its processes and its files, seen from outside."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    with contextlib.suppress(OSError):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z"
    return False


def until(done: Callable[[], bool], timeout: float = 5.0) -> bool:
    """Wait until done() holds; False when it does not within timeout."""
    deadline = time.monotonic() + timeout
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def descendants(pid: int) -> list[int]:
    """Return the processes that descend from this one, whatever session they are in."""
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError):
            stat = Path(f"/proc/{int(entry)}/stat").read_text()
            parents[int(entry)] = int(stat.rpartition(")")[2].split()[1])
    found: list[int] = []
    for child, parent in sorted(parents.items()):
        ancestor = parent
        while ancestor in parents and ancestor != pid:
            ancestor = parents[ancestor]
        if ancestor == pid:
            found.append(child)
    return found


def leftovers(directory: Path) -> list[Path]:
    """Return every file and directory below."""
    return sorted(directory.rglob("*"))
