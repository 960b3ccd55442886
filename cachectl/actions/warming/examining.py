"""Looking at keys that a manifest has made: are they there, as they should be, and for how long?

Nothing is touched: values are compared in few bounded commands (server.alike), over connections
with CLIENT NO-TOUCH where there is one, and every look-up is counted (server.gate).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from cachectl.actions.execution.recovery import TROUBLE, Recovery
from cachectl.actions.planning.ranges import UNLIMITED, Range
from cachectl.config.manifest import Entry
from cachectl.server.pace import Pace
from cachectl.server.topology.gate import Gate
from cachectl.server.topology.handle import Server
from cachectl.server.topology.lanes import Lanes
from cachectl.server.topology.node import Node
from cachectl.server.transactions.transaction import check
from cachectl.server.values.alike import is_answered_by, questions_about
from cachectl.server.wire.connection import NodeConnection
from cachectl.server.wire.resp import ReplyError, as_text
from cachectl.sources.rendered import TagMember
from cachectl.values.encode import decompress

TTL_SLACK = 2000
"""Milliseconds by which a TTL may be longer than it should: clocks and journeys."""
_COMPRESSED = ("zlib", "gzip", "zstd")
_MOST = 64 * 1024 * 1024


class Fault(StrEnum):
    """What is wrong with a key; the first one that holds."""

    OK = "ok"
    MISSING = "missing"
    WRONG_TYPE = "wrong_type"
    DIFFERENT = "different"
    WRONG_TTL = "wrong_ttl"
    EXPIRING = "expiring"


@dataclass(slots=True)
class Subjects:
    """Keys of one entry that are to be looked at, as parallel columns.

    values: bytes of strings, else LogicalValue. ranges: the TTLs that the manifest allows. tags:
    the sets that are to name each key.
    """

    entry: Entry
    keys: list[bytes]
    values: list[Any]
    ranges: list[Range]
    tags: list[tuple[TagMember, ...]] | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, positions: Sequence[int]) -> Subjects:
        """Return only some of them."""
        return Subjects(
            self.entry,
            [self.keys[i] for i in positions],
            [self.values[i] for i in positions],
            [self.ranges[i] for i in positions],
            None if self.tags is None else [self.tags[i] for i in positions],
        )


@dataclass(slots=True)
class _Own:
    """What we add to one node's counters."""

    gate: Gate
    hits: int = 0
    misses: int = 0
    commands: int = 0

    def note(self, hits: int, misses: int) -> None:
        """Count look-ups, and say so: nothing is under way."""
        self.hits += hits
        self.misses += misses
        self.commands += hits + misses
        self.gate.leave(self.hits, self.misses, self.commands)


@dataclass(slots=True)
class Examiner:
    """Looks at keys, over lanes of its own.

    expiring: milliseconds; a key with less left is EXPIRING. reads: seconds of single reads, as an
    application makes them: one of each flight. ttls: what was left to the keys of the last look.
    """

    server: Server
    pace: Pace
    expiring: int | None = None
    reads: list[float] = field(default_factory=list)
    ttls: list[int] = field(default_factory=list)
    own_lookups: int = 0
    recovery: Recovery = field(init=False)
    _lanes: Lanes = field(init=False)
    _own: dict[str, _Own] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._lanes = Lanes(self.server)
        self.recovery = Recovery(self.server)

    def close(self) -> None:
        """Close the lanes."""
        for own in self._own.values():
            own.gate.close()
        self._lanes.drop()

    def look(self, subjects: Subjects, *, values: bool = True) -> list[Fault]:
        """Return what is wrong with each key, looking again after trouble. Raises PartialError.

        values: compared, else only whether a key is there, its type and its TTL.
        """
        while True:
            try:
                found = self._look(subjects, values=values)
            except TROUBLE as error:
                self._lanes.drop()
                self.recovery.after(error)
            else:
                self.recovery.fine()
                return found

    def _look(self, subjects: Subjects, *, values: bool) -> list[Fault]:
        faults = [Fault.OK] * len(subjects)
        self.ttls = [-2] * len(subjects)
        places: dict[str, tuple[Node, list[int]]] = {}
        for i, key in enumerate(subjects.keys):
            node = self.server.node_of(key)
            places.setdefault(node.name, (node, []))[1].append(i)
        for node, positions in places.values():
            lane = self._lanes.lane(node)
            own = self._own_of(node, lane)
            self.pace.before(len(positions))
            begun = time.monotonic()
            own.gate.enter()
            rest = list(self._metadata(lane, own, subjects, positions, faults))
            if values:
                self._values(lane, own, subjects, rest, faults)
            self.pace.after(len(positions), time.monotonic() - begun)
        return faults

    def _metadata(
        self,
        lane: NodeConnection,
        own: _Own,
        subjects: Subjects,
        positions: Sequence[int],
        faults: list[Fault],
    ) -> Iterator[int]:
        """Ask for types and TTLs; yield the positions of keys whose values can be compared."""
        keys = [subjects.keys[i] for i in positions]
        replies = lane.pipeline(c for key in keys for c in (("TYPE", key), ("PTTL", key)))
        missing = 0
        for number, i in enumerate(positions):
            kind, ttl = replies[2 * number : 2 * number + 2]
            check(kind)
            check(ttl)
            self.ttls[i] = ttl
            if ttl == -2 or kind == b"none":
                faults[i] = Fault.MISSING
                missing += 2
            elif as_text(kind) != _type_of(subjects.values[i]):
                faults[i] = Fault.WRONG_TYPE
            else:
                faults[i] = self._of_ttl(ttl, subjects.ranges[i])
                yield i
        own.note(len(replies) - missing, missing)
        self.own_lookups += len(replies)

    def _of_ttl(self, ttl: int, allowed: Range) -> Fault:
        if allowed == UNLIMITED:
            return Fault.OK if ttl < 0 else Fault.WRONG_TTL
        if ttl < 0 or ttl > allowed[1] + TTL_SLACK:
            return Fault.WRONG_TTL
        return Fault.EXPIRING if ttl < self.threshold(allowed) else Fault.OK

    def threshold(self, allowed: Range) -> int:
        """Return the milliseconds below which a key of such a TTL counts as expiring."""
        return allowed[0] // 10 if self.expiring is None else self.expiring

    def _values(
        self,
        lane: NodeConnection,
        own: _Own,
        subjects: Subjects,
        positions: Sequence[int],
        faults: list[Fault],
    ) -> None:
        if not positions:
            return
        self._read_one(lane, subjects, positions[0])
        questions = [questions_about(subjects.keys[i], subjects.values[i]) for i in positions]
        replies = lane.pipeline(command for some in questions for command in some)
        asked = len(replies) + len(questions[0])
        own.note(asked, 0)
        self.own_lookups += asked
        at = 0
        for i, some in zip(positions, questions, strict=True):
            answers = replies[at : at + len(some)]
            at += len(some)
            for answer in answers:
                if isinstance(answer, ReplyError) and answer.code != "WRONGTYPE":
                    check(answer)
            if not is_answered_by(subjects.values[i], answers) and not (
                self._is_same_inside(lane, own, subjects, i)
            ):
                faults[i] = Fault.DIFFERENT

    def _read_one(self, lane: NodeConnection, subjects: Subjects, i: int) -> None:
        """Read one key as an application does, for the time that it takes."""
        begun = time.perf_counter()
        lane.pipeline(questions_about(subjects.keys[i], subjects.values[i]))
        self.reads.append(time.perf_counter() - begun)

    def _is_same_inside(self, lane: NodeConnection, own: _Own, subjects: Subjects, i: int) -> bool:
        """Return whether two compressed strings hold the same: libraries compress differently."""
        value = subjects.values[i]
        compressed = [name for name in subjects.entry.codec if name in _COMPRESSED]
        if not compressed or not isinstance(value, bytes):
            return False
        own.note(1, 0)
        self.own_lookups += 1
        try:
            there = lane.call("GETRANGE", subjects.keys[i], 0, 4 * len(value) + 1024)
            return _opened(there, compressed) == _opened(value, compressed)
        except ReplyError as error:
            if error.code != "WRONGTYPE":  # it became something else since it was looked at
                raise
            return False
        except ValueError:
            return False

    def _own_of(self, node: Node, lane: NodeConnection) -> _Own:
        if node.name not in self._own:
            self._own[node.name] = _Own(self.server.gates(node.facts.run_id, lane.local_address))
        return self._own[node.name]


def _opened(value: bytes, codecs: Sequence[str]) -> bytes:
    for name in reversed(codecs):
        value = decompress(name, value, _MOST)
    return value


def _type_of(value: Any) -> str:
    return "string" if isinstance(value, bytes) else str(value.type)
