"""The keeper: a small process that owns what the demo leaves in the world, and cleans it up.

It makes the directory, starts the server, writes the profile, and waits for the end of its
standard input, which comes however the demo ends: Ctrl-C, an error, or kill -9. Then it kills the
server and removes directory and profile. It is run as a script, so it needs nothing but the
standard library and starts in a blink.

It reads one JSON object a line and answers each with one:
    {"serve": {"directory": …, "argv": […]}}                         → {"pid": …} or {"error": …}
    {"publish": {"directory": …, "names": […], "text": …}}          → {"name": …} or {"error": …}
    {"remove": {"pattern": …}}  (at the end, whatever matches then)  → {}
and says {"ended": code, "log": the last lines} by itself when the server ends first.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from types import FrameType
from typing import Any

LOG = "server.log"
_LOG_TAIL = 2000


class Keeper:
    """What is there to be cleaned up, and how it comes to be there."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[bytes] | None = None
        self._directory: str | None = None
        self._profile: str | None = None
        self._profile_lock: int | None = None
        self._lifeline: int | None = None
        self._patterns: list[str] = []

    def run(self) -> None:
        """Answer requests until standard input ends or the demo is told to stop."""
        pending = b""
        while True:
            watched = [0] if self._lifeline is None else [0, self._lifeline]
            ready = select.select(watched, [], [])[0]
            if self._lifeline in ready:
                self._server_ended()
            if 0 in ready:
                data = os.read(0, 65_536)
                if not data:
                    return
                *lines, pending = (pending + data).split(b"\n")
                for line in lines:
                    say(self._answer(json.loads(line)))

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            if "serve" in request:
                return {"pid": self._serve(**request["serve"])}
            if "publish" in request:
                return {"name": self._publish(**request["publish"])}
            self._patterns.append(request["remove"]["pattern"])
            return {}
        except OSError as error:
            return {"error": f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")}

    def _serve(self, directory: str, argv: list[str]) -> int:
        """Start the server in a new directory that nobody else may enter; return its pid."""
        if self._directory is None:
            os.mkdir(directory, 0o700)
            self._directory = directory
        # Only the server holds the writing end, so its end is the end of this pipe.
        self._lifeline, theirs = os.pipe()
        parent = os.getpid()
        try:
            with open(os.path.join(directory, LOG), "wb") as log:
                self._server = subprocess.Popen(
                    argv,
                    cwd=directory,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    # A group of its own: the program on PATH may be a script around the server.
                    start_new_session=True,
                    pass_fds=(theirs,),
                    # One thread here, so a function between fork and exec is safe.
                    preexec_fn=lambda: _die_with(parent),  # noqa: PLW1509
                )
        finally:
            os.close(theirs)
        return self._server.pid

    def _publish(self, directory: str, names: list[str], text: str) -> str:
        """Write the profile under the first name that no living demo holds; return the name.

        A demo holds a lock on its file for as long as it lives; a file without one is a dead
        demo's. The file appears complete, by linking, and readable for its owner alone.
        """
        draft = os.path.join(directory, f".{os.getpid()}.tmp")
        lock = _create(draft)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            os.write(lock, text.encode())
            for name in names:
                path = os.path.join(directory, f"{name}.yaml")
                if _claim(draft, path):
                    self._profile, self._profile_lock = path, lock
                    return name
        finally:
            os.unlink(draft)
        os.close(lock)
        return ""

    def _server_ended(self) -> None:
        if self._server is None or self._lifeline is None or self._directory is None:
            return
        os.close(self._lifeline)
        self._lifeline = None
        code = self._server.wait()
        log = ""
        with (
            contextlib.suppress(OSError),
            open(os.path.join(self._directory, LOG), "rb") as file,
        ):
            log = file.read()[-_LOG_TAIL:].decode(errors="replace")
        say({"ended": code, "log": log})

    def clean_up(self) -> None:
        """Kill the server, remove its directory and the profile."""
        if self._profile is not None and self._profile_lock is not None:
            with contextlib.suppress(OSError):
                # Somebody may have put a file of theirs in its place.
                if os.path.samestat(os.fstat(self._profile_lock), os.lstat(self._profile)):
                    os.unlink(self._profile)
            _remove_empty(os.path.dirname(self._profile))
        if self._server is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._server.pid, signal.SIGKILL)
            self._server.wait()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
        for pattern in self._patterns:
            for path in glob.glob(pattern):
                with contextlib.suppress(OSError):
                    os.unlink(path)
            _remove_empty(os.path.dirname(pattern))


def _remove_empty(directory: str) -> None:
    """Remove a directory of cachectl and the one above it when nobody else has a file there."""
    with contextlib.suppress(OSError):
        os.rmdir(directory)
        os.rmdir(os.path.dirname(directory))


def _create(path: str) -> int:
    """Create a private file and return its descriptor.

    A demo that ends at this moment may remove the directory when it finds it empty.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    for _ in range(100):
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            return os.open(path, flags, 0o600)
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)


def _claim(draft: str, path: str) -> bool:
    """Give the draft a second name, `path`; False when a living demo has that name."""
    while True:
        try:
            os.link(draft, path)
        except FileExistsError:
            if not _remove_stale(path):
                return False
        else:
            return True


def _remove_stale(path: str) -> bool:
    """Remove the profile of a dead demo; False when its demo lives or it is no plain file."""
    try:
        file = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another demo may have replaced the file meanwhile; then this lock says nothing.
        if os.path.samestat(os.fstat(file), os.lstat(path)):
            os.unlink(path)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return True
    finally:
        os.close(file)
    return True


def _die_with(parent: int) -> None:
    """Have the kernel kill this process with its parent, where it can (Linux).

    For the case that the keeper itself is killed: nobody else is left to see to the server.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def say(answer: dict[str, Any]) -> None:
    """Write one answer; whoever asked may be gone already."""
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(answer).encode() + b"\n")


class _Stopped(BaseException):
    pass


def _stop(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise _Stopped


def main() -> None:
    """Keep until standard input ends, or until SIGTERM."""
    os.umask(0o077)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    keeper = Keeper()
    try:
        keeper.run()
    except _Stopped:
        pass
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        keeper.clean_up()


if __name__ == "__main__":
    main()
