"""Apply a change to the keys of a plan: copy, make durable, change, write down; batch by batch.

    look (WATCH, TYPE, PTTL, idle, DUMP) → archive, fsync → MULTI change EXEC → journal

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
from contextlib import suppress
from dataclasses import dataclass, field

from cachectl.actions.changes import Change, Outcome, reason_of
from cachectl.actions.giants import copy_in_pieces
from cachectl.actions.guards import fits
from cachectl.actions.ledger import Ledger, Tally
from cachectl.actions.parting import batches, in_waves
from cachectl.actions.recovery import TROUBLE, OnProgress, Recent, Recovery, await_replicas
from cachectl.errors import PartialError
from cachectl.model import KeyCopy, PlannedKey
from cachectl.server.handle import Server
from cachectl.server.lanes import Lanes
from cachectl.server.locks import Lock
from cachectl.server.logical import UnknownTypeError
from cachectl.server.pace import Pace
from cachectl.server.resp import ReplyError
from cachectl.server.transaction import GIANT, Group, MovedError
from cachectl.storage.files import StorageError
from cachectl.storage.spool import SpoolWriter

_TRIES = 6
_FLIGHTS = 5
"""Flights of keys that are looked at before their copies are made durable together."""
_CHEAPER = 4
"""How many keys a server changes in the time that it takes to look at one."""
_HEALTH_EVERY = 1.0

Keys = dict[bytes, PlannedKey]


@dataclass(frozen=True, slots=True)
class Suspect:
    """A copy whose change may or may not have been made, and its records in the archive."""

    copy: KeyCopy
    records: range


@dataclass(frozen=True, slots=True)
class _Flying:
    """A group in the second half of its transaction: copies, and their records in the archive."""

    group: Group
    copies: Sequence[KeyCopy]
    records: range

    def records_of(self, number: int) -> range:
        """Return the records of one of the copies; a giant has several."""
        return self.records if len(self.copies) == 1 else self.records[number : number + 1]


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
    archive: SpoolWriter[KeyCopy] | None
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
    _flying: list[_Flying] = field(default_factory=list)
    _begun: Recent = field(init=False)
    _missing: Outcome = Outcome.GONE
    _one_by_one: bool = False
    _is_full: bool = False
    written: int = 0
    _checked: float = 0.0

    def __post_init__(self) -> None:
        self._lanes = Lanes(self.server)
        self.recovery = Recovery(self.server)
        self._begun = Recent()

    def run(
        self,
        plan: Iterable[list[PlannedKey]],
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
        with self._lanes:
            for batch in batches(plan, start, lambda: self._window, least=least, stop=stop):
                self._begun.note(done)
                self._missing = Outcome.UNKNOWN if done < uncertain else Outcome.GONE
                done += len(batch)
                keys = {p.key: p for p in batch if p.key not in self.skip}
                self.run_batch(keys, upto=done, kind=kind)
                self.on_progress(done, "")
        return self.ledger.tally

    def run_batch(self, keys: Keys, *, upto: int, kind: str = "done") -> None:
        """Change some keys, and note them as done up to record `upto` of the plan."""
        self.ledger.begin()
        self._is_full = False
        archive = self.archive
        if archive is None:
            self.ledger.journal.note("sent", upto=upto)
        for part in _parts(list(keys.values()), self._window):
            self._check_health()
            self._change(part)
        self._make_durable()  # nothing is left to do, but for copies of what could not be changed
        self.ledger.end(
            upto=upto,
            copies=archive.count if archive else 0,
            digest=archive.digest if archive else "",
            kind=kind,
        )

    @property
    def _window(self) -> int:
        """How many keys become durable together: several flights, but at a slow rate only one."""
        return self.pace.batch * (1 if self.pace.cap.rate else _FLIGHTS)

    def _change(self, keys: Keys) -> None:
        """Change keys, in smaller and smaller groups when they are written all the time."""
        size, tries = len(keys), 0
        while keys and tries < _TRIES:
            try:
                again = self._attempt(keys, max(1, size))
            except TROUBLE as error:
                self._stumble(error)
                again = [key for key in keys if not self.ledger.has(key)]
                if isinstance(error, MovedError) and error.code != "MOVED":
                    size = 1  # a slot that is on its way is asked for key by key
            else:
                self.recovery.fine()
                tries += 1
                # Keys that are written all the time must not hold up the others.
                size = 1 if self._one_by_one else size // 4
                self._one_by_one = False
            keys = {key: keys[key] for key in again}
        for key in keys:
            self._forget(key)
            self.ledger.count(Outcome.CHANGED, key, reason="it kept being written")

    def _attempt(self, keys: Keys, size: int) -> list[bytes]:
        """Try to change keys in groups of at most `size`; return those to try again."""
        again: list[bytes] = []
        for unit in self._lanes.units(keys.values(), size):
            if len(unit) == 1 and unit[0].keys[0].size > GIANT:
                again += self._giant(unit[0], keys)
            else:
                again += self._unit(unit, keys)
        return again

    def _unit(self, unit: Sequence[Group], keys: Keys) -> list[bytes]:
        """Take groups through their transactions side by side; return the keys to try again."""
        flying: list[_Flying] = []
        again: list[bytes] = []
        try:
            for groups in self._looked_at(in_waves(unit, self.pace.batch), again):
                flying += [self._archived(group, self._chosen(group, keys)) for group in groups]
            self._make_durable()
        except BaseException:
            self._take_back(flying)
            raise
        self._flying = flying
        for wave in in_waves([one.group for one in flying], _CHEAPER * self.pace.batch):
            self.pace.before(0)
            begun = time.monotonic()
            committing = self._flying[: len(wave)]
            for one in committing:
                commands = self.change.commands(one.copies, one.group.now)
                one.group.send_commit(commands, outside=self._is_full)
            for one in committing:
                again += self._committed(one, keys)
                del self._flying[0]
            self.pace.after(_size(wave), time.monotonic() - begun)
        return again

    def _looked_at(
        self, waves: Sequence[Sequence[Group]], again: list[bytes]
    ) -> Iterator[list[Group]]:
        """Yield each wave of groups when it is looked at, while the next one is on its way.

        again: takes the keys that have to be tried again, one by one.
        """
        sent: deque[float] = deque()
        arrived, asked = 0.0, 0
        for number, wave in enumerate(waves):
            while asked < min(len(waves), number + (2 if self.pace.overlap else 1)):
                sent.append(self._ask(waves[asked]))
                asked += 1
            found = self._look(wave, again)
            begun, now = max(arrived, sent.popleft()), time.monotonic()
            self.pace.after(_size(wave), now - begun)
            arrived = now
            yield found

    def _ask(self, wave: Sequence[Group]) -> float:
        """Ask for everything that copies of a wave need. Return when that was."""
        self.pace.before(_size(wave))
        begun = time.monotonic()
        for group in wave:
            group.send_look(**self._look_options)
        return begun

    def _look(self, wave: Sequence[Group], again: list[bytes]) -> list[Group]:
        """Read what was asked for; of a slot on its way, look where the key is."""
        look = self._look_options
        found: list[Group] = []
        moved: list[tuple[Group, MovedError]] = []
        for group in wave:
            try:
                group.receive_look(**look)
                found.append(group)
            except MovedError as error:
                moved.append((group, error))
            except ReplyError as error:
                again += self._denied([wanted.key for wanted in group.keys], error)
        for number, (group, refusal) in enumerate(moved):
            place = refusal.host_port
            if refusal.code != "ASK" or place is None or len(group.keys) > 1:
                raise refusal
            host, port = place
            asking = Group(self._lanes.lane_to(host, port, number), group.keys, asks=True)
            asking.send_look(**look)
            asking.receive_look(**look)
            found.append(asking)
        return found

    @property
    def _look_options(self) -> dict[str, bool]:
        values = self.change.copies_value and (self.archive is not None or self.checks_guards)
        policy = self.server.primaries[0].facts.policy or ""
        return {"values": values, "frequency": "lfu" in policy}

    def _chosen(self, group: Group, keys: Keys) -> list[KeyCopy]:
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
            if self._is_settled(group, wanted.key, copy, keys):
                continue
            if copy is None:
                self._forget(wanted.key)
                self.ledger.count(self._missing, wanted.key)
            elif self.checks_guards and not fits(keys[wanted.key], copy):
                self._forget(wanted.key)
                self.ledger.count(Outcome.CHANGED, wanted.key, reason="changed since the plan")
            elif not self.change.wants(copy.key, copy.expires_at, group.now):
                self._forget(wanted.key)
                self.ledger.count(Outcome.FINE, wanted.key)
            else:
                chosen.append(copy)
        return chosen

    def _is_settled(self, group: Group, key: bytes, current: KeyCopy | None, keys: Keys) -> bool:
        """Return whether an earlier change of a suspect was made after all; count it then."""
        suspect = self._suspects.get(key)
        if suspect is None:
            return False
        probe = self.change.probe(suspect.copy)
        reply = None if probe is None else group.ask(*probe)
        if not self.change.happened(suspect.copy, current, reply):
            return False
        del self._suspects[key]
        self.ledger.count(Outcome.DONE, key, keys[key].size or len(suspect.copy.data))
        return True

    def _archived(self, group: Group, copies: Sequence[KeyCopy]) -> _Flying:
        kept = [self.change.archived(copy, group.now) for copy in copies]
        if self.archive is None:
            return _Flying(group, kept, range(0))
        first = self.archive.count
        self.archive.extend(kept)
        return _Flying(group, kept, range(first, self.archive.count))

    def _committed(self, flying: _Flying, keys: Keys) -> list[bytes]:
        """Read what a transaction has done; return the keys to try again."""
        try:
            replies = flying.group.receive_commit()
        except ReplyError as error:
            self._void(flying)
            names = [copy.key for copy in flying.copies]
            if error.code == "OOM" and not self._is_full:
                self._is_full = True
                return names
            return self._denied(names, error)
        self.written += len(flying.copies) if flying.group.was_written else 0
        copies = flying.copies
        if replies is None:  # one of the keys was written meanwhile, and nothing was changed
            self._void(flying)
            return [copy.key for copy in copies]
        for copy in copies if self._suspects else ():
            self._forget(copy.key)
        outcomes = self.change.outcomes(copies, replies)
        if all(outcome is Outcome.DONE for outcome in outcomes):
            size = sum(keys[copy.key].size or len(copy.data) for copy in copies)
            self.ledger.count_all(Outcome.DONE, [copy.key for copy in copies], size)
            return []
        for number, (copy, outcome) in enumerate(zip(copies, outcomes, strict=True)):
            reason = reason_of(copies, replies, number)
            self.ledger.count(outcome, copy.key, keys[copy.key].size or len(copy.data), reason)
            if outcome is Outcome.REFUSED:
                self._void(flying, number)
        return []

    def _void(self, flying: _Flying, number: int | None = None) -> None:
        """Note that no change followed the copies of a group, or one of them."""
        self.ledger.void(flying.records if number is None else flying.records_of(number))

    def _denied(self, names: Sequence[bytes], error: ReplyError) -> list[bytes]:
        """Leave a key alone that this login may not look at or change.

        Of several it is not said which one: return them, to be tried one by one. Raises any other
        error, and MovedError.
        """
        if error.code != "NOPERM":
            raise error
        if len(names) > 1:
            self._one_by_one = True
            return list(names)
        self._forget(names[0])
        self.ledger.count(Outcome.REFUSED, names[0], reason=error.text)
        return []

    def _giant(self, group: Group, keys: Keys) -> list[bytes]:
        """Take one giant key through: its elements are copied piece by piece, under WATCH."""
        key = group.keys[0].key
        try:
            copy = group.watch_giant(frequency=self._look_options["frequency"])
        except ReplyError as error:
            return self._denied([key], error)
        except MovedError as error:
            place = error.host_port
            if error.code != "ASK" or place is None:
                raise
            group = Group(self._lanes.lane_to(*place), group.keys, asks=True)
            copy = group.watch_giant(frequency=self._look_options["frequency"])
        chosen = self._chosen(group, keys)
        if copy is None or not chosen:
            group.unwatch()
            return []
        copy = self.change.archived(copy, group.now)
        first = self.archive.count if self.archive else 0
        try:
            is_as_planned = self._archive_giant(group, copy, keys[key].guard)
        except UnknownTypeError:
            group.unwatch()
            reason = f"a {copy.type} of this size can't be copied piece by piece"
            self.ledger.count(Outcome.REFUSED, key, reason=reason)
            return []
        except TROUBLE:
            self._take_back([self._since(first, group, copy)])
            raise
        if not is_as_planned:
            self._take_back([self._since(first, group, copy)])
            group.unwatch()
            self.ledger.count(Outcome.CHANGED, key, reason="changed since the plan")
            return []
        self._make_durable()
        self._flying = [self._since(first, group, copy)]
        group.send_commit(self.change.commands([copy], group.now), outside=self._is_full)
        again = self._committed(self._flying[0], keys)
        self._flying = []
        return again

    def _since(self, first: int, group: Group, copy: KeyCopy) -> _Flying:
        last = self.archive.count if self.archive else 0
        return _Flying(group, [copy], range(first, last))

    def _archive_giant(self, group: Group, copy: KeyCopy, guard: bytes) -> bool:
        """Copy a giant. Return whether it is what the plan saw."""
        if not self.change.copies_value:
            if self.archive is not None:
                self.archive.add(copy)
            return True
        guard = guard if self.checks_guards else b""
        return copy_in_pieces(group, copy, self.archive, guard, self._check_archive_size)

    def _make_durable(self) -> None:
        if self.archive is not None and self.archive.is_pending:
            self._check_archive_size()
            self.archive.sync()

    def _take_back(self, flying: Sequence[_Flying]) -> None:
        """Void copies that no change will follow.

        Their records are made durable before: what the journal says of records that a crash takes
        away would be said of those that are written in their place.
        """
        if self.archive is None or self.archive.is_broken:
            return
        with suppress(StorageError):
            self.archive.sync()
            for one in flying:
                self._void(one)

    def _check_archive_size(self) -> None:
        if self.max_archive and self.archive and self.archive.bytes_written > self.max_archive:
            raise PartialError(
                f"the archive has reached its limit of {self.max_archive:,} bytes",
                hint="raise `limits.max_archive` in the profile, then resume",
            )

    # When something breaks

    def _stumble(self, error: Exception) -> None:
        """Suspect what is in flight, and connect again. Raises PartialError to give up."""
        flying, self._flying = self._flying, []
        for group in flying:
            for number, copy in enumerate(group.copies):
                if not self.ledger.has(copy.key):
                    # If two transactions of a key are uncertain, both hold the same value: the
                    # second one's WATCH began before the first could still be executed.
                    self._forget(copy.key)
                    self._suspects[copy.key] = Suspect(copy, group.records_of(number))
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


def _size(groups: Iterable[Group]) -> int:
    return sum(len(group.keys) for group in groups)
