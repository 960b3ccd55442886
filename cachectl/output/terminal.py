"""The world on the other side of the program: streams, width, colours and the clock, as values.

stdout answers, stderr converses. Everything that prints gets a Terminal as an argument; tests give
it one of their own.
"""

from __future__ import annotations

import os
import select
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TextIO

from cachectl.errors import OutputClosedError, PartialError
from cachectl.output.escape import escape_lines, escape_unencodable

PLAIN_WIDTH = 80


class _Outbox:
    """Bytes on their way out: the exception of a signal neither loses nor repeats one of them."""

    __slots__ = ("_counts", "_rest")

    def __init__(self) -> None:
        self._rest = memoryview(b"")
        self._counts: list[int | None] = []

    def send(self, data: bytes, raw: Any) -> None:
        """Write data to an unbuffered stream, after what an earlier call had to leave."""
        rest = self._rest[sum(filter(None, self._counts)) :]
        more = memoryview(bytes(rest) + data if rest else data)
        self._rest, self._counts = more, []
        while self._rest:
            # One call of C both writes and remembers how much: Python raises the exception of a
            # signal before it (nothing was written) or after it (and we know how much was).
            self._counts.extend(map(raw.write, (self._rest,)))
            written = self._counts[0]
            if written is None:  # somebody who shares the terminal made it non-blocking
                select.select([], [raw], [])
            self._rest, self._counts = self._rest[written or 0 :], []


class Bar:
    """What a progress bar can do for the Terminal; output.progress draws it."""

    def close(self) -> None:
        """Remove the bar from the screen."""

    def print_above(self, line: str) -> None:
        """Print a line where the bar does not overwrite it."""


@dataclass(slots=True)
class Terminal:
    """Where answers go, where talk goes, and what those places can show.

    width: columns. color: whether escape codes may be written to stdout. quiet silences notes and
    progress; verbose is the number of -v. now: Unix seconds. bar: the progress bar that stands on
    the screen, which steps aside for every message and goes when the answer begins. reader_gone:
    nobody reads stdout any more (`| head`), so that nothing is left to be said about the answer.
    muted: not a word on stderr, for a monitor that takes the first line of both for the answer.
    """

    stdin: TextIO
    stdout: TextIO
    stderr: TextIO
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    quiet: bool = False
    verbose: int = 0
    no_color: bool = False
    now: Callable[[], float] = time.time
    bar: Bar | None = None
    reader_gone: bool = False
    muted: bool = False
    _outbox: _Outbox = field(default_factory=_Outbox)

    @classmethod
    def of_process(cls) -> Terminal:
        """Return the terminal of this process; a stream that is closed swallows everything."""
        return cls(
            sys.stdin or open(os.devnull, encoding="utf-8"),
            sys.stdout or open(os.devnull, "w", encoding="utf-8"),
            sys.stderr or open(os.devnull, "w", encoding="utf-8"),
        )

    @property
    def is_interactive(self) -> bool:
        """Whether a person reads stdout."""
        return self.stdout.isatty()

    @property
    def can_ask(self) -> bool:
        """Whether a person can answer a question."""
        return self.stdin.isatty() and self.stderr.isatty()

    @property
    def color(self) -> bool:
        """Whether stdout may have colours and other escape codes."""
        return self.is_interactive and self.allows_color

    @property
    def allows_color(self) -> bool:
        """Whether the user has nothing against escape codes (NO_COLOR, TERM=dumb, --no-color)."""
        return not (self.no_color or self.environ.get("NO_COLOR") or self.is_dumb)

    @property
    def is_dumb(self) -> bool:
        """Whether the screen can't move its cursor."""
        return self.environ.get("TERM") == "dumb"

    @property
    def encoding(self) -> str:
        """The encoding of stdout: what it can't carry is escaped, never a reason to fail."""
        return self.stdout.encoding or "utf-8"

    @property
    def width(self) -> int:
        """Columns of the screen; COLUMNS wins."""
        columns = self.environ.get("COLUMNS", "")
        if columns.isdecimal() and int(columns) > 0:
            return int(columns)
        if not self.is_interactive:
            return PLAIN_WIDTH
        try:
            return os.get_terminal_size(self.stdout.fileno()).columns or PLAIN_WIDTH
        except (OSError, ValueError):
            return shutil.get_terminal_size((PLAIN_WIDTH, 24)).columns

    def write(self, text: str) -> None:
        """Write to stdout: all of it, at once, in order.

        An interruption in the middle (Ctrl-C while a pager holds the pipe) loses nothing: the next
        write begins with the rest. Raises OutputClosedError when the reader has gone (`| head`),
        PartialError when the disk is full.
        """
        if self.bar is not None and self.is_interactive:
            self.bar.close()
        encoding = self.encoding
        try:
            data = text.encode(encoding)
        except UnicodeEncodeError:
            text = escape_unencodable(text, encoding)
            data = text.encode(encoding, "backslashreplace")
        if hasattr(self.stdout, "buffer"):
            self.write_bytes(data)
        else:
            self.stdout.write(text)

    def write_bytes(self, data: bytes) -> None:
        """Write raw bytes to stdout, for `keys get` into a pipe. Promises and raises as `write`."""
        try:
            self.stdout.flush()
            self._outbox.send(data, getattr(self.stdout.buffer, "raw", self.stdout.buffer))
        except BrokenPipeError as error:
            self._outbox = _Outbox()
            self.reader_gone = True
            raise OutputClosedError from error
        except OSError as error:
            self._outbox = _Outbox()
            raise PartialError(f"cannot write the answer: {error.strerror}") from error

    def flush(self) -> None:
        """Write what an interruption has left unsent. Raises like `write`."""
        self.write("")

    def say(self, text: str) -> None:
        """Write one message for people to stderr, made harmless; silent with --quiet."""
        if not self.quiet:
            self._talk(text)

    def warn(self, text: str) -> None:
        """Write a warning to stderr; --quiet does not silence it."""
        self._talk(f"warning: {text}")

    def debug(self, text: str) -> None:
        """Write a detail to stderr when -v was given."""
        if self.verbose:
            self._talk(text)

    def _talk(self, text: str) -> None:
        if self.muted:
            return
        line = escape_lines(text) + "\n"
        if self.bar is not None:
            self.bar.print_above(line)
            return
        try:
            self.stderr.write(line)
            self.stderr.flush()
        except (OSError, ValueError):
            return  # nobody listens (`2>&1 | head`); the answer may still have a reader
