"""Long tables: what people see of them, and the sentence about the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def cut(
    rows: Sequence[T], limit: int | None, most: int, what: str
) -> tuple[Sequence[T], Sequence[T], list[str]]:
    """Return what machines get, what people see, and a note about what is hidden from them.

    limit: what was asked for, None for all to machines and `most` to people. what: rows, in words.
    """
    listed = rows[:limit]
    shown = listed[:most] if limit is None else listed
    hidden = len(rows) - len(shown)
    return listed, shown, [f"{hidden:,} more {what}; --limit shows more"] if hidden else []
