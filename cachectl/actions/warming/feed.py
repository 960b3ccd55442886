"""The rows of several sources as one stream of events, read side by side, with retries.

Each source is read by a thread of its own, so that a slow one holds up nobody and whoever takes
the events can stop in time. A source that fails is tried again after the last row that came; when
that does not help, its failure is an event, and the others go on.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field

from cachectl.config.manifest import AnySource
from cachectl.errors import CachectlError
from cachectl.sources.interface import RowBatch, Source, SourceError

_AHEAD = 4
"""Batches that may wait for whoever takes them."""
_TICK = 0.1
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 30.0


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows came. seconds: that the source took to give them."""

    source: str
    batch: RowBatch
    seconds: float


@dataclass(frozen=True, slots=True)
class Ended:
    """A source has come to its end, or (error) to where nothing helped. retries: in all."""

    source: str
    retries: int = 0
    error: CachectlError | None = None


Event = Rows | Ended


@dataclass(slots=True)
class Feed:
    """Reads sources from the row that each is to begin after. One use.

    specs: of the sources, for their limits; start: source → the number of the last row that is
    not wanted any more. idle: called while nothing comes, at least ten times a second.
    """

    sources: Mapping[str, Source]
    specs: Mapping[str, AnySource]
    start: Mapping[str, int] = field(default_factory=dict)
    concurrency: int = 4
    idle: Callable[[], None] = lambda: None
    _stop: threading.Event = field(default_factory=threading.Event)

    def events(self) -> Generator[Event]:
        """Yield what comes of all sources. Close the iterator to stop reading."""
        names = list(self.sources)
        events: queue.Queue[Event | BaseException] = queue.Queue(_AHEAD * self.concurrency)
        waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
        for name in names:
            waiting.put(name)
        for number in range(min(len(names), self.concurrency)):
            threading.Thread(
                target=self._work, args=(waiting, events), name=f"source {number}", daemon=True
            ).start()
        left = len(names)
        try:
            while left:
                try:
                    event = events.get(timeout=_TICK)
                except queue.Empty:
                    self.idle()
                    continue
                if isinstance(event, BaseException):
                    raise event
                left -= isinstance(event, Ended)
                yield event
        finally:
            self._stop.set()

    def _work(
        self,
        waiting: queue.SimpleQueue[str],
        events: queue.Queue[Event | BaseException],
    ) -> None:
        try:
            while not self._stop.is_set():
                try:
                    name = waiting.get_nowait()
                except queue.Empty:
                    return
                with closing(self._read(name)) as found:
                    for event in found:
                        self._hand_over(events, event)
                        if self._stop.is_set():
                            return
        except BaseException as error:
            self._hand_over(events, error)

    def _hand_over(
        self, events: queue.Queue[Event | BaseException], event: Event | BaseException
    ) -> None:
        while not self._stop.is_set():
            try:
                events.put(event, timeout=_TICK)
            except queue.Full:
                continue
            return

    def _read(self, name: str) -> Generator[Event]:
        """Yield one source's rows, and how it ended."""
        source, after = self.sources[name], self.start.get(name, 0)
        most = self.specs[name].limits.retries
        retries = fruitless = 0
        while True:
            begun = time.monotonic()
            try:
                with closing(source.batches(after)) as batches:
                    for batch in batches:
                        fruitless = 0
                        after = max([after, *batch.numbers[-1:], *(p.row for p in batch.problems)])
                        yield Rows(name, batch, time.monotonic() - begun)
                        begun = time.monotonic()
                yield Ended(name, retries)
                return
            except SourceError as error:
                if not error.retryable or fruitless >= most:
                    yield Ended(name, retries, error)
                    return
                pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**fruitless)
                pause = pause if error.retry_after is None else error.retry_after
            except CachectlError as error:
                yield Ended(name, retries, error)
                return
            retries, fruitless = retries + 1, fruitless + 1
            self._pause(pause)
            if self._stop.is_set():
                return

    def _pause(self, seconds: float) -> None:
        """Wait, looking up now and then."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._stop.is_set():
            self._stop.wait(min(_TICK, left))
