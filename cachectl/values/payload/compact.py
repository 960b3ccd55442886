"""The compact encodings of small collections: listpack, ziplist, intset."""

from __future__ import annotations

from collections.abc import Iterator

from cachectl.values.payload.cursor import Cursor, UndecodableError

_LISTPACK_INTEGERS = {0xF1: 2, 0xF2: 3, 0xF3: 4, 0xF4: 8}
_ZIPLIST_INTEGERS = {0xC0: 2, 0xD0: 4, 0xE0: 8, 0xF0: 3, 0xFE: 1}


def listpack(data: bytes) -> Iterator[bytes]:
    """Yield the elements of a listpack; integers in decimal."""
    cursor = Cursor(data)
    if int.from_bytes(cursor.take(4), "little") != len(data):
        raise UndecodableError("a listpack has another size than it says")
    cursor.take(2)  # the number of elements, which may be "unknown"
    while (first := cursor.byte()) != 0xFF:
        before = cursor.left + 1
        yield _listpack_element(cursor, first)
        cursor.take(_back_length(before - cursor.left))
    if cursor.left:
        raise UndecodableError("something follows a listpack's end")


def _listpack_element(cursor: Cursor, first: int) -> bytes:
    if first < 0x80:
        return b"%d" % first
    if first < 0xC0:
        return cursor.take(first & 0x3F)
    if first < 0xE0:
        value = (first & 0x1F) << 8 | cursor.byte()
        return b"%d" % (value - 0x2000 if value >= 0x1000 else value)
    if first < 0xF0:
        return cursor.take((first & 0x0F) << 8 | cursor.byte())
    if first == 0xF0:
        return cursor.take(int.from_bytes(cursor.take(4), "little"))
    if first in _LISTPACK_INTEGERS:
        raw = cursor.take(_LISTPACK_INTEGERS[first])
        return b"%d" % int.from_bytes(raw, "little", signed=True)
    raise UndecodableError("a listpack element has an unknown encoding")


def _back_length(size: int) -> int:
    """Bytes that hold an element's size for walking backwards: seven bits in each."""
    return max(1, -(-size.bit_length() // 7))


def ziplist(data: bytes) -> Iterator[bytes]:
    """Yield the elements of a ziplist (Redis before 7.0); integers in decimal."""
    cursor = Cursor(data)
    if int.from_bytes(cursor.take(4), "little") != len(data):
        raise UndecodableError("a ziplist has another size than it says")
    cursor.take(6)  # offset of the last element, number of elements
    while (previous := cursor.byte()) != 0xFF:
        if previous == 0xFE:
            cursor.take(4)
        yield _ziplist_element(cursor, cursor.byte())
    if cursor.left:
        raise UndecodableError("something follows a ziplist's end")


def _ziplist_element(cursor: Cursor, first: int) -> bytes:
    match first >> 6:
        case 0:
            return cursor.take(first & 0x3F)
        case 1:
            return cursor.take((first & 0x3F) << 8 | cursor.byte())
        case 2:
            return cursor.take(int.from_bytes(cursor.take(4), "big"))
    if first in _ZIPLIST_INTEGERS:
        raw = cursor.take(_ZIPLIST_INTEGERS[first])
        return b"%d" % int.from_bytes(raw, "little", signed=True)
    if 0xF1 <= first <= 0xFD:
        return b"%d" % ((first & 0x0F) - 1)
    raise UndecodableError("a ziplist element has an unknown encoding")


def intset(data: bytes) -> Iterator[bytes]:
    """Yield the members of an intset, in decimal."""
    cursor = Cursor(data)
    width = int.from_bytes(cursor.take(4), "little")
    count = int.from_bytes(cursor.take(4), "little")
    if width not in (2, 4, 8) or count * width != cursor.left:
        raise UndecodableError("an intset has another size than it says")
    for _ in range(count):
        yield b"%d" % int.from_bytes(cursor.take(width), "little", signed=True)
