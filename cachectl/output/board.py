"""A board: what a live screen shows at a moment, as values, before anyone knows how large it is.

A view builds a Board; output.board_lines draws it for a screen of any size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cachectl.model.findings import Finding
from cachectl.output.report import Column, Table

Figure = tuple[Column, Any]
"""A value, and the column that says what it is and how it is called."""


@dataclass(frozen=True, slots=True)
class Gauge:
    """One line: the main figure, how it went, and others beside it, the most important first."""

    main: Figure
    trend: Sequence[float | None] = ()
    others: Sequence[Figure] = ()


@dataclass(frozen=True, slots=True)
class Panel:
    """A list of things.

    title: one word. sort: the name of the column that its rows are ordered by. note: a sentence in
    place of rows that are not there. minor: it says little beside the others.
    """

    title: str
    table: Table
    sort: str = ""
    descending: bool = True
    note: str = ""
    minor: bool = False


@dataclass(frozen=True, slots=True)
class Board:
    """A whole screen. title: whose; state: on the right of it, such as the time or `paused`.

    alarm: what is wrong with the figures. chosen: which panel has the room, None: all share it;
    offset: rows of it that were scrolled away. keys: (key, what it does).
    """

    title: str
    state: str
    gauges: Sequence[Gauge]
    panels: Sequence[Panel]
    keys: Sequence[tuple[str, str]]
    chosen: int | None = None
    offset: int = 0
    alarm: str = ""
    findings: Sequence[Finding] = ()
