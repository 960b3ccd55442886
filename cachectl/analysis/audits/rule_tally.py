"""What an audit keeps of the keys of one node, by packed place (see rule_places)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import comb, erfc, sqrt

EXAMPLES = 3
"""Keys that are named of each violation."""
_CHANCE = 0.001
_EXACT_UP_TO = 200


@dataclass(frozen=True, slots=True)
class Example:
    """A key that violates a rule, and what was known of it; None, or no type: was not asked for.

    ttl_ms: what is left, NO_TTL (-1) for none. problem: what is wrong with the value.
    """

    key: bytes
    ttl_ms: int | None
    bytes: int | None
    type: str = ""
    elements: int | None = None
    problem: str | None = None


@dataclass(slots=True)
class Short:
    """The keys of a place that have less than the least TTL left, those that are old included.

    lower, upper: how many have less, and more, than half of the least left; longest: milliseconds
    that one of them has left.
    """

    lower: int = 0
    upper: int = 0
    longest: int = 0

    def note(self, ttl: int, least: int) -> None:
        """Count a key with `ttl` milliseconds left."""
        if ttl * 2 < least:
            self.lower += 1
        else:
            self.upper += 1
        self.longest = max(self.longest, ttl)

    def take(self, other: Short) -> None:
        """Add what another place has counted."""
        self.lower += other.lower
        self.upper += other.upper
        self.longest = max(self.longest, other.longest)

    def may_be_age(self, least: int, enough: int) -> bool:
        """Return whether keys that were written with `least` or more could look like this.

        enough: keys beside them that have more left. Keys that come as they go pass through the
        last stretch evenly, so half of them are in either half of it; and where none has more
        left, one of many would be near its upper end. False when chance does not explain it.
        """
        n = self.lower + self.upper
        if not enough:
            return (self.longest / least) ** n >= _CHANCE
        return _at_least(self.lower, n) >= _CHANCE


def _at_least(hits: int, n: int) -> float:
    """Return the chance of so many heads or more in n tosses."""
    if n <= _EXACT_UP_TO:
        return sum(comb(n, k) for k in range(hits, n + 1)) / float(2**n)
    return erfc((hits - 0.5 - n / 2) / sqrt(n / 2)) / 2


@dataclass(slots=True)
class Tally:
    """Counts by packed place.

    keys, bytes (of violating and unruled keys alone); rule_bytes: by the number of a rule, -1 for
    none; tiers: keys by the tier that their TTL lies in. sized: sizes were there.
    """

    keys: Counter[int] = field(default_factory=Counter)
    bytes: Counter[int] = field(default_factory=Counter)
    rule_bytes: Counter[int] = field(default_factory=Counter)
    short: dict[int, Short] = field(default_factory=dict)
    examples: dict[int, list[Example]] = field(default_factory=dict)
    tiers: dict[int, Counter[str]] = field(default_factory=dict)
    sized: bool = False

    def add_sizes(self, numbers: Sequence[int], sizes: Iterable[int | None]) -> None:
        """Add the sizes of keys that fall under the rules with these numbers."""
        self.sized = True
        # A Counter's own addition is slow: the few numbers of a page are added up in a dictionary.
        total: dict[int, int] = dict.fromkeys(numbers, 0)
        for number, size in zip(numbers, sizes, strict=True):
            if size is not None:
                total[number] += size
        self.rule_bytes.update(total)

    def note_short(self, packed: int, ttl: int, least: int) -> None:
        """Count a key that has less than the least left."""
        self.short.setdefault(packed, Short()).note(ttl, least)

    def note(self, packed: int, example: Example, tier: str | None) -> None:
        """Keep a key as an example, and count the tier that it is in."""
        examples = self.examples.setdefault(packed, [])
        if len(examples) < EXAMPLES:
            examples.append(example)
        if tier is not None:
            self.tiers.setdefault(packed, Counter())[tier] += 1

    def take(self, other: Tally, moved: Callable[[int], int]) -> None:
        """Add another tally, whose places are found elsewhere now."""
        self.sized = self.sized or other.sized
        self.rule_bytes.update(other.rule_bytes)
        for mine, theirs in ((self.keys, other.keys), (self.bytes, other.bytes)):
            for packed, count in theirs.items():
                mine[moved(packed)] += count
        for packed, short in other.short.items():
            self.short.setdefault(moved(packed), Short()).take(short)
        for packed, examples in other.examples.items():
            mine_too = self.examples.setdefault(moved(packed), [])
            mine_too += examples[: EXAMPLES - len(mine_too)]
        for packed, tiers in other.tiers.items():
            self.tiers.setdefault(moved(packed), Counter()).update(tiers)
