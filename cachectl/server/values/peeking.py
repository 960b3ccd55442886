"""Reading many small values whole, and the beginnings of long strings, within a budget.

Each command's reply is bounded: a collection is read only when MEMORY USAGE says that it is small,
of a string its beginning.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cachectl.model.keys import Page
from cachectl.model.values import LogicalValue
from cachectl.server.pace import Pace, RateCap
from cachectl.server.scanning.scan_errors import is_about_key
from cachectl.server.topology.gate import Gate
from cachectl.server.topology.handle import Server
from cachectl.server.topology.node import Node
from cachectl.server.wire.connection import ConnectionLostError, NodeConnection
from cachectl.server.wire.resp import Argument, ReplyError, as_float, as_pairs

STRING_CAP = 64 * 1024
"""Bytes of a string that are read."""
COLLECTION_CAP = 128 * 1024
"""MEMORY USAGE above which a collection is not read."""
_FLIGHT_BYTES = 1024 * 1024

_COMMANDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "string": (("GETRANGE",), ("0", str(STRING_CAP - 1))),
    "hash": (("HGETALL",), ()),
    "set": (("SMEMBERS",), ()),
    "list": (("LRANGE",), ("0", "-1")),
    "zset": (("ZRANGE",), ("0", "-1", "WITHSCORES")),
}
Command = tuple[Argument, ...]


@dataclass(slots=True)
class Peeked:
    """What was read. values: parallel to the keys of a page. read: bytes; refused: values that the
    login may not read; forbidden: the server's words when it may not run the command at all; lost:
    those that moved or changed meanwhile; skipped: collections that were too large."""

    values: list[LogicalValue | None]
    read: int = 0
    refused: int = 0
    forbidden: str = ""
    lost: int = 0
    skipped: int = 0


class Peeker:
    """Reads values of keys over connections of its own, at a pace. Not thread-safe.

    touched: whether reading has reset idle times, for want of CLIENT NO-TOUCH.
    """

    def __init__(self, server: Server, pace: Pace | None = None) -> None:
        limits = server.target.limits
        self.touched = False
        self._server = server
        self._pace = pace or Pace.of(limits, server.target.pace, RateCap(limits.max_rate))
        self._open: dict[str, tuple[NodeConnection, Gate]] = {}
        self._counts: dict[str, list[int]] = {}

    def values(self, page: Page) -> Peeked:
        """Read the values of a page's keys, None for what is not read.

        The page needs types and sizes. Raises CannotConnectError.
        """
        found = Peeked([None] * len(page))
        types = page.types or [""] * len(page)
        sizes = page.sizes or [None] * len(page)
        wanted: list[tuple[int, Command, int]] = []
        for row, (key, kind, size) in enumerate(zip(page.keys, types, sizes, strict=True)):
            if kind not in _COMMANDS or size is None:
                continue
            if kind != "string" and size > COLLECTION_CAP:
                found.skipped += 1
                continue
            head, tail = _COMMANDS[kind]
            wanted.append((row, (*head, key, *tail), min(size, COLLECTION_CAP)))
        for group in _groups(wanted, self._pace.batch):
            replies = self._flight(page.node, [command for _, command, _ in group])
            for (row, _, size), reply in zip(group, replies, strict=True):
                if isinstance(reply, ReplyError):
                    if is_about_key(reply):
                        found.refused += 1
                    elif reply.code == "NOPERM":
                        found.forbidden = reply.text
                    else:
                        found.lost += 1
                    continue
                found.read += size
                found.values[row] = _value(types[row], reply)
        return found

    def close(self) -> None:
        """Close the connections."""
        for connection, gate in self._open.values():
            gate.close()
            connection.close()
        self._open.clear()

    def __enter__(self) -> Peeker:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _flight(self, name: str, commands: Sequence[Command]) -> list[Any]:
        connection, gate = self._connection(name)
        counts = self._counts.setdefault(name, [0, 0, 0])
        self._pace.before(len(commands))
        gate.enter()
        sent_at = time.monotonic()
        try:
            replies = connection.pipeline(commands)
        except ConnectionLostError:  # reading twice harms nobody
            self._open.pop(name)
            gate.close()
            connection, gate = self._connection(name)
            counts[:] = [0, 0, 0]
            gate.enter()
            replies = connection.pipeline(commands)
        self._pace.after(len(commands), time.monotonic() - sent_at)
        for reply in replies:
            missing = reply is None or reply in (b"", [], {})
            counts[1 if missing else 0] += not isinstance(reply, ReplyError)
        counts[2] += len(commands)
        gate.leave(*counts)
        return replies

    def _connection(self, name: str) -> tuple[NodeConnection, Gate]:
        if name not in self._open:
            node = self._node(name)
            connection = self._server.new_connection(node)
            gate = self._server.gates(node.identity.run_id, connection.local_address)
            self._open[name] = connection, gate
            self.touched = self.touched or not connection.no_touch
        return self._open[name]

    def _node(self, name: str) -> Node:
        for node in self._server.primaries:
            if node.name == name:
                return node
        return self._server.primaries[0]


def _groups(
    wanted: Sequence[tuple[int, Command, int]], most: int
) -> Iterator[list[tuple[int, Command, int]]]:
    """Yield commands in flights of so many, and of about a megabyte."""
    group: list[tuple[int, Command, int]] = []
    total = 0
    for one in wanted:
        if group and (len(group) >= most or total + one[2] > _FLIGHT_BYTES):
            yield group
            group, total = [], 0
        group.append(one)
        total += one[2]
    if group:
        yield group


def _value(kind: str, reply: Any) -> LogicalValue | None:
    """Return a reply of either protocol as elements; None for a key that has vanished."""
    if not reply and kind != "string":
        return None
    match kind:
        case "string":
            return LogicalValue(kind, [reply])
        case "hash":
            return LogicalValue(kind, [(name, value, None) for name, value in as_pairs(reply)])
        case "zset":
            pairs = reply if isinstance(reply[0], list) else as_pairs(reply)
            return LogicalValue(kind, [(member, as_float(score) or 0.0) for member, score in pairs])
    return LogicalValue(kind, list(reply))
