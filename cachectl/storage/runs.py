"""The directory of runs: each run of an invalidation or repair has one, with all that it needs.

$XDG_STATE_HOME/cachectl/runs/20261123-043512-k3f9/
    run.json   what, where, who, when, how it stands
    plan       the keys that are meant           (storage.spool)
    journal    what was done                     (storage.journal)
    archive    the copies that undo restores     (storage.spool)
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cachectl.errors import ConfigError, DamagedError
from cachectl.storage.files import private_directory, replace_file, state_directory
from cachectl.storage.journal import is_written

_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"
"""In the order of ASCII, so that names sort as what they encode."""
_ID = re.compile(r"\d{8}-\d{6}-[a-z0-9]{4}")


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """One run's files."""

    path: Path

    @property
    def id(self) -> str:
        """The run's name, which sorts by time."""
        return self.path.name

    @property
    def plan(self) -> Path:
        """The keys that are meant."""
        return self.path / "plan"

    @property
    def journal(self) -> Path:
        """What was done."""
        return self.path / "journal"

    @property
    def archive(self) -> Path:
        """The copies."""
        return self.path / "archive"

    @property
    def size(self) -> int:
        """Bytes that the run takes on the disk."""
        return sum(file.stat().st_size for file in self.path.iterdir() if file.is_file())

    def save(self, facts: Mapping[str, Any]) -> None:
        """Write run.json in one step, durable. Raises StorageError."""
        text = json.dumps(facts, indent=2, ensure_ascii=True)
        replace_file(self.path / "run.json", text.encode() + b"\n")

    def load(self) -> dict[str, Any]:
        """Return run.json. Raises DamagedError."""
        try:
            facts = json.loads((self.path / "run.json").read_bytes())
        except (OSError, ValueError) as error:
            raise DamagedError(
                f"run {self.id} is damaged: its run.json cannot be read", target=str(self.path)
            ) from error
        if not isinstance(facts, dict):
            raise DamagedError(f"run {self.id} is damaged: its run.json is no object")
        return facts

    @property
    def is_active(self) -> bool:
        """Whether a process is carrying this run out just now."""
        return is_written(self.journal)

    def state(self, facts: Mapping[str, Any]) -> str:
        """Return how the run stands: as run.json says, but `stopped` when nobody goes on with it.

        facts: run.json.
        """
        state = str(facts.get("state", "damaged"))
        return "stopped" if state == "running" and not self.is_active else state

    @property
    def is_empty(self) -> bool:
        """Whether the run found no key, and no tag set."""
        try:
            facts = self.load()
        except DamagedError:
            return False
        return not facts.get("keys", 1) and not facts.get("tags")

    def remove(self) -> None:
        """Delete the run with its archive: it cannot be undone after that."""
        shutil.rmtree(self.path)


class Runs:
    """All runs of one kind, of this user on this machine."""

    def __init__(self, base: Path | None = None, kind: str = "runs") -> None:
        self.base = (base or state_directory()) / kind

    def create(self, now: float | None = None) -> RunDirectory:
        """Return a new run's directory, 0700. Raises StorageError."""
        private_directory(self.base.parent)
        private_directory(self.base)
        name = _name(time.time() if now is None else now)
        return RunDirectory(private_directory(self.base / name))

    def all(self) -> Iterator[RunDirectory]:
        """Yield the runs, newest first."""
        if self.base.is_dir():
            for path in sorted(self.base.iterdir(), reverse=True):
                if path.is_dir() and _ID.fullmatch(path.name):
                    yield RunDirectory(path)

    def find(self, name: str) -> RunDirectory:
        """Return the run that `name` names: an id, a unique beginning of one, or `last`.

        A run that found no key is not meant by `last`: who undoes wants the one that did something.
        Raises ConfigError when there is none, or more than one.
        """
        runs = list(self.all())
        if name == "last" and runs:
            return next((run for run in runs if not run.is_empty), runs[0])
        found = [run for run in runs if name and run.id.startswith(name)]
        if len(found) == 1:
            return found[0]
        if not found:
            hint = "`cachectl invalidate runs` lists them"
            raise ConfigError(f"there is no run {name!r}", hint=hint)
        raise ConfigError(f"{len(found)} runs begin with {name!r}", hint="give more of the name")


def _name(now: float) -> str:
    """Return a name that sorts by time, to a thousandth of a second, and is given once."""
    steps = len(_ALPHABET)
    high, low = divmod(int(now % 1 * steps**2), steps)
    chance = "".join(secrets.choice(_ALPHABET) for _ in range(2))
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
    return f"{stamp}-{_ALPHABET[high]}{_ALPHABET[low]}{chance}"
