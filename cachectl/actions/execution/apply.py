"""Apply a change to the keys of a plan: copy, make durable, change, write down; batch by batch.

How a batch goes through its transactions is `transit`'s: this decides what becomes of each key.
A key that is written between look and change is looked at again, so what is in the archive is
what was changed. Whatever stops this (a signal, a full disk, a lost server) leaves a journal from
which a resumed run goes on.

When the reply to an EXEC is lost, its keys are suspects: the change may have been made, or may
still be on its way. They are looked at again like any other key. One that is gone was removed by
that EXEC, so its copy counts; one that is there gets a new copy, which takes the place of the old
one only when its own EXEC has answered. So no copy is given up while it might be the only one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cachectl.actions.execution.giants import copy_in_pieces
from cachectl.actions.execution.keeping import Keeper
from cachectl.actions.execution.ledger import Ledger, Tally
from cachectl.actions.execution.parting import batches
from cachectl.actions.execution.recovery import (
    TROUBLE,
    OnProgress,
    Recent,
    Recovery,
    await_replicas,
)
from cachectl.actions.execution.transit import Flying, Transit
from cachectl.actions.planning.changes import Change, Outcome, reason_of
from cachectl.actions.planning.guards import fits
from cachectl.errors import PartialError
from cachectl.model.changes import KeyCopy, PlannedKey, PlannedKeys
from cachectl.server.pace import Pace
from cachectl.server.topology.handle import Server
from cachectl.server.topology.lanes import TEAMS, Lanes
from cachectl.server.transactions.locks import Lock
from cachectl.server.transactions.transaction import GIANT, Group, MovedError
from cachectl.server.transactions.units import units
from cachectl.server.values.logical import UnknownTypeError
from cachectl.server.wire.resp import ReplyError
from cachectl.storage.spool import Copies, SpoolWriter

_TRIES = 6
_FLIGHTS, _MOST = 50, 16_000
"""Flights in a batch, and keys in one at most: between batches nothing is on its way."""
_HEALTH_EVERY = 1.0
_DEARER = 2
"""How many keys a server scans in the time that it takes to copy one: others wait for a flight."""

Keys = dict[bytes, PlannedKey]


@dataclass(frozen=True, slots=True)
class Suspect:
    """A copy whose change may or may not have been made, and its records in the archive."""

    copy: KeyCopy
    records: range


@dataclass(slots=True)
class Applier:
    """Applies one change to planned keys, so that each can be put back. One use.

    archive: None for changes that need no copy. lock: looked at before each batch. checks_guards:
    whether keys that are not what the plan saw are left alone. skip: keys that are not ours to
    change. recheck: the records of the plan that a server which took the place of another may not
    know the change of. written: keys one of which was written after it had been copied, on a server
    that was out of memory and so took no transaction.
    """

    server: Server
    change: Change
    ledger: Ledger
    archive: SpoolWriter[Copies] | None
    pace: Pace
    lock: Lock
    on_progress: OnProgress = lambda _done, _note: None
    max_archive: int | None = None
    checks_guards: bool = False
    skip: frozenset[bytes] = frozenset()
    recheck: range = range(0)
    recovery: Recovery = field(init=False)
    _lanes: Lanes = field(init=False)
    _suspects: dict[bytes, Suspect] = field(default_factory=dict)
    _flying: deque[Flying] = field(default_factory=deque)
    _keys: Keys = field(default_factory=dict)
    _keeper: Keeper = field(init=False)
    _begun: Recent = field(init=False)
    _missing: Outcome = Outcome.GONE
    _one_by_one: bool = False
    is_full: bool = False
    written: int = 0
    _checked: float = 0.0

    def __post_init__(self) -> None:
        self._lanes = Lanes(self.server)
        self._keeper = Keeper(self.archive, self.ledger, self.max_archive)
        self.recovery = Recovery(self.server)
        self._begun = Recent()

    def run(
        self,
        plan: Iterable[PlannedKeys],
        *,
        start: int = 0,
        stop: int | None = None,
        suspects: Mapping[bytes, Suspect] | None = None,
        least: int = 1,
        uncertain: int = 0,
        kind: str = "done",
    ) -> Tally:
        """Change the keys of the plan from record `start` to `stop`. Return what became of them.

        suspects: what an earlier process had copied last; least: so many records have to be in
        the first batch for it to hold them all. uncertain: up to this record, and without
        copies, keys that are gone may be an earlier process's work. kind: of the journal's
        entries. Raises PartialError (StorageError, TooSlowError, …) when it stops before the end;
        what was done is in the journal then.
        """
        self._suspects = dict(suspects or {})
        done = start
        with self._lanes, self._keeper:
            for batch in batches(plan, start, lambda: self._window, least=least, stop=stop):
                self._begun.note(done)
                self._missing = Outcome.UNKNOWN if done < uncertain else Outcome.GONE
                done += len(batch)
                keys = {p.key: p for p in batch if p.key not in self.skip}
                self.run_batch(keys, upto=done, kind=kind)
                self.on_progress(done, "")
            self._begun.note(done)
            # One that was replaced unnoticed may not know of the last changes.
            self.recovery.look_around()
            self.recheck = self._begun.doubted(self.recovery, self.recheck, self.ledger)
        return self.ledger.tally

    def run_batch(self, keys: Keys, *, upto: int, kind: str = "done") -> None:
        """Change some keys, and note them as done up to record `upto` of the plan."""
        self.ledger.begin()
        self.is_full = False
        archive = self.archive
        if archive is None:
            self.ledger.journal.note("sent", upto=upto)
        for part in _parts(list(keys.values()), self._window):
            self._check_health()
            self._change(part)
        self._keeper.sync()  # nothing is left to do, but for copies of what could not be changed
        self.ledger.end(
            upto=upto,
            copies=archive.count if archive else 0,
            digest=archive.digest if archive else "",
            kind=kind,
        )

    @property
    def _window(self) -> int:
        """How many keys a batch has: many flights, but at a slow rate only one."""
        return self.pace.batch if self.pace.cap.rate else min(_MOST, self.pace.batch * _FLIGHTS)

    def _change(self, keys: Keys) -> None:
        """Change keys, in smaller and smaller groups when they are written all the time."""
        size, tries = len(keys), 0
        while keys and tries < _TRIES:
            try:
                self._attempt(keys, max(1, size))
            except TROUBLE as error:
                self._stumble(error)
                if isinstance(error, MovedError) and error.code != "MOVED":
                    size = 1  # a slot that is on its way is asked for key by key
            else:
                self.recovery.fine()
                tries += 1
                # Keys that are written all the time must not hold up the others.
                size = 1 if self._one_by_one else size // 4
                self._one_by_one = False
            # Whatever happened, a key is through only when its outcome has been counted.
            keys = {key: planned for key, planned in keys.items() if not self.ledger.has(key)}
        for key in keys:
            self._forget(key)
            self.ledger.count(Outcome.CHANGED, key, reason="it kept being written")

    def _attempt(self, keys: Keys, size: int) -> None:
        """Try to change keys in groups of at most `size`, and count those that are through."""
        self._keys = keys
        small = [planned for planned in keys.values() if planned.size <= GIANT]
        giants = [planned for planned in keys.values() if planned.size > GIANT]
        transit = Transit(
            lanes=self._lanes,
            pace=self.pace,
            keeper=self._keeper,
            change=self.change,
            judge=self,
            changing=self._flying,
            look=self._look_options,
        )
        most = min(size, max(1, self.pace.batch // _DEARER))
        transit.take(units(self._lanes, small, most, teams=TEAMS))
        for (group,) in units(self._lanes, giants, 1):
            self._giant(group)

    @property
    def _look_options(self) -> dict[str, bool]:
        values = self.change.copies_value and (self.archive is not None or self.checks_guards)
        policy = self.server.primaries[0].facts.policy or ""
        return {"values": values, "frequency": "lfu" in policy}

    def chosen(self, group: Group) -> list[KeyCopy]:
        """Return the copies of the keys that are there and are still what the plan saw."""
        if not self._suspects and not self.checks_guards and not self.change.is_choosy:
            if missing := [
                wanted.key
                for wanted, copy in zip(group.keys, group.copies, strict=True)
                if copy is None
            ]:
                self.ledger.count_all(self._missing, missing)
            return group.present
        chosen: list[KeyCopy] = []
        for wanted, copy in zip(group.keys, group.copies, strict=True):
            if self._is_settled(group, wanted.key, copy):
                continue
            if copy is None:
                self._forget(wanted.key)
                self.ledger.count(self._missing, wanted.key)
            elif self.checks_guards and not fits(self._keys[wanted.key], copy):
                self._forget(wanted.key)
                self.ledger.count(Outcome.CHANGED, wanted.key, reason="changed since the plan")
            elif not self.change.wants(copy.key, copy.expires_at, group.now):
                self._forget(wanted.key)
                self.ledger.count(Outcome.FINE, wanted.key)
            else:
                chosen.append(copy)
        return chosen

    def _is_settled(self, group: Group, key: bytes, current: KeyCopy | None) -> bool:
        """Return whether an earlier change of a suspect was made after all; count it then."""
        suspect = self._suspects.get(key)
        if suspect is None:
            return False
        probe = self.change.probe(suspect.copy)
        reply = None if probe is None else group.ask(*probe)
        if not self.change.happened(suspect.copy, current, reply):
            return False
        del self._suspects[key]
        self.ledger.count(Outcome.DONE, key, self._keys[key].size or len(suspect.copy.data))
        return True

    def committed(self, flying: Flying) -> None:
        """Read what a transaction has done, and count the keys that are through."""
        try:
            replies = flying.group.receive_commit()
        except ReplyError as error:
            self._void(flying)
            if error.code == "OOM" and not self.is_full:
                self.is_full = True
            else:
                self.denied([copy.key for copy in flying.copies], error)
            return
        self.written += len(flying.copies) if flying.group.was_written else 0
        copies = flying.copies
        if replies is None:  # one of the keys was written meanwhile, and nothing was changed
            self._void(flying)
            return
        for copy in copies if self._suspects else ():
            self._forget(copy.key)
        keys, outcomes = self._keys, self.change.outcomes(copies, replies)
        if all(outcome is Outcome.DONE for outcome in outcomes):
            size = sum(keys[copy.key].size or len(copy.data) for copy in copies)
            self.ledger.count_all(Outcome.DONE, [copy.key for copy in copies], size)
            return
        for number, (copy, outcome) in enumerate(zip(copies, outcomes, strict=True)):
            reason = reason_of(copies, replies, number)
            self.ledger.count(outcome, copy.key, keys[copy.key].size or len(copy.data), reason)
            if outcome is Outcome.REFUSED:
                self._void(flying, number)

    def _void(self, flying: Flying, number: int | None = None) -> None:
        """Note that no change followed the copies of a group, or one of them."""
        self.ledger.void(flying.records if number is None else flying.records_of(number))

    def denied(self, names: Sequence[bytes], error: ReplyError) -> None:
        """Leave a key alone that this login may not look at or change.

        Of several it is not said which one: they are tried one by one next. Raises any other
        error, and MovedError.
        """
        if error.code != "NOPERM":
            raise error
        if len(names) > 1:
            self._one_by_one = True
            return
        self._forget(names[0])
        self.ledger.count(Outcome.REFUSED, names[0], reason=error.text)

    def _giant(self, group: Group) -> None:
        """Take one giant key through: its elements are copied piece by piece, under WATCH."""
        key = group.keys[0].key
        frequency = self._look_options["frequency"]
        try:
            copy = group.watch_giant(frequency=frequency)
        except ReplyError as error:
            self.denied([key], error)
            return
        except MovedError as error:
            place = error.host_port
            if error.code != "ASK" or place is None:
                raise
            group = Group(self._lanes.lane_to(*place), group.keys, asks=True)
            copy = group.watch_giant(frequency=frequency)
        chosen = self.chosen(group)
        if copy is None or not chosen:
            group.unwatch()
            return
        copy = self.change.archived(copy, group.now)
        first = self.archive.count if self.archive else 0
        try:
            is_as_planned = self._archive_giant(group, copy, self._keys[key].guard)
        except UnknownTypeError:
            group.unwatch()
            reason = f"a {copy.type} of this size can't be copied piece by piece"
            self.ledger.count(Outcome.REFUSED, key, reason=reason)
            return
        except TROUBLE:
            self._keeper.take_back([self._since(first)])
            raise
        if not is_as_planned:
            self._keeper.take_back([self._since(first)])
            group.unwatch()
            self.ledger.count(Outcome.CHANGED, key, reason="changed since the plan")
            return
        self._keeper.sync()
        flying = Flying(group, [copy], self._since(first))
        self._flying.append(flying)
        group.send_commit(self.change.commands([copy], group.now), outside=self.is_full)
        self.committed(flying)
        self._flying.clear()

    def _since(self, first: int) -> range:
        return range(first, self.archive.count if self.archive else 0)

    def _archive_giant(self, group: Group, copy: KeyCopy, guard: bytes) -> bool:
        """Copy a giant. Return whether it is what the plan saw."""
        if not self.change.copies_value:
            if self.archive is not None:
                self.archive.add([copy])
            return True
        guard = guard if self.checks_guards else b""
        return copy_in_pieces(group, copy, self.archive, guard, self._keeper.check_size)

    # When something breaks

    def _stumble(self, error: Exception) -> None:
        """Suspect what is in flight, and connect again. Raises PartialError to give up."""
        for one in self._flying:
            for number, copy in enumerate(one.copies):
                if not self.ledger.has(copy.key):
                    # If two transactions of a key are uncertain, both hold the same value: the
                    # second one's WATCH began before the first could still be executed.
                    self._forget(copy.key)
                    self._suspects[copy.key] = Suspect(copy, one.records_of(number))
        self._flying.clear()
        self._lanes.drop()
        self.recovery.after(error)
        self.recheck = self._begun.doubted(self.recovery, self.recheck, self.ledger)

    def _forget(self, key: bytes) -> None:
        """Give up the copy of a suspect: its change was not made, or another copy replaces it."""
        suspect = self._suspects.pop(key, None)
        if suspect is not None:
            self.ledger.void(suspect.records)

    def _check_health(self) -> None:
        if self.lock.lost.is_set():
            raise PartialError("stopped: the lock in the server was lost", hint="resume")
        now = time.monotonic()
        while now - self._checked >= _HEALTH_EVERY:
            try:
                await_replicas(self.server, self._lanes, self.on_progress)
                self._checked = now
            except TROUBLE as error:
                self._stumble(error)


def _parts(keys: Sequence[PlannedKey], size: int) -> Iterator[Keys]:
    """Part the keys of a batch: into several flights when a resumed run has much to look at."""
    for at in range(0, len(keys), max(1, size)):
        yield {planned.key: planned for planned in keys[at : at + size]}
