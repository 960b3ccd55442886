"""Refreshing: what is about to expire is loaded again before it does, the soonest first.

Each key is due when it has less left than a window, or earlier by chance: by

    early = delta · beta · −ln(u),   u uniform in (0, 1]

(XFetch: A. Vattani, F. Chierichetti, K. Lowenstein, Optimal Probabilistic Cache Stampede
Prevention, VLDB 2015), where delta is what a pass over the sources has cost. So keys that expire
together are not all loaded in one pass, and a source that becomes slow is asked earlier.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from math import inf, log
from typing import Any

from cachectl.actions.planning.guards import Protection
from cachectl.actions.planning.ranges import UNLIMITED
from cachectl.actions.warming.batch import Batch, parts
from cachectl.actions.warming.examining import Examiner, Fault, Subjects
from cachectl.actions.warming.feed import Feed, Rows
from cachectl.actions.warming.lifetimes import Lifetimes, place
from cachectl.actions.warming.subjects import subjects_of
from cachectl.actions.warming.writing import Writer
from cachectl.config.manifest import Existing, Manifest
from cachectl.errors import PartialError
from cachectl.model.changes import NEVER
from cachectl.server.clock import ServerClock
from cachectl.server.pace import Pace
from cachectl.server.topology.handle import Server
from cachectl.server.transactions.locks import OWN_PREFIX
from cachectl.server.transactions.setting import size_of
from cachectl.sources.entries import Renderer
from cachectl.sources.interface import Source
from cachectl.sources.rendered import Rendered

_GATHERED = 20_000
_GATHERED_BYTES = 32 * 1024 * 1024
"""Keys, and bytes of them, that are put in order before some are written."""
_SURE = 3.0
"""−ln(0.05): 95 of 100 draws of XFetch are no earlier than so many deltas."""
_SHORTEST_PAUSE = 0.5
_SLACK = 1000

OnProgress = Callable[[str, int, str], None]


def early(delta: float, beta: float, u: float) -> float:
    """Return by how many seconds a key is due before its window begins. u: in (0, 1]."""
    return delta * beta * -log(u)


@dataclass(slots=True)
class Pass:
    """What one pass over all sources has done.

    checked: keys that were looked at; due: that had little left; missing: that were not there;
    written: of both; kept: renewed by the application meanwhile. soonest: seconds until the first
    of the others expires (inf: none does). seconds: what it took, the delta of the next pass.
    """

    checked: int = 0
    due: int = 0
    missing: int = 0
    written: int = 0
    kept: int = 0
    failed: int = 0
    soonest: float = inf
    seconds: float = 0.0
    at: float = 0.0
    problems: list[str] = field(default_factory=list)

    @property
    def is_partial(self) -> bool:
        """Whether something may expire that should not."""
        return bool(self.failed or self.problems)


@dataclass(slots=True)
class _Due:
    """A key that is to be loaded: milliseconds that it has left (−2: it is not there)."""

    left: int
    subjects: Subjects
    at: int


@dataclass(slots=True)
class Refresher:
    """Refreshes the keys of one manifest, pass by pass.

    within: seconds before its expiry from when on a key is due; beta: how eagerly before that (0:
    never earlier). idle: called often; may raise.
    """

    server: Server
    manifest: Manifest
    sources: Mapping[str, Source]
    lifetimes: Mapping[str, Lifetimes]
    pace: Pace
    within: float
    beta: float = 1.0
    on_progress: OnProgress = lambda _source, _rows, _note: None
    idle: Callable[[], None] = lambda: None
    rng: random.Random = field(default_factory=random.Random)
    _examiner: Examiner = field(init=False)
    _writer: Writer = field(init=False)
    _clock: ServerClock = field(init=False)
    _protection: Protection = field(init=False)
    _pass: Pass = field(default_factory=Pass)
    _begun: float = 0.0
    _delta: float = 0.0
    _due: list[_Due] = field(default_factory=list)
    _weight: int = 0

    def __post_init__(self) -> None:
        self._examiner = Examiner(self.server, self.pace)
        self._writer = Writer(self.server, self.pace, OWN_PREFIX + b"warm:refresh:", self._landed)
        self._clock = ServerClock.of(self.server.primaries[0].connection)
        policy = next((one.policy for one in self.lifetimes.values()), None)
        self._protection = Protection(self.server.target.protected, policy)

    def close(self) -> None:
        """Close the connections."""
        self._examiner.close()
        self._writer.close()

    def passes(self, count: int | None, longest: float | None = None) -> Iterator[Pass]:
        """Yield passes, `count` of them or for ever, resting between them as long as it is safe.

        longest: seconds that a rest may take; None: half the window. Raises PartialError.
        """
        done = 0
        while True:
            one = self.run()
            yield one
            done += 1
            if count is not None and done >= count:
                return
            self._rest(self.pause(one, longest))

    def pause(self, last: Pass, longest: float | None) -> float:
        """Return how many seconds the next pass may wait: it has to be done before a key is due."""
        most = self.within / 2 if longest is None else longest
        margin = self.within + _SURE * self.beta * last.seconds + last.seconds
        return max(_SHORTEST_PAUSE, min(most, last.soonest - margin))

    def run(self) -> Pass:
        """Look at all keys once, and load those that are due. Raises PartialError."""
        self._pass, self._begun = Pass(at=time.time()), time.monotonic()
        feed = Feed(
            self.sources,
            self.manifest.sources,
            concurrency=self.manifest.concurrency,
            idle=self.idle,
        )
        renderers = {
            name: [Renderer(entry) for entry in self.manifest.entries_of(name)]
            for name in self.sources
        }
        rows = 0
        with closing(feed.events()) as events:
            for event in events:
                self.idle()
                if isinstance(event, Rows):
                    rows += len(event.batch)
                    self._pass.failed += len(event.batch.problems)
                    for renderer in renderers[event.source]:
                        self._take(renderer.render(event.batch))
                    self.on_progress(event.source, rows, "")
                elif event.error is not None:
                    self._pass.problems.append(f"source {event.source}: {event.error.message}")
                else:
                    for renderer in renderers[event.source]:
                        self._take(renderer.finish())
        self._load()
        self._writer.finish()
        self._pass.seconds = self._delta = time.monotonic() - self._begun
        return self._pass

    def _take(self, rendered: Rendered) -> None:
        subjects = subjects_of(rendered, self.lifetimes[rendered.entry.name], self._clock.now())
        self._pass.failed += len(rendered.problems) + len(rendered) - len(subjects)
        for some in parts(range(len(subjects)), self.pace.batch):
            self._look(subjects.take(some))

    def _look(self, subjects: Subjects) -> None:
        """Ask what is left to some keys, and remember those that are due."""
        faults = self._examiner.look(subjects, values=False)
        self._pass.checked += len(subjects)
        delta = max(self._delta, time.monotonic() - self._begun)
        for at, (fault, left) in enumerate(zip(faults, self._examiner.ttls, strict=True)):
            if fault is Fault.WRONG_TYPE or (left < 0 and fault is not Fault.MISSING):
                continue  # another's key, or one that never expires: nothing to be refreshed
            seconds = left / 1000
            if fault is Fault.MISSING:
                self._pass.missing += 1
            elif seconds <= self.within + early(delta, self.beta, 1 - self.rng.random()):
                self._pass.due += 1
            else:
                self._pass.soonest = min(self._pass.soonest, seconds)
                continue
            self._due.append(_Due(left, subjects, at))
            self._weight += size_of(subjects.values[at])
        if len(self._due) >= _GATHERED or self._weight >= _GATHERED_BYTES:
            self._load()

    def _load(self) -> None:
        """Write what is due: what is gone already, then what goes first."""
        due, self._due, self._weight = sorted(self._due, key=lambda one: one.left), [], 0
        for some in parts(due, self.pace.batch):
            alike: dict[tuple[bool, bool], list[_Due]] = {}
            for one in some:
                is_string = isinstance(one.subjects.values[one.at], bytes)
                alike.setdefault((one.left < 0, is_string), []).append(one)
            for (is_missing, _), chosen in alike.items():
                self._write(chosen, is_missing=is_missing)

    def _write(self, chosen: Sequence[_Due], *, is_missing: bool) -> None:
        refused = self._protection.reasons([one.subjects.keys[one.at] for one in chosen])
        self._pass.failed += len(refused)
        chosen = [one for i, one in enumerate(chosen) if i not in refused]
        if not chosen:
            return
        now = self._clock.now()
        keys, values, expiries, tags = [], [], [], []
        for one in chosen:
            subjects, at = one.subjects, one.at
            key, allowed = subjects.keys[at], subjects.ranges[at]
            keys.append(key)
            values.append(subjects.values[at])
            expiries.append(NEVER if allowed == UNLIMITED else now + place(key, allowed))
            tags.append(subjects.tags[at] if subjects.tags else ())
            self._pass.soonest = min(self._pass.soonest, _left(expiries[-1], now))
        # Unless the application has renewed it since we looked.
        within = (max(one.left for one in chosen) + _SLACK) / 1000
        rule = Existing("keep") if is_missing else Existing("replace-if-expires-within", within)
        self._writer.put(Batch(keys, values, expiries, rule, tags if any(tags) else None))

    def _landed(self, batch: Batch) -> None:
        self._pass.written += batch.written
        self._pass.kept += batch.kept
        self._pass.failed += len(batch.failed)
        if batch.failed and len(self._pass.problems) < _TOLD:
            key, reason = batch.failed[0]
            self._pass.problems.append(f"{len(batch.failed):,} keys, {key!r} first: {reason}")

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.idle()
            time.sleep(min(0.2, left))


_TOLD = 5


def _left(expires_at: int, now: int) -> float:
    return inf if expires_at == NEVER else (expires_at - now) / 1000


def deadline(until: float | None, lock: Any) -> Callable[[], None]:
    """Return what raises PartialError when the time is over, or the lock was lost."""

    def look() -> None:
        if until is not None and time.monotonic() >= until:
            raise PartialError("stopped: its time is over")
        if lock.lost.is_set():
            raise PartialError("stopped: the lock in the server was lost")

    return look
