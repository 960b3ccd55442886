"""Streams in RDB: listpacks of delta-encoded entries, then the groups with what is pending."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cachectl.model.values import LogicalValue, PendingEntry, StreamGroup, StreamId, StreamState
from cachectl.values.payload.compact import listpack
from cachectl.values.payload.cursor import Cursor, UndecodableError

_DELETED, _SAME_FIELDS = 1, 2
Entry = tuple[StreamId, tuple[tuple[bytes, bytes], ...]]


def stream(cursor: Cursor, version: int) -> LogicalValue:
    """Return a stream. version: 1 (Redis 5), 2 (7.0: more ids), 3 (7.2: active times)."""
    entries: list[Entry] = []
    for _ in range(cursor.count()):
        base = _raw_id(cursor.string())
        entries.extend(_entries(base, listpack(cursor.string())))
    cursor.length()  # the number of entries
    last_id = cursor.length(), cursor.length()
    max_deleted: StreamId | None = None
    added: int | None = None
    if version >= 2:
        cursor.length(), cursor.length()  # the first id, which the entries tell
        max_deleted = cursor.length(), cursor.length()
        added = cursor.length()
    groups = tuple(_group(cursor, version) for _ in range(cursor.count()))
    return LogicalValue("stream", entries, StreamState(last_id, max_deleted, added, groups))


def _raw_id(data: bytes) -> StreamId:
    if len(data) != 16:
        raise UndecodableError("a stream id has not 16 bytes")
    return int.from_bytes(data[:8], "big"), int.from_bytes(data[8:], "big")


def _entries(base: StreamId, elements: Iterator[bytes]) -> Iterator[Entry]:
    """Yield the entries of one listpack: a master entry names the fields that most share."""
    try:
        count, deleted, width = (int(next(elements)) for _ in range(3))
        master = [next(elements) for _ in range(width)]
        next(elements)
        for _ in range(count + deleted):
            flags, milliseconds, sequence = (int(next(elements)) for _ in range(3))
            if flags & _SAME_FIELDS:
                pairs = tuple((name, next(elements)) for name in master)
            else:
                own = int(next(elements))
                pairs = tuple((next(elements), next(elements)) for _ in range(own))
            next(elements)  # the number of elements, for walking backwards
            if not flags & _DELETED:
                yield (base[0] + milliseconds, base[1] + sequence), pairs
    except (RuntimeError, StopIteration, ValueError) as error:
        raise UndecodableError("a stream's listpack does not hold whole entries") from error


def _group(cursor: Cursor, version: int) -> StreamGroup:
    name = cursor.string()
    last_id = cursor.length(), cursor.length()
    read = cursor.length() if version >= 2 else None
    # "Not known" is -1, which travels as the greatest unsigned number.
    entries_read = None if read is None or read >= 1 << 63 else read
    delivered: dict[StreamId, tuple[int, int]] = {}
    for _ in range(cursor.count()):
        entry_id = _raw_id(cursor.take(16))
        delivered[entry_id] = cursor.int64(), cursor.length()
    consumers: list[bytes] = []
    pending: list[PendingEntry] = []
    for _ in range(cursor.count()):
        consumer = cursor.string()
        consumers.append(consumer)
        cursor.take(16 if version >= 3 else 8)  # seen (and active) times
        for _ in range(cursor.count()):
            entry_id = _raw_id(cursor.take(16))
            facts: Any = delivered.get(entry_id)
            if facts is None:
                raise UndecodableError("a consumer waits for an entry that its group does not know")
            pending.append(PendingEntry(entry_id, consumer, *facts))
    pending.sort(key=lambda entry: entry.id)
    return StreamGroup(name, last_id, entries_read, tuple(consumers), tuple(pending))
