"""Progress on stderr: a bar for who waits longer than a second, on a pipe words for who has -v."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from cachectl.output.escape import escape_lines
from cachectl.output.terminal import Bar, Terminal

_PATIENCE = 1.0
_LOG_EVERY = 30.0


class Progress(Bar):
    """A bar with rate and time left. Cheap to update: it redraws ten times a second at most.

    It goes away without a trace: at the end, and when the answer begins on the same screen.

    with Progress(terminal, "scanning", unit="keys") as progress:
        progress.update(done, total)
    """

    def __init__(self, terminal: Terminal, title: str, *, unit: str = "keys") -> None:
        self.terminal = terminal
        self.title = title
        self.unit = unit
        self._started = time.monotonic()
        self._logged = self._started
        self._bar: Any = None
        self._task: Any = None
        self._draws = terminal.stderr.isatty() and not terminal.quiet and not terminal.is_dumb

    def update(self, done: float, total: float | None = None, note: str = "") -> None:
        """Say how far the work is; total None means unknown. note: a few words (`paused`)."""
        now = time.monotonic()
        if self._draws:
            if self._bar is None and now - self._started >= _PATIENCE:
                self._prepare()
            if self._bar is not None:
                text = escape_lines(note)
                self._bar.update(self._task, completed=done, total=total, note=text)
                self._bar.start()
        elif self.terminal.verbose and now - self._logged >= _LOG_EVERY:
            self._logged = now
            known = f" of {total:,.0f}" if total else ""
            self.terminal.debug(f"{self.title}: {done:,.0f}{known} {self.unit}")

    def _prepare(self) -> None:
        from cachectl.output.bar import rich_bar

        self._bar, self._task = rich_bar(self.terminal, escape_lines(self.title), self.unit)
        self.terminal.bar = self

    def close(self) -> None:
        """Remove the bar from the screen."""
        self._draws = False
        if self._bar is not None:
            bar, self._bar = self._bar, None
            self.terminal.bar = None
            bar.stop()

    def print_above(self, line: str) -> None:
        """Print a line where the bar does not overwrite it."""
        self._bar.console.out(line, end="", highlight=False)

    def __enter__(self) -> Progress:
        if not self._draws:
            self.terminal.debug(f"{self.title} …")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
