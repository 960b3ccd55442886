"""A whole terminal for a live screen: another page, keys one by one, and everything given back.

    with FullScreen(terminal) as screen:
        screen.draw(lines)
        for key in screen.wait(1.0):
            ...

Whatever ends the block (an exception, Ctrl-C, SIGTERM) the terminal is as it was; Ctrl-Z gives it
back for as long as the program is stopped. Sequences are those of ECMA-48 and xterm.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import shutil
import signal
import termios
import time
import tty
from collections import deque
from collections.abc import Sequence
from types import FrameType
from typing import Any

from cachectl.errors import UsageError
from cachectl.output.board_lines import Line, Size, line_width
from cachectl.output.keys import KeyReader
from cachectl.output.terminal import Bar, Terminal

# Another page, no cursor, and no line that goes on in the next one.
_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
_LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_STYLES = {
    "": "",
    "bold": "\x1b[1m",
    "dim": "\x1b[2m",
    "head": "\x1b[4m",
    "bar": "\x1b[7m",
    "red": "\x1b[1;31m",
    "yellow": "\x1b[33m",
    "cyan": "\x1b[36m",
}
_PLAIN = "\x1b[0m"
_TO_THE_END = "\x1b[K"
_KEPT = 20
_SLOWEST = (80, 24)


def why_not(terminal: Terminal) -> str | None:
    """Return why there can be no live screen here, None when there can."""
    if not (terminal.is_interactive and terminal.stdin.isatty()):
        return "a live screen takes a terminal, for what it shows and for the keys"
    if terminal.is_dumb:
        return "this terminal (TERM=dumb) can't move its cursor"
    return None


class FullScreen(Bar):
    """The terminal, while it is ours. One at a time, from the main thread; `wake` from any.

    As the bar of a Terminal it keeps messages back until the screen is given back.
    """

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._input = terminal.stdin.fileno()
        self._keys = KeyReader()
        self._before: Any = None
        self._handlers: dict[int, Any] = {}
        self._pipe: tuple[int, int] | None = None
        self._wakeup = -1
        self._shown: list[str] = []
        self._size: Size | None = None
        self._messages: deque[str] = deque(maxlen=_KEPT)

    def __enter__(self) -> FullScreen:
        """Take the terminal. Raises UsageError when it is none."""
        if reason := why_not(self._terminal):
            raise UsageError(reason)
        # For what slips between a signal and the end of `with`.
        atexit.register(self._give_back)
        try:
            self._before = termios.tcgetattr(self._input)
            self._listen()
            self._terminal.bar = self
            self._take()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the terminal back, and say what was kept back meanwhile. Harmless twice."""
        self._give_back()
        self._deafen()
        atexit.unregister(self._give_back)
        if self._terminal.bar is self:
            self._terminal.bar = None
        while self._messages:
            with contextlib.suppress(OSError, ValueError):
                self._terminal.stderr.write(self._messages.popleft())
                self._terminal.stderr.flush()

    def print_above(self, line: str) -> None:
        """Keep a message until there is a place for it."""
        self._messages.append(line)

    @property
    def size(self) -> Size:
        """The size of the terminal now."""
        try:
            columns, rows = os.get_terminal_size(self._terminal.stdout.fileno())
        except OSError:
            columns, rows = shutil.get_terminal_size(_SLOWEST)
        return Size(columns or _SLOWEST[0], rows or _SLOWEST[1])

    def draw(self, lines: Sequence[Line], size: Size) -> None:
        """Show these lines; only those that changed are sent. size: that they were drawn for."""
        # A line that fills the screen leaves the cursor on its last cell: nothing is erased then.
        texts = [
            self._styled(line) + ("" if line_width(line) >= size.columns else _TO_THE_END)
            for line in lines
        ]
        parts = []
        if size != self._size:
            parts.append(_PLAIN + "\x1b[2J")
            self._shown, self._size = [], size
        for row, text in enumerate(texts):
            if row >= len(self._shown) or text != self._shown[row]:
                parts.append(f"\x1b[{row + 1};1H{text}")
        if parts:
            self._write("".join(parts))
        self._shown = texts

    def wait(self, seconds: float) -> list[str]:
        """Return the keys that are pressed within so many seconds; none after a wake-up.

        Also ends early when the size changed or the program was stopped and goes on.
        """
        assert self._pipe is not None  # noqa: S101 - between __enter__ and close
        deadline = time.monotonic() + max(0.0, seconds)
        while True:
            left = min(deadline - time.monotonic(), self._keys.patience)
            ready, _, _ = select.select([self._input, self._pipe[0]], [], [], max(0.0, left))
            keys: list[str] = []
            if self._input in ready:
                keys = self._keys.feed(self._typed())
            elif not ready:
                # Nothing follows an escape any more: it was the key of that name.
                keys = self._keys.flush()
            if self._pipe[0] in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._pipe[0], 4096)
            if keys or self._pipe[0] in ready or time.monotonic() >= deadline:
                return keys

    def _typed(self) -> bytes:
        """Return what was typed, nothing when the terminal is gone."""
        try:
            return os.read(self._input, 1024)
        except OSError:
            return b""

    def wake(self) -> None:
        """Let `wait` return now. Thread-safe; harmless when the screen is closed."""
        pipe = self._pipe
        if pipe is not None:
            with contextlib.suppress(OSError):
                os.write(pipe[1], b"\0")

    # Taking and giving back

    def _take(self) -> None:
        tty.setcbreak(self._input)
        self._shown, self._size = [], None
        self._write(_ENTER)

    def _give_back(self) -> None:
        """As it was. What can't be written to a terminal that is gone, nobody misses."""
        if self._before is None:
            return
        with contextlib.suppress(Exception):
            self._write(_PLAIN + _LEAVE)
        with contextlib.suppress(termios.error, OSError):
            # What was typed ahead is for the shell.
            termios.tcsetattr(self._input, termios.TCSADRAIN, self._before)
        self._before = None

    def _listen(self) -> None:
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)
        self._pipe = (reading, writing)
        # Python goes on waiting after a signal; the byte that a signal writes ends that.
        self._wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        self._handlers = {
            signal.SIGWINCH: signal.signal(signal.SIGWINCH, lambda *_: None),
            signal.SIGTSTP: signal.signal(signal.SIGTSTP, self._stop),
        }

    def _deafen(self) -> None:
        pipe, self._pipe = self._pipe, None
        if pipe is None:
            return
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        for end in pipe:
            os.close(end)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """Ctrl-Z: give the terminal back, stop, and take it again when the shell says go on."""
        del frame
        before = self._before
        self._give_back()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.signal(number, self._stop)
        self._before = before
        self._take()
        self.wake()

    # Writing

    def _write(self, text: str) -> None:
        # Not `write`, which would ask the bar to step aside: that is us.
        self._terminal.write_bytes(text.encode(self._terminal.encoding, "replace"))

    def _styled(self, line: Line) -> str:
        if not self._terminal.allows_color:
            return "".join(text for text, _ in line)
        parts = []
        for text, style in line:
            code = _STYLES[style]
            parts.append(f"{code}{text}{_PLAIN}" if code else text)
        return "".join(parts)
