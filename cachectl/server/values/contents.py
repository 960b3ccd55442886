"""Looking into values for conditions on them: one field of a hash, or a whole string, of many keys.

Reading is bounded: a string above the cap is not read, and few bytes are under way at once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from cachectl.config.target import PaceName
from cachectl.errors import RefusedError
from cachectl.model.findings import Unavailable
from cachectl.server.pace import Pace, RateCap
from cachectl.server.scanning.scan_errors import MOVED_CODES, is_about_key, why_refused
from cachectl.server.topology.handle import Server
from cachectl.server.topology.node import Node
from cachectl.server.wire.connection import ConnectionLostError, NodeConnection
from cachectl.server.wire.resp import Argument, ReplyError

CAP = 1024 * 1024
"""Bytes of a value above which it is not looked into."""
_FLIGHT_BYTES = 4 * 1024 * 1024

Command = tuple[Argument, ...]


class ContentReader:
    """Reads values of keys over connections of its own, at a pace. Not thread-safe.

    too_large, unreadable, lost: values that were not looked into, because of the cap, of the login,
    or because they moved to another node or changed meanwhile.
    """

    def __init__(
        self,
        server: Server,
        *,
        pace: PaceName | None = None,
        max_rate: int | None = None,
        cap: int = CAP,
    ) -> None:
        self.too_large = 0
        self.unreadable = 0
        self.lost = 0
        self._server = server
        self._cap = cap
        self._rate = RateCap(max_rate or server.target.limits.max_rate)
        self._pace = Pace.of(server.target.limits, pace or server.target.pace, self._rate)
        self._connections: dict[str, NodeConnection] = {}

    @property
    def gaps(self) -> list[Unavailable]:
        """What could not be looked into, and why."""
        counted = (
            (self.too_large, f"larger than {self._cap:,} bytes", None),
            (self.unreadable, "this login may not read them", "ACL SETUSER … %R~PATTERN"),
            (self.lost, "they moved or changed meanwhile", "ask again"),
        )
        return [
            Unavailable(f"the values of {count:,} keys", reason, remedy)
            for count, reason, remedy in counted
            if count
        ]

    def fields(self, node: str, keys: Sequence[bytes], field: str) -> list[bytes | None]:
        """Return one field of each key; None where the key is no hash or has no such field.

        Raises RefusedError when HGET may not be run at all, ConnectionLostError.
        """
        name = field.encode("utf-8", "surrogateescape")
        return self._ask(node, [("HGET", key, name) for key in keys])

    def strings(self, node: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return each key's whole value; None where it is no string, or is above the cap.

        Raises RefusedError when STRLEN or GETRANGE may not be run at all, ConnectionLostError.
        """
        lengths = self._ask(node, [("STRLEN", key) for key in keys])
        found: list[bytes | None] = [None] * len(keys)
        wanted = []
        for i, length in enumerate(lengths):
            if length is not None and length > self._cap:
                self.too_large += 1
            elif length:  # an empty string is no JSON
                wanted.append((i, int(length)))
        for group in _groups(wanted):
            # One byte more than there was tells a value that grew meanwhile.
            commands: list[Command] = [("GETRANGE", keys[i], 0, size) for i, size in group]
            for (i, size), reply in zip(group, self._ask(node, commands), strict=True):
                if reply is not None and len(reply) > size:
                    self.lost += 1
                else:
                    found[i] = reply
        return found

    def whole(self, node: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the same, with the empty strings, which STRLEN can't tell from absent ones."""
        found = self.strings(node, keys)
        missing = [i for i, value in enumerate(found) if value is None]
        lengths = self._ask(node, [("STRLEN", keys[i]) for i in missing])
        empty = [i for i, length in zip(missing, lengths, strict=True) if length == 0]
        for i, reply in zip(empty, self._ask(node, [("GET", keys[i]) for i in empty]), strict=True):
            found[i] = reply
        return found

    def close(self) -> None:
        """Close the connections."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    def __enter__(self) -> ContentReader:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # Asking

    def _ask(self, node: str, commands: Sequence[Command]) -> list[Any]:
        """Return the replies at a pace, None for errors about single keys."""
        replies: list[Any] = []
        at = 0
        while at < len(commands):
            batch = commands[at : at + self._pace.batch]
            self._pace.before(len(batch))
            sent_at = time.monotonic()
            replies += self._flight(node, batch)
            self._pace.after(len(batch), time.monotonic() - sent_at)
            at += len(batch)
        return [self._sorted_out(c, r) for c, r in zip(commands, replies, strict=True)]

    def _flight(self, node: str, batch: Sequence[Command]) -> list[Any]:
        try:
            return self._connection(node).pipeline(batch)
        except ConnectionLostError:  # reading twice harms nobody
            self._connections.pop(node).close()
            return self._connection(node).pipeline(batch)

    def _sorted_out(self, command: Command, reply: Any) -> Any:
        if not isinstance(reply, ReplyError):
            return reply
        if reply.code == "WRONGTYPE":
            return None
        if is_about_key(reply):
            self.unreadable += 1
        elif reply.code in MOVED_CODES or reply.code in ("TRYAGAIN", "CLUSTERDOWN"):
            self.lost += 1
        else:
            reason, remedy = why_refused((str(command[0]),), reply)
            raise RefusedError(f"cannot look into values: {reason}", hint=remedy)
        return None

    def _connection(self, name: str) -> NodeConnection:
        if name not in self._connections:
            self._connections[name] = self._server.new_connection(self._node(name))
        return self._connections[name]

    def _node(self, name: str) -> Node:
        for node in self._server.primaries:
            if node.name == name:
                return node
        return self._server.primaries[0]


def _groups(sizes: Sequence[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Yield (index, size) in groups of a few megabytes."""
    group: list[tuple[int, int]] = []
    total = 0
    for one in sizes:
        if group and total + one[1] > _FLIGHT_BYTES:
            yield group
            group, total = [], 0
        group.append(one)
        total += one[1]
    if group:
        yield group
