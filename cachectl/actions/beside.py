"""Building a key beside: its elements under a name of ours, renamed in one step when all are there.

What is half-written disappears by itself, should nobody come back to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from cachectl.model import NEVER, LogicalValue
from cachectl.server.connection import NodeConnection
from cachectl.server.logical import Abilities, Command, loses, write_commands
from cachectl.server.resp import ReplyError
from cachectl.server.transaction import MOVED_CODES, check

_FLIGHT_BYTES = 4 * 1024 * 1024
_HALF_LIFE = 3_600_000
"""Milliseconds that a half-written key lives on."""
PASSING = frozenset((*MOVED_CODES, "READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN"))
"""Errors that are about the server, not the key."""


def write_beside(
    lane: NodeConnection,
    key: bytes,
    beside: bytes,
    pieces: Iterable[LogicalValue],
    expires_at: int,
    *,
    abilities: Abilities,
    now: int,
    replaces: bool,
    lost: set[str],
) -> Any:
    """Write a value to `beside` and rename it to `key`; return the reply of the renaming.

    That is OK or 1, 0 when the key exists and `replaces` is not set, or the ReplyError of the
    command that the server did not take; then `key` is as it was. lost: takes what the server
    can't keep, in words. Raises MovedError, ReplyError about the server, ConnectionLostError.
    """
    for some in _in_flights(_elements(beside, pieces, abilities, now, lost)):
        for reply in lane.pipeline(some):
            pass_on(reply)
            if isinstance(reply, ReplyError):
                lane.call("UNLINK", beside)
                return reply
    expiry: Command = ("PEXPIREAT", beside, expires_at)
    _, renamed, _ = replies = lane.pipeline(
        [
            expiry if expires_at != NEVER else ("PERSIST", beside),
            ("RENAME" if replaces else "RENAMENX", beside, key),
            ("UNLINK", beside),  # RENAMENX leaves it where it is when the key exists
        ]
    )
    for reply in replies:
        pass_on(reply)
    return renamed


def pass_on(reply: Any) -> None:
    """Raise errors that are about the server, not the key: the whole flight is tried again."""
    if isinstance(reply, ReplyError) and reply.code in PASSING:
        check(reply)


def _elements(
    beside: bytes,
    pieces: Iterable[LogicalValue],
    abilities: Abilities,
    now: int,
    lost: set[str],
) -> Iterator[Command]:
    yield "UNLINK", beside
    has_life = False
    for value in pieces:
        gone = loses(value, abilities)
        if gone:
            lost.add(f"this server cannot keep {gone}: they were left out")
        for command in write_commands(beside, value, abilities, now):
            yield command
            if not has_life and command[0] != "XGROUP":
                yield "PEXPIRE", beside, _HALF_LIFE
                has_life = True


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
