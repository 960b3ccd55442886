"""Whether a key in the server is what an archive has of it: the same value with the same TTL.

Values are compared as their elements, since the same value may be laid out in another way in the
memory of another server, or after a restart. A giant one is compared piece by piece.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from cachectl.actions.planning.changes import ttl_differs
from cachectl.model.changes import NEVER, KeyCopy
from cachectl.model.values import LogicalValue, StreamState
from cachectl.server.clock import milliseconds
from cachectl.server.transactions.transaction import GIANT
from cachectl.server.values.logical import UnknownTypeError, read_value
from cachectl.server.wire.connection import NodeConnection
from cachectl.server.wire.resp import ReplyError, as_text
from cachectl.storage.elements import unpack_value
from cachectl.values.payload import UndecodableError, decode_payload

_UNORDERED = ("set", "zset", "hash")


def is_back(lane: NodeConnection, keys: Sequence[Sequence[KeyCopy]]) -> Iterator[bytes]:
    """Yield those of the keys that are in the server as the archive has them.

    keys: the copies of each, several for a giant one. Raises ConnectionLostError.
    """
    if not keys:
        return
    commands: list[tuple[bytes | str, ...]] = [("TIME",)]
    for parts in keys:
        name = parts[-1].key
        commands += [("TYPE", name), ("PTTL", name), ("MEMORY", "USAGE", name)]
    clock, *replies = lane.pipeline(commands)
    now = milliseconds(clock)
    for number, parts in enumerate(keys):
        kind, ttl, size = replies[3 * number : 3 * number + 3]
        copy = parts[-1]
        if isinstance(kind, ReplyError) or isinstance(ttl, ReplyError) or ttl == -2:
            continue
        expires_at = NEVER if ttl < 0 else now + ttl
        if as_text(kind) != copy.type or ttl_differs(expires_at, copy.expires_at):
            continue
        is_giant = not isinstance(size, int) or size > GIANT
        if copy.how == "renamed" or _same_value(lane, parts, is_giant=is_giant):
            yield copy.key


def _same_value(lane: NodeConnection, parts: Sequence[KeyCopy], *, is_giant: bool) -> bool:
    copy = parts[-1]
    try:
        if copy.how == "payload" and not is_giant:
            payload = lane.call("DUMP", copy.key)
            if payload is None or payload == copy.data:
                return payload is not None
            return _fingerprint([decode_payload(payload)]) == _fingerprint(_values(parts))
        there = read_value(lane, copy.key, copy.type)
        return _fingerprint(there) == _fingerprint(_values(parts))
    except (UndecodableError, UnknownTypeError, ReplyError):
        return False  # not known to be ours, so it is taken for newer and kept


def _values(parts: Iterable[KeyCopy]) -> Iterator[LogicalValue]:
    for part in parts:
        yield decode_payload(part.data) if part.how == "payload" else unpack_value(part.data)


class Fingerprint:
    """What is the same for the same value, however it is cut into pieces, and in what order a set
    yields its members. Memory holds none of them.
    """

    def __init__(self) -> None:
        self._running = hashlib.blake2b(digest_size=16)
        self._total = self._count = 0
        self._state: StreamState | None = None
        self._kind = ""

    def add(self, piece: LogicalValue) -> None:
        """Take the next piece."""
        kind = self._kind = piece.type
        self._state = piece.stream or self._state
        for element in piece.elements:
            self._count += 1
            if kind == "string":
                self._running.update(element)
            elif kind in _UNORDERED:
                digest = hashlib.blake2b(repr(element).encode(), digest_size=16).digest()
                self._total = (self._total + int.from_bytes(digest, "little")) % 2**128
            else:
                self._running.update(repr(element).encode())

    def result(self) -> tuple[Any, ...]:
        """Return what it comes to."""
        count = 0 if self._kind == "string" else self._count
        return self._kind, count, self._total, self._running.digest(), _groups(self._state)

    def digest(self) -> bytes:
        """Return the same in 12 bytes."""
        return hashlib.blake2b(repr(self.result()).encode(), digest_size=12).digest()


def _fingerprint(pieces: Iterable[LogicalValue]) -> tuple[Any, ...]:
    fingerprint = Fingerprint()
    for piece in pieces:
        fingerprint.add(piece)
    return fingerprint.result()


def _groups(state: StreamState | None) -> tuple[Any, ...]:
    """Return a stream's state without its times, of which no two readings are the same."""
    if state is None:
        return ()
    groups = [
        (
            group.name,
            group.last_id,
            sorted(group.consumers),
            sorted((entry.id, entry.consumer, entry.deliveries) for entry in group.pending),
        )
        for group in state.groups
    ]
    return (state.last_id, tuple(map(repr, sorted(groups))))
