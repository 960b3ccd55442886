"""Writing keys that are known whole: pipelined by node, a flight ahead, each key accounted for.

A string is one SET, a collection is built beside and renamed: a key is there whole or not at all.
A reply that is lost is settled by looking at the key. Our own work is known by its expiry time,
which was chosen before it was sent, so counts stay true whatever breaks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cachectl.actions.execution.recovery import TROUBLE, Recovery
from cachectl.actions.planning.changes import ttl_differs
from cachectl.actions.undoing.beside import PASSING, Beside
from cachectl.actions.warming.batch import Batch
from cachectl.actions.warming.choosing import Choice
from cachectl.actions.warming.tagging import keep_tags, memberships
from cachectl.errors import CachectlError, CannotConnectError, PartialError
from cachectl.model.changes import NEVER
from cachectl.server.clock import milliseconds
from cachectl.server.pace import Pace
from cachectl.server.topology.handle import Server
from cachectl.server.topology.lanes import Lanes
from cachectl.server.topology.node import Node
from cachectl.server.transactions.setting import (
    COLLECTION_REPLIES,
    collection_reply,
    pack_collection,
    pack_strings,
    single_command,
)
from cachectl.server.transactions.transaction import MOVED_CODES, MovedError, check
from cachectl.server.values.alike import alike
from cachectl.server.values.logical import Abilities
from cachectl.server.wire.connection import NodeConnection
from cachectl.server.wire.resp import ReplyError

_PASSING = PASSING | {"BUSY", "NOREPLICAS"}


@dataclass(slots=True)
class _Part:
    """What one lane was sent: the positions of its keys in the batch, and how many replies each."""

    lane: NodeConnection
    positions: Sequence[int]
    width: int


@dataclass(slots=True)
class _Flight:
    """A batch under way.

    parts: sent, and not answered yet. again: positions to be sent again, since the server has not
    run them. lost: positions whose reply does not tell whose work is there. slow: collections
    that take several flights of their own. choice: keys that have to be looked at first.
    """

    batch: Batch
    parts: list[_Part] = field(default_factory=list)
    again: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    slow: list[int] = field(default_factory=list)
    choice: Choice | None = None
    trouble: Exception | None = None

    @property
    def is_settled(self) -> bool:
        """Whether the fate of every key is known."""
        choosing = self.choice is not None and self.choice.left
        return not (self.parts or self.again or self.lost or self.slow or choosing)


@dataclass(slots=True)
class Writer:
    """Writes batches, over lanes of its own. Not thread-safe.

    prefix: of the names beside which collections are built. on_landed: called with each batch when
    its keys are settled, in the order in which they were put. on_doubt: called when a server has
    taken the place of another, with the seconds of work that it may lack. down: nodes of a
    cluster that were given up, and why: their keys fail, the others' go on.
    """

    server: Server
    pace: Pace
    prefix: bytes
    on_landed: Callable[[Batch], None]
    on_doubt: Callable[[float], None] = lambda _seconds: None
    recovery: Recovery = field(init=False)
    down: dict[str, str] = field(default_factory=dict)
    beside: Beside = field(init=False)
    _lanes: Lanes = field(init=False)
    _aside: Lanes = field(init=False)
    _ahead: _Flight | None = None
    _is_stale: bool = False

    def __post_init__(self) -> None:
        self._lanes = Lanes(self.server)
        self._aside = Lanes(self.server)  # for settling, while the next flight is on its way
        self.recovery = Recovery(self.server)
        connection = self.server.primaries[0].connection
        self.beside = Beside(self.prefix, Abilities.of(connection), 0)

    def put(self, batch: Batch) -> None:
        """Send a batch; land the one before it. Raises PartialError, TooSlowError to give up."""
        self.pace.before(len(batch))
        if self._is_stale:
            self.finish()  # its replies come over lanes that are dropped now
            self._lanes.drop()
            self._is_stale = False
        flight = _Flight(batch)
        self._send(flight, range(len(batch)), self._lanes)
        self.finish()
        self._ahead = flight
        if not self.pace.overlap:
            self.finish()

    def finish(self) -> None:
        """Land what is under way. Raises as `put`."""
        if self._ahead is not None:
            self._land()

    def verify_primaries(self) -> None:
        """Ask once more who the primaries are; what one of them may lack is doubted.

        Raises PartialError when they can't be reached.
        """
        if not self.down:
            self.recovery.look_around()
            self._pass_on_doubt()

    def close(self) -> None:
        """Close the lanes, whatever is under way."""
        self._lanes.drop()
        self._aside.drop()

    # Sending

    def _send(self, flight: _Flight, positions: Sequence[int], by: Lanes) -> None:
        """Send keys to their nodes. What breaks is noted: a flight before this one is still out."""
        batch = flight.batch
        try:
            if batch.tags is not None:
                positions = self._tagged(batch, positions)
            if batch.is_choosy:
                flight.choice = Choice(batch, list(positions))
                return
            places = self._by_node(batch, positions)
        except TROUBLE as error:
            flight.trouble = error
            flight.again += positions
            return
        for node, some in places:
            try:
                self._send_to(flight, by.lane(node), some)
            except TROUBLE as error:
                flight.trouble = error
                known = {at for part in flight.parts for at in part.positions}
                flight.again += [at for at in some if at not in known]

    def _send_to(self, flight: _Flight, lane: NodeConnection, some: Sequence[int]) -> None:
        batch = flight.batch
        if isinstance(batch.values[some[0]], bytes):
            packed = _packed_strings(batch, some)
            flight.parts.append(_Part(lane, some, 1))  # what breaks on the way may have arrived
        else:
            sent, packed = self._packed_collections(flight, some)
            flight.parts.append(_Part(lane, sent, COLLECTION_REPLIES))
        lane.send(packed)

    def _by_node(self, batch: Batch, positions: Sequence[int]) -> list[tuple[Node, Sequence[int]]]:
        """Return which positions go to which node; those of nodes that are down fail."""
        if self.server.slot_map is None:
            return [(self.server.primaries[0], positions)] if positions else []
        places: dict[str, tuple[Node, list[int]]] = {}
        for at in positions:
            try:
                node = self.server.node_of(batch.keys[at])
            except CannotConnectError as error:
                if not self.down:
                    raise
                batch.count_failed(at, error.message)
                continue
            if node.name in self.down:
                batch.count_failed(at, self.down[node.name])
            else:
                places.setdefault(node.name, (node, []))[1].append(at)
        return list(places.values())

    def _packed_collections(self, flight: _Flight, some: Sequence[int]) -> tuple[list[int], bytes]:
        batch, sent, packed = flight.batch, [], []
        for at in some:
            key, expires_at = batch.keys[at], batch.expiries[at]
            name = self.beside.name(key)
            command = single_command(name, batch.values[at], self.beside.abilities)
            if command is None:
                flight.slow.append(at)
                continue
            sent.append(at)
            only_new = batch.only_new
            packed.append(pack_collection(key, name, command, expires_at, only_new=only_new))
        return sent, b"".join(packed)

    def _tagged(self, batch: Batch, positions: Sequence[int]) -> Sequence[int]:
        """Put keys into their sets first; return the positions of those that may be written."""
        assert batch.tags is not None  # noqa: S101 - the caller has looked
        tags = [batch.tags[at] for at in positions]
        wanted = memberships(tags, [batch.expiries[at] for at in positions])
        refused = keep_tags(self._aside, wanted, self.down)
        if not refused:
            return positions
        allowed = []
        for at in positions:
            reasons = [refused[tag.key] for tag in batch.tags[at] if tag.key in refused]
            if reasons:
                batch.count_failed(at, f"not written, since its tag can't be kept: {reasons[0]}")
            else:
                allowed.append(at)
        return allowed

    # Landing

    def _land(self) -> None:
        """Read a flight's replies, settle what they do not tell, and hand the batch over."""
        flight, self._ahead = self._ahead, None
        assert flight is not None  # noqa: S101 - whoever calls has looked
        # Of a flight that has been out for long, since its source is slow, only the time that is
        # spent waiting for it says anything of the server.
        begun, is_smooth = time.monotonic(), True
        self._read(flight)
        while flight.trouble is not None or not flight.is_settled:
            try:
                if flight.trouble is not None:
                    trouble, flight.trouble, is_smooth = flight.trouble, None, False
                    self._recover(trouble)
                    if isinstance(trouble, MovedError) and trouble.code != "MOVED":
                        self._one_by_one(flight)
                self._settle(flight)
            except TROUBLE as error:
                flight.trouble = error
        self.recovery.fine()
        if is_smooth:
            self.pace.after(len(flight.batch), time.monotonic() - begun)
        self.on_landed(flight.batch)

    def _read(self, flight: _Flight) -> None:
        """Count what was answered; note the rest as lost or to be sent again."""
        parts, flight.parts = flight.parts, []
        for part in parts:
            try:
                replies = part.lane.receive(len(part.positions) * part.width)
            except TROUBLE as error:
                flight.trouble = flight.trouble or error
                flight.lost += part.positions
                continue
            if part.width > 1:
                starts = range(0, len(replies), part.width)
                replies = [collection_reply(replies[i : i + part.width]) for i in starts]
            self._count(flight, part.positions, replies)

    def _count(self, flight: _Flight, positions: Sequence[int], replies: Sequence[Any]) -> None:
        batch = flight.batch
        if replies.count(b"OK") == len(batch):
            batch.count_all_written()
            return
        for at, reply in zip(positions, replies, strict=True):
            if isinstance(reply, ReplyError):
                if reply.code not in _PASSING:
                    batch.count_failed(at, reply.text)
                    continue
                flight.again.append(at)
                moved = reply.code in MOVED_CODES
                flight.trouble = flight.trouble or (MovedError(reply.text) if moved else reply)
            elif reply in (b"OK", 1):
                batch.count_written(at)
            elif batch.is_doubtful:
                flight.lost.append(at)
            else:
                batch.kept += 1

    def _settle(self, flight: _Flight) -> None:
        """Finish what is left of a flight over lanes of its own. Raises TROUBLE, to go on after."""
        if flight.lost:
            self._look(flight)
        if flight.again:
            again, flight.again = flight.again, []
            self._send(flight, again, self._aside)
            self._read(flight)
        while flight.slow and flight.trouble is None:
            self._write_slowly(flight)
        if flight.choice is not None and flight.trouble is None:
            places = self._by_node(flight.batch, flight.choice.left)
            flight.choice.left = [at for _, some in places for at in some]
            for node, _ in places:
                self.beside.now = self._now(self._aside.lane(node))
            flight.choice.go_on(self._aside, self.beside)

    def _look(self, flight: _Flight) -> None:
        """Find out what became of keys whose reply was lost, or is not ours for certain."""
        batch = flight.batch
        if not batch.only_new:  # writing it once more ends the same
            flight.again += flight.lost
            flight.lost = []
            return
        places = self._by_node(batch, flight.lost)
        flight.lost = [at for _, some in places for at in some]
        for node, some in places:
            lane = self._aside.lane(node)
            now, *ttls = lane.pipeline([("TIME",), *(("PTTL", batch.keys[at]) for at in some)])
            for reply in (now, *ttls):
                check(reply)
            for at, ttl in zip(some, ttls, strict=True):
                if ttl == -2:
                    flight.again.append(at)
                elif self._is_ours(lane, batch, at, NEVER if ttl < 0 else milliseconds(now) + ttl):
                    batch.count_written(at)
                else:
                    batch.kept += 1
            settled = set(some)
            flight.lost = [at for at in flight.lost if at not in settled]

    @staticmethod
    def _is_ours(lane: NodeConnection, batch: Batch, at: int, expires_at: int) -> bool:
        """Return whether a key is this batch's work: by its expiry, or without one by its value."""
        if expires_at != NEVER:
            return not ttl_differs(expires_at, batch.expiries[at])
        if batch.expiries[at] != NEVER:
            return False
        return next(alike(lane, [(batch.keys[at], batch.values[at])]))

    def _write_slowly(self, flight: _Flight) -> None:
        """Write one collection in several flights."""
        batch, at = flight.batch, flight.slow[0]
        for node, _ in self._by_node(batch, [at]):
            lane = self._aside.lane(node)
            self.beside.now = self._now(lane)
            replaces = not batch.only_new
            key, value = batch.keys[at], batch.values[at]
            reply = self.beside.write(lane, key, [value], batch.expiries[at], replaces=replaces)
            flight.slow.pop(0)
            self._count(flight, [at], [reply])
            return
        flight.slow.pop(0)

    @staticmethod
    def _now(lane: NodeConnection) -> int:
        return milliseconds(lane.call("TIME"))

    # When something breaks

    def _recover(self, trouble: Exception) -> None:
        """Connect again, or give up a node. Raises PartialError to give up all."""
        self._aside.drop()
        self._is_stale = True
        try:
            self.recovery.after(trouble)
        except PartialError as error:
            if not self._give_up_nodes():
                raise error from trouble
        self._pass_on_doubt()

    def _pass_on_doubt(self) -> None:
        if self.recovery.doubt:
            self._is_stale = True
            self.on_doubt(self.recovery.doubt)
            self.recovery.doubt = 0.0

    def _give_up_nodes(self) -> bool:
        """Note which nodes of a cluster can't be reached. Return whether others go on without."""
        if self.server.slot_map is None:
            return False
        lost = {node.name: node.error.message for node in self.server.unreachable}
        for node in self.server.primaries:
            try:
                self.server.new_connection(node).close()
            except CachectlError as error:
                lost[node.name] = error.message
        fresh = lost.keys() - self.down.keys()
        self.down |= lost
        self.recovery.fine()
        return bool(fresh) and any(node.name not in lost for node in self.server.primaries)

    def _one_by_one(self, flight: _Flight) -> None:
        """Write strings of a slot that is on its way, each where the cluster says that it is.

        A collection is renamed, for which both names must be in one place: it waits.
        """
        batch = flight.batch
        for at in [at for at in flight.again if isinstance(batch.values[at], bytes)]:
            flight.again.remove(at)
            flight.lost.append(at)
            reply = self._at(batch, at)
            flight.lost.remove(at)
            self._count(flight, [at], [reply])

    def _at(self, batch: Batch, at: int) -> Any:
        lane = self._aside.lane(self.server.node_of(batch.keys[at]))
        lane.send(_packed_strings(batch, [at]))
        reply = lane.receive(1)[0]
        if isinstance(reply, ReplyError) and reply.code == "ASK":
            place = MovedError(reply.text).host_port
            if place is not None:
                lane = self._aside.lane_to(*place)
                lane.send(_packed_strings(batch, [at], asking=True))
                reply = lane.receive(2)[1]
        return reply


def _packed_strings(batch: Batch, some: Sequence[int], *, asking: bool = False) -> bytes:
    keys, values, expiries = batch.keys, batch.values, batch.expiries
    if len(some) < len(batch):
        keys = [keys[at] for at in some]
        values = [values[at] for at in some]
        expiries = [expiries[at] for at in some]
    return pack_strings(keys, values, expiries, only_new=batch.only_new, asking=asking)
