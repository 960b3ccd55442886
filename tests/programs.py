"""Run the real program as a user would: in a subprocess, on a pipe or in a terminal.

`cachectl("scan", "--url", server.url)` runs it to its end; `cachectl_tty` gives it a terminal of
its own; `cachectl_started` leaves it running beside the test. Each fails a test whose program
printed a traceback or a secret.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from forks import Nursery
from servers import unwatch, watch

ROOT = Path(__file__).parent.parent
PROGRAM = (sys.executable, "-m", "cachectl")
_THE_PROGRAM = PROGRAM
_NURSERY = Nursery()

# What in a developer's environment would change what the program prints.
_STEERING = frozenset(
    (
        *("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLORTERM", "TERM"),
        *("TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "LINES", "LANG", "LANGUAGE", "PAGER"),
        *("PYTHONUTF8", "PYTHONIOENCODING", "REDISCLI_AUTH"),
    )
)
_ESCAPES = re.compile(
    rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][0-9A-Z]|[=>78])"
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. exit_code: negative when killed by a signal; seconds: wall time."""

    args: tuple[str, ...]
    exit_code: int
    out: bytes
    err: bytes
    seconds: float

    @property
    def stdout(self) -> str:
        """Standard output as text; raises UnicodeDecodeError when it is not UTF-8."""
        return self.out.decode()

    @property
    def stderr(self) -> str:
        """Standard error as text (on a terminal both are in stdout)."""
        return self.err.decode()

    @property
    def json(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.out)

    @property
    def ndjson(self) -> list[Any]:
        """Standard output as one JSON document a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def error(self) -> dict[str, Any]:
        """The `error` object that `-o json` prints on standard error."""
        return dict(json.loads(self.err)["error"])

    def check(self, exit_code: int = 0) -> Outcome:
        """Return self; fail with everything that was printed when the code is another."""
        assert self.exit_code == exit_code, str(self)
        return self

    def __str__(self) -> str:
        return (
            f"cachectl {' '.join(self.args)}\nexit code {self.exit_code} after {self.seconds:.2f} s"
            f"\n--- stdout\n{self.out.decode(errors='backslashreplace')}"
            f"\n--- stderr\n{self.err.decode(errors='backslashreplace')}"
        )


def plain(output: bytes) -> str:
    """Return terminal output without its escape sequences and carriage returns."""
    return _ESCAPES.sub(b"", output).replace(b"\r\n", b"\n").decode(errors="backslashreplace")


def environment(env: Mapping[str, str] | None, columns: int | None) -> dict[str, str]:
    """Return the program's environment: the test's isolated home, fixed language, time and width.

    NO_COLOR is not set: that a pipe gets no colours has to hold without it.
    """
    result = {
        name: value
        for name, value in os.environ.items()
        if name not in _STEERING and not name.startswith(("CACHECTL_", "_CACHECTL_", "LC_"))
    }
    result |= {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "TZ": "UTC", "PYTHONPATH": str(ROOT)}
    if columns is not None:
        result["COLUMNS"] = str(columns)
    return result | dict(env or {})


def _judge(outcome: Outcome, secrets: Iterable[str]) -> Outcome:
    """What holds for every run, whatever it is about."""
    printed = outcome.out + outcome.err
    assert b"Traceback (most recent call last)" not in printed, str(outcome)
    for secret in secrets:
        assert secret.encode() not in printed, f"the secret {secret!r} was printed\n{outcome}"
    return outcome


def cachectl(
    *args: str | bytes | Path,
    env: Mapping[str, str] | None = None,
    input: str | bytes | None = None,
    columns: int = 80,
    timeout: float = 30,
    cwd: Path | None = None,
    secrets: Iterable[str] = (),
    fresh: bool = False,
) -> Outcome:
    """Run the program to its end, with pipes for its streams.

    env: on top of the isolated environment. input: its standard input (None: empty). timeout:
    seconds, after which the test fails. secrets: words that must not appear in its output. fresh:
    in a new interpreter and as our child, instead of a fork that has its imports done (forks.py).
    """
    words = tuple(os.fsdecode(arg) for arg in args)
    fed = input.encode() if isinstance(input, str) else input or b""
    surroundings = environment(env, columns)
    begin = time.monotonic()
    done: Any = None
    # What an interpreter looks at when it starts, a fork has no use for.
    new = any(name.startswith(("PYTHON", "LC_", "LANG")) for name in env or {})
    if PROGRAM is _THE_PROGRAM and not (fresh or new):
        done = _NURSERY.run(words, input=fed, env=surroundings, cwd=cwd, timeout=timeout)
    if done is None:
        done = subprocess.run(
            [*PROGRAM, *words],
            input=fed,
            capture_output=True,
            env=surroundings,
            cwd=cwd,
            timeout=timeout,
            check=False,
        )
    seconds = time.monotonic() - begin
    return _judge(Outcome(words, done.returncode, done.stdout, done.stderr, seconds), secrets)


class Running:
    """The program beside the test, its streams in files. Get one by `cachectl_started`."""

    def __init__(self, words: tuple[str, ...], env: dict[str, str], cwd: Path | None) -> None:
        self._words = words
        self._out = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._err = tempfile.TemporaryFile()  # noqa: SIM115
        self._begin = time.monotonic()
        self.process = subprocess.Popen(
            [*PROGRAM, *words],
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
        watch(self.process.pid)

    @property
    def out(self) -> bytes:
        """What it has written to standard output so far."""
        return _content(self._out.fileno())

    @property
    def err(self) -> bytes:
        """What it has written to standard error so far."""
        return _content(self._err.fileno())

    def wait_for(self, text: str, timeout: float = 30) -> None:
        """Wait until text is on standard output or standard error."""
        deadline = time.monotonic() + timeout
        while text.encode() not in self.out + self.err:
            ended = self.process.poll() is not None
            if ended and text.encode() in self.out + self.err:
                return
            assert not ended, f"ended before it printed {text!r}\n{self._outcome()}"
            assert time.monotonic() < deadline, f"never printed {text!r}\n{self._outcome()}"
            time.sleep(0.01)

    def signal(self, number: int) -> None:
        """Send a signal: signal.SIGINT, SIGTERM, SIGKILL, SIGSTOP, …"""
        self.process.send_signal(number)

    def finish(self, timeout: float = 30, secrets: Iterable[str] = ()) -> Outcome:
        """Wait for the end and return how it ended."""
        self.process.wait(timeout)
        return _judge(self._outcome(), secrets)

    def _outcome(self) -> Outcome:
        code = self.process.returncode if self.process.returncode is not None else 0
        return Outcome(self._words, code, self.out, self.err, time.monotonic() - self._begin)

    def close(self) -> None:
        """Kill it if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        unwatch(self.process.pid)
        self._out.close()
        self._err.close()


def _content(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


@contextlib.contextmanager
def cachectl_started(
    *args: str | bytes | Path,
    env: Mapping[str, str] | None = None,
    columns: int = 80,
    cwd: Path | None = None,
) -> Iterator[Running]:
    """Start the program and leave it running for the body of a `with`; then kill it."""
    words = tuple(os.fsdecode(arg) for arg in args)
    running = Running(words, environment(env, columns), cwd)
    try:
        yield running
    finally:
        running.close()


# Opening the terminal as leader of a new session makes it the controlling one, which is what
# turns the Ctrl-C that a test types into SIGINT. A fork without exec, as pty.fork does it, is
# not safe beside the threads of the proxies.
_ON_TERMINAL = """
import os, sys
terminal = os.open(sys.argv[1], os.O_RDWR)
for stream in (0, 1, 2):
    os.dup2(terminal, stream)
os.execv(sys.argv[2], sys.argv[2:])
"""


class Terminal:
    """The program on a terminal of its own. Get one by `cachectl_tty`."""

    def __init__(
        self, words: tuple[str, ...], env: dict[str, str], size: tuple[int, int], cwd: Path | None
    ) -> None:
        self._words = words
        self._begin = time.monotonic()
        self._master, slave = pty.openpty()
        self.resize(*size)
        self._received = bytearray()
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _ON_TERMINAL, os.ttyname(slave), *PROGRAM, *words],
            stdin=subprocess.DEVNULL,
            stdout=slave,
            stderr=slave,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
        os.close(slave)
        watch(self.process.pid)

    @property
    def output(self) -> bytes:
        """Everything that has appeared so far, with its escape sequences."""
        self._read(0)
        return bytes(self._received)

    @property
    def text(self) -> str:
        """Everything that has appeared so far, without escape sequences."""
        return plain(self.output)

    def _read(self, timeout: float) -> bool:
        """Take what arrives within timeout; False at the end of the program's output."""
        while select.select([self._master], [], [], timeout)[0]:
            try:
                data = os.read(self._master, 65_536)
            except OSError:  # EIO: the last process on the terminal has gone
                return False
            if not data:
                return False
            self._received += data
            timeout = 0
        return True

    def send(self, keys: str | bytes) -> None:
        """Type these keys; a line ends with \\r."""
        os.write(self._master, keys.encode() if isinstance(keys, str) else keys)

    def ctrl_c(self) -> None:
        """Type Ctrl-C."""
        self.send(b"\x03")

    def resize(self, columns: int, rows: int) -> None:
        """Change the terminal's size; the program gets SIGWINCH."""
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)

    def expect(self, pattern: str, timeout: float = 20) -> re.Match[str]:
        """Wait until the regular expression is found in `text`; return the match."""
        deadline = time.monotonic() + timeout
        while True:
            more = self._read(0.05)
            if match := re.search(pattern, self.text):
                return match
            assert more, f"ended without {pattern!r}\n{self.text}"
            assert time.monotonic() < deadline, f"{pattern!r} never appeared\n{self.text}"

    def finish(self, timeout: float = 20, secrets: Iterable[str] = ()) -> Outcome:
        """Wait for the end; the outcome's `out` is all that appeared, its `err` is empty."""
        deadline = time.monotonic() + timeout
        while self._read(0.05):
            assert time.monotonic() < deadline, f"did not end\n{self.text}"
        self.process.wait(max(0.1, deadline - time.monotonic()))
        seconds = time.monotonic() - self._begin
        out = bytes(self._received)
        return _judge(Outcome(self._words, self.process.returncode, out, b"", seconds), secrets)

    def sane(self) -> bool:
        """Whether the terminal is as it was: echoing, line by line, cursor visible."""
        modes = termios.tcgetattr(self._master)[3]
        hidden, shown = self.output.rfind(b"\x1b[?25l"), self.output.rfind(b"\x1b[?25h")
        away, back = self.output.rfind(b"\x1b[?1049h"), self.output.rfind(b"\x1b[?1049l")
        return bool(modes & termios.ECHO and modes & termios.ICANON) and (
            shown >= hidden and back >= away
        )

    def close(self) -> None:
        """Kill the program if it still runs, and give the terminal back."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
        unwatch(self.process.pid)
        os.close(self._master)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def cachectl_tty(
    *args: str | bytes | Path,
    env: Mapping[str, str] | None = None,
    columns: int = 80,
    rows: int = 24,
    cwd: Path | None = None,
) -> Terminal:
    """Start the program on a terminal: `with cachectl_tty("top") as t: t.expect("ratio")`."""
    words = tuple(os.fsdecode(arg) for arg in args)
    return Terminal(words, environment(env, None), (columns, rows), cwd)
