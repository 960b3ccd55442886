"""Starts of the program without the imports: forks of one process that has done them already.

A run of the tests starts the program thousands of times, and what it imports costs each start a
fifth of a second of processor time. `Nursery().run(…)` forks a process that has imported all of
it, and lets the fork run cachectl.main as `python -m cachectl` would: with streams, environment,
directory, signals and exit code of its own. Tests of what a start imports or costs start a new
interpreter instead.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import NoReturn

_LARGEST = 200_000
"""Bytes of a request: what a socket takes at once."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a fork ended: as subprocess.CompletedProcess has it."""

    returncode: int
    stdout: bytes
    stderr: bytes


class Nursery:
    """The process that forks; started when it is first needed, and gone when we are."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def run(
        self,
        words: tuple[str, ...],
        *,
        input: bytes,
        env: Mapping[str, str],
        cwd: Path | None,
        timeout: float,
    ) -> Ended | None:
        """Run the program to its end; None when the request is too large to be handed over.

        Raises subprocess.TimeoutExpired, after the program has been killed.
        """
        request = json.dumps([words, dict(env), os.fspath(cwd or Path.cwd())]).encode()
        if len(request) > _LARGEST:
            return None
        with contextlib.ExitStack() as stack:
            theirs, ours = zip(*(_pipe(stack, inward=i == 0) for i in range(4)), strict=True)
            socket.send_fds(self._opened(env), [request], theirs)
            for descriptor in theirs:
                os.close(descriptor)
            return _followed(ours, words, input, timeout)

    def _opened(self, env: Mapping[str, str]) -> socket.socket:
        if self._socket is None:
            self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=dict(env),
                start_new_session=True,
            )
            theirs.close()
            atexit.register(self._close)
        return self._socket

    def _close(self) -> None:
        if self._socket is not None and self._process is not None:
            self._socket.close()
            self._process.wait(10)


def _pipe(stack: contextlib.ExitStack, *, inward: bool) -> tuple[int, FileIO]:
    """Return the end of a pipe for the program and the one for us; only ours is closed by stack.

    Ours is a file, which may be closed twice: of a mere number, the second time would close what
    another thread has opened in between.
    """
    read, write = os.pipe()
    theirs, ours = (read, write) if inward else (write, read)
    os.set_blocking(ours, False)
    return theirs, stack.enter_context(FileIO(ours, "w" if inward else "r"))


def _followed(
    ours: tuple[FileIO, ...], words: tuple[str, ...], fed: bytes, timeout: float
) -> Ended:
    """Feed and read a program until its streams and the report on its end are closed."""
    stdin, *outward = ours
    received = {stream: bytearray() for stream in outward}
    deadline, killed = time.monotonic() + timeout, False
    with selectors.DefaultSelector() as selector:
        selector.register(stdin, selectors.EVENT_WRITE)
        for stream in outward:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0 and not killed:
                killed = True
                _kill(received[outward[-1]])
            for key, _ in selector.select(max(0.0, left) if not killed else 5.0):
                stream = next(one for one in ours if one is key.fileobj)
                if stream is stdin:
                    fed = fed[_written(stdin, fed) :]
                    done = not fed
                else:
                    data = stream.read(65_536)
                    received[stream] += data
                    done = not data
                if done:
                    selector.unregister(stream)
                    stream.close()
    out, err, report = map(bytes, received.values())
    if killed:
        raise subprocess.TimeoutExpired(words, timeout, out, err)
    return Ended(int(report.split()[1]), out, err)


def _written(stdin: FileIO, data: bytes) -> int:
    try:
        return stdin.write(data[:65_536]) or 0
    except BrokenPipeError:
        return len(data)  # it does not read its input, as programs may


def _kill(report: bytearray) -> None:
    with contextlib.suppress(ProcessLookupError, IndexError):
        os.kill(int(bytes(report).split()[0]), signal.SIGKILL)


# --- The process that forks -----------------------------------------------------------------------


def serve(requests: socket.socket) -> list[str] | None:
    """Fork for each request until nobody is there to make one: None then, in a fork its words."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks of this process
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, _LARGEST, 4)
        if not message:
            return None
        if os.fork() == 0:
            requests.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            words = _become(json.loads(message), descriptors)
            if words is not None:
                return words
            os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)


def _become(request: list[object], descriptors: list[int]) -> list[str] | None:
    """Fork once more: the program returns its words, the one that reports on it returns None."""
    words, env, cwd = request
    *streams, report = descriptors
    program = os.fork()
    if program:
        for descriptor in streams:
            os.close(descriptor)
        os.write(report, b"%d " % program)
        _, status = os.waitpid(program, 0)
        os.write(report, b"%d" % os.waitstatus_to_exitcode(status))
        return None
    os.setsid()
    os.close(report)
    for stream, descriptor in enumerate(streams):
        os.dup2(descriptor, stream)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(env)  # type: ignore[call-overload]
    time.tzset()
    os.chdir(str(cwd))
    return list(words)  # type: ignore[call-overload]


def import_everything() -> None:
    """Import what commands import while they run."""
    import importlib
    import pkgutil

    import cachectl
    from cachectl.cli.app import COMMANDS, load

    for module in pkgutil.walk_packages(cachectl.__path__, "cachectl."):
        if not module.name.endswith(("__main__", "demo.fake")):
            with contextlib.suppress(ImportError):  # of an extra that is not installed
                importlib.import_module(module.name)
    for name in COMMANDS:
        load(name)
    gc.freeze()  # the forks' collections leave alone what they share


def main() -> None:
    """Be the process that forks, or a fork that runs the program."""
    with socket.socket(fileno=int(sys.argv[1])) as requests:
        import_everything()
        words = serve(requests)
    if words is not None:
        _run(words)


def _run(words: list[str]) -> NoReturn:
    """Run the program, and end without taking apart what only the nursery has built."""
    from cachectl.main import main as cachectl

    sys.argv = ["cachectl", *words]
    code: object = 1
    try:
        cachectl()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


if __name__ == "__main__":
    main()
