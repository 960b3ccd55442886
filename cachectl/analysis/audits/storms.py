"""Storms: keys that expire together, and send their readers to the database behind the cache.

Expiry times are counted in bins over the coming hours, by namespace, as pages come in. Which bins
stand out says waves.py, on several widths of bins: a storm may last a second or minutes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf, sqrt

from cachectl.analysis.audits.waves import BLIND, FACTOR, Wave, waves
from cachectl.analysis.estimates.intervals import Stratum, Z
from cachectl.analysis.keyspace.keyspace import folding_of
from cachectl.analysis.naming.groups import GroupIndex
from cachectl.analysis.naming.shapes import TemplateIndex
from cachectl.model.figures import Estimate, value_of
from cachectl.model.keys import Page

ALPHA = 0.05
"""The chance that a report shows any storm where keys expire at an even rate."""
LEAST_KEYS = 20
"""A wave of fewer keys is no storm."""
WIDTHS = (1, 2, 5, 10, 15, 30, 60)
"""Seconds that a bin may be wide."""
MOST_BINS = 7_200
_FINEST_SHARE = 0.8
_COARSER = (10, 60)
_NAMED = 5
_NICE = (10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 28_800, 43_200, 86_400)

Figure = int | Estimate


@dataclass(frozen=True, slots=True)
class NamespaceShare:
    """A namespace's part of a storm (of a sample: as drawn and scaled up)."""

    namespace: bytes
    keys: Figure


@dataclass(frozen=True, slots=True)
class Storm:
    """Keys that expire together.

    at, until: seconds from the beginning of the horizon. keys: of them all. expected: keys that
    would expire in this time at the rate around it. rate: keys a second in its worst bin, which is
    the load on whatever is behind the cache if all are wanted again. jitter: seconds over which to
    spread them; flattened: keys a second that are then to be expected at most. chance: of the like
    without a cause, in one bin.
    """

    at: float
    until: float
    keys: Figure
    expected: float
    rate: float
    namespaces: tuple[NamespaceShare, ...]
    jitter: float
    flattened: float
    chance: float

    @property
    def factor(self) -> float:
        """How many times as many keys as expected; infinite where none were."""
        return value_of(self.keys) / self.expected if self.expected else inf


@dataclass(frozen=True, slots=True)
class Forecast:
    """What the coming hours bring.

    begins: Unix seconds by the server's clock. width: seconds of a bin; counts: keys that expire in
    each (of a sample: as drawn). weight: keys that a counted one stands for. within, later, never:
    keys that expire within the horizon, after it, and not at all.
    """

    begins: float
    width: int
    counts: tuple[int, ...]
    weight: float
    within: Figure
    later: Figure
    never: Figure
    storms: tuple[Storm, ...]

    @property
    def horizon(self) -> float:
        """Seconds that were looked ahead."""
        return self.width * len(self.counts)


def width_for(horizon: float) -> int:
    """Return the width of bins, in seconds, that resolves a horizon of so many seconds best."""
    return next((width for width in WIDTHS if horizon / width <= MOST_BINS), WIDTHS[-1])


class ExpiryTimes:
    """Counts when keys expire. begins: Unix milliseconds by the server's clock; horizon: seconds.

    width: seconds of a bin. Not safe for several threads at once.
    """

    def __init__(
        self, begins: int, horizon: float, width: int, index: GroupIndex | None = None
    ) -> None:
        self.bins = max(1, ceil(horizon / width))
        # Beyond the horizon, for the last bins to have neighbours on all widths.
        self._all = self.bins + ceil((BLIND + 1) * _COARSER[-1] / width)
        self.width = width
        self.index = index or TemplateIndex()
        self._begins = begins
        self._nodes: dict[str, _Node] = {}
        self.index.attach(self)

    def add(self, page: Page, now: int) -> None:
        """Count the keys of a page whose TTLs were true at `now` (ms, the server's clock)."""
        assert page.ttls is not None  # noqa: S101 - they are what is asked for
        gids = self.index.gids(page)
        node = self._nodes.setdefault(page.node, _Node())
        bins, shift, wide = self._all, now - self._begins, self.width * 1000
        places = [
            gid * bins + at
            for gid, ttl in zip(gids, page.ttls, strict=True)
            if ttl >= 0 and (at := (ttl + shift) // wide) < bins
        ]
        node.keys.update(gids)
        node.places.update(places)
        never = sum(ttl < 0 for ttl in page.ttls)
        node.never += never
        node.later += len(page) - never - len(places)
        if self.index.live > self.index.limit:
            self.index.shrink()

    def drop(self, node: str) -> None:
        """Forget what this node said: it is scanned again from the start."""
        self._nodes.pop(node, None)

    def add_counts(self, counts: list[int]) -> None:
        """Add the keys of each group to `counts`, which is indexed by gid."""
        for node in self._nodes.values():
            for gid, keys in node.keys.items():
                counts[gid] += keys

    def remap(self, merged: dict[int, int]) -> None:
        """Follow the index when groups merge."""
        for name, node in self._nodes.items():
            moved = _Node(later=node.later, never=node.never)
            for gid, keys in node.keys.items():
                moved.keys[merged.get(gid, gid)] += keys
            for place, keys in node.places.items():
                gid, at = divmod(place, self._all)
                moved.places[merged.get(gid, gid) * self._all + at] += keys
            self._nodes[name] = moved

    def forecast(self, strata: Mapping[str, Stratum] | None = None) -> Forecast:
        """Return what the horizon brings. strata: of a sample, node → its keys and those drawn."""
        counts, spaces = [0] * self._all, self._by_namespace()
        for _, bins in spaces:
            for at, keys in bins.items():
                counts[at] += keys
        weight = _weight(strata)
        scale = _Scale(weight, sampled=strata is not None)
        nodes = self._nodes.values()
        return Forecast(
            begins=self._begins / 1000,
            width=self.width,
            counts=tuple(counts[: self.bins]),
            weight=weight,
            within=scale.figure(sum(counts[: self.bins])),
            later=scale.figure(sum(counts[self.bins :]) + sum(node.later for node in nodes)),
            never=scale.figure(sum(node.never for node in nodes)),
            storms=tuple(
                storm
                for wave in all_waves(counts, self.width)
                if wave.first < self.bins
                and (storm := self._storm(wave, counts, spaces, scale)) is not None
            ),
        )

    def _by_namespace(self) -> list[tuple[bytes, Counter[int]]]:
        counts = [0] * self.index.size
        self.add_counts(counts)
        folding = folding_of(self.index, "template", counts)
        names = {node.gid: b"".join(path) for path, node in folding.root.walk() if node.gid >= 0}
        found: dict[int, Counter[int]] = {}
        for node in self._nodes.values():
            for place, keys in node.places.items():
                gid, at = divmod(place, self._all)
                found.setdefault(folding.merged.get(gid, gid), Counter())[at] += keys
        return [(names[gid], bins) for gid, bins in found.items()]

    def _storm(
        self,
        wave: Wave,
        counts: Sequence[int],
        spaces: Sequence[tuple[bytes, Counter[int]]],
        scale: _Scale,
    ) -> Storm | None:
        if wave.count * scale.weight < LEAST_KEYS:
            return None
        bins = range(wave.first, wave.last + 1)
        shares = [(sum(found[at] for at in bins), name) for name, found in spaces]
        shares = sorted(((keys, name) for keys, name in shares if keys), reverse=True)
        keys = wave.count * scale.weight
        expected = wave.expected * scale.weight
        seconds = len(bins) * self.width
        rate = max(counts[at] for at in bins) * scale.weight / self.width
        jitter = jitter_for(keys, rate, expected / seconds)
        return Storm(
            at=wave.first * self.width,
            until=(wave.last + 1) * self.width,
            keys=scale.figure(wave.count),
            expected=expected,
            rate=rate,
            namespaces=tuple(
                NamespaceShare(name, scale.figure(count)) for count, name in shares[:_NAMED]
            ),
            jitter=jitter,
            flattened=peak(keys, jitter) + expected / seconds,
            chance=wave.chance,
        )


class _Node:
    """What one node said: keys by gid, keys by gid and bin, and those beyond."""

    __slots__ = ("keys", "later", "never", "places")

    def __init__(self, later: int = 0, never: int = 0) -> None:
        self.keys: Counter[int] = Counter()
        self.places: Counter[int] = Counter()
        self.later = later
        self.never = never


@dataclass(frozen=True, slots=True)
class _Scale:
    """From counted keys to all keys."""

    weight: float
    sampled: bool

    def figure(self, count: int) -> Figure:
        """Return a count, of a sample with its 95 % interval (Byar's, for Poisson counts)."""
        if not self.sampled:
            return count
        low = count * (1 - 1 / (9 * count) - Z / (3 * sqrt(count))) ** 3 if count else 0.0
        more = count + 1
        high = more * (1 - 1 / (9 * more) + Z / (3 * sqrt(more))) ** 3
        return Estimate(
            count * self.weight, max(low * self.weight, count), max(high * self.weight, count)
        )


def all_waves(counts: Sequence[int], width: int) -> list[Wave]:
    """Return the waves of a series on all widths of bins, in bins of its own, none twice."""
    coarser = [ceil(seconds / width) for seconds in _COARSER if seconds > width]
    share = _FINEST_SHARE if coarser else 1.0
    found = waves(counts, ALPHA * share)
    for times in coarser:
        summed = [sum(counts[at : at + times]) for at in range(0, len(counts), times)]
        for wave in waves(summed, ALPHA * (1 - share) / len(coarser)):
            first, last = wave.first * times, min((wave.last + 1) * times, len(counts)) - 1
            if not any(one.first <= last and first <= one.last for one in found):
                found.append(Wave(first, last, wave.count, wave.expected, wave.chance))
    return sorted(found, key=lambda wave: wave.first)


def peak(keys: float, jitter: float) -> float:
    """Return the keys a second that expire at most when `keys` are spread evenly over `jitter` s.

    The mean and three standard deviations of a Poisson count.
    """
    mean = keys / jitter
    return mean + 3 * sqrt(mean)


def jitter_for(keys: float, rate: float, around: float) -> float:
    """Return the seconds over which to spread a storm, the smallest of some that people would say.

    rate: its keys a second; around: those that expire in a second beside it. It is flat when it
    would not be taken for a storm any more, or comes to a twentieth of what it was.
    """
    target = max((FACTOR - 1) * around, rate / 20, 1.0)
    root = (sqrt(9 + 4 * target) - 3) / 2  # of x² + 3x = target, where x² is the mean
    wanted = keys / root**2
    return float(next((seconds for seconds in _NICE if seconds >= wanted), _NICE[-1]))


def _weight(strata: Mapping[str, Stratum] | None) -> float:
    if strata is None:
        return 1.0
    drawn = sum(stratum.drawn for stratum in strata.values())
    return sum(stratum.size for stratum in strata.values()) / drawn if drawn else 0.0
