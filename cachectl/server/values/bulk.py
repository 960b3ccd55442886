"""The values of many keys, whole: the small ones of a page in one flight, the others in pieces.

No command waits for more than a piece of a value, and reading leaves idle times alone where the
server has CLIENT NO-TOUCH. Our look-ups are counted (server.gate).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from cachectl.model.keys import Page
from cachectl.model.values import LogicalValue
from cachectl.server.pace import Pace
from cachectl.server.topology.gate import Gate
from cachectl.server.topology.handle import Server
from cachectl.server.topology.lanes import Lanes
from cachectl.server.topology.node import Node
from cachectl.server.topology.onekey import OneKey
from cachectl.server.values.logical import PIECE, Caller, UnknownTypeError, read_value
from cachectl.server.wire.connection import NodeConnection
from cachectl.server.wire.resp import Argument, ReplyError

SMALL = 64 * 1024
"""Bytes of memory up to which a value comes in one reply."""

Read = LogicalValue | str | None
"""A value; why it cannot be had, as a sentence without its subject; None: the key is gone."""

_SCANS = {"set": "SSCAN", "zset": "ZSCAN", "hash": "HSCAN"}


@dataclass(slots=True)
class Bulk:
    """Reads the values of keys. most: bytes of memory; a larger value is not read."""

    server: Server
    pace: Pace
    most: int
    lanes: Lanes = field(init=False)
    _gates: dict[str, _Counter] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.lanes = Lanes(self.server)

    def close(self) -> None:
        """Close the connections."""
        for counter in self._gates.values():
            counter.gate.close()
        self.lanes.drop()

    def read(self, page: Page) -> list[Read]:
        """Return the values of a page, which must have types and sizes.

        Raises ConnectionLostError, CannotConnectError, TooSlowError.
        """
        found: list[Read] = [None] * len(page)
        places: dict[str, tuple[Node, list[int]]] = {}
        for i, key in enumerate(page.keys):
            node = self.server.node_of(key)
            places.setdefault(node.name, (node, []))[1].append(i)
        for node, indexes in places.values():
            while indexes:
                part, indexes = indexes[: self.pace.batch], indexes[self.pace.batch :]
                for i, value in zip(part, self._part(node, page.take(part)), strict=True):
                    found[i] = value
        return found

    def _part(self, node: Node, page: Page) -> list[Read]:
        connection = self.lanes.lane(node)
        counter = self._counter(node, connection)
        types, sizes = page.types or [], page.sizes or [None] * len(page)
        small = [
            i for i, size in enumerate(sizes) if (size or 0) <= SMALL and types[i] in _FIRST_LOOKS
        ]
        self.pace.before(len(page))
        begun = time.monotonic()
        found: list[Read] = [None] * len(page)
        with counter:
            looks = [_FIRST_LOOKS[types[i]](page.keys[i]) for i in small]
            for i, reply in zip(small, counter.pipeline(connection, looks), strict=True):
                found[i] = self._whole(connection, counter, page.keys[i], types[i], reply)
            for i in sorted(set(range(len(page))) - set(small)):
                size = sizes[i] or 0
                if size > self.most:
                    found[i] = f"has {size:,} bytes, more than max_row ({self.most:,})"
                else:
                    found[i] = self._pieces(connection, counter, page.keys[i], types[i])
        self.pace.after(len(page), time.monotonic() - begun)
        return found

    def _whole(
        self, connection: NodeConnection, counter: _Counter, key: bytes, kind: str, reply: Any
    ) -> Read:
        """Return the value of a first look, which has shown all of it unless it is large."""
        if isinstance(reply, ReplyError):
            return self._elsewhere(counter, key, kind, reply)
        if kind == "string":
            return None if reply is None else LogicalValue("string", [reply])
        if kind == "list" and len(reply) < PIECE:
            return LogicalValue("list", reply) if reply else None
        if kind in ("set", "zset") and reply[0] in (b"0", 0):
            return _scanned(kind, reply[1])
        return self._pieces(connection, counter, key, kind)

    def _elsewhere(self, counter: _Counter, key: bytes, kind: str, reply: ReplyError) -> Read:
        """Return a value whose slot has moved to another node; what else was refused stays so."""
        if reply.code not in ("MOVED", "ASK", "TRYAGAIN"):
            return _refused(reply)
        with OneKey(self.server, key) as one:
            return self._pieces(one, counter, key, kind)

    def _pieces(self, caller: Caller, counter: _Counter, key: bytes, kind: str) -> Read:
        counted = _CountedCaller(caller, counter)
        elements: list[Any] = []
        state = None
        try:
            for piece in read_value(counted, key, kind):
                elements += piece.elements
                state = piece.stream or state
        except UnknownTypeError:
            return f"is of the type {kind}, which only its own server can read"
        except ReplyError as error:
            if isinstance(caller, OneKey):
                return _refused(error)
            return self._elsewhere(counter, key, kind, error)
        if kind == "string":
            elements = [b"".join(elements)] if elements else []
        elif kind in _SCANS:  # a scan may show an element twice
            elements = list({e if kind == "set" else e[0]: e for e in elements}.values())
        return LogicalValue(kind, elements, state) if elements or state else None

    def _counter(self, node: Node, connection: NodeConnection) -> _Counter:
        if node.name not in self._gates:
            gate = self.server.gates(node.facts.run_id, connection.local_address)
            self._gates[node.name] = _Counter(gate)
        return self._gates[node.name]


_FIRST_LOOKS: dict[str, Any] = {
    "string": lambda key: ("GET", key),
    "list": lambda key: ("LRANGE", key, 0, PIECE - 1),
    "set": lambda key: ("SSCAN", key, 0, "COUNT", PIECE),
    "zset": lambda key: ("ZSCAN", key, 0, "COUNT", PIECE),
}
"""Type → the command whose reply is a small value (a hash needs a second, for its fields' TTLs)."""


_NOTHING = [b"0", []]
"""What a scan of a key that is gone answers."""


def _scanned(kind: str, flat: Sequence[bytes]) -> Read:
    if not flat:
        return None
    if kind == "set":
        return LogicalValue("set", list(dict.fromkeys(flat)))
    scores = dict(zip(flat[::2], map(float, flat[1::2]), strict=True))
    return LogicalValue("zset", list(scores.items()))


def _refused(reply: ReplyError) -> str:
    if reply.code == "WRONGTYPE":
        return "has changed its type while it was read"
    return f"was refused by its server: {reply.text}"


@dataclass(slots=True)
class _Counter:
    """Counts the look-ups of one connection, and tells its gate."""

    gate: Gate
    hits: int = 0
    misses: int = 0
    commands: int = 0

    def __enter__(self) -> _Counter:
        self.gate.enter()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.gate.leave(self.hits, self.misses, self.commands)

    def pipeline(
        self, connection: NodeConnection, commands: list[tuple[Argument, ...]]
    ) -> Iterator[Any]:
        """Send commands of one look-up each; yield their replies."""
        for reply in connection.pipeline(commands) if commands else ():
            self.count(reply, missed=reply is None or reply in ([], _NOTHING))
            yield reply

    def count(self, reply: Any, *, missed: bool) -> None:
        """Count one look-up."""
        self.commands += 1
        if missed:
            self.misses += 1
        elif not isinstance(reply, ReplyError):
            self.hits += 1


@dataclass(slots=True)
class _CountedCaller:
    caller: Caller
    counter: _Counter

    def call(self, *arguments: Argument) -> Any:
        reply = self.caller.call(*arguments)
        if arguments[0] != "TIME":
            # Nothing may well be the end of a key that is there: of a range, and of a scan that
            # goes on from a cursor, as the last part of its table can be empty.
            gone = reply == _NOTHING and arguments[2] == b"0"
            self.counter.count(reply, missed=gone or reply is None or reply == 0)
        return reply
