"""Reading one value: a string of any length, a collection up to a limit, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cachectl.errors import CachectlError, PartialError, PermissionDeniedError, RefusedError
from cachectl.model.values import LogicalValue
from cachectl.server.clock import milliseconds
from cachectl.server.scanning.columns import LENGTHS
from cachectl.server.scanning.scan_errors import is_about_key, why_refused
from cachectl.server.topology.handle import Server
from cachectl.server.topology.onekey import OneKey
from cachectl.server.values.logical import PIECE, STRING_PIECE, Command, read_value
from cachectl.server.wire.resp import ReplyError

WHOLE = 16 * 1024 * 1024
"""Bytes of a string that one reply may bring; a longer one is read in pieces."""
_PIECE_BYTES = 4 * 1024 * 1024
_READABLE = frozenset({"string", "hash", "list", "set", "zset", "stream"})


class Value:
    """The value of one key. kind: its type, `none` when it does not exist.

    total: elements, bytes of a string. now: the server's clock in Unix milliseconds, None when it
    is not to be had. Raises PermissionDeniedError, RefusedError, ConnectionLostError.
    """

    def __init__(self, server: Server, key: bytes) -> None:
        self.key = key
        self._one = OneKey(server, key)
        kind, clock, size = self._one.ask(("TYPE", key), ("TIME",), ("MEMORY", "USAGE", key))
        if isinstance(kind, ReplyError):
            raise self._refusal(("TYPE",), kind)
        self.kind = kind.decode("utf-8", "backslashreplace")
        self.now = None if isinstance(clock, ReplyError) else milliseconds(clock)
        self.total = self._ask(LENGTHS[self.kind], key) if self.kind in LENGTHS else 0
        size = size if isinstance(size, int) else 0
        self._piece = max(1, min(PIECE, _PIECE_BYTES * self.total // size)) if size else PIECE

    @property
    def is_readable(self) -> bool:
        """Whether this kind of value can be read as its elements."""
        return self.kind in _READABLE

    @property
    def no_touch(self) -> bool:
        """Whether reading leaves the key's idle time alone."""
        return self._one.no_touch

    def field(self, name: bytes) -> bytes | None:
        """Return one field of a hash, None when there is none."""
        content: bytes | None = self._ask("HGET", self.key, name)
        return content

    def head(self, size: int) -> bytes:
        """Return the first bytes of a string."""
        content: bytes = self._ask("GETRANGE", self.key, 0, size - 1)
        return content

    def whole(self) -> bytes:
        """Return a string; of one that is longer than WHOLE raises RefusedError."""
        if self.total > WHOLE:
            raise RefusedError(
                f"the value has {self.total:,} bytes, more than a report can hold",
                hint="send it into a pipe or a file without --output",
            )
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """Yield a string piece by piece. Raises PartialError when it changes meanwhile."""
        if self.total <= WHOLE:
            yield self._ask("GET", self.key) or b""
            return
        watched = not isinstance(self._one.ask(("WATCH", self.key))[0], ReplyError)
        sent = 0
        while sent < self.total:
            piece = self._ask("GETRANGE", self.key, sent, sent + STRING_PIECE - 1)
            if not piece:
                break
            yield piece
            sent += len(piece)
        if watched:
            _, done = self._one.ask(("MULTI",), ("EXEC",))
            changed = done is None
        else:
            changed = sent != self.total
        if changed:
            raise PartialError(
                f"the value changed while it was read: {sent:,} bytes of different versions",
                hint="get it again",
            )

    def elements(self, limit: int) -> Iterator[LogicalValue]:
        """Yield a collection's elements in pieces, at most `limit` of them."""
        left = min(limit, self.total)
        try:
            for value in read_value(self._one, self.key, self.kind, piece=min(self._piece, limit)):
                yield LogicalValue(value.type, value.elements[:left])
                left -= len(value.elements)
                if left <= 0:
                    return
        except ReplyError as error:
            raise self._refusal((str(self.kind),), error) from error

    @staticmethod
    def flat(value: LogicalValue) -> Iterator[bytes]:
        """Yield the parts of some elements one after the other, as redis-cli prints them."""
        for element in value.elements:
            match value.type:
                case "hash":
                    yield from element[:2]
                case "zset":
                    yield element[0]
                    yield _number(element[1])
                case "stream":
                    yield b"%d-%d" % element[0]
                    yield from (part for pair in element[1] for part in pair)
                case _:
                    yield element

    def close(self) -> None:
        """Close what was opened to follow the key."""
        self._one.close()

    def __enter__(self) -> Value:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _ask(self, *command: Any) -> Any:
        reply = self._one.ask(command)[0]
        if isinstance(reply, ReplyError):
            raise self._refusal(command, reply)
        return reply

    def _refusal(self, command: Command, reply: ReplyError) -> CachectlError:
        node = self._one.node.name
        if is_about_key(reply):
            return PermissionDeniedError(
                f"this login may not read this key: {reply.text}",
                hint="ACL SETUSER … %R~PATTERN",
                target=node,
            )
        reason, remedy = why_refused((str(command[0]),), reply)
        error = PermissionDeniedError if reply.code == "NOPERM" else RefusedError
        return error(f"cannot get the value: {reason}", hint=remedy, target=node)


def _number(score: float) -> bytes:
    return b"%d" % score if score.is_integer() and abs(score) < 2**53 else repr(score).encode()
