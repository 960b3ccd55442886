"""95 % intervals of shares and quantiles, without numpy.

Shares: Wilson's score interval (E. B. Wilson, JASA 22, 1927). Quantiles: the order statistics at
the ends of that interval of the rank (R. S. Woodruff, JASA 47, 1952).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from math import ceil, inf, sqrt

from cachectl.model.figures import Estimate

CONFIDENCE = 0.95
Z = 1.959964
"""The 97.5 % quantile of the normal distribution."""


@dataclass(frozen=True, slots=True)
class Stratum:
    """A node: how many keys it has, and how many were drawn from it, all with the same chance."""

    size: int
    drawn: int

    @property
    def rest(self) -> float:
        """The finite population correction: the share of the keys that were not drawn."""
        return max(1 - self.drawn / self.size, 0.0) if self.size else 0.0

    @property
    def weight(self) -> float:
        """How many keys a drawn one stands for."""
        return self.size / self.drawn if self.drawn else 0.0


def scaled(share: Estimate, total: float) -> Estimate:
    """Return a share of a total as a figure of its own."""
    return Estimate(share.value * total, share.low * total, share.high * total)


def exact(value: float) -> Estimate:
    """Return a figure that is known."""
    return Estimate(value, value, value)


def wilson(share: float, n: float) -> tuple[float, float]:
    """Return the score interval of a share seen in n independent draws (n may be infinite)."""
    if n == inf:
        return share, share
    z2 = Z * Z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z * sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def student(degrees: float) -> float:
    """Return the 97.5 % quantile of Student's t (Cornish-Fisher; 1 % off at 3 degrees)."""
    z = Z
    return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)


def quantile(
    weights: Sequence[float], values: Sequence[Sequence[int]], share: float, rest: float = 1.0
) -> Estimate | None:
    """Return a quantile of values by stratum; None where too few values bound it.

    weights: how many keys a value of each stratum stands for. rest: finite population correction.
    Six values bound a median, 72 a 95 % quantile.
    """
    present = {weight for weight, own in zip(weights, values, strict=True) if own}
    if not present:
        return None
    if max(present) <= 1.02 * min(present):
        return _plain_quantile(sorted(chain.from_iterable(values)), share, rest)
    pairs = sorted(
        (value, weight) for weight, own in zip(weights, values, strict=True) for value in own
    )
    sums = list(accumulate(weight for _, weight in pairs))
    ranks = _ranks(share, sums[-1] ** 2 / sum(weight * weight for _, weight in pairs), rest)
    if ranks is None:
        return None
    # A rank that falls on a sum to the last bit belongs to the value before it.
    places = (bisect_left(sums, rank * sums[-1] * (1 - 1e-12)) for rank in ranks)
    return Estimate(*(float(pairs[min(place, len(pairs) - 1)][0]) for place in places))


def _plain_quantile(values: Sequence[int], share: float, rest: float) -> Estimate | None:
    n = len(values)
    ranks = _ranks(share, n, rest)
    if ranks is None:
        return None
    places = (min(max(ceil(rank * n - 1e-9) - 1, 0), n - 1) for rank in ranks)
    return Estimate(*(float(values[place]) for place in places))


def _ranks(share: float, n: float, rest: float) -> tuple[float, float, float] | None:
    """Return the ranks of a quantile and of the ends of its interval, as shares of n values."""
    if rest > 0 and max(share, 1 - share) ** n > (1 - CONFIDENCE) / 2:
        return None
    return share, *wilson(share, n / rest if rest > 0 else inf)
