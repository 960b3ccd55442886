"""How a sample was drawn, and what that makes of the shares seen in it.

Keys come from strata (nodes), by the page. Where keys of a page are alike, a page says less than
as many keys drawn one by one: by how much is the design effect (L. Kish, Survey Sampling, 1965),
measured between pages. Shares have Wilson's interval at the effective sample size, which takes in
that, the strata and the finite population (E. L. Korn and B. I. Graubard, 1998).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf, sqrt

from cachectl.analysis.estimates.intervals import Stratum, Z, student, wilson
from cachectl.analysis.estimates.sizes import Moments
from cachectl.model.figures import Estimate

_FEW_PAGES = 10
"""Pages with keys of a domain below which its own design effect says little."""


@dataclass(slots=True)
class Hits:
    """Keys drawn in a domain, by stratum, and what tells how unevenly pages have them.

    y: keys. y2, yn: Σ y² and Σ y·n over pages with n keys, y of them in the domain. pages: those
    with any, of all strata.
    """

    y: list[int]
    y2: list[float]
    yn: list[float]
    pages: int = 0

    @classmethod
    def none(cls, strata: int) -> Hits:
        """Return no keys of so many strata."""
        return cls([0] * strata, [0.0] * strata, [0.0] * strata)

    def add_page(self, stratum: int, y: int, n: int) -> None:
        """Add a page of n keys with y in the domain."""
        self.pages += y > 0
        self.y[stratum] += y
        self.y2[stratum] += y * y
        self.yn[stratum] += y * n


@dataclass(slots=True)
class Design:
    """How the sample was drawn: the strata, and Σ n and Σ n² over the pages of each."""

    strata: Sequence[Stratum]
    pages: list[int] = field(default_factory=list)
    n: list[int] = field(default_factory=list)
    n2: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        count = len(self.strata)
        self.pages, self.n, self.n2 = [0] * count, [0] * count, [0.0] * count

    @property
    def size(self) -> int:
        """All keys there are."""
        return sum(stratum.size for stratum in self.strata)

    @property
    def drawn(self) -> int:
        """All keys that were drawn."""
        return sum(stratum.drawn for stratum in self.strata)

    @property
    def rest(self) -> float:
        """The share of the keys that were not drawn."""
        return max(1 - self.drawn / self.size, 0.0) if self.size else 0.0

    def add_page(self, stratum: int, n: int) -> None:
        """Add a page of n keys."""
        self.pages[stratum] += 1
        self.n[stratum] += n
        self.n2[stratum] += n * n

    def effect(self, hits: Hits, usual: float = 1.0) -> float:
        """Return by how much drawing pages widens a share's variance over drawing keys, or 1.

        usual: the effect on domains like this one, which is what counts while few pages have it.
        """
        clustered, simple = self.variances(hits)
        effect = clustered / simple if simple else 1.0
        degrees = sum(max(pages - 1, 0) for pages in self.pages)
        # Beyond chance, it is the pages that count: then their number gives the degrees of freedom.
        if degrees and effect > 1 + 2 * sqrt(2 / degrees):
            effect *= (student(degrees) / Z) ** 2
        return max(effect, usual if hits.pages < _FEW_PAGES else 1.0, 1.0)

    def variances(self, hits: Hits) -> tuple[float, float]:
        """Return the variance of a domain's estimated keys by pages, and as if drawn one by one."""
        clustered = simple = 0.0
        for at, stratum in enumerate(self.strata):
            pages, n = self.pages[at], self.n[at]
            if pages < 2 or not n:
                continue
            ratio = hits.y[at] / n
            residuals = hits.y2[at] - 2 * ratio * hits.yn[at] + ratio * ratio * self.n2[at]
            clustered += stratum.size**2 * residuals * pages / (pages - 1) / n**2
            simple += stratum.size**2 * ratio * (1 - ratio) / n
        return clustered, simple

    def share(self, hits: Hits, usual: float = 1.0) -> Estimate:
        """Return the share of all keys that are in a domain. usual: as in effect()."""
        drawn = [
            (stratum, y) for stratum, y in zip(self.strata, hits.y, strict=True) if stratum.drawn
        ]
        if not drawn:
            return Estimate(0.0, 0.0, 1.0 if self.size else 0.0)
        # A node from which nothing was drawn is taken to be like the rest.
        reached = sum(stratum.size for stratum, _ in drawn)
        share = sum(y * stratum.weight for stratum, y in drawn) / reached
        effect = self.effect(hits, usual)
        low, high = wilson(share, _effective_size(drawn, share, reached) / effect)
        seen, unseen = sum(hits.y), max(self.size - self.drawn, 0)
        # What was drawn is known, whatever the rest may be.
        low, high = max(low, seen / self.size), min(high, (seen + unseen) / self.size)
        return Estimate(share, min(low, share), max(high, share))

    def pooled(self, moments: Sequence[Moments]) -> tuple[Moments, float]:
        """Return strata's moments as one, weighted, and the effective number of keys in it."""
        keys = sum(moment.n for moment in moments)
        stands_for = sum(s.weight * m.n for s, m in zip(self.strata, moments, strict=True))
        found, squares = Moments(), 0.0
        for stratum, moment in zip(self.strata, moments, strict=True):
            weight = stratum.weight * keys / stands_for if stands_for else 0.0
            found = found.plus(moment, weight)
            squares += weight * weight * moment.n
        return found, keys * keys / squares if squares else 0.0


def _effective_size(drawn: Sequence[tuple[Stratum, int]], share: float, reached: int) -> float:
    """Return the independent draws from an endless population that would say as much."""
    if len(drawn) == 1:
        stratum = drawn[0][0]
        return stratum.drawn / stratum.rest if stratum.rest else inf
    variance = spread = 0.0
    for stratum, y in drawn:
        weight = (stratum.size / reached) ** 2 * stratum.rest / stratum.drawn
        # A stratum in which all or none were hit is not therefore certain (add one, Laplace).
        smooth = (y + 1) / (stratum.drawn + 2)
        variance += weight * smooth * (1 - smooth)
        spread += weight
    if not spread:
        return inf
    return share * (1 - share) / variance if 0 < share < 1 else 1 / spread
