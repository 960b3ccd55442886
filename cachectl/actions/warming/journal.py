"""The journal of a warming: how far each entry has come, what it came to, and what is in doubt.

    begin · sent (a group of keys leaves, with the time that their TTLs count from) · done (all of
    it is settled) · ended (a source) · failover (rows whose keys a server may have lost) · end

A group is what one batch of rows gives one entry. When a run is resumed, every entry goes on after
its last group that is done. A key of a group that was sent without a note of what came of it is
given the same TTL again, so that our own work is told from that of others by its expiry time.
"""

from __future__ import annotations

import base64
import time
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from cachectl.actions.warming.batch import Batch
from cachectl.sources.interface import RowProblem
from cachectl.storage.journal import Entry, Journal

_DURABLE_EVERY = 1.0
_TOLD = 20
"""Failures of a group that the journal names; all of them are counted."""


@dataclass(slots=True)
class Counts:
    """What became of keys. failed: rows that gave no key among them; bytes: of written keys."""

    written: int = 0
    kept: int = 0
    failed: int = 0
    bytes: int = 0

    def add(self, written: int, kept: int, failed: int, size: int) -> None:
        """Count some more."""
        self.written += written
        self.kept += kept
        self.failed += failed
        self.bytes += size

    @property
    def keys(self) -> int:
        """All that were met."""
        return self.written + self.kept + self.failed


@dataclass(frozen=True, slots=True)
class Failure:
    """A key, or a row without one, that is not in the cache, and why."""

    entry: str
    row: int
    key: bytes | None
    reason: str


@dataclass(slots=True)
class Group:
    """The keys that one batch of rows gave one entry, on their way in several flights.

    first, last: numbers of rows. now: what TTLs count from, in Unix milliseconds. flights: still
    under way. counts: so far; lasting: failures that trying again would not mend.
    """

    entry: str
    first: int
    last: int
    now: int
    flights: int = 0
    counts: Counts = field(default_factory=Counts)
    lasting: int = 0
    failures: list[Failure] = field(default_factory=list)
    is_again: bool = False

    def take(self, batch: Batch) -> None:
        """Count a flight that has landed."""
        self.flights -= 1
        self.counts.add(batch.written, batch.kept, len(batch.failed), batch.size)
        for key, reason in batch.failed[: _TOLD - len(self.failures)]:
            self.failures.append(Failure(self.entry, 0, key, reason))

    def fail(self, key: bytes, row: int, reason: str) -> None:
        """Count a key that is not even sent."""
        self._lasting(Failure(self.entry, row, key, reason))

    def note_problems(self, problems: Iterable[RowProblem]) -> None:
        """Count rows that gave no key."""
        for problem in problems:
            self._lasting(Failure(self.entry, problem.row, None, problem.what))

    def _lasting(self, failure: Failure) -> None:
        self.counts.failed += 1
        self.lasting += 1
        if len(self.failures) < _TOLD:
            self.failures.append(failure)


@dataclass(slots=True)
class Progress:
    """Where one entry stands.

    row: the last one whose keys are settled. sent: (first row, last row, now) of groups that
    were sent after that. is_held: a server refused keys from here on, which are to be tried again.
    """

    row: int = 0
    counts: Counts = field(default_factory=Counts)
    sent: list[tuple[int, int, int]] = field(default_factory=list)
    recheck: tuple[int, int] | None = None
    is_held: bool = False

    def sent_at(self, row: int) -> int | None:
        """Return what the TTLs of a row's keys counted from when they were sent, None: never."""
        at = bisect_left(self.sent, row, key=lambda sent: sent[1])
        if at < len(self.sent) and self.sent[at][0] <= row:
            return self.sent[at][2]
        return None


@dataclass(slots=True)
class Standing:
    """Where a journal says that a warming stands. ended: sources that were read to their end."""

    entries: dict[str, Progress] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    failures: list[Failure] = field(default_factory=list)

    def of(self, entry: str) -> Progress:
        """Return where an entry stands."""
        return self.entries.setdefault(entry, Progress())

    def doubt_all(self) -> None:
        """Have everything looked at again that was done: the server may not know it any more."""
        for progress in self.entries.values():
            if progress.row:
                _, last = progress.recheck or (0, 0)
                progress.recheck = (0, max(last, progress.row))


def standing_of(journal: Iterable[Entry]) -> Standing:
    """Read a journal. Memory holds one tuple for each group that is not done."""
    standing = Standing()
    for note in journal:
        match note["kind"]:
            case "sent":
                progress = standing.of(note["entry"])
                if progress.sent_at(note["first"]) != note["now"]:  # else it is sent once more
                    progress.sent.append((note["first"], note["last"], note["now"]))
            case "done":
                _take(standing, standing.of(note["entry"]), note)
            case "ended":
                standing.ended.add(note["source"])
            case "failover":
                standing.of(note["entry"]).recheck = (note["first"], note["last"])
            case "rechecked":
                standing.of(note["entry"]).recheck = None
    return standing


def _take(standing: Standing, progress: Progress, note: Entry) -> None:
    written, kept, failed, size = note["counts"]
    if failed > note["lasting"]:
        progress.is_held = True
    if progress.is_held:
        return
    progress.row = note["last"]
    progress.sent = [sent for sent in progress.sent if sent[1] > progress.row]
    progress.counts.add(written, kept, failed, size)
    for row, key, reason in note.get("told", ()):
        if len(standing.failures) < _TOLD:
            name = None if key is None else base64.b64decode(key)
            standing.failures.append(Failure(note["entry"], row, name, reason))


class WarmingJournal:
    """Writes the notes. They survive the end of this process; a power cut may take a second."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._recorded = 0.0

    def sent(self, group: Group) -> None:
        """Note that a group is about to leave."""
        self.journal.note(
            "sent", entry=group.entry, first=group.first, last=group.last, now=group.now
        )

    def done(self, group: Group) -> None:
        """Note what became of a group."""
        counts = group.counts
        told: dict[str, Any] = {}
        if group.failures:
            told["told"] = [
                (
                    one.row,
                    None if one.key is None else base64.b64encode(one.key).decode(),
                    one.reason,
                )
                for one in group.failures
            ]
        write = self.journal.note
        if time.monotonic() - self._recorded >= _DURABLE_EVERY:
            write = self.journal.record
            self._recorded = time.monotonic()
        write(
            "done",
            entry=group.entry,
            last=group.last,
            counts=(counts.written, counts.kept, counts.failed, counts.bytes),
            lasting=group.lasting,
            **told,
        )
