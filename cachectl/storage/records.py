"""Records → bytes and back: keys of a plan, copies of an archive.

Little-endian, every variable part with its length before it. Reading never trusts a length: what
does not fit its frame is DamagedError.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

from cachectl.errors import DamagedError
from cachectl.model import KeyCopy, PlannedKey

_NUMBERS = struct.Struct("<qqQ")
_LENGTH = struct.Struct("<Q")
_COPY = struct.Struct("<qqhB")


_HOWS = ("payload", "pieces", "ttl", "renamed", "members")


def pack_planned(record: PlannedKey) -> bytes:
    """Return a planned key as bytes."""
    return b"".join(
        (
            _sized(record.key),
            _sized(record.type.encode()),
            _sized(record.guard),
            _NUMBERS.pack(record.expires_at, record.idle, record.size),
        )
    )


def pack_copy(copy: KeyCopy) -> bytes:
    """Return a copy as bytes."""
    extra = json.dumps(dict(copy.extra), ensure_ascii=True).encode() if copy.extra else b""
    return b"".join(
        (
            _sized(copy.key),
            _sized(copy.type.encode()),
            _sized(extra),
            _sized(copy.data),
            _COPY.pack(copy.expires_at, copy.idle, copy.freq, _HOWS.index(copy.how)),
        )
    )


def unpack_planned(raw: bytes) -> Iterator[PlannedKey]:
    """Yield the planned keys of one frame. Raises DamagedError."""
    cursor = _Cursor(raw)
    while not cursor.at_end:
        key, kind, guard = cursor.sized(), cursor.sized(), cursor.sized()
        expires_at, idle, size = cursor.fixed(_NUMBERS)
        yield PlannedKey(key, kind.decode("utf-8", "replace"), expires_at, size, idle, guard)


def unpack_copies(raw: bytes) -> Iterator[KeyCopy]:
    """Yield the copies of one frame. Raises DamagedError."""
    cursor = _Cursor(raw)
    while not cursor.at_end:
        key, kind, extra, data = (cursor.sized() for _ in range(4))
        expires_at, idle, freq, how = cursor.fixed(_COPY)
        if how >= len(_HOWS):
            raise DamagedError("an archive holds a kind of copy that this cachectl does not know")
        details = json.loads(extra) if extra else {}
        yield KeyCopy(
            key, kind.decode("utf-8", "replace"), _HOWS[how], data, expires_at, idle, freq, details
        )


def _sized(data: bytes) -> bytes:
    return _LENGTH.pack(len(data)) + data


class _Cursor:
    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    @property
    def at_end(self) -> bool:
        return self._at >= len(self._raw)

    def sized(self) -> bytes:
        (length,) = self.fixed(_LENGTH)
        end = self._at + length
        if end > len(self._raw):
            raise DamagedError("a record is longer than the frame that holds it")
        data = self._raw[self._at : end]
        self._at = end
        return data

    def fixed(self, layout: struct.Struct) -> tuple[Any, ...]:
        try:
            values = layout.unpack_from(self._raw, self._at)
        except struct.error as error:
            raise DamagedError("a record is longer than the frame that holds it") from error
        self._at += layout.size
        return values
