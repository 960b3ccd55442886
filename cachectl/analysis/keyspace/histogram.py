"""Histograms with logarithmic bins, for quantiles of TTLs and idle times in bounded memory.

A bin is 2^(1/8) wide. A quantile is interpolated in its bin: it is off by less than 9.1 % whatever
the values are, and by less than 1 % where they are spread over a bin. Borders that people ask
about (a minute, an hour, a day) are borders of bins, so that what is counted between them is exact.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

RELATIVE_ERROR = 0.091
"""Largest relative error of a quantile from a LogHistogram, whatever the values; 2^(1/8) - 1."""

STRIDE = 512
"""More than the bins of any histogram: `gid * STRIDE + bin` is a number for both."""

_SECOND = 1_000
_MINUTE = 60 * _SECOND
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR


def _bounds(borders: Iterable[int]) -> list[int]:
    geometric = {round(2 ** (step / 8)) for step in range(8 * 45)}
    return sorted({0, *geometric, *borders})


TTL_BOUNDS: list[int] = _bounds(
    [
        _SECOND,
        10 * _SECOND,
        _MINUTE,
        5 * _MINUTE,
        15 * _MINUTE,
        _HOUR,
        6 * _HOUR,
        _DAY,
        7 * _DAY,
        30 * _DAY,
        365 * _DAY,
    ]
)
"""Lower borders of TTL bins in milliseconds; bin 0 is below them all: no TTL."""

IDLE_BOUNDS: list[int] = _bounds(
    [60, 300, 900, 3_600, 21_600, 86_400, 7 * 86_400, 30 * 86_400, 365 * 86_400]
)
"""Lower borders of bins of idle time in seconds."""


@dataclass(frozen=True, slots=True)
class Bin:
    """So many keys from `low` up to, but not with, `high` (None: no end)."""

    low: int
    high: int | None
    keys: int


@dataclass(frozen=True, slots=True)
class LogHistogram:
    """Counts by bin over the given lower borders; values below the first border are left out.

    bounds: shared list of borders. counts: (bin, keys), ascending, bin 1 starting at bounds[0].
    """

    bounds: Sequence[int] = field(repr=False)
    counts: tuple[tuple[int, int], ...]

    @property
    def total(self) -> int:
        """How many values are in it."""
        return sum(keys for _, keys in self.counts)

    def quantile(self, share: float) -> float | None:
        """Return the value that this share of the values does not exceed; None without values."""
        rank = share * self.total
        seen = 0
        for at, keys in self.counts:
            seen += keys
            if seen >= rank:
                return self._inside(at, 1 - (seen - rank) / keys)
        return None

    def between(self, edges: Sequence[int]) -> tuple[Bin, ...]:
        """Return the counts between ascending edges; the last bin has no end.

        Exact where edges are borders, otherwise a bin counts for where its lower border lies.
        """
        sums = [0] * (len(edges) + 1)
        for at, keys in self.counts:
            sums[bisect_right(edges, self.bounds[at - 1])] += keys
        highs: list[int | None] = [*edges[1:], None]
        return tuple(map(Bin, edges, highs, sums[1:]))

    def bins(self) -> tuple[Bin, ...]:
        """Return all bins that hold something."""
        return tuple(
            Bin(self.bounds[at - 1], self.bounds[at] if at < len(self.bounds) else None, keys)
            for at, keys in self.counts
        )

    def _inside(self, at: int, share: float) -> float:
        """Return the value so far into a bin, as if its values were spread evenly."""
        low = self.bounds[at - 1]
        # The greatest integer in the bin is one less than the next border.
        high = self.bounds[at] - 1 if at < len(self.bounds) else low
        return low + share * (high - low)


def log_histogram(bounds: Sequence[int], counts: Mapping[int, int]) -> LogHistogram:
    """Return the histogram of bin → keys, without bin 0."""
    return LogHistogram(bounds, tuple(sorted(item for item in counts.items() if item[0] > 0)))


def histogram_of(bounds: Sequence[int], values: Iterable[int]) -> LogHistogram:
    """Return the histogram of these values; those below the first border are left out."""
    counts: dict[int, int] = {}
    for value in values:
        at = bisect_right(bounds, value)
        counts[at] = counts.get(at, 0) + 1
    return log_histogram(bounds, counts)
