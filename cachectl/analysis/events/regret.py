"""Evictions that were regretted: keys that are missed soon after they were evicted.

Keys are remembered by a hash, and no more than so many: beyond that, only those whose hash is
below a threshold are followed (spatial sampling, Waldspurger et al., FAST 2015), and what is seen
of them is scaled up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

MOST_FOLLOWED = 300_000
"""Keys that are remembered at once, about 100 bytes each."""
_ALL = 1 << 32


@dataclass(frozen=True, slots=True)
class Regret:
    """What became of evicted keys in a window.

    evicted, misses: that were followed, scaled to all; missed: evicted keys that were looked for
    later in the window; young: keys that had been made in the window before they were evicted.
    followed: the share of the keys that was, 1 for all. ages: seconds that the young ones lived.
    """

    evicted: float = 0.0
    misses: float = 0.0
    missed: float = 0.0
    young: float = 0.0
    followed: float = 1.0
    ages: tuple[float, ...] = ()

    @property
    def regretted(self) -> float | None:
        """The share of evicted keys that were missed; None without any."""
        return min(1.0, self.missed / self.evicted) if self.evicted else None

    @property
    def share_of_misses(self) -> float | None:
        """The share of the misses that had been evicted in the window; None without any."""
        return min(1.0, self.missed / self.misses) if self.misses else None


_MOST_AGES = 10_000


class RegretTracker:
    """Follows the keys of one server through the events of a window.

    Feed it the events in their order; it says which keys were regretted, and which were young.
    """

    def __init__(self, most: int = MOST_FOLLOWED) -> None:
        self._most = most
        self._threshold = _ALL
        self._evicted_at: dict[int, float] = {}
        self._made_at: dict[int, float] = {}
        self._evicted = self._misses = self._missed = self._young = 0.0
        self._ages: list[float] = []

    def add(
        self, names: Sequence[str], keys: Sequence[bytes], at: float
    ) -> tuple[list[bytes], list[bytes]]:
        """Take a batch that came at `at` (seconds). Return (regretted keys, young evicted keys)."""
        regretted, young = [], []
        for name, key in zip(names, keys, strict=True):
            place = crc32(key)
            if place >= self._threshold:
                continue
            weight = _ALL / self._threshold
            if name == "keymiss":
                self._misses += weight
                if self._evicted_at.pop(place, None) is not None:
                    self._missed += weight
                    regretted.append(key)
            elif name == "evicted":
                self._evicted += weight
                made = self._made_at.pop(place, None)
                if made is not None:
                    self._young += weight
                    young.append(key)
                    if len(self._ages) < _MOST_AGES:
                        self._ages.append(at - made)
                self._evicted_at[place] = at
            elif name == "new":
                self._evicted_at.pop(place, None)
                self._made_at[place] = at
            elif name in ("expired", "del"):
                self._made_at.pop(place, None)
        if len(self._evicted_at) + len(self._made_at) > self._most:
            self._follow_fewer()
        return regretted, young

    def result(self) -> Regret:
        """Return what was seen so far."""
        return Regret(
            self._evicted,
            self._misses,
            self._missed,
            self._young,
            self._threshold / _ALL,
            tuple(sorted(self._ages)),
        )

    def _follow_fewer(self) -> None:
        self._threshold //= 2
        for remembered in (self._evicted_at, self._made_at):
            for place in [one for one in remembered if one >= self._threshold]:
                del remembered[place]
