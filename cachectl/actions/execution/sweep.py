"""Remove keys without copies, as fast as the server goes: UNLINK of many keys, a flight ahead."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cachectl.actions.execution.ledger import Ledger, Tally
from cachectl.actions.execution.parting import batches
from cachectl.actions.execution.recovery import (
    TROUBLE,
    OnProgress,
    Recent,
    Recovery,
    await_replicas,
)
from cachectl.actions.planning.changes import Outcome
from cachectl.errors import PartialError
from cachectl.model.changes import PlannedKeys
from cachectl.server.pace import Pace
from cachectl.server.topology.handle import Server
from cachectl.server.topology.lanes import Lanes
from cachectl.server.topology.node import Node
from cachectl.server.topology.slots import slot_of
from cachectl.server.transactions.locks import Lock
from cachectl.server.transactions.transaction import MOVED_CODES, Asking, MovedError, check
from cachectl.server.wire.connection import NodeConnection
from cachectl.server.wire.resp import ReplyError, pack_names

_HEALTH_EVERY = 1.0

Keys = Sequence[bytes]


@dataclass(slots=True)
class _Flight:
    """One batch under way.

    sizes: of the keys in bytes, as far as they are known. parts: the keys by lane, in the order of
    the commands that were sent. refused: keys whose command was answered with an error, and so was
    not run; denied: those of them of which one at least is not for this login to remove.
    trouble: what broke while it was sent. is_uncertain: keys that are gone may be our own work.
    """

    keys: Keys
    sizes: Mapping[bytes, int]
    upto: int
    parts: list[tuple[NodeConnection, list[Keys]]] = field(default_factory=list)
    refused: list[bytes] = field(default_factory=list)
    denied: list[bytes] = field(default_factory=list)
    trouble: Exception | None = None
    sent_at: float = 0.0
    is_uncertain: bool = False


@dataclass(slots=True)
class Sweeper:
    """Removes planned keys for good. One use; the counterpart of Applier when nothing is kept.

    skip: keys that are not ours to remove. recheck: the records of the plan that a server which
    took the place of another may not know the removal of.
    """

    server: Server
    ledger: Ledger
    pace: Pace
    lock: Lock
    on_progress: OnProgress = lambda _done, _note: None
    skip: frozenset[bytes] = frozenset()
    recheck: range = range(0)
    recovery: Recovery = field(init=False)
    _lanes: Lanes = field(init=False)
    _aside: Lanes = field(init=False)
    _is_stale: bool = False
    _begun: Recent = field(init=False)
    _checked: float = 0.0

    def __post_init__(self) -> None:
        self._lanes = Lanes(self.server)
        self._aside = Lanes(self.server)  # for settling, while the next flight is on its way
        self.recovery = Recovery(self.server)
        self._begun = Recent()

    def run(
        self,
        plan: Iterable[PlannedKeys],
        *,
        start: int = 0,
        stop: int | None = None,
        uncertain: int = 0,
        kind: str = "done",
    ) -> Tally:
        """Remove every key of the plan from record `start` to `stop`. Return what became of them.

        uncertain: up to this record an earlier process may have removed keys: which of those that
        are gone were its work can't be told any more. kind: of the journal's entries. Raises
        PartialError when it stops before the end; what was done is in the journal.
        """
        done = start
        ahead: _Flight | None = None
        with self._lanes, self._aside:
            for batch in batches(plan, start, lambda: self.pace.batch, stop=stop):
                self._check_health()
                if ahead is not None and (self._is_stale or self._rests):
                    self._land(ahead, kind)
                    ahead = None
                self.pace.before(len(batch))
                self._begun.note(done)
                upto = done + len(batch)
                if self.skip:
                    batch = batch.without(self.skip)
                sizes = dict(zip(batch.keys, batch.sizes, strict=True)) if any(batch.sizes) else {}
                flight = _Flight(batch.keys, sizes, upto, is_uncertain=done < uncertain)
                done = flight.upto
                self.ledger.journal.note("sent", upto=done)
                if self._is_stale:
                    self._lanes.drop()
                    self._is_stale = False
                self._launch(flight)
                if ahead is not None:
                    self._land(ahead, kind)
                ahead = flight
                self.on_progress(done, "")
            if ahead is not None:
                self._land(ahead, kind)
            self._begun.note(done)
            # One that was replaced unnoticed may not know of the last removals.
            self.recovery.look_around()
            self.recheck = self._begun.doubted(self.recovery, self.recheck, self.ledger)
        return self.ledger.tally

    @property
    def _rests(self) -> bool:
        """Whether there may be rests between flights: they must not count as time of the server."""
        return not self.pace.overlap or self.pace.cap.rate is not None

    def _launch(self, flight: _Flight) -> None:
        """Send a flight. What breaks is looked at when it lands: one before it is still out."""
        flight.sent_at = time.monotonic()
        try:
            self._send(flight, flight.keys, self._lanes)
        except TROUBLE as error:
            flight.trouble = error

    def _send(self, flight: _Flight, keys: Keys, by: Lanes) -> None:
        flight.parts = [
            (by.lane(node), groups) for node, groups in self._by_place(keys).values() if groups
        ]
        for lane, groups in flight.parts:
            lane.send(b"".join([pack_names("UNLINK", group) for group in groups]))

    def _by_place(self, keys: Keys) -> dict[str, tuple[Node, list[Keys]]]:
        """Return name of a node → the node, and its keys in groups that one command may hold."""
        if self.server.slot_map is None:
            node = self.server.primaries[0]
            return {node.name: (node, [keys] if keys else [])}
        places: dict[tuple[str, int], list[bytes]] = {}
        nodes: dict[str, tuple[Node, list[Keys]]] = {}
        for key in keys:
            node = self.server.node_of(key)
            nodes.setdefault(node.name, (node, []))
            places.setdefault((node.name, slot_of(key)), []).append(key)
        for (name, _), group in places.items():
            nodes[name][1].append(group)
        return nodes

    def _land(self, flight: _Flight, kind: str) -> None:
        """Read a flight's replies and note them; settle what became of lost ones."""
        self.ledger.begin()
        trouble = flight.trouble or self._read(flight)
        seconds = None if trouble else time.monotonic() - flight.sent_at
        while trouble is not None or flight.denied:
            trouble = self._settle(flight, trouble) if trouble else self._one_by_one(flight)
        self.recovery.fine()
        self.ledger.end(upto=flight.upto, copies=0, kind=kind)
        if seconds is not None:  # what it takes to find a server again says nothing of its pace
            self.pace.after(len(flight.keys), seconds)

    def _read(self, flight: _Flight) -> Exception | None:
        """Count what was answered. Return what was wrong with the rest, if anything."""
        trouble: Exception | None = None
        for lane, groups in flight.parts:
            try:
                replies = lane.receive(len(groups))
            except TROUBLE as error:
                trouble = trouble or error
                continue
            for group, reply in zip(groups, replies, strict=True):
                if not isinstance(reply, ReplyError):
                    self._count(flight, group, reply)
                elif reply.code == "NOPERM":
                    flight.denied += group
                else:
                    flight.refused += group
                    moved = reply.code in MOVED_CODES
                    trouble = trouble or (MovedError(reply.text) if moved else reply)
        flight.parts = []
        return trouble

    def _one_by_one(self, flight: _Flight) -> Exception | None:
        """Remove keys with commands of their own, and leave those that the login may not remove."""
        denied, flight.denied = flight.denied, []
        for number, key in enumerate(denied):
            try:
                self._count(flight, [key], self._at(key, "UNLINK"))
            except TROUBLE as error:
                if isinstance(error, ReplyError) and error.code == "NOPERM":
                    self.ledger.count(Outcome.REFUSED, key, reason=error.text)
                    continue
                flight.denied = denied[number + 1 :]
                flight.is_uncertain = True  # what was just sent may have been done
                flight.refused.append(key)
                return error
        return None

    def _count(self, flight: _Flight, keys: Keys, removed: int) -> None:
        # How many were there is known, and which is not: nobody needs to know.
        missing = Outcome.UNKNOWN if flight.is_uncertain else Outcome.GONE
        for outcome, some in ((Outcome.DONE, keys[:removed]), (missing, keys[removed:])):
            if some:
                size = sum(flight.sizes[key] for key in some) if flight.sizes else 0
                self.ledger.count_all(outcome, some, size)

    def _settle(self, flight: _Flight, trouble: Exception) -> Exception | None:
        """Connect again and finish a flight: what was refused, and what is there of the rest.

        Keys that are gone after a lost reply may have been removed by us or not. Return the next
        trouble. Raises PartialError to give up.
        """
        refused, flight.refused = flight.refused, []
        known = {*refused, *flight.denied}
        lost = [key for key in flight.keys if key not in known and not self.ledger.has(key)]
        is_moving = isinstance(trouble, MovedError) and trouble.code != "MOVED"
        try:
            self._aside.drop()
            self._is_stale = True
            self.recovery.after(trouble)
            self.recheck = self._begun.doubted(self.recovery, self.recheck, self.ledger)
            if lost:
                flight.is_uncertain = True
                refused = refused + [key for key in lost if self._at(key, "EXISTS")]
                there = set(refused)
                gone = [key for key in lost if key not in there]
                self._count(flight, gone, 0)
            if is_moving:
                for key in refused:
                    self._count(flight, [key], self._at(key, "UNLINK"))
                return None
            self._send(flight, refused, self._aside)
        except TROUBLE as error:
            flight.is_uncertain = True  # what was just sent may have been done
            flight.refused = [key for key in refused if not self.ledger.has(key)]
            return error
        return self._read(flight)

    def _at(self, key: bytes, command: str) -> int:
        """Run a command on one key, wherever it is. Raises TROUBLE."""
        reply = self._aside.lane(self.server.node_of(key)).pipeline([(command, key)])[0]
        if isinstance(reply, ReplyError) and reply.code == "ASK":
            place = MovedError(reply.text).host_port
            if place is not None:
                return int(Asking(self._aside.lane_to(*place)).call(command, key))
        check(reply)
        return int(reply)

    def _check_health(self) -> None:
        if self.lock.lost.is_set():
            raise PartialError("stopped: the lock in the server was lost", hint="resume")
        now = time.monotonic()
        while now - self._checked >= _HEALTH_EVERY:
            try:
                with Lanes(self.server) as lanes:
                    await_replicas(self.server, lanes, self.on_progress)
                self._checked = now
            except TROUBLE as error:
                self.recovery.after(error)
                self.recheck = self._begun.doubted(self.recovery, self.recheck, self.ledger)
