"""Which values to read: of each rule some keys, all with the same chance, in one pass over pages.

Each key is given a random priority, and those with the lowest are kept (the bottom-k sketch: E.
Cohen and H. Kaplan, Summarizing Data Using Bottom-k Sketches, PODC 2007). What two nodes have kept
is merged by priority, and a node that is read again is forgotten on its own. How many keys lie
between two that are kept is drawn at once, so that most keys cost nothing.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappush, heapreplace, nsmallest
from math import log, log1p
from typing import NamedTuple

from cachectl.model.keys import Page


class ValueKey(NamedTuple):
    """A key whose value is to be read. rule: the number of its rule; bytes: None for unknown."""

    node: str
    key: bytes
    type: str
    bytes: int | None
    rule: int


class ValueSample:
    """Keeps at most `most` keys of each rule. Not safe for several threads at once."""

    def __init__(self, most: int, seed: int | None = None) -> None:
        self.most = most
        self._rng = random.Random(seed)  # noqa: S311
        self._kept: dict[tuple[str, int], _Lowest] = {}

    def add(self, page: Page, rows: Sequence[int], numbers: Sequence[int]) -> None:
        """Let keys of a page take part. rows: where they stand; numbers: of their rules."""
        if not self.most or page.types is None:
            return
        for number, count in Counter(numbers).items():
            own: list[int] = []

            def key_at(at: int, number: int = number, own: list[int] = own) -> ValueKey:
                if not own:
                    own += [
                        row for row, other in zip(rows, numbers, strict=True) if other == number
                    ]
                row = own[at]
                size = page.sizes[row] if page.sizes else None
                kind = page.types[row] if page.types else ""
                return ValueKey(page.node, page.keys[row], kind, size, number)

            kept = self._kept.get((page.node, number))
            if kept is None:
                kept = self._kept[page.node, number] = _Lowest(self.most, self._rng.random)
            kept.offer(count, key_at)

    def drop(self, node: str) -> None:
        """Forget a node: it is read again."""
        self._kept = {place: kept for place, kept in self._kept.items() if place[0] != node}

    def chosen(self) -> list[ValueKey]:
        """Return the keys that were kept, those of one rule together, in random order."""
        rules: dict[int, list[tuple[float, int, ValueKey]]] = {}
        for (_, number), kept in self._kept.items():
            rules.setdefault(number, []).extend(kept.entries)
        # A heap of the lowest has the largest on top: priorities are negative.
        return [
            key
            for _, entries in sorted(rules.items())
            for _, _, key in nsmallest(self.most, entries, key=lambda entry: -entry[0])
        ]


@dataclass(slots=True)
class _Lowest:
    """The keys with the lowest priorities of one rule on one node. entries: a heap."""

    most: int
    draw: Callable[[], float]
    entries: list[tuple[float, int, ValueKey]] = field(default_factory=list)
    _next: int = 0
    _seen: int = 0

    def offer(self, count: int, key_at: Callable[[int], ValueKey]) -> None:
        """Let so many keys take part; `key_at` gives the one at a place."""
        at = self._next
        while at < count:
            highest = -self.entries[0][0] if len(self.entries) >= self.most else 1.0
            self._seen += 1
            entry = (-highest * self.draw(), self._seen, key_at(at))
            if len(self.entries) < self.most:
                heappush(self.entries, entry)
            else:
                heapreplace(self.entries, entry)
            at += 1 + self._passed_over()
        self._next = at - count

    def _passed_over(self) -> int:
        """Return how many keys come before the next with a priority below the highest kept."""
        if len(self.entries) < self.most:
            return 0
        highest = -self.entries[0][0]
        if highest <= 0.0:
            return 2**62
        return min(int(log(1.0 - self.draw()) / log1p(-highest)), 2**62) if highest < 1 else 0
