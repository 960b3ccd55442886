"""The demo's cache as data: which keys, how many of each namespace, and what is wrong with them.

The same size, seed and time give the same cache, byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from cachectl.demo import application_layer, faults, session_layer, shared_layer
from cachectl.demo.entries import Entry
from cachectl.demo.families import Family, World
from cachectl.demo.faults import Planted
from cachectl.demo.session_layer import SESSIONS

DEFAULT_KEYS = 100_000
LEAST_KEYS = 1_000
MOST_KEYS = 2_000_000

_FAMILIES = (
    *session_layer.FAMILIES,
    *application_layer.FAMILIES,
    *shared_layer.FAMILIES,
    *faults.FAMILIES,
)
_SINGLE_KEYS = 2


_MAX_MEMORY = 256 * 1024**2
_MEMORY_A_KEY = 2_000


def max_memory(keys: int) -> int:
    """Return the bytes that a server for so many keys should be allowed; nothing is evicted."""
    return max(_MAX_MEMORY, keys * _MEMORY_A_KEY)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A cache of `keys` keys. now: Unix seconds at the time of loading."""

    keys: int
    seed: int
    now: int

    @property
    def planted(self) -> tuple[Planted, ...]:
        """What is wrong in it, for the other commands to find."""
        return faults.planted(self.keys)

    @property
    def counts(self) -> list[tuple[Family, int]]:
        """Every family with the number of its keys. With the single keys they sum to `keys`."""
        fixed = [(f, f.keys_of(self.keys)) for f in _FAMILIES]
        rest = self.keys - _SINGLE_KEYS - sum(number for _, number in fixed)
        return [(SESSIONS, rest), *fixed]

    def count_of(self, family: Family) -> int:
        """Return the number of keys of one family."""
        return next(number for each, number in self.counts if each is family)

    def entries(self) -> Iterator[Entry]:
        """Yield everything to be written, what lives shortest last.

        The giant hash comes in several entries of the same key.
        """
        counts = self.counts
        yield from faults.single_keys(self.keys, self.world("single"))
        for family, number in sorted(counts, key=lambda each: -(each[0].ttl or (10**9,))[0]):
            yield from self._of(family, number)

    def world(self, name: str) -> World:
        """Return what a family's names and values depend on."""
        return World(Random(f"{self.seed}/{name}"), self.now)  # noqa: S311

    def entry(self, family: Family, i: int, world: World) -> Entry:
        """Return key number i of a family, freshly written; i may lie beyond what is loaded."""
        key = family.key(i, world).encode()
        return Entry(key, family.value(i, world), _expiry(family.ttl, world))

    def _of(self, family: Family, number: int) -> Iterator[Entry]:
        world = self.world(f"{family.namespace}/{family.share}")
        random = world.random.random
        # A small cache need not wait for all the values that make a large one varied.
        distinct = min(family.distinct, 12 * max(1, number // 120))
        pool = [family.value(i, world) for i in range(distinct)]
        storm = (self.now + faults.STORM_AFTER) * 1000 if family is faults.STORM else None
        youngest, oldest = family.idle
        for i in range(number):
            yield Entry(
                family.key(i, world).encode(),
                pool[i % len(pool)] if pool else family.value(i, world),
                storm or _expiry(family.ttl, world),
                youngest + int(random() * (oldest - youngest)),
            )


def _expiry(ttl: tuple[int, int] | None, world: World) -> int | None:
    """Draw an expiry in Unix milliseconds from a range of TTLs in seconds."""
    if ttl is None:
        return None
    low, high = ttl
    return 1000 * (world.now + low) + int(world.random.random() * 1000 * (high - low))
