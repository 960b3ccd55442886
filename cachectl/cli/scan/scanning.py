"""The passes of `scan`: over all keys, with what was saved of them before and is saved now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from cachectl.cli.context import App
from cachectl.cli.interruptions import Interruptions

if TYPE_CHECKING:
    from cachectl.cli.scan.saving import Saving
    from cachectl.model.keys import Page
    from cachectl.server.scanning.estimate import ScanEstimate
    from cachectl.server.scanning.scan_types import Progress, ScanOutcome, ScanRequest
    from cachectl.server.topology.handle import Server
    from cachectl.storage.snapshots import Snapshot
    from cachectl.views.keys.scan import ScanFacts

LONG = 30.0
"""Seconds: a scan that takes longer is announced."""
_QUICK = 20_000
"""So few keys never take long enough to measure how long they take."""


class Accumulator(Protocol):
    """Takes the pages of a pass, such as analysis.keyspace.KeyspaceAccumulator."""

    def add(self, page: Page) -> Sequence[int]:
        """Count a page; return the gid of each key, where there are groups."""
        ...

    def drop(self, node: str) -> None:
        """Forget a node: it is read again."""
        ...


_Accumulator = TypeVar("_Accumulator", bound=Accumulator)


@dataclass(slots=True)
class FullScan(Generic[_Accumulator]):
    """One pass over all keys. saving: where to keep them; earlier: the part of it that is done.

    After `run`: outcome; interruption, when somebody stopped it.
    """

    app: App
    server: Server
    request: ScanRequest
    accumulator: _Accumulator
    saving: Saving | None = None
    earlier: Snapshot | None = None
    forecast: ScanEstimate | None = None
    interruption: KeyboardInterrupt | None = None
    _outcome: ScanOutcome | None = None

    @property
    def outcome(self) -> ScanOutcome:
        """What the scan says of itself."""
        assert self._outcome is not None  # noqa: S101 - see run
        return self._outcome

    def run(self) -> None:
        """Scan into the accumulator and the snapshot. A Ctrl-C is kept, for after the report."""
        from cachectl.server.scanning.scan import Restarted, Scan

        self._take_earlier()
        with self.app.progress("scanning") as progress, Interruptions() as interruptions:
            scan = Scan(self.server, self.request, lambda now: progress.update(*self._far(now)))
            self._outcome = scan.outcome
            try:
                with scan:
                    for item in scan:
                        with interruptions.held():
                            if isinstance(item, Restarted):
                                self._drop(item.node)
                            else:
                                self._add(item)
                            scan.taken()
                        if isinstance(item, Restarted):
                            self.app.terminal.warn(f"{item.node} {item.reason}; it is read again")
            except KeyboardInterrupt as interruption:
                self.interruption = interruption

    def save(self) -> None:
        """Write the snapshot, if one is wanted; a second Ctrl-C gives it up."""
        if self.saving is None:
            return
        try:
            self.saving.save(self.request, self.outcome)
        except KeyboardInterrupt as interruption:
            self.interruption = interruption
            self.app.terminal.warn(f"interrupted: {self.saving.writer.path} was not written")

    def say_what_was_saved(self) -> None:
        """Say where the snapshot is, and how to go on with it."""
        if self.saving:
            for sentence in self.saving.said(self.outcome):
                self.app.terminal.say(sentence)

    def facts(self) -> ScanFacts:
        """Return what the report says of the pass, earlier parts of it included."""
        from cachectl.views.keys.scan import ScanFacts

        outcome, forecast = self.outcome, self.forecast
        counts = self.earlier.info.counts if self.earlier else {}
        return ScanFacts(
            keys=outcome.keys,
            duplicates=outcome.duplicates + counts.get("duplicates", 0),
            vanished=outcome.vanished + counts.get("vanished", 0),
            unreadable=outcome.unreadable + counts.get("unreadable", 0),
            arrived=outcome.arrived + counts.get("arrived", 0),
            own_lookups=outcome.hits + (forecast.hits if forecast else 0),
            own_misses=outcome.misses + (forecast.misses if forecast else 0),
            seconds=outcome.seconds,
            complete=outcome.complete,
            errors=tuple(outcome.errors),
            unavailable=tuple(outcome.unavailable),
        )

    def _take_earlier(self) -> None:
        """Count what an earlier part of the scan has saved."""
        if self.earlier is None:
            return
        with self.app.progress("reading what was saved") as progress:
            done = 0
            for scanned_at, page in self.earlier.dated_pages():
                self._add(page, scanned_at)
                done += len(page)
                progress.update(done, self.earlier.info.keys)

    def _add(self, page: Page, scanned_at: str | None = None) -> None:
        groups = self.accumulator.add(page)
        if self.saving:
            self.saving.add(page, groups, scanned_at)

    def _drop(self, node: str) -> None:
        self.accumulator.drop(node)
        if self.saving:
            self.saving.drop(node)

    def _far(self, now: Progress) -> tuple[int, int | None]:
        before = self.earlier.info.keys if self.earlier else 0
        total = now.total
        if total is None and self.earlier:  # nodes that are done are not asked how many they have
            total = sum(node.facts.keys or 0 for node in self.server.primaries)
        return before + now.done, total


def forecast(app: App, server: Server, request: ScanRequest) -> ScanEstimate | None:
    """Say it when a full scan will take long; return how long when it was measured."""
    from cachectl.output.units import show_count, show_duration

    found = measured(server, request)
    if found is not None and found.seconds > LONG:
        app.terminal.say(
            f"a full scan of {show_count(found.keys)} keys will take about "
            f"{show_duration(round(found.seconds))}; Ctrl-C shows what was seen by then, "
            "and --sample 20000 answers in about a second"
        )
    return found


def measured(server: Server, request: ScanRequest) -> ScanEstimate | None:
    """Return how long a full scan will take; None for few keys, or when it can't be told."""
    from cachectl.errors import CachectlError
    from cachectl.server.scanning.estimate import estimate

    known = [node.facts.keys for node in server.primaries]
    if None not in known and sum(key or 0 for key in known) <= _QUICK and not request.max_rate:
        return None
    try:
        return estimate(server, request)
    except CachectlError:
        return None  # the scan itself will say what is wrong
