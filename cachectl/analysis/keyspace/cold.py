"""Cold memory: keys and bytes that nobody has touched for an hour, a day, a week, by namespace.

Idle times are there under LRU policies and without a policy. Under LFU the server keeps a counter
instead, which loses one each lfu-decay-time minutes without an access (server source, evict.c:
LFUDecrAndReturn): a key whose counter is 0 has not been used for one such step at least.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from cachectl.analysis.estimates.intervals import Stratum
from cachectl.analysis.keyspace.keyspace import folding_of
from cachectl.analysis.keyspace.sampling import SampledNamespace, estimate_groups, group_pages
from cachectl.analysis.naming.groups import GroupIndex
from cachectl.analysis.naming.namespaces import index_by
from cachectl.analysis.naming.templates import Labels
from cachectl.model.figures import Estimate, Figure, value_of
from cachectl.model.findings import Finding, Severity
from cachectl.model.keys import Page

_WIDTH = 8
"""Keys and bytes: in all, and of three levels at most."""


@dataclass(frozen=True, slots=True)
class Level:
    """How cold. seconds: idle for so long at least; None: the LFU counter is 0."""

    name: str
    seconds: int | None


IDLE_LEVELS = (Level("hour", 3_600), Level("day", 86_400), Level("week", 604_800))
LFU_LEVELS = (Level("unused", None),)


@dataclass(frozen=True, slots=True)
class ColdSpace:
    """A namespace, or all keys: its keys and bytes, and those of it that are cold, by level."""

    namespace: bytes
    keys: Figure
    bytes: Figure
    cold_keys: tuple[Figure, ...]
    cold_bytes: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class ColdSummary:
    """What was found. levels: the least cold first, none where neither idle times nor counters
    were to be had; namespaces: most cold bytes first. sized: whether bytes were to be had."""

    levels: tuple[Level, ...]
    whole: ColdSpace
    namespaces: tuple[ColdSpace, ...]
    sized: bool = True


class ColdKeys:
    """Counts keys over the pages of a pass, exactly. levels: see `levels_of`."""

    def __init__(self, by: str = "template", *, depth: int | None = None) -> None:
        self._by = by
        self._depth = depth if by == "template" else None
        self._index: GroupIndex = index_by(by, depth=depth or 1)
        self._nodes: dict[str, dict[int, list[int]]] = {}
        self._levels: tuple[Level, ...] = IDLE_LEVELS
        self._sized = True
        self._index.attach(self)

    def add(self, page: Page) -> Sequence[int]:
        """Count the keys of a page; return their gids."""
        gids = self._index.gids(page)
        self._levels = levels_of(page)
        self._sized = page.sizes is not None
        groups = self._nodes.setdefault(page.node, {})
        sizes: Sequence[int | None] = page.sizes or [None] * len(page)
        for gid, size, depth in zip(gids, sizes, _depths(page), strict=True):
            sums = groups.get(gid)
            if sums is None:
                sums = groups[gid] = [0] * _WIDTH
            for at in range(0, 2 * depth + 2, 2):
                sums[at] += 1
                sums[at + 1] += size or 0
        self._index.shrink()
        return gids

    def drop(self, node: str) -> None:
        """Forget a node."""
        self._nodes.pop(node, None)

    def add_counts(self, counts: list[int]) -> None:
        """Add the keys of each group, by which names are folded."""
        for groups in self._nodes.values():
            for gid, sums in groups.items():
                counts[gid] += sums[0]

    def remap(self, merged: dict[int, int]) -> None:
        """Follow the index when groups merge."""
        for groups in self._nodes.values():
            for gid in merged.keys() & groups.keys():
                _add(groups, merged[gid], groups.pop(gid))

    def result(self) -> ColdSummary:
        """Return what was counted so far."""
        counts = [0] * self._index.size
        self.add_counts(counts)
        folding = folding_of(self._index, self._by, counts)
        paths = {node.gid: _cut(path, self._depth) for path, node in folding.root.walk()}
        found: dict[Labels, list[int]] = {}
        for groups in self._nodes.values():
            for gid, sums in groups.items():
                _add(found, paths[folding.merged.get(gid, gid)], sums)
        whole: dict[Labels, list[int]] = {(): [0] * _WIDTH}
        for sums in found.values():
            _add(whole, (), sums)
        return ColdSummary(
            self._levels,
            self._exact(b"", whole[()]),
            _coldest_first(self._exact(b"".join(path), sums) for path, sums in found.items()),
            self._sized,
        )

    def _exact(self, name: bytes, sums: Sequence[int]) -> ColdSpace:
        end = 2 * len(self._levels) + 2
        return ColdSpace(name, sums[0], sums[1], tuple(sums[2:end:2]), tuple(sums[3:end:2]))


def levels_of(page: Page) -> tuple[Level, ...]:
    """Return the levels that a page can tell: by its idle times, else by its LFU counters."""
    if page.idles is not None:
        return IDLE_LEVELS
    return () if page.freqs is None else LFU_LEVELS


def _depths(page: Page) -> Sequence[int]:
    """Return how many levels cold each key is; 0 also where that is not known."""
    if page.idles is not None:
        hour, day, week = (level.seconds or 0 for level in IDLE_LEVELS)
        return [
            0 if idle is None or idle < hour else 3 if idle >= week else 2 if idle >= day else 1
            for idle in page.idles
        ]
    if page.freqs is not None:
        return [int(freq == 0) for freq in page.freqs]
    return [0] * len(page)


_At = TypeVar("_At", int, Labels)


def _add(groups: dict[_At, list[int]], at: _At, new: list[int]) -> None:
    old = groups.get(at)
    groups[at] = new if old is None else [a + b for a, b in zip(old, new, strict=True)]


def _cut(path: Labels, depth: int | None) -> Labels:
    return path if depth is None or len(path) <= depth else (*path[:depth], b"*")


def cold_of_sample(
    pages: Sequence[Page],
    strata: Mapping[str, Stratum],
    by: str = "template",
    *,
    depth: int | None = None,
) -> ColdSummary:
    """Return what a sample says, each figure with its 95 % interval."""
    levels = levels_of(pages[0]) if pages else IDLE_LEVELS
    spaces = group_pages(pages, by, depth=depth).paths
    everything: list[list[Labels]] = [[_ALL] * len(page) for page in pages]
    depths = [_depths(page) for page in pages]
    sized = [_zeroed(page) for page in pages]
    total = estimate_groups(sized, strata, everything, also=[_ALL])
    totals = estimate_groups(sized, strata, spaces)
    wholes: list[dict[Labels, SampledNamespace]] = []
    parts: list[dict[Labels, SampledNamespace]] = []
    for at in range(1, len(levels) + 1):
        for groups, found, names in (
            (everything, wholes, [_ALL]),
            (spaces, parts, list(totals)),
        ):
            paths = [
                [path if cold >= at else _WARM for path, cold in zip(own, deep, strict=True)]
                for own, deep in zip(groups, depths, strict=True)
            ]
            found.append(estimate_groups(sized, strata, paths, also=names))
    whole = _estimated(b"", _ALL, total, wholes)
    if sum(map(len, pages)) == sum(stratum.drawn for stratum in strata.values()):
        # No pattern: how many keys there are is known.
        whole = replace(whole, keys=sum(stratum.size for stratum in strata.values()))
    return ColdSummary(
        levels,
        whole,
        _coldest_first(_estimated(b"".join(path), path, totals, parts) for path in totals),
        all(page.sizes is not None for page in pages),
    )


_ALL: Labels = (b"all",)
_WARM: Labels = ()


def _zeroed(page: Page) -> Page:
    """Return names and sizes alone, which is all that the estimates need."""
    return Page(page.node, page.keys, sizes=page.sizes)


def _estimated(
    name: bytes,
    path: Labels,
    totals: Mapping[Labels, SampledNamespace],
    levels: Sequence[Mapping[Labels, SampledNamespace]],
) -> ColdSpace:
    nothing = Estimate(0.0, 0.0, 0.0)
    whole = totals[path]
    cold = [level[path] for level in levels]
    return ColdSpace(
        name,
        whole.keys,
        whole.bytes or nothing,
        tuple(_capped(one.keys, whole.keys) for one in cold),
        tuple(_capped(one.bytes or nothing, whole.bytes or nothing) for one in cold),
    )


def _capped(part: Estimate, whole: Estimate) -> Estimate:
    """Return a part that is not more than the whole may be."""
    high = min(part.high, whole.high)
    return Estimate(min(part.value, high), min(part.low, high), high)


def _coldest_first(spaces: Iterable[ColdSpace]) -> tuple[ColdSpace, ...]:
    def order(space: ColdSpace) -> tuple[list[float], float, bytes]:
        cold = [-value_of(size) for size in reversed(space.cold_bytes)]
        return cold, -value_of(space.bytes), space.namespace

    return tuple(sorted(spaces, key=order))


# --- findings -------------------------------------------------------------------------------------

COLD_SHARE = 0.9
LEAST_SHARE = 0.01
"""A namespace is worth naming when so much of it is cold, and it holds so much of all bytes."""


def _least(figure: Figure) -> float:
    return figure.low if isinstance(figure, Estimate) else figure


def cold_findings(summary: ColdSummary) -> list[Finding]:
    """Return a finding for each namespace that nobody has read for a week."""
    if summary.levels != IDLE_LEVELS:
        return []
    everything = value_of(summary.whole.bytes)
    found = []
    for space in summary.namespaces:
        size, cold = value_of(space.bytes), _least(space.cold_bytes[-1])
        if cold >= COLD_SHARE * size and cold > LEAST_SHARE * everything:
            share = value_of(space.cold_bytes[-1]) / size
            found.append(
                Finding(
                    "memory.cold",
                    Severity.INFO,
                    "nobody has used this namespace for a week",
                    f"{share:.0%} of its {size:,.0f} bytes",
                    "give its keys a TTL, or see with cachectl invalidate --dry-run what would go",
                    space.namespace.decode("utf-8", "surrogateescape"),
                )
            )
    return found
