"""Commands that stay, and what they leave behind in memory."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

_EVERY = 30.0
"""Seconds. Looking for what can go takes some milliseconds."""


class Tidying:
    """Has Python let go, now and then, of what windows and looks have left behind.

    By itself it would hardly ever do so, since bulk work is better off without (see main.run), and
    its free lists alone, of tuples above all, took another megabyte in half an hour of `top`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()

    def look(self) -> None:
        """Tidy up, if it is time to. Call it as often as you like."""
        now = self._clock()
        if now - self._last >= _EVERY:
            self._last = now
            gc.collect()


def tidily(rows: Iterable[T]) -> Iterator[T]:
    """Yield the rows of a command that stays."""
    tidying = Tidying()
    for row in rows:
        yield row
        tidying.look()
