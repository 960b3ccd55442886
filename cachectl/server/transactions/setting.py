"""Commands that write whole keys, packed for many keys at once.

A string is one SET. A collection that one command can fill is built under a sibling name and
renamed within one transaction, so that nobody ever sees a part of it: if the server refuses the
elements, nothing is there to be renamed and the key stays as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cachectl.model.changes import NEVER
from cachectl.model.values import LogicalValue
from cachectl.server.values.logical import PIECE, Abilities, Command, write_commands
from cachectl.server.wire.resp import ReplyError, pack

COLLECTION_REPLIES = 6
"""Replies to what `pack_collection` returns: MULTI, four times QUEUED, EXEC."""
LARGE = 1024 * 1024
"""Bytes of elements above which a collection is not sent as one command."""


def pack_strings(
    keys: Sequence[bytes],
    values: Sequence[bytes],
    expiries: Sequence[int],
    *,
    only_new: bool,
    asking: bool = False,
) -> bytes:
    """Return one SET for each key. expiries: Unix milliseconds by the server's clock, or NEVER.

    only_new: NX. asking: each command is led by ASKING (see transaction.Asking). PXAT exists
    since Redis 6.2.
    """
    end = b"$2\r\nNX\r\n" if only_new else b""
    start = b"*1\r\n$6\r\nASKING\r\n" if asking else b""
    plain = start + b"*%d\r\n$3\r\nSET\r\n" % (4 if only_new else 3) + _PAIR + end
    expiring = start + b"*%d\r\n$3\r\nSET\r\n" % (6 if only_new else 5) + _PAIR + _PXAT + end
    if expiries and min(expiries) >= _MIN_13 and max(expiries) < 10 * _MIN_13:
        # One formatting a key, which C goes through: half the time of parts that are joined.
        columns = map(len, keys), keys, map(len, values), values, expiries
        return b"".join(map(expiring.__mod__, zip(*columns, strict=True)))
    return b"".join(
        plain % (len(key), key, len(value), value)
        if at == NEVER
        else pack("ASKING") * asking + pack("SET", key, value, "PXAT", at, *["NX"] * only_new)
        for key, value, at in zip(keys, values, expiries, strict=True)
    )


_PAIR = b"$%d\r\n%b\r\n$%d\r\n%b\r\n"
_PXAT = b"$4\r\nPXAT\r\n$13\r\n%d\r\n"
_MIN_13 = 10**12
"""From 2001 to 2286 a time in milliseconds has 13 digits, which saves looking at each."""


def single_command(key: bytes, value: LogicalValue, abilities: Abilities) -> Command | None:
    """Return the one command that fills a collection; None when it takes several.

    Several are needed for streams, for fields with TTLs, and for what would hold up other clients.
    """
    if value.type == "stream" or len(value.elements) > PIECE or size_of(value) > LARGE:
        return None
    commands = list(write_commands(key, value, abilities, 0))
    return commands[0] if len(commands) == 1 else None


def pack_collection(
    key: bytes, beside: bytes, command: Command, expires_at: int, *, only_new: bool
) -> bytes:
    """Return the transaction that fills `beside` by `command` and renames it to `key`.

    With only_new an existing key stays. Its replies are COLLECTION_REPLIES; the last one tells.
    """
    expiry: Command = ("PEXPIREAT", beside, expires_at)
    return b"".join(
        (
            _MULTI,
            pack(*command),
            pack(*expiry) if expires_at != NEVER else pack("PERSIST", beside),
            pack("RENAMENX" if only_new else "RENAME", beside, key),
            pack("UNLINK", beside),  # RENAMENX leaves it where it is when the key exists
            _EXEC,
        )
    )


_MULTI, _EXEC = pack("MULTI"), pack("EXEC")


def collection_reply(replies: Sequence[Any]) -> Any:
    """Return what became of a collection: OK or 1 for written, 0 for kept, or a ReplyError.

    replies: the COLLECTION_REPLIES of one key. An error of a single command says more than the
    EXECABORT, or the "no such key" of the renaming, that it led to.
    """
    *queued, done = replies
    for reply in queued:
        if isinstance(reply, ReplyError):
            return reply
    if isinstance(done, ReplyError):
        return done
    filled, _, renamed, _ = done
    return filled if isinstance(filled, ReplyError) else renamed


def size_of(value: bytes | LogicalValue) -> int:
    """Return the bytes of a string, or of a collection's elements."""
    if isinstance(value, bytes):
        return len(value)
    elements = value.elements
    match value.type:
        case "zset":
            return sum(len(member) + 8 for member, _ in elements)
        case "hash":
            return sum(len(name) + len(text) for name, text, _ in elements)
        case "stream":
            return sum(len(a) + len(b) for _, pairs in elements for a, b in pairs)
        case _:
            return sum(map(len, elements))
