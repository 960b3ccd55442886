"""Verifying: is everything in the cache that a manifest says, and does the source still say so?

All keys are looked at, or a sample that is drawn with equal chances while the sources are read;
then the figures are shares with their intervals. What is wrong can be written, under the same
rules as by a warming: a key that the application has written meanwhile is left alone.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from cachectl.actions.planning.guards import Protection
from cachectl.actions.planning.ranges import UNLIMITED
from cachectl.actions.warming.batch import Batch, parts
from cachectl.actions.warming.examining import Examiner, Fault, Subjects
from cachectl.actions.warming.feed import Feed, Rows
from cachectl.actions.warming.lifetimes import Lifetimes, place
from cachectl.actions.warming.subjects import subjects_of
from cachectl.actions.warming.verify_result import FAULTS, TOLD, Checked, VerifyResult, Wrong
from cachectl.actions.warming.write_behind import Queue
from cachectl.actions.warming.writing import Writer
from cachectl.config.manifest import Entry, Existing, Manifest
from cachectl.errors import CachectlError, PartialError
from cachectl.model.changes import NEVER
from cachectl.server.clock import ServerClock
from cachectl.server.pace import Pace
from cachectl.server.topology.handle import Server
from cachectl.server.transactions.locks import OWN_PREFIX
from cachectl.sources.entries import Renderer
from cachectl.sources.interface import Source
from cachectl.sources.rendered import Rendered

_HELD = 20_000
"""Keys that are remembered while it is not known whether they are settled."""

OnProgress = Callable[[str, int, str], None]


@dataclass(slots=True)
class Verification:
    """Verifies one manifest, once.

    sample: keys to look at, None for all. expiring: milliseconds, as Examiner has it. repairs:
    whether what is wrong is written. until: of time.monotonic(). idle: called often; may raise.
    """

    server: Server
    manifest: Manifest
    sources: Mapping[str, Source]
    lifetimes: Mapping[str, Lifetimes]
    pace: Pace
    sample: int | None = None
    expiring: int | None = None
    repairs: bool = False
    until: float | None = None
    on_progress: OnProgress = lambda _source, _rows, _note: None
    idle: Callable[[], None] = lambda: None
    rng: random.Random = field(default_factory=random.Random)
    result: VerifyResult = field(init=False)
    _examiner: Examiner = field(init=False)
    _writer: Writer = field(init=False)
    _clock: ServerClock = field(init=False)
    _protection: Protection = field(init=False)
    _queues: dict[str, Queue] = field(default_factory=dict)
    _held: list[tuple[Subjects, list[Fault]]] = field(default_factory=list)
    _drawn: list[tuple[str, bytes, Any, Any, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        names = [entry.name for entry in self.manifest.entries]
        self.result = VerifyResult(self.manifest.name, {name: Checked() for name in names})
        self.result.sampled = self.sample is not None
        self._examiner = Examiner(self.server, self.pace, self.expiring)
        self._writer = Writer(self.server, self.pace, OWN_PREFIX + b"warm:repair:", self._repaired)
        policy = next((one.policy for one in self.lifetimes.values()), None)
        self._protection = Protection(self.server.target.protected, policy)
        self._clock = ServerClock.of(self.server.primaries[0].connection)

    def perform(self) -> VerifyResult:
        """Look at the keys, and write what is wrong if asked to."""
        begun, result = time.monotonic(), self.result
        with closing(self._examiner), closing(self._writer):
            try:
                self._open_queues()
                self._read()
                self._look_at_drawn()
                self._settle()
                self._writer.finish()
            except CachectlError as error:
                result.stopped = error.message
        result.seconds = time.monotonic() - begun
        result.cache_reads = self._examiner.reads
        result.own_lookups = self._examiner.own_lookups
        result.queues = [(one.pending.key, one.longest) for one in self._queues.values()]
        result.notes += [one.problem for one in self._queues.values() if one.problem]
        result.notes += self._examiner.recovery.notes + self._writer.recovery.notes
        return result

    # Reading

    def _read(self) -> None:
        feed = Feed(
            self.sources,
            self.manifest.sources,
            concurrency=self.manifest.concurrency,
            idle=self._look_up,
        )
        renderers = {
            name: [Renderer(entry) for entry in self.manifest.entries_of(name)]
            for name in self.sources
        }
        seen = dict.fromkeys(self.sources, 0)
        with closing(feed.events()) as events:
            for event in events:
                self._look_up()
                if isinstance(event, Rows):
                    batch = event.batch
                    seen[event.source] += len(batch) + len(batch.problems)
                    if len(batch):
                        rows = len(batch)
                        self.result.source_rows.append((event.seconds / rows, rows))
                    for number, renderer in enumerate(renderers[event.source]):
                        if number == 0:
                            self._checked(renderer.entry).problems += len(batch.problems)
                        self._take(renderer.render(batch))
                    self.on_progress(event.source, seen[event.source], "")
                elif event.error is not None:
                    self.result.errors[event.source] = event.error.message
                else:
                    for renderer in renderers[event.source]:
                        self._take(renderer.finish())

    def _checked(self, entry: Entry) -> Checked:
        return self.result.entries[entry.name]

    def _look_up(self) -> None:
        if self.until is not None and time.monotonic() >= self.until:
            raise PartialError("stopped: its time is over")
        self.idle()

    def _take(self, rendered: Rendered) -> None:
        entry = rendered.entry
        self._checked(entry).problems += len(rendered.problems)
        subjects = subjects_of(rendered, self.lifetimes[entry.name], self._clock.now())
        self._checked(entry).problems += len(rendered) - len(subjects)
        if self.sample is not None:
            self._draw(subjects, self.sample)
            return
        self.result.keys += len(subjects)
        for some in parts(range(len(subjects)), self.pace.batch):
            self._examine(subjects.take(some))

    # A sample

    def _draw(self, subjects: Subjects, size: int) -> None:
        """Keep `size` of all keys so far, each with the same chance.

        Source: J. S. Vitter, Random Sampling with a Reservoir, ACM TOMS 11, 1985 (algorithm R).
        """
        for i in range(len(subjects)):
            self.result.keys += 1
            place = len(self._drawn)
            if place >= size:
                place = self.rng.randrange(self.result.keys)
                if place >= size:
                    continue
            one = (
                subjects.entry.name,
                subjects.keys[i],
                subjects.values[i],
                subjects.ranges[i],
                subjects.tags[i] if subjects.tags else (),
            )
            if place < len(self._drawn):
                self._drawn[place] = one
            else:
                self._drawn.append(one)

    def _look_at_drawn(self) -> None:
        for entry in self.manifest.entries:
            drawn = [one[1:] for one in self._drawn if one[0] == entry.name]
            for some in parts(drawn, self.pace.batch):
                self._look_up()
                columns = [list(column) for column in zip(*some, strict=True)]
                self._examine(Subjects(entry, *columns))

    # Looking

    def _examine(self, subjects: Subjects) -> None:
        faults = self._examiner.look(subjects)
        if subjects.entry.name in self._queues:
            unsure = [i for i, fault in enumerate(faults) if fault is Fault.DIFFERENT]
            room = _HELD - sum(len(held) for held, _ in self._held)
            if len(unsure) <= room:
                self._held.append((subjects.take(unsure), [faults[i] for i in unsure]))
            else:
                self._checked(subjects.entry).unsettled += len(unsure)
                self._checked(subjects.entry).checked += len(unsure)
            rest = [i for i, fault in enumerate(faults) if fault is not Fault.DIFFERENT]
            subjects, faults = subjects.take(rest), [faults[i] for i in rest]
        self._count(subjects, faults)

    def _count(self, subjects: Subjects, faults: Sequence[Fault]) -> None:
        checked = self._checked(subjects.entry)
        wrong = [i for i, fault in enumerate(faults) if fault is not Fault.OK]
        checked.add(Fault.OK, len(faults) - len(wrong))
        for i in wrong:
            checked.add(faults[i])
            if len(self.result.told) < TOLD:
                self.result.told.append(Wrong(subjects.entry.name, subjects.keys[i], faults[i]))
        if wrong and self.repairs:
            self._repair(subjects, faults)

    # Write-behind

    def _open_queues(self) -> None:
        for entry in self.manifest.entries:
            if entry.pending is not None:
                queue = Queue(self.server, entry.pending)
                queue.wait()
                self._queues[entry.name] = queue

    def _settle(self) -> None:
        """Tell keys that differ for now from those that differ."""
        for queue in self._queues.values():
            queue.look()
        for subjects, faults in self._held:
            queue = self._queues[subjects.entry.name]
            settled = [i for i, key in enumerate(subjects.keys) if not queue.is_unsettled(key)]
            checked = self._checked(subjects.entry)
            checked.unsettled += len(subjects) - len(settled)
            checked.checked += len(subjects) - len(settled)
            self._count(subjects.take(settled), [faults[i] for i in settled])

    # Repairing

    def _repair(self, subjects: Subjects, faults: Sequence[Fault]) -> None:
        """Write what is wrong, in flights whose keys are wrong in the same way."""
        now = self._clock.now()
        refused = self._protection.reasons(subjects.keys)
        if refused:
            self._checked(subjects.entry).failed += sum(faults[i] is not Fault.OK for i in refused)
            good = [i for i in range(len(subjects)) if i not in refused]
            subjects, faults = subjects.take(good), [faults[i] for i in good]
        for fault in FAULTS:
            chosen = [i for i, one in enumerate(faults) if one is fault]
            for is_string in (True, False):
                some = [i for i in chosen if isinstance(subjects.values[i], bytes) is is_string]
                if some:
                    self._writer.put(self._batch(subjects.take(some), fault, now))

    def _batch(self, subjects: Subjects, fault: Fault, now: int) -> Batch:
        expiries = [
            NEVER if allowed == UNLIMITED else now + place(key, allowed)
            for key, allowed in zip(subjects.keys, subjects.ranges, strict=True)
        ]
        rule = _RULES.get(fault)
        if rule is None:  # expiring soon, unless the application has renewed it meanwhile
            within = max(self._examiner.threshold(allowed) for allowed in subjects.ranges)
            rule = Existing("replace-if-expires-within", within / 1000)
        tags, name = subjects.tags, subjects.entry.name
        return Batch(subjects.keys, subjects.values, expiries, rule, tags, note=name)

    def _repaired(self, batch: Batch) -> None:
        checked = self.result.entries[batch.note]
        checked.repaired += batch.written + batch.kept
        checked.failed += len(batch.failed)
        if batch.failed:
            key, reason = batch.failed[0]
            self.result.notes.append(f"{len(batch.failed):,} keys, {key!r} first: {reason}")


_RULES: dict[Fault, Existing] = {
    Fault.MISSING: Existing("keep"),
    Fault.WRONG_TYPE: Existing("replace-if-different"),
    Fault.DIFFERENT: Existing("replace-if-different"),
    Fault.WRONG_TTL: Existing("replace"),
}
