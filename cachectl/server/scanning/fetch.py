"""The columns of keys whose names are known already, in flights at a pace."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from cachectl.model.keys import Page
from cachectl.server.pace import Pace
from cachectl.server.scanning.columns import Batch, Columns, pack_fields
from cachectl.server.wire.connection import NodeConnection


def fetch(
    connection: NodeConnection,
    columns: Columns,
    keys: Sequence[bytes],
    pace: Pace,
    *,
    only_type: str | None = None,
) -> Iterator[tuple[Page, Batch]]:
    """Yield pages of `keys` with their columns; without those that are gone, or of another type.

    Raises ConnectionLostError, NotNowError, TooSlowError.
    """
    at = 0
    while at < len(keys):
        batch = Batch(list(keys[at : at + pace.batch]))
        at += len(batch)
        fields = tuple(columns.fields)
        replies = _flight(connection, pace, len(batch), pack_fields(batch, fields), len(fields))
        columns.take(batch, fields, replies)
        if only_type is not None:
            columns.narrow(batch, only_type)
        ask_lengths(connection, columns, batch, pace)
        yield columns.page(batch), batch


def ask_lengths(connection: NodeConnection, columns: Columns, batch: Batch, pace: Pace) -> None:
    """Add the number of elements to a batch whose types are known, where that was asked for."""
    if not columns.elements:
        return
    packed, asked = columns.pack_lengths(batch)
    replies = _flight(connection, pace, len(asked), packed, 1) if asked else []
    columns.take_lengths(batch, asked, replies)


def _flight(
    connection: NodeConnection, pace: Pace, keys: int, packed: bytes, width: int
) -> list[object]:
    pace.before(keys)
    sent_at = time.monotonic()
    connection.send(packed)
    replies = connection.receive(keys * width)
    pace.after(keys, time.monotonic() - sent_at)
    return replies
