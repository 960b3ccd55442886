"""Whole values as elements: read in pieces that block nobody, written as commands.

A piece is a LogicalValue with some of the elements; the last piece of a stream carries its state.
Reading is consistent only while the key does not change: whoever needs that WATCHes the key.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from cachectl.model.values import LogicalValue, PendingEntry, StreamGroup, StreamId, StreamState
from cachectl.server.clock import milliseconds
from cachectl.server.wire.connection import NodeConnection, ReplyError
from cachectl.server.wire.resp import Argument, as_dict, as_int

PIECE = 1000
"""Elements in a piece: some hundred microseconds of the server's time."""
STRING_PIECE = 1024 * 1024

Command = tuple[Argument, ...]


class Caller(Protocol):
    """Whatever sends a command and returns its reply: a NodeConnection, or one that follows a key.

    Raises ReplyError, ConnectionLostError.
    """

    def call(self, *arguments: Argument) -> Any:
        """Send a command, return its reply."""
        ...


class UnknownTypeError(ValueError):
    """A type that has no logical form here: a module's, or one from a newer server."""


def read_value(
    connection: Caller, key: bytes, kind: str, *, piece: int = PIECE
) -> Iterator[LogicalValue]:
    """Yield the pieces of one value; none when the key is gone.

    kind: the key's TYPE. piece: elements that are asked for at once; a small hash, set or sorted
    set comes whole all the same. Raises UnknownTypeError, ReplyError, ConnectionLostError.
    """
    if kind == "string":
        return _read_string(connection, key)
    readers = {
        "list": _read_list,
        "set": _read_set,
        "zset": _read_zset,
        "hash": _read_hash,
        "stream": _read_stream,
    }
    if kind not in readers:
        raise UnknownTypeError(kind)
    return readers[kind](connection, key, piece)


def _read_string(connection: Caller, key: bytes) -> Iterator[LogicalValue]:
    start = 0
    length = connection.call("STRLEN", key)
    if not length and connection.call("EXISTS", key):
        yield LogicalValue("string", [b""])
    while start < length:
        piece = connection.call("GETRANGE", key, start, start + STRING_PIECE - 1)
        if not piece:
            return
        yield LogicalValue("string", [piece])
        start += len(piece)


def _read_list(connection: Caller, key: bytes, piece: int) -> Iterator[LogicalValue]:
    start = 0
    while elements := connection.call("LRANGE", key, start, start + piece - 1):
        yield LogicalValue("list", elements)
        start += len(elements)


def _scanned(connection: Caller, command: str, key: bytes, piece: int) -> Iterator[list[bytes]]:
    cursor: Any = b"0"
    while True:
        cursor, elements = connection.call(command, key, cursor, "COUNT", piece)
        if elements:
            yield elements
        if cursor in (b"0", 0):
            return


def _read_set(connection: Caller, key: bytes, piece: int) -> Iterator[LogicalValue]:
    for members in _scanned(connection, "SSCAN", key, piece):
        yield LogicalValue("set", members)


def _read_zset(connection: Caller, key: bytes, piece: int) -> Iterator[LogicalValue]:
    for flat in _scanned(connection, "ZSCAN", key, piece):
        pairs = zip(flat[::2], flat[1::2], strict=True)
        yield LogicalValue("zset", [(member, float(score)) for member, score in pairs])


def _read_hash(connection: Caller, key: bytes, piece: int) -> Iterator[LogicalValue]:
    field_ttls = True
    for flat in _scanned(connection, "HSCAN", key, piece):
        names, values = flat[::2], flat[1::2]
        expiries: list[int | None] = [None] * len(names)
        if field_ttls:
            try:
                reply = connection.call("HPEXPIRETIME", key, "FIELDS", len(names), *names)
                expiries = [at if at >= 0 else None for at in reply or []] or expiries
            except ReplyError:  # a server without field TTLs, or a login that may not ask
                field_ttls = False
        yield LogicalValue("hash", list(zip(names, values, expiries, strict=True)))


def _read_stream(connection: Caller, key: bytes, piece: int) -> Iterator[LogicalValue]:
    start = b"-"
    while entries := connection.call("XRANGE", key, start, "+", "COUNT", piece):
        yield LogicalValue("stream", [(_id(entry), _pairs(flat)) for entry, flat in entries])
        start = b"(" + entries[-1][0]
    yield LogicalValue("stream", [], _stream_state(connection, key))


def _stream_state(connection: Caller, key: bytes) -> StreamState:
    info = as_dict(connection.call("XINFO", "STREAM", key))
    now = milliseconds(connection.call("TIME"))
    deleted = info.get("max-deleted-entry-id")
    groups = [as_dict(group) for group in connection.call("XINFO", "GROUPS", key)]
    return StreamState(
        _id(info["last-generated-id"]),
        _id(deleted) if deleted is not None else None,
        as_int(info.get("entries-added")),
        tuple(_group(connection, key, group, now) for group in groups),
    )


def _group(connection: Caller, key: bytes, info: dict[str, Any], now: int) -> StreamGroup:
    name = info["name"]
    consumers = connection.call("XINFO", "CONSUMERS", key, name)
    pending: list[PendingEntry] = []
    start = b"-"
    while page := connection.call("XPENDING", key, name, start, "+", PIECE):
        pending += [PendingEntry(_id(i), who, now - idle, count) for i, who, idle, count in page]
        start = b"(" + page[-1][0]
    return StreamGroup(
        name,
        _id(info["last-delivered-id"]),
        as_int(info.get("entries-read")),
        tuple(as_dict(consumer)["name"] for consumer in consumers),
        tuple(pending),
    )


def _id(raw: bytes) -> StreamId:
    milliseconds, _, sequence = raw.partition(b"-")
    return int(milliseconds), int(sequence)


def _pairs(flat: Any) -> tuple[tuple[bytes, bytes], ...]:
    return tuple(zip(flat[::2], flat[1::2], strict=True))


# --- writing --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Abilities:
    """What the server that is written to understands beyond Redis 6.2."""

    field_ttls: bool
    stream_counters: bool

    @classmethod
    def of(cls, connection: NodeConnection) -> Abilities:
        """Ask the server: by command names and versions of their arguments, not by its version."""
        field_ttl, xsetid = connection.pipeline(
            [("COMMAND", "INFO", "HPEXPIREAT"), ("COMMAND", "INFO", "XSETID")]
        )
        known = isinstance(field_ttl, list) and bool(field_ttl) and field_ttl[0] is not None
        # Arity -3 (at least) since 7.0, exactly 3 before: the optional counters came with it.
        arity = xsetid[0][1] if isinstance(xsetid, list) and xsetid and xsetid[0] else 3
        return cls(known, arity < 0)


def write_commands(
    key: bytes, value: LogicalValue, abilities: Abilities, now: int
) -> Iterator[Command]:
    """Yield the commands that append one piece to `key`.

    now: Unix milliseconds; fields that have expired by then are left out. Field TTLs that the
    server cannot keep are dropped: `loses` says so beforehand.
    """
    match value.type:
        case "string":
            yield from (("APPEND", key, piece) for piece in value.elements)
        case "list":
            yield from _in_pieces("RPUSH", key, value.elements)
        case "set":
            yield from _in_pieces("SADD", key, value.elements)
        case "zset":
            flat = [
                part for member, score in value.elements for part in (score_text(score), member)
            ]
            yield from _in_pieces("ZADD", key, flat)
        case "hash":
            yield from _write_hash(key, value, abilities, now)
        case "stream":
            yield from _write_stream(key, value, abilities)
        case _:
            raise UnknownTypeError(value.type)


def loses(value: LogicalValue, abilities: Abilities) -> str | None:
    """Return what of this piece the server cannot keep, in words, or None."""
    if value.type == "hash" and not abilities.field_ttls:
        return "field TTLs" if any(at is not None for _, _, at in value.elements) else None
    return None


def _in_pieces(command: str, key: bytes, elements: Any) -> Iterator[Command]:
    step = PIECE * 2
    for start in range(0, len(elements), step):
        yield command, key, *elements[start : start + step]


def score_text(score: float) -> bytes:
    """Return a score of a sorted set as servers read it, exactly."""
    if abs(score) == float("inf"):
        return b"+inf" if score > 0 else b"-inf"
    return repr(score).encode()


def _write_hash(
    key: bytes, value: LogicalValue, abilities: Abilities, now: int
) -> Iterator[Command]:
    alive = [item for item in value.elements if item[2] is None or item[2] > now]
    yield from _in_pieces("HSET", key, [part for name, text, _ in alive for part in (name, text)])
    if not abilities.field_ttls:
        return
    by_time: dict[int, list[bytes]] = {}
    for name, _, expires_at in alive:
        if expires_at is not None:
            by_time.setdefault(expires_at, []).append(name)
    for expires_at, names in by_time.items():
        yield "HPEXPIREAT", key, expires_at, "FIELDS", len(names), *names


def _write_stream(key: bytes, value: LogicalValue, abilities: Abilities) -> Iterator[Command]:
    for entry_id, pairs in value.elements:
        yield "XADD", key, stream_id_text(entry_id), *(part for pair in pairs for part in pair)
    state = value.stream
    if state is None:
        return
    # The stream may have no entry at all: a group creates it, and its own state follows.
    yield "XGROUP", "CREATE", key, b"cachectl:none", "0", "MKSTREAM"
    yield "XGROUP", "DESTROY", key, b"cachectl:none"
    yield _set_id(key, state, abilities)
    for group in state.groups:
        yield from _write_group(key, group, abilities)


def _set_id(key: bytes, state: StreamState, abilities: Abilities) -> Command:
    command: Command = ("XSETID", key, stream_id_text(state.last_id))
    if abilities.stream_counters and state.entries_added is not None and state.max_deleted_id:
        deleted = stream_id_text(state.max_deleted_id)
        command += ("ENTRIESADDED", state.entries_added, "MAXDELETEDID", deleted)
    return command


def _write_group(key: bytes, group: StreamGroup, abilities: Abilities) -> Iterator[Command]:
    create: Command = ("XGROUP", "CREATE", key, group.name, stream_id_text(group.last_id))
    if abilities.stream_counters and group.entries_read is not None:
        create += ("ENTRIESREAD", group.entries_read)
    yield create
    for consumer in group.consumers:
        yield "XGROUP", "CREATECONSUMER", key, group.name, consumer
    for entry in group.pending:
        yield (
            *("XCLAIM", key, group.name, entry.consumer, 0, stream_id_text(entry.id)),
            *("TIME", max(0, entry.delivered_at), "RETRYCOUNT", entry.deliveries),
            *("FORCE", "JUSTID"),
        )


def stream_id_text(entry_id: StreamId) -> bytes:
    """Return a stream entry's id as servers write it."""
    return b"%d-%d" % entry_id
