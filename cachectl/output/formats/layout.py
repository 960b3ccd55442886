"""How wide each column of a table gets on a screen: figures stay whole, names fold, extras go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cachectl.output.formats.lines import breakable, cell_width
from cachectl.output.report import Column, Kind

GAP = 2
"""Spaces between two columns."""

NAMES = frozenset({Kind.KEY, Kind.NAMESPACE})
"""Kinds that are folded anywhere: a name has no words."""

_WORDS = frozenset({Kind.TEXT, Kind.DATA, Kind.COUNTS})
_NARROWEST = 16


@dataclass(frozen=True, slots=True)
class Layout:
    """kept: the indexes of the columns to show; widths: of those, in cells."""

    kept: tuple[int, ...]
    widths: tuple[int, ...]


def lay_out(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> Layout | None:
    """Return the layout for a screen of this width, or None when no table fits on it.

    The columns with the highest `drop` go first, 0 never goes.
    """
    natural = [_widest([column.heading], rows, i) for i, column in enumerate(columns)]
    floors = _floors(columns, rows, natural, width)
    kept = list(range(len(columns)))
    while sum(floors[i] + GAP for i in kept) - GAP > width:
        droppable = [i for i in kept if columns[i].drop]
        if not droppable:
            return None
        kept.remove(max(droppable, key=lambda i: (columns[i].drop, i)))
    return Layout(tuple(kept), _shared(kept, natural, floors, width))


def _floors(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], natural: Sequence[int], width: int
) -> list[int]:
    """Return how narrow each column may become."""
    folding = [i for i, column in enumerate(columns) if column.kind in NAMES | _WORDS]
    # What never goes has the first claim to room; what may go is not worth much when folded.
    widest = max(folding, key=lambda i: (not columns[i].drop, natural[i]), default=None)
    floors: list[int] = []
    for i, column in enumerate(columns):
        if column.kind in NAMES | _WORDS:
            share = 3 if i == widest else 4
            least = max(_NARROWEST, width // share) if i == widest or column.drop else _NARROWEST
            floors.append(min(natural[i], least))
        else:
            parts = [part for row in rows for part in breakable(column, row[i])]
            floors.append(max(map(cell_width, [*column.heading.split(), *parts]), default=1))
    return floors


def _shared(
    kept: Sequence[int], natural: Sequence[int], floors: Sequence[int], width: int
) -> tuple[int, ...]:
    """Cut the widest columns back to one common width, the greatest with which all fit."""
    cap = width
    while True:
        widths = tuple(min(natural[i], max(floors[i], cap)) for i in kept)
        if sum(widths) + GAP * (len(kept) - 1) <= width or cap == 0:
            return widths
        cap -= 1


def _widest(headings: Sequence[str], rows: Sequence[Sequence[str]], i: int) -> int:
    return max(1, *(cell_width(text) for text in headings), *(cell_width(row[i]) for row in rows))
