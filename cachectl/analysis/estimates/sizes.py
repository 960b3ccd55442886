"""95 % intervals of byte totals, whose sizes have long tails.

A total is a count times a mean size; the intervals of both are joined on a log scale (MOVER: G. Y.
Zou and A. Donner, Stat. Med. 27, 2008). The mean: Hall's transformation of the studentised mean,
which corrects for skewness (P. Hall, JRSS B 54, 1992); upwards with half as much skewness again,
for a sample of a long tail looks tamer than it is, and where that is much, at least as far as Cox's
method for lognormal sizes goes (X.-H. Zhou and S. Gao, Stat. Med. 16, 1997).

Measured over 400 repeats: totals of lognormal sizes with sigma up to 2, of mixtures, and of mostly
small sizes with a few giants held in 94 to 98 %; of Pareto sizes with exponent 1.5, whose variance
is infinite, in 91 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import cbrt, exp, inf, log, sqrt
from operator import mul

from cachectl.analysis.estimates.intervals import Z, student
from cachectl.model.figures import Estimate

HEAVY = 0.25
"""Skewness of a mean size beyond which its upper end hangs on how the tail goes on."""
_MOST_SKEWNESS = 0.45
"""Beyond it Hall's transformation has no sensible inverse."""


@dataclass(slots=True)
class Moments:
    """Sums over the sizes of drawn keys: how many, powers, logarithms; and over pages.

    b2, by: Σ b² and Σ b·k over pages with k sizes that sum to b; k2: Σ k². pages: how many.
    """

    n: float = 0
    s1: float = 0.0
    s2: float = 0.0
    s3: float = 0.0
    logs: float = 0.0
    logs2: float = 0.0
    b2: float = 0.0
    by: float = 0.0
    k2: float = 0.0
    pages: int = 0

    def add_page(self, k: int, b: int) -> None:
        """Add a page with k sizes that sum to b bytes."""
        self.b2 += b * b
        self.by += b * k
        self.k2 += k * k
        self.pages += 1

    def add_sizes(self, sizes: Sequence[int]) -> None:
        """Add the sizes of keys, in bytes."""
        self.n += len(sizes)
        self.s1 += sum(sizes)
        squares = list(map(mul, sizes, sizes))
        self.s2 += sum(squares)
        self.s3 += sum(map(mul, squares, sizes))
        logarithms = [log(size) for size in sizes if size > 0]
        self.logs += sum(logarithms)
        self.logs2 += sum(map(mul, logarithms, logarithms))

    def add_powers(self, other: Moments) -> None:
        """Add another's keys, but not its sums over pages."""
        self.n += other.n
        self.s1 += other.s1
        self.s2 += other.s2
        self.s3 += other.s3
        self.logs += other.logs
        self.logs2 += other.logs2

    def plus(self, other: Moments, times: float = 1.0) -> Moments:
        """Return the sum with so many times another's sums."""
        return Moments(
            n=self.n + times * other.n,
            s1=self.s1 + times * other.s1,
            s2=self.s2 + times * other.s2,
            s3=self.s3 + times * other.s3,
            logs=self.logs + times * other.logs,
            logs2=self.logs2 + times * other.logs2,
            b2=self.b2 + times * other.b2,
            by=self.by + times * other.by,
            k2=self.k2 + times * other.k2,
            pages=self.pages + other.pages,
        )

    @property
    def log_variance(self) -> float:
        """The variance of the logarithms of sizes."""
        if self.n < 2:
            return 0.0
        mean = self.logs / self.n
        return max(self.logs2 / self.n - mean * mean, 0.0) * self.n / (self.n - 1)


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean size with its interval; heavy: a few keys make it what it is."""

    value: float
    low: float
    high: float
    heavy: bool = False


def mean_size(
    moments: Moments, keys: float, rest: float, everyone: Moments, effect: float | None = None
) -> Mean:
    """Return the mean size of a domain's keys.

    keys: the effective number drawn; rest: finite population correction; everyone: moments of all
    keys, which lend their spread to a domain of one or two keys. effect: that of drawing pages,
    None to take it from the moments.
    """
    if not moments.n:
        return Mean(0.0, 0.0, 0.0)
    mean = moments.s1 / moments.n
    if not mean or not rest:
        return Mean(mean, mean, mean)
    if moments.n < 3:
        factor = exp(min(Z * sqrt(everyone.log_variance * rest / keys), 50.0))
        return Mean(mean, mean / factor, mean * factor)
    second = max(moments.s2 / moments.n - mean * mean, 0.0) * moments.n / (moments.n - 1)
    if second <= mean * mean * 1e-12:
        return Mean(mean, mean, mean)
    third = moments.s3 / moments.n - 3 * mean * moments.s2 / moments.n + 2 * mean**3
    if effect is None:
        effect = size_effect(moments)
    effective = keys / (rest * effect)
    error = sqrt(second / effective)
    skewness = third / second**1.5 / sqrt(effective)
    z = student(moments.n - 1)
    low = mean - error * _untransformed(z, min(skewness, _MOST_SKEWNESS))
    wider = min(1.5 * skewness, _MOST_SKEWNESS) if skewness > 0 else skewness
    high = mean - error * _untransformed(-z, wider)
    heavy = skewness > HEAVY
    if heavy:
        high = max(high, _cox(moments, effective, z))
    return Mean(mean, max(low, mean / 20), high, heavy)


def size_effect(moments: Moments) -> float:
    """Return by how much pages of like sizes widen the variance of a mean size, or 1."""
    if moments.pages < 2 or moments.n < 2:
        return 1.0
    mean = moments.s1 / moments.n
    residuals = moments.b2 - 2 * mean * moments.by + mean * mean * moments.k2
    simple = moments.s2 - moments.n * mean * mean
    if simple <= 0:
        return 1.0
    degrees = moments.pages - 1
    effect = residuals * moments.pages / degrees / simple
    # Below that it may be chance: few pages say little of how alike their sizes are.
    return effect if effect > 1 + 2 * sqrt(2 / degrees) else 1.0


def _cox(moments: Moments, effective: float, z: float) -> float:
    """Return the upper end for a mean, were the sizes lognormal."""
    spread = moments.log_variance
    error = sqrt(spread / effective + spread * spread / (2 * max(effective - 1, 1)))
    return exp(min(moments.logs / moments.n + spread / 2 + z * error, 600.0))


def _untransformed(z: float, skewness: float) -> float:
    """Return the studentised deviation that Hall's transformation takes to z."""
    if abs(skewness) < 1e-6:
        return z
    return 3 / skewness * (cbrt(1 + skewness * (z - skewness / 6)) - 1)


def total_size(count: Estimate, mean: Mean, seen: float) -> Estimate:
    """Return the bytes of so many keys of such a mean size. seen: bytes that were drawn."""
    value = count.value * mean.value
    if value <= 0:
        return Estimate(0.0, 0.0, 0.0)
    down = sqrt(_log_ratio(count.value, count.low) ** 2 + _log_ratio(mean.value, mean.low) ** 2)
    up = sqrt(_log_ratio(count.high, count.value) ** 2 + _log_ratio(mean.high, mean.value) ** 2)
    return Estimate(value, min(max(value * exp(-down), seen), value), value * exp(up))


def share_of_size(count: Estimate, mean: Mean, others: Mean) -> Estimate:
    """Return the share of all bytes that a domain holds.

    count: its share of the keys; mean: of its sizes; others: of the sizes of all other keys.
    """
    value = count.value * mean.value
    rest = (1 - count.value) * others.value
    if not value or not rest:
        return Estimate(1.0 if value else 0.0, count.low if value else 0.0, count.high)

    def odds(share: float) -> float:
        return share / (1 - share) if share < 1 else inf

    down = sqrt(
        _log_ratio(odds(count.value), odds(count.low)) ** 2
        + _log_ratio(mean.value, mean.low) ** 2
        + _log_ratio(others.high, others.value) ** 2
    )
    up = sqrt(
        _log_ratio(odds(count.high), odds(count.value)) ** 2
        + _log_ratio(mean.high, mean.value) ** 2
        + _log_ratio(others.value, others.low) ** 2
    )
    low, high = (value * exp(max(-down, -600.0)), value * exp(min(up, 600.0)))
    return Estimate(value / (value + rest), low / (low + rest), high / (high + rest))


def _log_ratio(larger: float, smaller: float) -> float:
    if larger <= smaller:
        return 0.0
    return log(larger / smaller) if smaller > 0 and larger < inf else inf
