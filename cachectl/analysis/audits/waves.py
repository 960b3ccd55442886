"""Bins of a time series that stand out from their neighbours, with a bounded rate of false alarms.

Where counts come at an even rate, the count of a bin, given the sum of it and of m bins next to it,
is binomial with p = 1 / (m + 1): an exact test that needs no estimate of the rate (J. Przyborowski
and H. Wilenski, 1940). A bin has to stand out from what is before it and from what is after it: a
rate that changes, such as the end of a TTL that many keys have, is no wave.

The chance of any false alarm is at most the sum of the chances of all bins (Bonferroni). Counts are
whole numbers, so that a bin's chance to come to p or less is often well below p; it is what each
bin can attain that is summed (R. E. Tarone, 1990).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, takewhile
from math import ceil, exp, lgamma, log

WINDOW = 120
"""Bins on each side that a bin is compared with."""
GUARD = 2
"""Bins next to it that are left out: a wave may lie across a border."""
FACTOR = 3.0
"""A wave is so many times what is expected, besides being unlikely."""
_MORE_ROUNDS = 3
_FEWEST_NEIGHBOURS = 10
BLIND = GUARD + _FEWEST_NEIGHBOURS
"""Bins at either end of a series in which no wave is looked for. What ends soon after now need not
have begun: keys of a short TTL are always there, and always gone in a moment."""
_PLENTY = 12
_NEGLIGIBLE = 1e-13

_Sides = tuple[tuple[int, int], ...]
"""(count, bins) of each side of a bin."""


@dataclass(frozen=True, slots=True)
class Wave:
    """Bins first to last, both included. expected: what they would hold at their neighbours' rate.

    chance: that any of its bins comes to so much by itself, the smallest of them.
    """

    first: int
    last: int
    count: int
    expected: float
    chance: float


def waves(counts: Sequence[int], alpha: float, *, factor: float = FACTOR) -> list[Wave]:
    """Return the waves in a series of counts. alpha: the chance of any false alarm in it.

    Waves hide others by raising what is expected next to them, so they are taken out, and the rest
    is looked at again, more strictly. The first and the last bins have too few neighbours to be
    looked at: see BLIND.
    """
    chances = _outliers(counts, {}, alpha, factor)
    found = chances
    for _ in range(_MORE_ROUNDS if found else 0):
        found = _outliers(counts, chances, alpha / _MORE_ROUNDS, factor)
        chances |= found
    return _joined(counts, chances)


def _outliers(
    counts: Sequence[int], known: dict[int, float], alpha: float, factor: float
) -> dict[int, float]:
    sums, bins = _sums(counts, known)
    tests: Counter[_Sides] = Counter()
    candidates = {}
    # Far beyond what whole numbers could win over Bonferroni's level.
    limit = min(alpha, 100 * alpha / max(len(counts), 1))
    for at, count in enumerate(counts):
        if at in known:
            continue
        sides = _sides(at, sums, bins)
        if len(sides) < 2:
            continue
        tests[tuple((total + count, m) for total, m in sides)] += 1
        if count and all(count * m >= factor * total for total, m in sides):
            chance = max(binomial_tail(count, count + total, 1 / (m + 1)) for total, m in sides)
            if chance <= limit:
                candidates[at] = chance
    level = _level(sorted(set(candidates.values())), tests, alpha, factor)
    return {at: chance for at, chance in candidates.items() if chance <= level}


def _level(
    chances: Sequence[float], tests: Mapping[_Sides, int], alpha: float, factor: float
) -> float:
    """Return the largest of these chances that all tests together may be held to, -1 for none."""

    every_side = {side for sides in tests for side in sides}

    def fits(level: float) -> bool:
        attained = {side: _attained(*side, level, factor) for side in every_side}
        sums = (times * min(map(attained.__getitem__, sides)) for sides, times in tests.items())
        return sum(sums) <= alpha

    # Attained chances rise with the level: the ones that fit come first.
    return max(chances[: bisect_left(chances, True, key=lambda level: not fits(level))], default=-1)


def _attained(n: int, m: int, level: float, factor: float) -> float:
    """Return the chance that a bin comes to `level` or less, and to the factor, by itself."""
    p = 1 / (m + 1)
    mean = n * p
    if mean > _PLENTY:  # so many that whole numbers are as good as any
        return level
    least = max(int(mean) + 1, ceil(factor * n / (m + factor)))
    tails = accumulate(reversed(list(_terms(least, n, p))))
    # From the end: tails grow, and the last that is small enough is the answer.
    return max(takewhile(lambda tail: tail <= level, tails), default=0.0)


def _sums(counts: Sequence[int], known: dict[int, float]) -> tuple[list[int], list[int]]:
    """Return the running sums of counts and of bins, without those that are known as waves."""
    kept = [0 if at in known else count for at, count in enumerate(counts)]
    alone = [at not in known for at in range(len(counts))]
    return list(accumulate(kept, initial=0)), list(accumulate(map(int, alone), initial=0))


def _sides(at: int, sums: Sequence[int], bins: Sequence[int]) -> _Sides:
    """Return (count, bins) of what is before a bin and after it, where there is enough."""
    end = len(sums) - 1
    borders = (
        (max(at - WINDOW, 0), max(at - GUARD, 0)),
        (min(at + GUARD + 1, end), min(at + WINDOW + 1, end)),
    )
    found = ((sums[high] - sums[low], bins[high] - bins[low]) for low, high in borders)
    return tuple(side for side in found if side[1] >= _FEWEST_NEIGHBOURS)


def _joined(counts: Sequence[int], chances: dict[int, float]) -> list[Wave]:
    """Return bins that lie side by side as one wave each; one bin between them is part of it."""
    sums, bins = _sums(counts, chances)
    found: list[list[int]] = []
    for at in sorted(chances):
        if found and at - found[-1][-1] <= GUARD:
            found[-1].append(at)
        else:
            found.append([at])
    result = []
    for members in found:
        first, last = members[0], members[-1]
        sides = _sides((first + last) // 2, sums, bins)
        rate = max((total / m for total, m in sides), default=0.0)
        result.append(
            Wave(
                first,
                last,
                sum(counts[first : last + 1]),
                rate * (last - first + 1),
                min(chances[at] for at in members),
            )
        )
    return result


def binomial_tail(k: int, n: int, p: float) -> float:
    """Return the chance of k or more of n, for k above the mean (elsewhere 1)."""
    if k <= n * p:
        return 1.0
    if k > n:
        return 0.0
    return min(sum(_terms(k, n, p)), 1.0)


def _terms(k: int, n: int, p: float) -> Iterator[float]:
    """Yield the chances of k, k + 1, … of n, as long as they matter; k above the mean."""
    if k > n:
        return
    term = exp(
        lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) + k * log(p) + (n - k) * log(1 - p)
    )
    first, odds = term, p / (1 - p)
    while term > first * _NEGLIGIBLE:
        yield term
        if k == n:
            return
        term *= (n - k) / (k + 1) * odds
        k += 1
