"""Building a key beside: its elements under a name of ours, renamed in one step when all are there.

What is half-written disappears by itself, should nobody come back to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from cachectl.actions.planning.changes import sibling
from cachectl.model.changes import NEVER
from cachectl.model.values import LogicalValue
from cachectl.server.transactions.transaction import MOVED_CODES, check
from cachectl.server.values.logical import Abilities, Command, loses, write_commands
from cachectl.server.wire.connection import NodeConnection
from cachectl.server.wire.resp import ReplyError

_FLIGHT_BYTES = 4 * 1024 * 1024
_HALF_LIFE = 3_600_000
"""Milliseconds that a half-written key lives on."""
PASSING = frozenset((*MOVED_CODES, "READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN"))
"""Errors that are about the server, not the key."""


@dataclass(slots=True)
class Beside:
    """Writes values under names of ours over any lane.

    prefix: of these names. now: Unix milliseconds by the server's clock. lost: takes what the
    server can't keep, in words.
    """

    prefix: bytes
    abilities: Abilities
    now: int
    lost: set[str] = field(default_factory=set)

    def name(self, key: bytes) -> bytes:
        """Return the name beside `key`, in the same slot."""
        return sibling(key, self.prefix)

    def write(
        self,
        lane: NodeConnection,
        key: bytes,
        pieces: Iterable[LogicalValue],
        expires_at: int,
        *,
        replaces: bool,
    ) -> Any:
        """Write a whole key; return the reply of the renaming.

        That is OK or 1, 0 when the key exists and `replaces` is not set, or the ReplyError of the
        command that the server did not take; then `key` is as it was. Raises MovedError,
        ReplyError about the server, ConnectionLostError.
        """
        refused = self.build(lane, key, pieces)
        if refused is not None:
            return refused
        _, renamed, _ = replies = lane.pipeline(self.renaming(key, expires_at, replaces=replaces))
        for reply in replies:
            pass_on(reply)
        return renamed

    def build(
        self, lane: NodeConnection, key: bytes, pieces: Iterable[LogicalValue]
    ) -> ReplyError | None:
        """Write the elements beside; return the error of the first that the server did not take.

        Raises as `write`.
        """
        beside = self.name(key)
        for some in _in_flights(self._elements(beside, pieces)):
            for reply in lane.pipeline(some):
                pass_on(reply)
                if isinstance(reply, ReplyError):
                    lane.call("UNLINK", beside)
                    return reply
        return None

    def renaming(self, key: bytes, expires_at: int, *, replaces: bool) -> list[Command]:
        """Return the three commands that make the key of what is beside; the second one tells."""
        beside = self.name(key)
        expiry: Command = ("PEXPIREAT", beside, expires_at)
        return [
            expiry if expires_at != NEVER else ("PERSIST", beside),
            ("RENAME" if replaces else "RENAMENX", beside, key),
            ("UNLINK", beside),  # RENAMENX leaves it where it is when the key exists
        ]

    def _elements(self, beside: bytes, pieces: Iterable[LogicalValue]) -> Iterator[Command]:
        yield "UNLINK", beside
        has_life = False
        for value in pieces:
            gone = loses(value, self.abilities)
            if gone:
                self.lost.add(f"this server cannot keep {gone}: they were left out")
            for command in write_commands(beside, value, self.abilities, self.now):
                yield command
                if not has_life and command[0] != "XGROUP":
                    yield "PEXPIRE", beside, _HALF_LIFE
                    has_life = True


def pass_on(reply: Any) -> None:
    """Raise errors that are about the server, not the key: the whole flight is tried again."""
    if isinstance(reply, ReplyError) and reply.code in PASSING:
        check(reply)


def _in_flights(commands: Iterable[Command]) -> Iterator[list[Command]]:
    """Yield commands in flights of a few megabytes."""
    flight: list[Command] = []
    weight = 0
    for command in commands:
        flight.append(command)
        weight += sum(len(word) if isinstance(word, bytes) else 8 for word in command)
        if weight >= _FLIGHT_BYTES:
            yield flight
            flight, weight = [], 0
    if flight:
        yield flight
