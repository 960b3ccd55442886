"""TTLs of a hash's fields (Redis 7.4, Valkey 9): a hash without a TTL may still go, field by field.

How many hashes have such fields INFO keyspace says for nothing. Only where there are some, hashes
are looked into: first at their encoding, which rules most of them out, then at some of the fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cachectl.model.findings import Unavailable
from cachectl.model.keys import FieldExpiries
from cachectl.server.scanning.scan_errors import why_refused
from cachectl.server.topology.gate import Gate
from cachectl.server.topology.handle import Server
from cachectl.server.topology.node import Node
from cachectl.server.wire.connection import ConnectionLostError, NodeConnection
from cachectl.server.wire.info import keyspace_of
from cachectl.server.wire.resp import Argument, ReplyError

FIELDS = 100
"""Fields of one hash that are looked at: all of a small one, some of a large one."""
MOST_HASHES = 20_000
"""Hashes of one node that are looked into."""
_FLIGHT = 100
_WITHOUT = (b"listpack", b"ziplist")
"""Encodings that hold no field TTLs: a hash that gets one is given another."""

Command = tuple[Argument, ...]


def hashes_with_expiring_fields(server: Server) -> int:
    """Return how many hashes have fields with TTLs of their own, as INFO keyspace says."""
    return sum(_expiring(node, server.target.database) for node in server.primaries)


def _expiring(node: Node, database: int) -> int:
    # Redis has the first name for it, Valkey the second.
    counts = keyspace_of(node.info, database)
    return counts.get("subexpiry", 0) + counts.get("keys_with_volatile_items", 0)


class FieldTtls:
    """Looks into hashes over connections of its own. Not thread-safe.

    unknown: hashes that were not looked into, because they are too many or it was refused.
    """

    def __init__(self, server: Server) -> None:
        self.unknown = 0
        self._server = server
        self._nodes: dict[str, _Looker] = {}

    @property
    def any(self) -> bool:
        """Whether there are such hashes at all."""
        return hashes_with_expiring_fields(self._server) > 0

    @property
    def unavailable(self) -> list[Unavailable]:
        """What could not be looked at, and why."""
        return [looker.refusal for looker in self._nodes.values() if looker.refusal]

    def look(self, node: str, keys: Sequence[bytes]) -> list[FieldExpiries | None]:
        """Return what is known of each hash's fields; None where nothing is, or no field expires.

        Raises ConnectionLostError.
        """
        looker = self._nodes.get(node)
        if looker is None:
            looker = self._nodes[node] = _Looker(self._server, node)
        found = looker.look(keys)
        self.unknown += looker.take_unknown()
        return found

    def close(self) -> None:
        """Close the connections."""
        for looker in self._nodes.values():
            looker.close()
        self._nodes.clear()

    def __enter__(self) -> FieldTtls:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class _Looker:
    """The hashes of one node."""

    def __init__(self, server: Server, name: str) -> None:
        primaries = server.primaries
        self.refusal: Unavailable | None = None
        self._server = server
        self._node = next((node for node in primaries if node.name == name), primaries[0])
        self._left = _expiring(self._node, server.target.database)
        self._looked = 0
        self._unknown = 0
        self._hits = self._commands = 0
        self._connection: NodeConnection | None = None
        self._gate: Gate | None = None

    def look(self, keys: Sequence[bytes]) -> list[FieldExpiries | None]:
        """See FieldTtls.look."""
        found: list[FieldExpiries | None] = []
        for at in range(0, len(keys), _FLIGHT):
            found += self._look(keys[at : at + _FLIGHT])
        return found

    def take_unknown(self) -> int:
        """Return how many hashes could not be looked into since this was last asked."""
        unknown, self._unknown = self._unknown, 0
        return unknown

    def close(self) -> None:
        """Close the connection."""
        if self._gate is not None:
            self._gate.close()
        if self._connection is not None:
            self._connection.close()

    def _look(self, keys: Sequence[bytes]) -> list[FieldExpiries | None]:
        found: list[FieldExpiries | None] = [None] * len(keys)
        if self._left <= 0:  # all that there are have been found
            return found
        if self.refusal is not None or self._looked >= MOST_HASHES:
            self._unknown += len(keys)
            return found
        self._looked += len(keys)
        encodings = self._ask([("OBJECT", "ENCODING", key) for key in keys])
        likely = [at for at, encoding in enumerate(encodings) if encoding not in _WITHOUT]
        pieces = self._ask([("HSCAN", keys[at], 0, "COUNT", FIELDS, "NOVALUES") for at in likely])
        named = [(at, piece[1]) for at, piece in zip(likely, pieces, strict=True) if piece]
        named = [(at, fields[:FIELDS]) for at, fields in named if fields]
        replies = self._ask(
            [("HPTTL", keys[at], "FIELDS", len(fields), *fields) for at, fields in named]
        )
        for (at, _), reply in zip(named, replies, strict=True):
            ttls = [ttl for ttl in reply or () if ttl >= 0]
            if ttls:
                self._left -= 1
                found[at] = FieldExpiries(len(reply), len(ttls), min(ttls), max(ttls))
        return found

    def _ask(self, commands: Sequence[Command]) -> list[Any]:
        """Return the replies, None for errors; what is refused is asked once."""
        if not commands or self.refusal is not None:
            return [None] * len(commands)
        try:
            replies = self._flight(commands)
        except ConnectionLostError:  # reading twice harms nobody
            self._close_lost()
            replies = self._flight(commands)
        refused = [reply for reply in replies if isinstance(reply, ReplyError)]
        if refused and refused[0].code in ("NOPERM", "ERR"):
            words = [str(word) for word in commands[0][:2] if isinstance(word, str)]
            reason, remedy = why_refused(words, refused[0])
            self.refusal = Unavailable("TTLs of hash fields", reason, remedy, self._node.name)
        return [None if isinstance(reply, ReplyError) else reply for reply in replies]

    def _flight(self, commands: Sequence[Command]) -> list[Any]:
        if self._connection is None:
            self._connection = self._server.new_connection(self._node)
            run_id, address = self._node.identity.run_id, self._connection.local_address
            self._gate = self._server.gates(run_id, address)
        assert self._gate is not None  # noqa: S101 - it comes with the connection
        self._gate.enter()
        replies = self._connection.pipeline(commands)
        # Each of them looks a key up, which is there.
        self._hits += sum(not isinstance(reply, ReplyError) for reply in replies)
        self._commands += len(commands)
        self._gate.leave(self._hits, 0, self._commands)
        return replies

    def _close_lost(self) -> None:
        self.close()
        self._connection = self._gate = None
        self._hits = self._commands = 0
