"""A family: one namespace of the demo's cache, with its names, values, TTLs and ages.

The healthy ones are in session_layer, application_layer and shared_layer, the sick ones in faults.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Literal

from cachectl.demo.entries import Value

MINUTE, HOUR, DAY = 60, 3600, 86_400

Layer = Literal["session", "application", "shared"]


@dataclass(frozen=True, slots=True)
class World:
    """What names and values depend on besides their index. now: Unix seconds."""

    random: Random
    now: int


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """One namespace of the demo.

    namespace: its template. share: keys of it in each 1,000 keys of the cache, `most` at most;
    number: that many, whatever the size of the cache. key: index → name. value: index → value.
    ttl: seconds, from and to; None for none. idle: seconds since the last use, from and to.
    distinct: that many values are made and shared out; 0 makes one for each key.
    """

    namespace: str
    layer: Layer
    key: Callable[[int, World], str]
    value: Callable[[int, World], Value]
    ttl: tuple[int, int] | None
    share: float = 0.0
    number: int = 0
    most: int = 10**9
    idle: tuple[int, int] = (0, 0)
    distinct: int = 0

    def keys_of(self, total: int) -> int:
        """Return how many keys it has in a cache of `total` keys."""
        return self.number or min(self.most, max(1, round(self.share * total / 1000)))


def price(random: Random) -> float:
    """Return a plausible price."""
    return round(random.lognormvariate(4.4, 0.9), 2)
