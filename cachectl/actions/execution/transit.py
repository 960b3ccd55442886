"""The way of keys through their transactions, with the next ones on their way meanwhile.

    look (WATCH, PTTL, idle, DUMP) → archive, fsync → MULTI change EXEC

Groups become durable together, as a unit; a change leaves when its unit is durable, never before.
Two units are under way: while the copies of one are written and synced, the other is looked at
over lanes of its own. A lane's change leaves together with the look at its next keys: one write
for us, one event for the server. It has two flights at most to work on, so that it need not wait
for us, nor anybody else for long.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cachectl.actions.execution.keeping import Keeper
from cachectl.actions.execution.parting import in_waves
from cachectl.actions.planning.changes import Change
from cachectl.model.changes import KeyCopy
from cachectl.server.pace import Pace
from cachectl.server.topology.lanes import TEAMS, Lanes
from cachectl.server.transactions.transaction import Group, MovedError
from cachectl.server.wire.connection import NodeConnection
from cachectl.server.wire.resp import ReplyError

_CHEAPER = 4
"""How many keys a server changes in the time that it takes to look at one."""


@dataclass(frozen=True, slots=True)
class Flying:
    """A group in the second half of its transaction: copies, and their records in the archive."""

    group: Group
    copies: Sequence[KeyCopy]
    records: range

    def records_of(self, number: int) -> range:
        """Return the records of one of the copies; a giant has several."""
        return self.records if len(self.copies) == 1 else self.records[number : number + 1]


class Judge(Protocol):
    """Decides what becomes of keys; those that it has not settled are to be tried again."""

    @property
    def is_full(self) -> bool:
        """Whether the server is out of memory and takes no transactions."""
        ...

    def chosen(self, group: Group) -> list[KeyCopy]:
        """Return the copies, of a group that was looked at, that are to be changed."""
        ...

    def committed(self, flying: Flying) -> None:
        """Read what a change has done."""
        ...

    def denied(self, names: Sequence[bytes], error: ReplyError) -> None:
        """Take note of keys that could not be looked at, or raise error."""
        ...


@dataclass(slots=True)
class _Flight:
    """What is on its way: groups being looked at, and changes. is_last: of its unit's looks."""

    looks: Sequence[Group] = ()
    is_last: bool = False
    changes: Sequence[Flying] = ()
    sent_at: float = 0.0


@dataclass(slots=True)
class Transit:
    """Takes units of groups through their transactions. One use.

    look: what a look asks for (see Group.send_look). changing: changes that were sent and not
    answered.
    """

    lanes: Lanes
    pace: Pace
    keeper: Keeper
    change: Change
    judge: Judge
    look: Mapping[str, bool]
    changing: deque[Flying]
    _out: deque[_Flight] = field(default_factory=deque)
    _looked: list[tuple[Group, list[KeyCopy]]] = field(default_factory=list)
    _keeping: list[Flying] | None = None
    _ready: list[Flying] = field(default_factory=list)
    _unit: Sequence[Group] = ()
    _waves: deque[Sequence[Group]] = field(default_factory=deque)
    _team: int = 0
    _asking: int = 0
    _attentive: float = 0.0

    def take(self, units: Iterable[Sequence[Group]]) -> None:
        """Take units through.

        Raises TROUBLE, StorageError, PartialError; of what was not changed the copies are void.
        """
        waiting = iter(units)
        try:
            while self._step(waiting):
                pass
        except BaseException:
            kept = (*self._ready, *(self._keeping or ()))
            self.keeper.take_back(one.records for one in kept)
            raise

    def _step(self, units: Iterator[Sequence[Group]]) -> bool:
        """Send what may leave, and take in what came first. Return whether there was anything."""
        if self._keeping is not None and self.keeper.is_done:
            self._release()
        while len(self._out) < self._most and (flight := self._next(units)):
            self._send(flight)
        if self._out:
            self._receive(self._out.popleft())
        elif self._keeping is not None:
            self._release()
        else:
            return False
        return True

    @property
    def _most(self) -> int:
        """How many flights may be on their way. Rests must not count as time of the server."""
        return 2 if self.pace.overlap and self.pace.cap.rate is None else 1

    def _next(self, units: Iterator[Sequence[Group]]) -> _Flight | None:
        """Return what may leave now, None when something has to be waited for."""
        changes: list[Flying] = []
        if not self._waves:
            self._unit = self._unit or next(units, ())
            if not self._unit:
                return self._last_changes()
            lanes = _lanes(self._unit)
            if lanes & self._busy:
                return None
            self._waves.extend(in_waves(self._unit, self.pace.batch))
            self._unit = ()
            changes = self._changes(lambda lane: lane not in lanes)
        wave = self._waves.popleft()
        lanes = _lanes(wave)
        changes += self._changes(lambda lane: lane in lanes)
        return _Flight(looks=wave, is_last=not self._waves, changes=changes)

    @property
    def _busy(self) -> set[int]:
        """The lanes that WATCH for groups whose change can't leave yet."""
        looked = (group for group, _ in self._looked)
        kept = (one.group for one in self._keeping or ())
        out = (group for flight in self._out for group in flight.looks)
        return _lanes((*looked, *kept, *out))

    def _changes(self, leaves: Callable[[int], bool]) -> list[Flying]:
        """Take the changes out of those that are ready whose lanes it is time for."""
        changes = [one for one in self._ready if leaves(id(one.group.lane))]
        self._ready = [one for one in self._ready if not leaves(id(one.group.lane))]
        return changes

    def _last_changes(self) -> _Flight | None:
        """Return as many changes as a flight may have when no looks are left."""
        for wave in in_waves([one.group for one in self._ready], _CHEAPER * self.pace.batch):
            changes, self._ready = self._ready[: len(wave)], self._ready[len(wave) :]
            return _Flight(changes=changes)
        return None

    def _send(self, flight: _Flight) -> None:
        self.pace.before(_size(flight.looks))
        flight.sent_at = time.monotonic()
        self._out.append(flight)
        self.changing += flight.changes
        packed: dict[int, tuple[NodeConnection, list[bytes]]] = {}
        for one in flight.changes:
            commands = self.change.commands(one.copies, one.group.now)
            change = one.group.pack_commit(commands, outside=self.judge.is_full)
            packed.setdefault(id(one.group.lane), (one.group.lane, []))[1].append(change)
        for group in flight.looks:
            look = group.pack_look(**self.look)
            packed.setdefault(id(group.lane), (group.lane, []))[1].append(look)
        for lane, parts in packed.values():
            lane.send(b"".join(parts))

    def _receive(self, flight: _Flight) -> None:
        for one in flight.changes:
            self.judge.committed(one)
            self.changing.popleft()
        found = self._look(flight.looks)
        begun, now = max(self._attentive, flight.sent_at), time.monotonic()
        self._attentive = now
        self.pace.after(_size(flight.looks or [one.group for one in flight.changes]), now - begun)
        self._looked += [(group, self.judge.chosen(group)) for group in found]
        if flight.is_last:
            self._keep()

    def _keep(self) -> None:
        """Begin to make the copies of a unit durable, when those of the one before are."""
        if self._keeping is not None:
            self._release()
            self._attentive = time.monotonic()
        looked, self._looked = self._looked, []
        self._asking, self._team = 0, (self._team + 1) % TEAMS
        kept = [
            [self.change.archived(copy, group.now) for copy in copies] for group, copies in looked
        ]
        records = self.keeper.begin([copy for copies in kept for copy in copies])
        self._keeping, at = [], 0
        for (group, _), copies in zip(looked, kept, strict=True):
            self._keeping.append(Flying(group, copies, records[at : at + len(copies)]))
            at += len(copies)

    def _release(self) -> None:
        """Let the changes of a unit leave, once its copies are durable."""
        self.keeper.finish()
        self._ready += self._keeping or ()
        self._keeping = None

    def _look(self, wave: Sequence[Group]) -> list[Group]:
        """Read what was asked for; of a slot on its way, look where the key is."""
        found: list[Group] = []
        moved: list[tuple[Group, MovedError]] = []
        for group in wave:
            try:
                group.receive_look(**self.look)
                found.append(group)
            except MovedError as error:
                moved.append((group, error))
            except ReplyError as error:
                self.judge.denied([wanted.key for wanted in group.keys], error)
        for group, refusal in moved:
            place = refusal.host_port
            if refusal.code != "ASK" or place is None or len(group.keys) > 1:
                raise refusal
            lane = self.lanes.lane_to(*place, self._asking * TEAMS + self._team)
            self._asking += 1
            asking = Group(lane, group.keys, asks=True)
            asking.send_look(**self.look)
            asking.receive_look(**self.look)
            found.append(asking)
        return found


def _lanes(groups: Iterable[Group]) -> set[int]:
    return {id(group.lane) for group in groups}


def _size(groups: Iterable[Group]) -> int:
    return sum(len(group.keys) for group in groups)
