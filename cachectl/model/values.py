"""Whole values, as elements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

StreamId = tuple[int, int]
"""Milliseconds and sequence number."""


@dataclass(frozen=True, slots=True)
class PendingEntry:
    """One entry that a consumer has been given and has not acknowledged (delivered_at: Unix ms)."""

    id: StreamId
    consumer: bytes
    delivered_at: int
    deliveries: int


@dataclass(frozen=True, slots=True)
class StreamGroup:
    """A consumer group. entries_read is None where the server does not know (before 7.0)."""

    name: bytes
    last_id: StreamId
    entries_read: int | None
    consumers: tuple[bytes, ...]
    pending: tuple[PendingEntry, ...]


@dataclass(frozen=True, slots=True)
class StreamState:
    """What a stream is besides its entries; None where the server does not say (before 7.0)."""

    last_id: StreamId
    max_deleted_id: StreamId | None = None
    entries_added: int | None = None
    groups: tuple[StreamGroup, ...] = ()


@dataclass(frozen=True, slots=True)
class LogicalValue:
    """A value as its elements, the same on every server version.

    elements, by type: string: one bytes. list, set: bytes. zset: (member, score). hash: (field,
    value, expires_at), the last in Unix milliseconds or None. stream: (id, ((field, value), …)),
    with the rest in `stream`.
    """

    type: str
    elements: Sequence[Any]
    stream: StreamState | None = None
