"""Change keys so that what was copied before is what is changed: WATCH, look, then MULTI … EXEC.

A group is some keys of one node that one transaction may hold: any on a standalone server, those
of one slot in a cluster. Its connection (a lane) WATCHes the keys while they are copied; if any of
them is written meanwhile, EXEC does nothing and says so. Between `look` and `commit` the caller
makes the copies durable. Several lanes work side by side, since a transaction takes two round
trips and, in a cluster, may hold few keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from types import MappingProxyType
from typing import Any, NamedTuple

from cachectl.model.changes import NEVER, KeyCopy, PlannedKey, tuples_of
from cachectl.model.values import LogicalValue
from cachectl.server.clock import milliseconds
from cachectl.server.values.logical import Command, read_value
from cachectl.server.wire.connection import NodeConnection
from cachectl.server.wire.resp import (
    Argument,
    ReplyError,
    as_text,
    pack,
    pack_all,
    pack_names,
    sized,
)

GIANT = 4 * 1024 * 1024
"""Bytes above which a key is copied in pieces: a DUMP of it would hold up everybody else."""


class MovedError(Exception):
    """The keys' slot is elsewhere now, or on its way: look where, and try again."""

    @property
    def code(self) -> str:
        """MOVED: it is elsewhere; ASK, TRYAGAIN: it is on its way, key by key."""
        return str(self).partition(" ")[0]

    @property
    def host_port(self) -> tuple[str, int] | None:
        """Where the key is, as the server calls it; None when it does not say."""
        words = str(self).split(" ")
        host, _, port = words[-1].rpartition(":")
        if self.code == "TRYAGAIN" or len(words) < 3 or not port.isdigit():
            return None
        return host, int(port)


def check(reply: Any) -> None:
    """Raise the error that a reply is, if it is one: MovedError, ReplyError."""
    if isinstance(reply, ReplyError):
        if reply.code in MOVED_CODES:
            raise MovedError(reply.text)
        raise reply


MOVED_CODES = ("MOVED", "ASK", "TRYAGAIN")

# The beginnings of the commands that each key is looked at with; its name follows.
_TYPE = b"*2\r\n$4\r\nTYPE\r\n"
_TTL = b"*2\r\n$4\r\nPTTL\r\n"
_IDLE_TIME = b"*3\r\n$6\r\nOBJECT\r\n$8\r\nIDLETIME\r\n"
_FREQUENCY = b"*3\r\n$6\r\nOBJECT\r\n$4\r\nFREQ\r\n"
_DUMP = b"*2\r\n$4\r\nDUMP\r\n"
_GONE = -2
_NO_DETAILS: Mapping[str, Any] = MappingProxyType({})

_KINDS = {
    number: kind
    for kind, numbers in (
        ("string", (0,)),
        ("list", (1, 10, 14, 18)),
        ("set", (2, 11, 20)),
        ("zset", (3, 5, 12, 17)),
        ("hash", (4, 9, 13, 16)),
        ("stream", (15, 19, 21)),
    )
    for number in numbers
}
"""The first byte of a payload → its type (rdb.h). Redis and Valkey number the later ones apart."""


def _named(kind: bytes) -> str | None:
    return None if kind == b"none" else as_text(kind)


class Asking:
    """A connection to the node that a slot is being moved to, which each command must ask for.

    Source: the Redis Cluster specification, ASK redirection: ASKING holds for one command.
    """

    def __init__(self, lane: NodeConnection) -> None:
        self.lane = lane

    def call(self, *arguments: Argument) -> Any:
        """Send a command, return its reply."""
        _, reply = self.lane.pipeline([("ASKING",), arguments])
        check(reply)
        return reply


class Wanted(NamedTuple):
    """A key to be changed, with its size as far as it is known (0: not known)."""

    key: bytes
    size: int = 0


Looked = Wanted | PlannedKey


@dataclass(slots=True)
class Group:
    """Keys that are looked at and changed together, over one lane.

    copies: what `look` found, None for keys that are gone. asks: the lane leads to the node that
    the keys' slot is being moved to. now: the server's clock at the look, in Unix milliseconds.
    was_written: a key was written between look and commit, and changed all the same.
    """

    lane: NodeConnection
    keys: Sequence[Looked]
    asks: bool = False
    copies: list[KeyCopy | None] = field(default_factory=list)
    now: int = 0
    was_written: bool = False
    _sent: int = 0
    _outside: bool = False

    @property
    def present(self) -> list[KeyCopy]:
        """The copies of the keys that are there."""
        return [copy for copy in self.copies if copy is not None]

    def send_look(self, *, values: bool, frequency: bool) -> None:
        """Ask for everything that a copy needs, as `pack_look` has it."""
        self.lane.send(self.pack_look(values=values, frequency=frequency))

    def pack_look(self, *, values: bool, frequency: bool) -> bytes:
        """Return the questions of a look. values: the payloads too, else only the TTLs.

        frequency: ask for the LFU counter instead of the idle time. The idle time is asked before
        DUMP, which resets it where there is no CLIENT NO-TOUCH.
        """
        names = [wanted.key for wanted in self.keys]
        asking = pack("ASKING") if self.asks else b""
        usage = _FREQUENCY if frequency else _IDLE_TIME
        first, second, third = (
            asking + begun for begun in (_TTL, usage, _DUMP if values else _TYPE)
        )
        parts = [asking, pack_names("WATCH", names), asking, pack("TIME")]
        for name in map(sized, names):
            parts += (first, name, second, name, third, name)
        self._sent = 2 + 3 * len(names)
        return b"".join(parts)

    def receive_look(self, *, values: bool, frequency: bool) -> None:
        """Fill `copies`. Raises MovedError, ReplyError, ConnectionLostError."""
        replies = self.lane.receive(self._sent * (2 if self.asks else 1))
        watched, clock, *rest = replies[1::2] if self.asks else replies
        check(watched)
        check(clock)
        self.now = milliseconds(clock)
        ttls, uses, last = rest[::3], rest[1::3], rest[2::3]
        for column in (ttls, last):  # what use was made of it may be unknown
            if ReplyError in set(map(type, column)):
                for reply in column:
                    check(reply)
        if values:
            self._fill(self._kinds(last), ttls, uses, last, "payload", frequency=frequency)
        else:
            kinds = list(map(_named, last))
            self._fill(kinds, ttls, uses, repeat(b""), "ttl", frequency=frequency)

    def _kinds(self, payloads: Sequence[bytes | None]) -> list[str | None]:
        """Return the types of payloads, None where there is none. Asks for those not known."""
        kinds = [_KINDS.get(payload[0]) if payload else None for payload in payloads]
        if None in kinds:
            for at, payload in enumerate(payloads):
                if payload and kinds[at] is None:
                    kinds[at] = _named(self.ask("TYPE", self.keys[at].key))
        return kinds

    def _fill(
        self,
        kinds: Sequence[str | None],
        ttls: Sequence[int],
        uses: Sequence[Any],
        data: Iterable[bytes],
        how: str,
        *,
        frequency: bool,
    ) -> None:
        now = self.now
        used = [use if isinstance(use, int) else -1 for use in uses]
        idles, freqs = (repeat(-1), used) if frequency else (used, repeat(-1))
        columns = (
            [wanted.key for wanted in self.keys],
            *(kinds, repeat(how), data),
            [NEVER if ttl < 0 else now + ttl for ttl in ttls],
            *(idles, freqs, repeat(_NO_DETAILS)),
        )
        copies = tuples_of(KeyCopy, zip(*columns, strict=False))
        if None in kinds or _GONE in ttls:
            self.copies = [
                None if kind is None or ttl == _GONE else copy
                for copy, kind, ttl in zip(copies, kinds, ttls, strict=True)
            ]
        else:
            self.copies = list[KeyCopy | None](copies)

    def watch_giant(self, *, frequency: bool) -> KeyCopy | None:
        """WATCH the one key of this group and return its copy without the data; None: it is gone.

        `pieces` then reads the data. Raises as receive_look does.
        """
        self.send_look(values=False, frequency=frequency)
        self.receive_look(values=False, frequency=frequency)
        return self.copies[0]

    def pieces(self, copy: KeyCopy) -> Iterator[LogicalValue]:
        """Yield the value of the one key of this group. Raises UnknownTypeError, ReplyError."""
        caller = Asking(self.lane) if self.asks else self.lane
        return read_value(caller, copy.key, copy.type)

    def send_commit(self, commands: Sequence[Command], *, outside: bool = False) -> None:
        """Run the commands if no key of the group was written since the look, see `pack_commit`."""
        self.lane.send(self.pack_commit(commands, outside=outside))

    def pack_commit(self, commands: Sequence[Command], *, outside: bool = False) -> bytes:
        """Return a transaction of the commands, which does nothing when a key was written.

        outside: behind an empty transaction, which tells whether one was written, and in the same
        flight, so that nobody comes between: Redis that is out of memory queues no command.
        """
        self._sent, self._outside = len(commands) + 2, outside
        asking = pack("ASKING") if self.asks else b""  # holds until EXEC: MULTI keeps it
        packed = pack_all(commands)
        if outside:
            return asking + pack("MULTI") + pack("EXEC") + packed
        return asking + pack("MULTI") + packed + pack("EXEC")

    def receive_commit(self) -> list[Any] | None:
        """Return the commands' replies, or None when a key was written and nothing was done.

        Raises MovedError, ReplyError (of the command that the server did not take).
        """
        replies = self.lane.receive(self._sent + (1 if self.asks else 0))
        if self._outside:
            first = 2 if self.asks else 1
            for reply in replies:
                if isinstance(reply, ReplyError) and reply.code in (*MOVED_CODES, "NOPERM"):
                    check(reply)
            self.was_written = replies[first] is None
            return replies[first + 1 :]
        *queued, done = replies
        for reply in queued:
            check(reply)
        check(done)
        return list(done) if done is not None else None

    def ask(self, *arguments: Argument) -> Any:
        """Send one more command over the lane, between look and commit. Return its reply."""
        caller = Asking(self.lane) if self.asks else self.lane
        return caller.call(*arguments)

    def unwatch(self) -> None:
        """Let go of the keys without changing any."""
        self.lane.call("UNWATCH")
