"""Parting the work of a run: a plan into batches, the groups of a batch into flights."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate

from cachectl.model.changes import PlannedKeys
from cachectl.server.transactions.transaction import Group

_BATCH_BYTES = 32 * 1024 * 1024


def batches(
    plan: Iterable[PlannedKeys],
    start: int,
    size: Callable[[], int],
    *,
    least: int = 1,
    stop: int | None = None,
) -> Iterator[PlannedKeys]:
    """Yield the keys of a plan from record `start` to `stop`, in batches bounded by number and
    bytes.

    plan: its keys, page by page. least: the keys that the first batch has at least.
    """
    waiting, at = PlannedKeys.of(()), 0
    for page in _between(plan, start, stop):
        waiting, at = waiting.part(at, None).followed_by(page), 0
        while len(waiting) - at >= (most := max(size(), least)):
            end = _end(waiting.sizes, at, most, least)
            yield waiting.part(at, end)
            at, least = end, 1
    while at < len(waiting):
        end = _end(waiting.sizes, at, max(size(), least), least)
        yield waiting.part(at, end)
        at, least = end, 1


def _between(plan: Iterable[PlannedKeys], start: int, stop: int | None) -> Iterator[PlannedKeys]:
    number = 0
    for page in plan:
        first, last = start - number, None if stop is None else stop - number
        number += len(page)
        if last is not None and last <= 0:
            return
        if first > 0 or (last is not None and last < len(page)):
            page = page.part(max(0, first), last)
        if page:
            yield page


def _end(sizes: Sequence[int], start: int, most: int, least: int) -> int:
    """Return where the batch ends that begins at `start`."""
    weights = list(accumulate(sizes[start : start + most]))
    if weights[-1] < _BATCH_BYTES:
        return start + len(weights)
    return start + max(least, 1 + bisect_left(weights, _BATCH_BYTES))


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
