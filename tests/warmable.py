"""Manifests and sources for tests of warming, made in the test and not read from files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from targets import target_of

from cachectl.actions.warming.job import Job, warmings
from cachectl.actions.warming.lifetimes import lifetimes_of
from cachectl.actions.warming.warming import WarmResult
from cachectl.config.manifest import (
    Entry,
    Manifest,
    Place,
    SourceLimits,
    SqlSpec,
    Ttl,
    Value,
)
from cachectl.server.pace import Pace
from cachectl.server.topology.connect import open_server
from cachectl.sources.interface import RowBatch, RowProblem, SourceError
from cachectl.storage.runs import RunDirectory

PLACE = Place(Path("test.yaml"), 1, "entries[0]")
HOUR = Ttl("range", 3600, 3600, 0.1)


def entry(name: str = "items", key: str = "item:{id}", **options: Any) -> Entry:
    """An entry of strings, by default `item:{id}` → `value {id}`."""
    settings: dict[str, Any] = {
        "source": "rows",
        "type": "string",
        "value": Value("template", template="value {id}"),
        "ttl": HOUR,
        "place": PLACE,
    }
    return Entry(name=name, key=key, **(settings | options))


def manifest(*entries: Entry, digest: str = "d" * 64, retries: int = 3) -> Manifest:
    """A manifest of entries; what their sources are is not looked at."""
    limits = SourceLimits(retries=retries)
    names = dict.fromkeys(one.source for one in entries)
    specs = {
        name: SqlSpec(name=name, place=PLACE, url="sqlite://", query="", limits=limits)
        for name in names
    }
    return Manifest("test", 1, digest, Path("test.yaml"), tuple(entries), specs)


@dataclass(slots=True)
class Listed:
    """A source of rows in a list.

    faults: number of the row before which it fails → the error, once. bad: rows that can't be
    read. before: called before each batch. size: rows of a batch.
    """

    rows: Sequence[Any]
    name: str = "rows"
    faults: dict[int, SourceError] = field(default_factory=dict)
    bad: frozenset[int] = frozenset()
    before: Callable[[int], object] = lambda _row: None
    size: int = 50
    asked: list[int] = field(default_factory=list)
    place: Place = PLACE

    def batches(self, after: int = 0) -> Iterator[RowBatch]:
        self.asked.append(after)
        at = after
        while at < len(self.rows):
            stop = min(at + self.size, len(self.rows))
            self.before(at + 1)
            for fault in sorted(self.faults):
                if at < fault <= stop:
                    if fault - 1 > at:
                        yield self._batch(at, fault - 1)
                        at = fault - 1
                    raise self.faults.pop(fault)
            yield self._batch(at, stop)
            at = stop

    def _batch(self, start: int, stop: int) -> RowBatch:
        numbers = [number for number in range(start + 1, stop + 1) if number not in self.bad]
        problems = tuple(
            RowProblem(self.name, "", number, "is malformed", PLACE)
            for number in range(start + 1, stop + 1)
            if number in self.bad
        )
        return RowBatch([self.rows[n - 1] for n in numbers], numbers, None, problems)

    def count(self) -> int:
        return len(self.rows)


def ids(count: int) -> list[dict[str, int]]:
    """Rows with an `id` from 0 on."""
    return [{"id": i} for i in range(count)]


@dataclass(slots=True)
class Warmer:
    """Warms manifests into one endpoint."""

    endpoint: Any
    settings: dict[str, Any]
    run: RunDirectory | None = None

    def __call__(
        self,
        meant: Manifest,
        *sources: Listed,
        resume: RunDirectory | None = None,
        policy: Any = None,
        pace: str = "normal",
        on_progress: Callable[[str, int, str], None] = lambda *_: None,
        on_wait: Callable[[str], None] = lambda _: None,
        **options: Any,
    ) -> WarmResult:
        """Run one job, and return what it came to; `run` has its directory then."""
        target = target_of(self.endpoint, **self.settings)
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(open_server(target))
            self.run = resume or warmings().create()
            job = Job(
                server,
                meant,
                {one.name: one for one in sources},
                lifetimes_of(meant, policy),
                Pace.of(target.limits, pace),  # type: ignore[arg-type]
                **options,
            )
            return job.perform(self.run, on_progress=on_progress, on_wait=on_wait)
