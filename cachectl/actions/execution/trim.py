"""Trimming tag sets: taking out the members whose keys are there no longer.

The members are copied to the archive first, so that undo can put them back; nothing else of a set
is touched, and a set that loses its last member is gone, as servers have it. In a cluster a set
and its members live on different nodes, so no transaction can hold both: a key that comes back
while its member is taken out is noticed by looking once more, and its member put back at once.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cachectl.actions.execution.ledger import Ledger
from cachectl.actions.execution.recovery import TROUBLE, Recovery
from cachectl.actions.planning.changes import Outcome
from cachectl.errors import PartialError
from cachectl.model.changes import NEVER, KeyCopy
from cachectl.model.values import LogicalValue
from cachectl.server.clock import milliseconds
from cachectl.server.topology.handle import Server
from cachectl.server.topology.lanes import Lanes
from cachectl.server.transactions.locks import Lock
from cachectl.server.transactions.transaction import check
from cachectl.server.values.logical import Command, read_value
from cachectl.server.values.tags import KINDS, member_of
from cachectl.server.wire.connection import NodeConnection
from cachectl.server.wire.resp import as_text
from cachectl.storage.elements import pack_value
from cachectl.storage.spool import Copies, SpoolWriter

_REMOVE = {"set": "SREM", "zset": "ZREM", "hash": "HDEL"}


@dataclass(slots=True)
class Trimmer:
    """Trims the tag sets of one run. archive: None when nothing is kept. trimmed: members.

    planned: sets that are keys of the plan, and counted: they are gone when none of their members
    is left.
    """

    server: Server
    archive: SpoolWriter[Copies] | None
    ledger: Ledger
    recovery: Recovery
    lock: Lock
    planned: frozenset[bytes]
    trimmed: int = 0
    _lanes: Lanes = field(init=False)
    _is_first: bool = True

    def __post_init__(self) -> None:
        self._lanes = Lanes(self.server)

    def trim(self, tag: bytes, upto: int) -> None:
        """Take out of one set what is there no longer. Doing it again does no harm.

        upto: the number of records in the plan. Raises PartialError.
        """
        self._is_first = is_whole = tag in self.planned
        before = self.trimmed
        with self._lanes:
            while True:
                try:
                    size = self._trim(tag)
                    is_left = self._lane(tag).call("EXISTS", tag)
                    break
                except TROUBLE as error:
                    self._lanes.drop()
                    self.recovery.after(error)
        self.recovery.fine()
        self.ledger.begin()
        if is_whole and is_left:
            reason = "some of its members are still there"
            self.ledger.count(Outcome.CHANGED, tag, reason=reason)
        elif is_whole:
            outcome = Outcome.DONE if self.trimmed > before else Outcome.GONE
            self.ledger.count(outcome, tag, size)
        archive = self.archive
        self.ledger.end(
            upto=upto,
            copies=archive.count if archive else 0,
            digest=archive.digest if archive else "",
            tag=base64.b64encode(tag).decode(),
        )

    def _trim(self, tag: bytes) -> int:
        """Trim one set; return the bytes that it took."""
        lane = self._lane(tag)
        kind, ttl, clock, size = lane.pipeline(
            [("TYPE", tag), ("PTTL", tag), ("TIME",), ("MEMORY", "USAGE", tag)]
        )
        for reply in (kind, ttl, clock):
            check(reply)
        name = as_text(kind)
        if name not in KINDS:
            return 0
        expires_at = NEVER if ttl < 0 else milliseconds(clock) + ttl
        # A list moves up while elements are taken out of it, so it is read to its end first.
        pieces = read_value(lane, tag, name)
        for piece in list(pieces) if name == "list" else pieces:
            if self.lock.lost.is_set():
                raise PartialError("stopped: the lock in the server was lost", hint="resume")
            self._take_out(lane, KeyCopy(tag, name, "members", expires_at=expires_at), piece)
        return size if isinstance(size, int) else 0

    def _take_out(self, lane: NodeConnection, copy: KeyCopy, piece: LogicalValue) -> None:
        there = self._present([member_of(element) for element in piece.elements])
        gone = [e for e in piece.elements if member_of(e) not in there]
        if not gone:
            return
        self._archive(copy, LogicalValue(copy.type, gone))
        names = list(dict.fromkeys(member_of(element) for element in gone))
        for reply in lane.pipeline(_removal(copy.key, copy.type, names)):
            check(reply)
        self.trimmed += len(names)
        back = self._present(names)
        again = [element for element in gone if member_of(element) in back]
        for reply in lane.pipeline(addition(copy.key, LogicalValue(copy.type, again))):
            check(reply)
        self.trimmed -= len(back)

    def _archive(self, copy: KeyCopy, value: LogicalValue) -> None:
        if self.archive is None:
            return
        extra = {"whole": True} if self._is_first else {}
        self._is_first = False
        self.archive.add([copy._replace(data=pack_value(value), extra=extra)])
        self.archive.sync()

    def _present(self, keys: Sequence[bytes]) -> set[bytes]:
        """Return which of these keys are there."""
        by_node: dict[str, list[bytes]] = {}
        for key in keys:
            by_node.setdefault(self.server.node_of(key).name, []).append(key)
        there: set[bytes] = set()
        for some in by_node.values():
            replies = self._lane(some[0]).pipeline(("EXISTS", key) for key in some)
            for key, reply in zip(some, replies, strict=True):
                check(reply)
                if reply:
                    there.add(key)
        return there

    def _lane(self, key: bytes) -> NodeConnection:
        return self._lanes.lane(self.server.node_of(key))


def _removal(tag: bytes, kind: str, names: Sequence[bytes]) -> list[Command]:
    if kind == "list":
        return [("LREM", tag, 0, name) for name in names]
    return [(_REMOVE[kind], tag, *names)]


def addition(tag: bytes, value: LogicalValue) -> list[Command]:
    """Return the commands that put members into a tag set, without changing those in it."""
    elements: Sequence[Any] = value.elements
    if not elements:
        return []
    match value.type:
        case "set":
            return [("SADD", tag, *elements)]
        case "zset":
            flat = [part for member, score in elements for part in (score, member)]
            return [("ZADD", tag, "NX", *flat)]
        case "hash":
            return [("HSETNX", tag, name, text) for name, text, _ in elements]
    return [("RPUSH", tag, *elements)]
