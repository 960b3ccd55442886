"""Warming: what a manifest says is written into a cache, and written down, so that it can go on.

    rows (actions.feed) → keys (sources.entries) → TTLs (actions.lifetimes) → actions.writing

One failing row, source or node does not stop the rest. What does stop it (a signal, a lost server,
the end of the time that it was given) leaves a journal from which the next run goes on.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field

from cachectl.actions.execution.recovery import LAG
from cachectl.actions.planning.guards import Protection
from cachectl.actions.warming.batch import KEEP, Batch, parts
from cachectl.actions.warming.columns import (
    at_positions,
    between,
    first_row,
    in_kinds,
    keep_only,
    last_of,
    last_row,
    part_of,
    segments,
    start_after,
    values_of,
)
from cachectl.actions.warming.feed import Ended, Feed, Rows
from cachectl.actions.warming.headroom import Watch
from cachectl.actions.warming.journal import (
    Counts,
    Failure,
    Group,
    Standing,
    WarmingJournal,
)
from cachectl.actions.warming.lifetimes import Lifetimes
from cachectl.actions.warming.writing import Writer
from cachectl.config.manifest import Manifest
from cachectl.errors import CachectlError, PartialError
from cachectl.server.clock import ServerClock
from cachectl.server.pace import Pace
from cachectl.server.topology.handle import Server
from cachectl.server.transactions.locks import OWN_PREFIX, Lock
from cachectl.sources.entries import Renderer
from cachectl.sources.interface import Source
from cachectl.sources.rendered import Rendered

_FAILURES = 20
_HOPELESS = 20
"""Flights of which nothing was written, one after the other, after which a run stops."""
_RECHECKS = 3

OnProgress = Callable[[str, int, str], None]
"""(source, rows of it so far, a remark)"""


@dataclass(slots=True)
class SourceResult:
    """How the reading of a source went.

    rows: up to which it was read, by earlier processes of the run as well; seconds: that it took to
    give the rows of this one.
    """

    name: str
    rows: int = 0
    seconds: float = 0.0
    retries: int = 0
    error: str | None = None
    hint: str | None = None


@dataclass(slots=True)
class WarmResult:
    """What a warming has come to.

    entries: name → counts. stopped: why it did not get to the end, with what to do. again: keys
    that a failover had lost and that were written again. found_done: the run that another process
    has warmed the same manifest with, while this one waited.
    """

    run: str
    manifest: str
    entries: dict[str, Counts]
    sources: dict[str, SourceResult]
    failures: list[Failure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    again: int = 0
    stopped: str | None = None
    hint: str | None = None
    found_done: str | None = None
    seconds: float = 0.0

    @property
    def total(self) -> Counts:
        """All entries together."""
        total = Counts()
        for one in self.entries.values():
            total.add(one.written, one.kept, one.failed, one.bytes)
        return total

    @property
    def is_partial(self) -> bool:
        """Whether something is missing that the manifest asks for."""
        errors = any(source.error for source in self.sources.values())
        return bool(self.total.failed or self.stopped or errors)


@dataclass(slots=True)
class Warming:
    """Warms one manifest, once.

    standing: where an earlier process has got to. lifetimes: of each entry. lock: of the manifest,
    looked at all the time. until: of time.monotonic(), when the time that it was given is over.
    watch: of the server's memory and replicas.
    """

    server: Server
    manifest: Manifest
    sources: Mapping[str, Source]
    lifetimes: Mapping[str, Lifetimes]
    run: str
    journal: WarmingJournal
    standing: Standing
    pace: Pace
    lock: Lock
    watch: Watch
    until: float | None = None
    on_progress: OnProgress = lambda _source, _rows, _note: None
    result: WarmResult = field(init=False)
    _writer: Writer = field(init=False)
    _clock: ServerClock = field(init=False)
    _protection: Protection = field(init=False)
    _hopeless: int = 0
    _recent: deque[tuple[float, Group]] = field(default_factory=deque)
    _left_behind: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        entries = {entry.name: self.standing.of(entry.name) for entry in self.manifest.entries}
        self.result = WarmResult(
            self.run,
            self.manifest.name,
            {name: progress.counts for name, progress in entries.items()},
            {name: SourceResult(name) for name in self.sources},
            list(self.standing.failures),
        )
        self._clock = ServerClock.of(self.server.primaries[0].connection)
        policy = next((one.policy for one in self.lifetimes.values()), None)
        self._protection = Protection(self.server.target.protected, policy)
        prefix = OWN_PREFIX + b"warm:" + self.run.encode() + b":"
        self._writer = Writer(self.server, self.pace, prefix, self._landed, self._doubt)

    def perform(self) -> WarmResult:
        """Write what is left to write. What stops it is in the result, unless it is a signal."""
        begun = time.monotonic()
        with closing(self._writer):
            try:
                self._warm(self._left())
                self._again()
            except CachectlError as error:
                self.result.stopped, self.result.hint = error.message, error.hint
                with suppress(CachectlError):
                    self._writer.finish()
        self.result.seconds = time.monotonic() - begun
        self.result.notes += [*self._writer.recovery.notes, *sorted(self._writer.beside.lost)]
        self.result.notes += [
            f"{name} was given up: {why}" for name, why in sorted(self._writer.down.items())
        ]
        return self.result

    # Reading

    def _left(self) -> dict[str, int]:
        """Return source → the row after which there is something left to do."""
        left: dict[str, int] = {}
        for name in self.sources:
            entries = self.manifest.entries_of(name)
            places = [self.standing.of(entry.name) for entry in entries]
            is_held = any(one.is_held for one in places)
            if name not in self.standing.ended or is_held:
                left[name] = min(map(start_after, entries, places), default=0)
                self.result.sources[name].rows = left[name]
        for progress in self.standing.entries.values():
            progress.is_held = False
        return left

    def _warm(self, start: Mapping[str, int], upto: Mapping[str, int] | None = None) -> None:
        """Read sources from their starting points, and write what they give.

        upto: entry → the last row that counts, of a second look after a failover, which writes
        only what is missing.
        """
        feed = Feed(
            {name: self.sources[name] for name in start},
            self.manifest.sources,
            start,
            self.manifest.concurrency,
            self._look_up,
        )
        renderers = {
            name: [
                Renderer(entry)
                for entry in self.manifest.entries_of(name)
                if upto is None or entry.name in upto
            ]
            for name in start
        }
        with closing(feed.events()) as events:
            for event in events:
                self._look_up()
                if isinstance(event, Ended):
                    self._ended(event, renderers[event.source], upto)
                    continue
                self._rows(event, renderers[event.source], upto)
        self._writer.finish()
        if upto is None:
            self._note_ends()

    def _rows(
        self, rows: Rows, renderers: Sequence[Renderer], upto: Mapping[str, int] | None
    ) -> None:
        source, batch = self.result.sources[rows.source], rows.batch
        if upto is None:
            source.rows += len(batch) + len(batch.problems)
            source.seconds += rows.seconds
        for number, renderer in enumerate(renderers):
            rendered = renderer.render(batch)
            if number == 0 and batch.problems:
                rendered.problems = (*batch.problems, *rendered.problems)
            self._take(rendered, last_row(renderer.entry, rendered, batch), upto)
        self.on_progress(rows.source, source.rows, "")

    def _ended(
        self, end: Ended, renderers: Sequence[Renderer], upto: Mapping[str, int] | None
    ) -> None:
        source = self.result.sources[end.source]
        source.retries += end.retries
        if end.error is not None:
            # The key that was being gathered may lack elements: it is not written.
            source.error, source.hint = end.error.message, end.error.hint
            return
        for renderer in renderers:
            rendered = renderer.finish()
            self._take(rendered, last_of(rendered), upto)

    def _note_ends(self) -> None:
        for name, source in self.result.sources.items():
            if source.error is None and name not in self.standing.ended:
                self.journal.journal.note("ended", source=name)

    # Writing

    def _take(self, rendered: Rendered, last: int, upto: Mapping[str, int] | None) -> None:
        """Send the keys of one batch of rows that are not settled yet."""
        progress = self.standing.of(rendered.entry.name)
        if upto is not None:
            rendered = between(rendered, 0, upto[rendered.entry.name])
        elif progress.row:
            rendered = between(rendered, progress.row + 1, None)
        if not rendered.keys and not rendered.problems:
            return
        if not progress.sent or upto is not None:
            self._send(rendered, last, None, is_again=upto is not None)
            return
        for start, stop, now in segments(rendered.rows, progress):
            is_last = stop == len(rendered)
            part = part_of(rendered, start, stop, problems=is_last)
            row = last if is_last else part.rows[-1]
            self._send(part, row, now)

    def _send(
        self, rendered: Rendered, last: int, sent_at: int | None, *, is_again: bool = False
    ) -> None:
        """Send keys in flights. sent_at: what their TTLs counted from when they were sent first."""
        entry = rendered.entry
        now = self._clock.now() if sent_at is None else sent_at
        group = Group(entry.name, first_row(rendered, last), last, now, is_again=is_again)
        group.note_problems(rendered.problems)
        expiries = self._lives(group, rendered)
        batches = list(self._flights(group, rendered, expiries))
        group.flights = len(batches)
        if not is_again:
            self.journal.sent(group)
            self._remember(group)
        for batch in batches:
            batch.is_doubtful = sent_at is not None
            self._writer.put(batch)

    def _remember(self, group: Group) -> None:
        """Keep the groups of the last minute: those that a failover may have lost."""
        now = time.monotonic()
        self._recent.append((now, group))
        while len(self._recent) > 1 and now - self._recent[1][0] > LAG:
            old = self._recent.popleft()[1]
            self._left_behind[old.entry] = old.last

    def _lives(self, group: Group, rendered: Rendered) -> list[int]:
        """Return when each key expires, without those that may not be written or have no TTL."""
        lifetimes = self.lifetimes[rendered.entry.name]
        expiries = lifetimes.expiries(rendered, group.now)
        refused = self._protection.reasons(rendered.keys)
        if lifetimes.fixed is None:
            refused |= {i: one for i, one in enumerate(expiries) if isinstance(one, str)}
        if refused:
            for i, reason in refused.items():
                group.fail(rendered.keys[i], rendered.rows[i], reason)
            good = [i for i in range(len(rendered)) if i not in refused]
            keep_only(rendered, good)
            expiries = [expiries[i] for i in good]
        return expiries  # type: ignore[return-value]

    def _flights(
        self, group: Group, rendered: Rendered, expiries: Sequence[int]
    ) -> Iterator[Batch]:
        """Yield batches of the pace's size, each of strings alone or of collections alone."""
        entry = rendered.entry
        existing = KEEP if group.is_again else entry.existing
        keys, values, tags = rendered.keys, values_of(rendered), rendered.tags
        for positions in in_kinds(rendered):
            for some in parts(positions, self.pace.batch):
                yield Batch(
                    at_positions(keys, some),
                    at_positions(values, some),
                    at_positions(expiries, some),
                    existing,
                    None if tags is None else at_positions(tags, some),
                    note=group,
                )
        if not keys:
            yield Batch([], [], [], note=group)  # it lands after those that are under way

    def _landed(self, batch: Batch) -> None:
        group: Group = batch.note
        group.take(batch)
        self._notice_hopelessness(batch)
        if group.flights:
            return
        counts = group.counts
        if group.is_again:
            self.result.again += counts.written
            return
        self.journal.done(group)
        self.standing.of(group.entry).counts.add(
            counts.written, counts.kept, counts.failed, counts.bytes
        )
        self.result.failures += group.failures[: _FAILURES - len(self.result.failures)]

    def _notice_hopelessness(self, batch: Batch) -> None:
        """Stop when the server takes nothing any more. Raises PartialError."""
        if batch.keys and len(batch.failed) == len(batch) and not self._writer.down:
            self._hopeless += 1
        elif batch.keys:
            self._hopeless = 0
        if self._hopeless >= _HOPELESS:
            raise PartialError(
                f"stopped: the server refuses every key: {batch.failed[-1][1]}",
                hint="mend that, then go on with --resume",
            )

    # What goes on meanwhile

    def _look_up(self) -> None:
        """Stop in time. Raises PartialError."""
        if self.lock.lost.is_set():
            raise PartialError("stopped: the lock in the server was lost", hint="--resume goes on")
        if self.until is not None and time.monotonic() >= self.until:
            raise PartialError("stopped: its time is over", hint="--resume goes on from here")
        self.watch.look(lambda note: self.on_progress("", -1, note))

    def _doubt(self, seconds: float) -> None:
        """Note which rows have to be looked at again: a server may lack what was written last."""
        since = time.monotonic() - seconds
        first: dict[str, int] = {}
        last: dict[str, int] = {}
        if seconds > LAG:
            rows = {name: progress.row for name, progress in self.standing.entries.items()}
            last = {name: row for name, row in rows.items() if row} | self._left_behind
        for at, group in self._recent:
            if at >= since:
                first.setdefault(group.entry, group.first)
            last[group.entry] = group.last
        for entry, row in last.items():
            begin = 0 if seconds > LAG else first.get(entry, row + 1)
            known = self.standing.of(entry).recheck
            if known is not None:
                begin, row = min(begin, known[0]), max(row, known[1])
            self.standing.of(entry).recheck = (begin, row)
            self.journal.journal.record("failover", entry=entry, first=begin, last=row)

    def _again(self) -> None:
        """Write again what a server that took the place of another did not know."""
        for _ in range(_RECHECKS):
            self._writer.verify_primaries()
            ranges = {
                name: progress.recheck
                for name, progress in self.standing.entries.items()
                if progress.recheck is not None
            }
            if not ranges:
                break
            for name in ranges:
                self.standing.of(name).recheck = None
            start: dict[str, int] = {}
            for entry in self.manifest.entries:
                if entry.name in ranges:
                    after = max(0, ranges[entry.name][0] - 1)
                    start[entry.source] = min(after, start.get(entry.source, after))
            self._warm(start, {name: last for name, (_, last) in ranges.items()})
            for name in ranges:
                if self.standing.of(name).recheck is None:
                    self.journal.journal.record("rechecked", entry=name)
        if self.result.again:
            self.result.notes.append(
                f"{self.result.again:,} keys had been lost with a failover and were written again"
            )
