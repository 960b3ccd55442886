"""What the demo writes: a value of any type, and a key with its value, TTL and age.

A Value is the commands that write it, packed up to and after the place of the key, so that many
keys share one value for the price of their names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from cachectl.server.wire.resp import Argument, pack

KEY = object()
"""Stands where the key goes in a command."""


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """The commands that write a value: each as the bytes before and after its key."""

    commands: tuple[tuple[bytes, bytes], ...]

    def packed(self, key: bytes) -> bytes:
        """Return the commands for this key, ready to be sent."""
        name = bulk(key)
        return b"".join(b"%b%b%b" % (head, name, tail) for head, tail in self.commands)


class Entry(NamedTuple):
    """One key to be written. expires: Unix milliseconds; idle: seconds since its last use."""

    key: bytes
    value: Value
    expires: int | None
    idle: int = 0

    @property
    def commands(self) -> int:
        """How many commands `written` makes of it, and so how many replies come."""
        return len(self.value.commands) + (self.expires is not None)


def bulk(data: bytes) -> bytes:
    """Return one argument of a command, as RESP frames it."""
    return b"$%d\r\n%b\r\n" % (len(data), data)


def around(*words: object) -> tuple[bytes, bytes]:
    """Return a command with KEY among its words as what stands before and after the key."""
    place = words.index(KEY)
    head = b"*%d\r\n%b" % (len(words), _framed(words[:place]))
    return head, _framed(words[place + 1 :])


def _framed(words: Iterable[object]) -> bytes:
    # Hundreds of thousands of them: str() says of a number what resp.encode would.
    data = [word if type(word) is bytes else str(word).encode() for word in words]
    return b"".join([b"$%d\r\n%b\r\n" % (len(one), one) for one in data])


def string(data: Argument) -> Value:
    """Return a string."""
    return Value((around("SET", KEY, data),))


def hash_of(fields: Mapping[str, Argument]) -> Value:
    """Return a hash."""
    return Value((around("HSET", KEY, *(part for pair in fields.items() for part in pair)),))


def list_of(items: Iterable[Argument]) -> Value:
    """Return a list."""
    return Value((around("RPUSH", KEY, *items),))


def set_of(members: Iterable[Argument]) -> Value:
    """Return a set."""
    return Value((around("SADD", KEY, *members),))


def sorted_set(scores: Mapping[str, float]) -> Value:
    """Return a sorted set."""
    pairs = (part for member, score in scores.items() for part in (score, member))
    return Value((around("ZADD", KEY, *pairs),))


def stream(
    first: int, entries: Iterable[Mapping[str, Argument]], groups: Mapping[str, int]
) -> Value:
    """Return a stream with consumer groups.

    first: Unix milliseconds of the first entry, the others follow 40 ms apart. groups: name → how
    many entries its one consumer has taken and not acknowledged; the rest is its lag.
    """
    commands = []
    for i, entry in enumerate(entries):
        fields = (part for pair in entry.items() for part in pair)
        commands.append(around("XADD", KEY, f"{first + 40 * i}-0", *fields))
    for name, taken in groups.items():
        commands.append(around("XGROUP", "CREATE", KEY, name, "0"))
        read = ("XREADGROUP", "GROUP", name, f"{name}-1", "COUNT", taken, "STREAMS", KEY, ">")
        commands.append(around(*read))
    return Value(tuple(commands))


def written(entry: Entry) -> bytes:
    """Return the commands that write an entry, ready to be sent. Its idle time is lost."""
    key, value, expires, _ = entry
    if expires is None:
        return value.packed(key)
    return value.packed(key) + pack("PEXPIREAT", key, expires)


_RESTORE = b"*8\r\n" + bulk(b"RESTORE")
_OPTIONS = bulk(b"REPLACE") + bulk(b"ABSTTL") + bulk(b"IDLETIME")


def restored(entry: Entry, payload: bytes) -> bytes:
    """Return the RESTORE that writes an entry with its idle time.

    payload: what DUMP said, as a packed argument.
    """
    key, _, expires, idle = entry
    return b"%b%b%b%b%b%b" % (
        _RESTORE,
        bulk(key),
        bulk(b"%d" % (expires or 0)),
        payload,
        _OPTIONS,
        bulk(b"%d" % idle),
    )
