"""Parting the work of a run: a plan into batches, the groups of a batch into flights."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from operator import attrgetter

from cachectl.model.changes import PlannedKey
from cachectl.server.transactions.transaction import Group

_BATCH_BYTES = 32 * 1024 * 1024


def batches(
    plan: Iterable[list[PlannedKey]],
    start: int,
    size: Callable[[], int],
    *,
    least: int = 1,
    stop: int | None = None,
) -> Iterator[list[PlannedKey]]:
    """Yield the records of a plan from `start` to `stop`, in batches bounded by number and bytes.

    plan: its records, page by page. least: the records that the first batch has at least.
    """
    waiting: list[PlannedKey] = []
    for page in _between(plan, start, stop):
        waiting += page
        while len(waiting) >= (most := max(size(), least)):
            batch, waiting = _taken(waiting, most, least)
            yield batch
            least = 1
    while waiting:
        batch, waiting = _taken(waiting, max(size(), least), least)
        yield batch
        least = 1


def _between(
    plan: Iterable[list[PlannedKey]], start: int, stop: int | None
) -> Iterator[list[PlannedKey]]:
    number = 0
    for page in plan:
        first, last = start - number, None if stop is None else stop - number
        number += len(page)
        if last is not None and last <= 0:
            return
        if first > 0 or (last is not None and last < len(page)):
            page = page[max(0, first) : last]
        if page:
            yield page


def _taken(
    waiting: list[PlannedKey], most: int, least: int
) -> tuple[list[PlannedKey], list[PlannedKey]]:
    """Return the next batch and what follows it."""
    weights = list(accumulate(map(attrgetter("size"), waiting[:most])))
    if weights[-1] >= _BATCH_BYTES:
        most = max(least, 1 + bisect_left(weights, _BATCH_BYTES))
    return waiting[:most], waiting[most:]


def in_waves(groups: Sequence[Group], most: int) -> list[list[Group]]:
    """Part groups, in their order, so that a wave has at most so many keys, or is one group."""
    waves: list[list[Group]] = []
    room = 0
    for group in groups:
        if len(group.keys) > room or not waves:
            waves.append([])
            room = most
        waves[-1].append(group)
        room -= len(group.keys)
    return waves
