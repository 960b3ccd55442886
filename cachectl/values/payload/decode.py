"""One DUMP payload → its elements. The table of RDB value types."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from cachectl.model.values import LogicalValue
from cachectl.values.payload.compact import intset, listpack, ziplist
from cachectl.values.payload.cursor import Cursor, UndecodableError
from cachectl.values.payload.stream import stream

_FOOTER = 10
_VALKEY_FIRST_VERSION = 80
"""Valkey numbers its RDB versions from 80 since 9.0; Redis is at 12."""


def payload_version(payload: bytes) -> int:
    """Return the RDB version of a DUMP payload: its footer is version u16 and CRC-64."""
    if len(payload) <= _FOOTER:
        raise UndecodableError("it is too short for a payload")
    return int.from_bytes(payload[-_FOOTER : -_FOOTER + 2], "little")


def decode_payload(payload: bytes) -> LogicalValue:
    """Return the value of a DUMP payload. Raises UndecodableError for modules and damage.

    The checksum is not looked at: whoever stored the payload has one of his own.
    """
    version = payload_version(payload)
    cursor = Cursor(payload[:-_FOOTER])
    kind = cursor.byte()
    decoder = _decoder(kind, version)
    if decoder is None:
        what = "a module's value" if kind in (6, 7) else f"a value of RDB type {kind}"
        raise UndecodableError(f"it is {what}, which only the same server can restore")
    value = decoder(cursor)
    if cursor.left:
        raise UndecodableError("something follows its value")
    return value


def _decoder(kind: int, version: int) -> Callable[[Cursor], LogicalValue] | None:
    if kind == 22:  # Valkey 9: hash with field TTLs; Redis used the number before 7.4 was final
        return _hash_valkey if version >= _VALKEY_FIRST_VERSION else None
    return _DECODERS.get(kind)


def _string(cursor: Cursor) -> LogicalValue:
    return LogicalValue("string", [cursor.string()])


def _strings(cursor: Cursor) -> list[bytes]:
    return [cursor.string() for _ in range(cursor.count())]


def _quicklist(cursor: Cursor) -> Iterator[bytes]:
    for _ in range(cursor.count()):
        yield from ziplist(cursor.string())


def _quicklist_2(cursor: Cursor) -> Iterator[bytes]:
    for _ in range(cursor.count()):
        container = cursor.length()
        if container == 1:  # one large element by itself
            yield cursor.string()
        elif container == 2:
            yield from listpack(cursor.string())
        else:
            raise UndecodableError("a list has a node of an unknown kind")


def _listed(kind: str, read: Callable[[Cursor], Iterable[bytes]]) -> Callable[[Cursor], Any]:
    return lambda cursor: LogicalValue(kind, list(read(cursor)))


def _pairs(elements: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    listed = list(elements)
    if len(listed) % 2:
        raise UndecodableError("a collection of pairs has an odd number of elements")
    return zip(listed[::2], listed[1::2], strict=True)


def _hash_of(pairs: Iterable[tuple[bytes, bytes]]) -> LogicalValue:
    return LogicalValue("hash", [(name, value, None) for name, value in pairs])


def _zset_of(pairs: Iterable[tuple[bytes, bytes]]) -> LogicalValue:
    try:
        return LogicalValue("zset", [(member, float(score)) for member, score in pairs])
    except ValueError as error:
        raise UndecodableError("a score is no number") from error


def _hash(cursor: Cursor) -> LogicalValue:
    return _hash_of([(cursor.string(), cursor.string()) for _ in range(cursor.count())])


def _zset(cursor: Cursor) -> LogicalValue:
    members = [(cursor.string(), cursor.double()) for _ in range(cursor.count())]
    return LogicalValue("zset", members)


def _hash_valkey(cursor: Cursor) -> LogicalValue:
    """Valkey 9: each field is followed by its expiry in Unix milliseconds, -1 for none."""
    fields: list[tuple[bytes, bytes, int | None]] = []
    for _ in range(cursor.count()):
        name, value, expires_at = cursor.string(), cursor.string(), cursor.int64()
        fields.append((name, value, expires_at if expires_at >= 0 else None))
    return LogicalValue("hash", fields)


def _hash_metadata(cursor: Cursor) -> LogicalValue:
    """Redis 7.4: the earliest expiry once, then for each field 0 (none) or its distance + 1."""
    earliest = cursor.int64()
    fields: list[tuple[bytes, bytes, int | None]] = []
    for _ in range(cursor.count()):
        distance = cursor.length()
        expires_at = earliest + distance - 1 if distance else None
        fields.append((cursor.string(), cursor.string(), expires_at))
    return LogicalValue("hash", fields)


def _hash_listpack_ex(cursor: Cursor) -> LogicalValue:
    """Redis 7.4: a listpack of field, value, expiry (0 for none) after the earliest expiry."""
    cursor.int64()
    elements = list(listpack(cursor.string()))
    if len(elements) % 3:
        raise UndecodableError("a hash with field TTLs does not hold whole triples")
    triples = zip(elements[::3], elements[1::3], elements[2::3], strict=True)
    return LogicalValue("hash", [(name, value, int(at) or None) for name, value, at in triples])


_DECODERS: dict[int, Callable[[Cursor], LogicalValue]] = {
    0: _string,
    1: _listed("list", _strings),
    2: _listed("set", _strings),
    4: _hash,
    5: _zset,
    10: _listed("list", lambda cursor: ziplist(cursor.string())),
    11: _listed("set", lambda cursor: intset(cursor.string())),
    12: lambda cursor: _zset_of(_pairs(ziplist(cursor.string()))),
    13: lambda cursor: _hash_of(_pairs(ziplist(cursor.string()))),
    14: _listed("list", _quicklist),
    15: lambda cursor: stream(cursor, 1),
    16: lambda cursor: _hash_of(_pairs(listpack(cursor.string()))),
    17: lambda cursor: _zset_of(_pairs(listpack(cursor.string()))),
    18: _listed("list", _quicklist_2),
    19: lambda cursor: stream(cursor, 2),
    20: _listed("set", lambda cursor: listpack(cursor.string())),
    21: lambda cursor: stream(cursor, 3),
    24: _hash_metadata,
    25: _hash_listpack_ex,
}
