"""How long keys have left, by namespace: counts between edges that people ask about."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cachectl.analysis.audits.rule_figures import Figure, all_keys
from cachectl.analysis.estimates.intervals import Stratum, exact
from cachectl.analysis.keyspace.keyspace import KeyspaceAccumulator
from cachectl.analysis.keyspace.sampling import SampledNamespace, estimate_groups, group_pages
from cachectl.analysis.keyspace.summary import NamespaceSummary
from cachectl.analysis.naming.templates import Labels
from cachectl.model.figures import Estimate, value_of
from cachectl.model.keys import NO_TTL, Page

EDGES: tuple[int, ...] = (
    *(0, 1, 10, 60, 300, 900, 3_600, 6 * 3_600),
    *(86_400, 7 * 86_400, 30 * 86_400, 365 * 86_400),
)
"""Lower edges of the bins in seconds; the last has no end. They are edges of TTL_BOUNDS as well,
so that what lies between them is counted exactly."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """The TTLs of one namespace. bins: keys by EDGES; no_ttl: keys that never expire."""

    namespace: bytes
    keys: Figure
    no_ttl: Figure
    bins: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class Distributions:
    """Of all keys, and of each namespace, the most keys first."""

    whole: Distribution
    namespaces: tuple[Distribution, ...]


def counted(accumulator: KeyspaceAccumulator, depth: int | None = None) -> Distributions:
    """Return the TTLs of all keys that an accumulator has seen."""
    summary = accumulator.result(depth=depth)
    edges = [edge * 1000 for edge in EDGES]

    def of(one: NamespaceSummary) -> Distribution:
        bins = (
            tuple(found.keys for found in one.ttl.between(edges)) if one.ttl else (0,) * len(EDGES)
        )
        return Distribution(one.namespace, one.keys, one.no_ttl or 0, bins)

    return Distributions(of(summary.whole), tuple(sorted(map(of, summary.namespaces), key=_order)))


def estimated(
    pages: Sequence[Page],
    strata: Mapping[str, Stratum],
    by: str = "template",
    *,
    depth: int | None = None,
) -> Distributions:
    """Return what a sample says of the TTLs of all keys."""
    paths = group_pages(pages, by, depth=depth).paths
    bins = [[_bin(ttl) for ttl in page.ttls or ()] for page in pages]
    everywhere = [[(b"%d" % one,) for one in own] for own in bins]
    whole = estimate_groups(pages, strata, everywhere)
    spaces = estimate_groups(pages, strata, paths)
    places = estimate_groups(
        pages,
        strata,
        [
            [(*path, place) for path, (place,) in zip(own, own_bins, strict=True)]
            for own, own_bins in zip(paths, everywhere, strict=True)
        ],
    )
    found = [_of(path, spaces[path].keys, places) for path in spaces]
    found.sort(key=_order)
    everything = all_keys(pages, strata)
    return Distributions(_of((), everything[0], whole), tuple(found))


def _of(path: Labels, all_of_it: Figure, places: Mapping[Labels, SampledNamespace]) -> Distribution:
    def keys(place: int) -> Estimate:
        found = places.get((*path, b"%d" % place))
        return found.keys if found else exact(0)

    return Distribution(
        b"".join(path),
        all_of_it,
        keys(0),
        tuple(keys(place) for place in range(1, len(EDGES) + 1)),
    )


def _bin(ttl_ms: int) -> int:
    """Return 0 for a key that never expires, else the number of its bin from 1 on."""
    return 0 if ttl_ms <= NO_TTL else bisect_right(EDGES, ttl_ms / 1000)


def _order(one: Distribution) -> tuple[float, bytes]:
    return -value_of(one.keys), one.namespace
