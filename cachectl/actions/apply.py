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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cachectl.actions.changes import Change, Outcome
from cachectl.actions.guards import fits
from cachectl.actions.ledger import Ledger, Tally
from cachectl.actions.recovery import LAG, PATIENCE, TROUBLE, Recovery
from cachectl.errors import PartialError
from cachectl.model import KeyCopy, PlannedKey
from cachectl.server.handle import Server
from cachectl.server.lanes import Lanes
from cachectl.server.locks import Lock
from cachectl.server.logical import UnknownTypeError
from cachectl.server.pace import Pace
from cachectl.server.replication import read_lag
from cachectl.server.resp import ReplyError
from cachectl.server.transaction import GIANT, DeniedError, Group, MovedError, Wanted
from cachectl.storage.elements import pack_value
from cachectl.storage.spool import SpoolWriter

_TRIES = 6
_BATCH_BYTES = 8 * 1024 * 1024
_HEALTH_EVERY = 1.0

Keys = dict[bytes, PlannedKey]
OnProgress = Callable[[int, str], None]


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
    records: Sequence[range]


@dataclass(slots=True)
class Applier:
    """Applies one change to planned keys, so that each can be put back. One use.

    archive: None for changes that need no copy. lock: looked at before each batch. checks_guards:
    whether keys that are not what the plan saw are left alone. skip: keys that are not ours to
    change. recheck: the records of the plan
    that a server which took the place of another may not know the change of.
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
    _checked: float = 0.0

    def __post_init__(self) -> None:
        self._lanes = Lanes(self.server)
        self.recovery = Recovery(self.server)
        self._begun = Recent()

    def run(
        self,
        plan: Iterable[PlannedKey],
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
            for batch in batches(plan, start, lambda: self.pace.batch, least=least, stop=stop):
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
        archive = self.archive
        if archive is None:
            self.ledger.journal.note("sent", upto=upto)
        for part in _parts(list(keys.values()), self.pace.batch):
            self._check_health()
            self.pace.before(len(part))
            self._change(part)
        self._make_durable()  # nothing is left to do, but for copies of what could not be changed
        self.ledger.end(
            upto=upto,
            copies=archive.count if archive else 0,
            digest=archive.digest if archive else "",
            kind=kind,
        )

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
                size //= 4  # keys that are written all the time must not hold up the others
            keys = {key: keys[key] for key in again}
        for key in keys:
            self._forget(key)
            self.ledger.count(Outcome.CHANGED, key, reason="it kept being written")

    def _attempt(self, keys: Keys, size: int) -> list[bytes]:
        """Try to change keys in groups of at most `size`; return those to try again."""
        again: list[bytes] = []
        wanted = [Wanted(planned.key, planned.size) for planned in keys.values()]
        for unit in self._lanes.units(wanted, size):
            if len(unit) == 1 and unit[0].keys[0].size > GIANT:
                again += self._giant(unit[0], keys)
            else:
                again += self._unit(unit, keys)
        return again

    def _unit(self, unit: Sequence[Group], keys: Keys) -> list[bytes]:
        """Take groups through a transaction side by side; return the keys to try again."""
        begun = time.monotonic()
        groups = self._look(unit)
        seconds = time.monotonic() - begun
        chosen = [self._chosen(group, keys) for group in groups]
        flying = [
            self._archived(group, copies) for group, copies in zip(groups, chosen, strict=True)
        ]
        self._make_durable()
        begun = time.monotonic()
        self._flying = flying
        for one in flying:
            commands = [self.change.command(copy, one.group.now) for copy in one.copies]
            one.group.send_commit(commands)
        again: list[bytes] = []
        while self._flying:
            again += self._committed(self._flying[0], keys)
            del self._flying[0]
        seconds += time.monotonic() - begun
        self.pace.after(sum(len(group.keys) for group in groups), seconds)
        return again

    def _look(self, unit: Sequence[Group]) -> list[Group]:
        """Look at the keys of all groups; of a slot on its way, where the key is."""
        look = self._look_options
        for group in unit:
            group.send_look(**look)
        found: list[Group] = []
        moved: list[tuple[Group, MovedError]] = []
        for group in unit:
            try:
                group.receive_look(**look)
                found.append(group)
            except MovedError as error:
                moved.append((group, error))
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
        if self.archive is None:
            return _Flying(group, copies, [range(0)] * len(copies))
        first = self.archive.count
        for copy in copies:
            self.archive.add(self.change.archived(copy))
        return _Flying(group, copies, [range(first + i, first + i + 1) for i in range(len(copies))])

    def _committed(self, flying: _Flying, keys: Keys) -> list[bytes]:
        """Read what a transaction has done; return the keys to try again."""
        try:
            replies = flying.group.receive_commit()
        except DeniedError as error:  # and nothing was changed
            return self._denied(flying, error)
        if replies is None:  # one of the keys was written meanwhile, and nothing was changed
            for records in flying.records:
                self.ledger.void(records)
            return [copy.key for copy in flying.copies]
        for copy, records, reply in zip(flying.copies, flying.records, replies, strict=True):
            outcome = self.change.outcome(reply)
            reason = reply.text if isinstance(reply, ReplyError) else ""
            self._forget(copy.key)
            self.ledger.count(outcome, copy.key, keys[copy.key].size or len(copy.data), reason)
            if outcome is not Outcome.DONE:
                self.ledger.void(records)
        return []

    def _denied(self, flying: _Flying, error: DeniedError) -> list[bytes]:
        """Leave alone what this login may not change; return the others, to try again."""
        again: list[bytes] = []
        for position, (copy, records) in enumerate(zip(flying.copies, flying.records, strict=True)):
            self.ledger.void(records)
            if position in error.denied:
                self._forget(copy.key)
                self.ledger.count(Outcome.REFUSED, copy.key, reason=error.denied[position])
            else:
                again.append(copy.key)
        return again

    def _giant(self, group: Group, keys: Keys) -> list[bytes]:
        """Take one giant key through: its elements are copied piece by piece, under WATCH."""
        key = group.keys[0].key
        try:
            copy = group.watch_giant(frequency=self._look_options["frequency"])
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
        first = self.archive.count if self.archive else 0
        try:
            self._archive_giant(group, copy)
        except UnknownTypeError:
            group.unwatch()
            reason = f"a {copy.type} of this size can't be copied piece by piece"
            self.ledger.count(Outcome.REFUSED, key, reason=reason)
            return []
        except TROUBLE:
            self.ledger.void(range(first, self.archive.count if self.archive else 0))
            raise
        self._make_durable()
        last = self.archive.count if self.archive else 0
        self._flying = [_Flying(group, [copy], [range(first, last)])]
        group.send_commit([self.change.command(copy, group.now)])
        again = self._committed(self._flying[0], keys)
        self._flying = []
        return again

    def _archive_giant(self, group: Group, copy: KeyCopy) -> None:
        if self.archive is None:
            return
        if not self.change.copies_value:
            self.archive.add(self.change.archived(copy))
            return
        waiting: KeyCopy | None = None
        for number, piece in enumerate(group.pieces(copy)):
            if waiting is not None:
                self.archive.add(replace(waiting, extra={"piece": number - 1, "more": True}))
            self._check_archive_size()
            data = pack_value(piece)
            waiting = replace(copy, how="pieces", data=data, extra={"piece": number})
        if waiting is not None:
            self.archive.add(waiting)

    def _make_durable(self) -> None:
        if self.archive is not None and self.archive.is_pending:
            self._check_archive_size()
            self.archive.sync()

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
            for copy, records in zip(group.copies, group.records, strict=True):
                if not self.ledger.has(copy.key):
                    # If two transactions of a key are uncertain, both hold the same value: the
                    # second one's WATCH began before the first could still be executed.
                    self._forget(copy.key)
                    self._suspects[copy.key] = Suspect(copy, records)
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


class Recent:
    """Remembers where in the plan the work of the last minute began, in case a server forgets."""

    def __init__(self) -> None:
        self._begun: deque[tuple[float, int]] = deque()

    def note(self, record: int) -> None:
        """A batch begins at this record of the plan."""
        now = time.monotonic()
        self._begun.append((now, record))
        while len(self._begun) > 1 and now - self._begun[1][0] > LAG:
            self._begun.popleft()

    def doubted(self, recovery: Recovery, before: range, ledger: Ledger) -> range:
        """Return which records of the plan have to be looked at again in the end.

        recovery: says whether another server has taken the place; before: what was known so far.
        The journal is told, so that a resumed run knows it, too.
        """
        if not recovery.doubt or not self._begun:
            return before
        first = 0 if recovery.doubt > LAG else self._begun[0][1]
        stop = self._begun[-1][1]
        recovery.doubt = 0.0
        if before:
            first, stop = min(first, before.start), max(stop, before.stop)
        ledger.journal.record("failover", first=first, stop=stop)
        return range(first, stop)


def _parts(keys: Sequence[PlannedKey], size: int) -> Iterator[Keys]:
    """Part the keys of a batch: into several flights when a resumed run has much to look at."""
    for at in range(0, len(keys), max(1, size)):
        yield {planned.key: planned for planned in keys[at : at + size]}


def batches(
    plan: Iterable[PlannedKey],
    start: int,
    size: Callable[[], int],
    *,
    least: int = 1,
    stop: int | None = None,
) -> Iterator[list[PlannedKey]]:
    """Yield the records of a plan from `start` to `stop`, in batches bounded by number and bytes.

    least: the records that the first batch has at least.
    """
    batch: list[PlannedKey] = []
    weight = 0
    for number, planned in enumerate(plan):
        if number < start:
            continue
        if stop is not None and number >= stop:
            break
        batch.append(planned)
        weight += planned.size
        if len(batch) >= least and (len(batch) >= size() or weight >= _BATCH_BYTES):
            yield batch
            batch, weight, least = [], 0, 1
    if batch:
        yield batch


def await_replicas(server: Server, lanes: Lanes, on_progress: OnProgress) -> None:
    """Wait while a replica is further behind than the profile allows. Raises PartialError."""
    limits = server.target.limits
    for node in server.primaries:
        deadline = time.monotonic() + 10 * PATIENCE
        while (lag := read_lag(lanes.lane(node))) > limits.max_lag:
            if lag > limits.critical_lag or time.monotonic() > deadline:
                raise PartialError(
                    f"stopped: a replica of {node.name} is {lag:,} bytes behind",
                    hint="resume when it has caught up",
                    target=node.name,
                )
            on_progress(-1, f"waiting for a replica, {lag:,} bytes behind")
            time.sleep(0.5)
