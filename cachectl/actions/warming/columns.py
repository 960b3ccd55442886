"""The columns of rendered rows, cut and sorted as a warming sends them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from cachectl.actions.warming.journal import Progress
from cachectl.config.manifest import Entry
from cachectl.model.values import LogicalValue
from cachectl.sources.interface import RowBatch
from cachectl.sources.rendered import Rendered

T = TypeVar("T")


def values_of(rendered: Rendered) -> Sequence[Any]:
    """Return bytes of strings and LogicalValues of everything else."""
    if rendered.types is None:
        kind = rendered.entry.type
        if kind == "string":
            return rendered.values
        return [LogicalValue(kind, elements) for elements in rendered.values]
    return [
        value if kind == "string" else LogicalValue(kind, value)
        for kind, value in zip(rendered.types, rendered.values, strict=True)
    ]


def in_kinds(rendered: Rendered) -> Iterator[Sequence[int]]:
    """Yield the positions of strings, and those of collections."""
    if rendered.types is None:
        yield range(len(rendered))
        return
    for wanted in (True, False):
        found = [i for i, kind in enumerate(rendered.types) if (kind == "string") is wanted]
        if found:
            yield found


def at_positions(column: Sequence[T], positions: Sequence[int]) -> Sequence[T]:
    """Return the values of a column at some positions, those of a range without a look at each."""
    if isinstance(positions, range) and positions.step == 1:
        return column[positions.start : positions.stop]
    return [column[i] for i in positions]


def keep_only(rendered: Rendered, good: Sequence[int]) -> None:
    """Leave only some of the keys in a batch."""
    rendered.keys = [rendered.keys[i] for i in good]
    rendered.values = [rendered.values[i] for i in good]
    rendered.rows = [rendered.rows[i] for i in good]
    for name in ("ttls", "types", "tags"):
        column = getattr(rendered, name)
        if column is not None:
            setattr(rendered, name, [column[i] for i in good])


def between(rendered: Rendered, first: int, last: int | None) -> Rendered:
    """Return the keys and problems of some rows."""

    def fits(row: int) -> bool:
        return row >= first and (last is None or row <= last)

    good = [i for i, row in enumerate(rendered.rows) if fits(row)]
    problems = tuple(one for one in rendered.problems if fits(one.row))
    if len(good) < len(rendered):
        keep_only(rendered, good)
    return replace(rendered, problems=problems)


def part_of(rendered: Rendered, start: int, stop: int, *, problems: bool) -> Rendered:
    """Return the keys at some positions. problems: whether the bad rows go with them."""
    part = replace(rendered, problems=rendered.problems if problems else ())
    if stop - start < len(rendered):
        keep_only(part, range(start, stop))
    return part


def segments(rows: Sequence[int], progress: Progress) -> Iterator[tuple[int, int, int | None]]:
    """Yield (start, stop, when they were sent) of positions that were sent together, or never."""
    start = 0
    known = [progress.sent_at(row) for row in rows]
    for at in range(1, len(rows) + 1):
        if at == len(rows) or known[at] != known[start]:
            yield start, at, known[start]
            start = at
    if not rows:
        yield 0, 0, None


def start_after(entry: Entry, progress: Progress) -> int:
    """Return the row after which an entry has something left to do."""
    # A gathered key is known by its first row: its other rows, and those of the next key, follow.
    return max(0, progress.row - 1) if entry.gather else progress.row


def last_row(entry: Entry, rendered: Rendered, batch: RowBatch) -> int:
    """Return the row up to which an entry is settled when these keys are."""
    if entry.gather:
        return last_of(rendered)
    return max([*batch.numbers[-1:], *(problem.row for problem in batch.problems)])


def last_of(rendered: Rendered) -> int:
    """Return the last row that a key, or a bad row, is known by; 0 without any."""
    return max([0, *rendered.rows[-1:], *(problem.row for problem in rendered.problems[-1:])])


def first_row(rendered: Rendered, last: int) -> int:
    """Return the first row that a key, or a bad row, is known by; `last` without any."""
    return min([last, *rendered.rows[:1], *(problem.row for problem in rendered.problems[:1])])
