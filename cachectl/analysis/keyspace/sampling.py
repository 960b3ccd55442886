"""What a sample of keys says of all of them, each figure with its 95 % interval.

A sample comes in pages of keys that lay side by side, from each node in proportion to its keys:
nodes are strata, pages are clusters. Keys of one page are as good as independent as long as their
place depends on a hash of their whole name; where they share slots they are not, and the design
effect, measured between pages, widens the intervals.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from cachectl.analysis.estimates import intervals, sizes
from cachectl.analysis.estimates.design import Hits
from cachectl.analysis.estimates.intervals import Stratum
from cachectl.analysis.estimates.sizes import Mean
from cachectl.analysis.keyspace.draws import Domain, Draws
from cachectl.analysis.keyspace.keyspace import folding_of, folds_of
from cachectl.analysis.keyspace.summary import Fold, LargestKey
from cachectl.analysis.naming.groups import DEFAULT_LIMIT, Folding, GroupIndex
from cachectl.analysis.naming.namespaces import Grouper, index_by, index_of
from cachectl.analysis.naming.templates import Labels
from cachectl.model.figures import Estimate
from cachectl.model.keys import Page


@dataclass(frozen=True, slots=True)
class SampledNamespace:
    """What a sample says of a namespace, or of all keys: a NamespaceSummary in estimates.

    sample_keys: keys of it that were drawn. None: not asked for, or too few were drawn to bound it
    (six for a median, 72 for a 95 % quantile). largest: the largest key that was drawn; heavy_tail:
    a few keys hold so much that the bytes may lie above their interval more often than promised.
    """

    namespace: bytes
    path: Labels
    sample_keys: int
    keys: Estimate
    keys_share: Estimate
    no_ttl: Estimate | None
    types: Mapping[str, Estimate]
    ttl_p50_ms: Estimate | None
    ttl_p95_ms: Estimate | None
    idle_p50: Estimate | None
    idle_p95: Estimate | None
    freq_p50: Estimate | None
    freq_p95: Estimate | None
    largest: LargestKey | None
    unsized: int
    heavy_tail: bool
    folded: int
    bytes_share: Estimate | None
    bytes: Estimate | None

    @property
    def share(self) -> Estimate:
        """The share of the bytes, or of the keys where bytes are not known."""
        return self.keys_share if self.bytes_share is None else self.bytes_share


@dataclass(frozen=True, slots=True)
class SampledSummary:
    """What a sample says. size: all keys there are (DBSIZE); drawn: keys that were looked at.

    blind_spot: a namespace of up to so many keys may have escaped the sample altogether (with a
    chance of 5 %). unexplained_bytes: what the server's own figure for its data has beyond the
    upper end of ours: giants that were not drawn, in which case no interval of bytes or of their
    shares can be trusted; None when that figure was not given. exact: everything was drawn, so
    that low and high are the value.
    """

    by: str
    size: int
    drawn: int
    whole: SampledNamespace
    namespaces: tuple[SampledNamespace, ...]
    largest: tuple[LargestKey, ...]
    folds: tuple[Fold, ...]
    blind_spot: int
    unexplained_bytes: int | None
    exact: bool
    confidence: float = intervals.CONFIDENCE

    @property
    def coverage(self) -> float:
        """The share of the keys that were drawn."""
        return self.drawn / self.size if self.size else 1.0


def summarise_sample(
    pages: Sequence[Page],
    strata: Mapping[str, Stratum],
    by: str | Grouper = "template",
    *,
    depth: int | None = None,
    limit: int = DEFAULT_LIMIT,
    dataset_bytes: int | None = None,
) -> SampledSummary:
    """Return what a sample says of all keys.

    pages: one for each draw, no key twice. strata: node → its keys and how many were drawn from
    it, those that a pattern or type then left out included. by, depth: as in KeyspaceAccumulator.
    limit: groups that live at once. dataset_bytes: used_memory_dataset of all nodes, which is some
    5–15 % below the sum of MEMORY USAGE; give it only when these keys are all that the nodes hold
    (no pattern, no other database).
    """
    grouping = group_pages(pages, by, depth=depth, limit=limit)
    draws = _draws(pages, strata, grouping.paths)
    estimator = _Estimator(draws, grouping.by, grouping.folded)
    size, drawn = draws.design.size, draws.design.drawn
    whole = estimator.estimate((), estimator.whole)
    unexplained = None
    if dataset_bytes is not None and whole.bytes is not None:
        unexplained = max(dataset_bytes - round(whole.bytes.high), 0)
    return SampledSummary(
        by=grouping.by,
        size=size,
        drawn=drawn,
        whole=whole,
        namespaces=tuple(sorted(estimator.namespaces(), key=_size_order)),
        largest=draws.largest(),
        folds=grouping.folds,
        blind_spot=round(max(size - drawn, 0) * (1 - 0.05 ** (1 / drawn))) if drawn else size,
        unexplained_bytes=unexplained,
        exact=drawn >= size,
    )


@dataclass(frozen=True, slots=True)
class Grouping:
    """The namespaces of drawn keys. paths: of every key of every page; folded: names in each."""

    by: str
    paths: list[list[Labels]]
    folded: Mapping[Labels, int]
    folds: tuple[Fold, ...]


def group_pages(
    pages: Sequence[Page],
    by: str | Grouper = "template",
    *,
    depth: int | None = None,
    limit: int = DEFAULT_LIMIT,
) -> Grouping:
    """Return which namespace each key is in, names that vary folded over all pages."""
    name = by if isinstance(by, str) else "policy"
    if isinstance(by, str):
        index = index_by(by, depth=depth or 1, limit=limit)
    else:
        index = index_of(by, limit=limit)
    grouped, counts = _grouped(index, pages)
    folding = folding_of(index, name, counts)
    paths = _paths(folding, depth if by == "template" else None)
    return Grouping(
        name,
        [[paths[folding.merged.get(gid, gid)] for gid in gids] for gids in grouped],
        _folded_names(folding, paths),
        folds_of(folding.root),
    )


def estimate_groups(
    pages: Sequence[Page],
    strata: Mapping[str, Stratum],
    paths: Sequence[Sequence[Labels]],
    *,
    also: Iterable[Labels] = (),
) -> dict[Labels, SampledNamespace]:
    """Return the estimates of any groups of drawn keys. paths: the group of every key.

    also: groups to estimate even if no key of them was drawn. What stands in a page's column of
    sizes may be any amount that is summed: bytes that a change would save, say.
    """
    draws = _draws(pages, strata, paths)
    for path in also:
        draws.domains.setdefault(path, draws.new_domain())
    estimator = _Estimator(draws, "group", {})
    return {found.path: found for found in estimator.namespaces()}


def _draws(
    pages: Sequence[Page], strata: Mapping[str, Stratum], paths: Sequence[Sequence[Labels]]
) -> Draws:
    draws = Draws(strata)
    for page, own in zip(pages, paths, strict=True):
        draws.add(page, own)
    return draws


def _grouped(index: GroupIndex, pages: Sequence[Page]) -> tuple[list[list[int]], list[int]]:
    """Return the gids of the keys of every page, and the keys of every gid."""
    counts = _Counts()
    index.attach(counts)
    grouped = []
    for page in pages:
        gids = index.gids(page)
        counts.update(gids)
        grouped.append(gids)
        index.shrink()
    if index.capped:
        grouped = [index.gids(page) for page in pages]
    found = [0] * index.size
    counts.add_counts(found)
    return grouped, found


class _Counts(Counter[int]):
    """Keys by gid."""

    def add_counts(self, counts: list[int]) -> None:
        for gid, keys in self.items():
            counts[gid] += keys

    def remap(self, merged: dict[int, int]) -> None:
        for gid in merged.keys() & self.keys():
            self[merged[gid]] += self.pop(gid)


def _paths(folding: Folding, depth: int | None) -> dict[int, Labels]:
    return {
        node.gid: path if depth is None or len(path) <= depth else (*path[:depth], b"*")
        for path, node in folding.root.walk()
        if node.gid >= 0
    }


def _folded_names(folding: Folding, paths: Mapping[int, Labels]) -> dict[Labels, int]:
    found: dict[Labels, int] = {}
    for _, node in folding.root.walk():
        if node.gid >= 0 and node.folded:
            path = paths[node.gid]
            found[path] = found.get(path, 0) + node.folded
    return found


class _Estimator:
    def __init__(self, draws: Draws, by: str, folded: Mapping[Labels, int]) -> None:
        self._draws = draws
        self._design = draws.design
        self._by = by
        self._folded = folded
        self.whole = draws.whole()
        self._everyone, _ = self._design.pooled(self.whole.sizes)
        variances = [self._design.variances(domain.keys) for domain in draws.domains.values()]
        simple = sum(variance for _, variance in variances)
        clustered = sum(variance for variance, _ in variances)
        self._usual_effect = max(clustered / simple, 1.0) if simple else 1.0

    def namespaces(self) -> list[SampledNamespace]:
        """Return every namespace of which a key was drawn."""
        return [self.estimate(path, domain) for path, domain in self._draws.domains.items()]

    def estimate(self, path: Labels, domain: Domain) -> SampledNamespace:
        """Return the estimates of one domain."""
        name = b"".join(path)
        had = self._draws.had
        share = self._share(domain)
        size = share_of_size = None
        mean = Mean(0.0, 0.0, 0.0)
        if "sizes" in had:
            mean, others = self._means(domain)
            seen = sum(moments.s1 for moments in domain.sizes)
            size = sizes.total_size(self._count(share), mean, seen)
            if not seen and share.high:  # none drawn: those that there may be are like the others
                size = Estimate(0.0, 0.0, share.high * self._design.size * others.high)
            share_of_size = sizes.share_of_size(share, mean, others)
        effect = self._design.effect(domain.keys, self._usual_effect)
        return SampledNamespace(
            namespace=name,
            path=path,
            sample_keys=sum(domain.keys.y),
            keys=self._count(share),
            keys_share=share,
            no_ttl=self._hits(domain.no_ttl, effect) if "ttls" in had else None,
            types={kind: self._hits(hits, effect) for kind, hits in sorted(domain.types.items())},
            ttl_p50_ms=self._quantile(domain.ttls, 0.5, effect),
            ttl_p95_ms=self._quantile(domain.ttls, 0.95, effect),
            idle_p50=self._quantile(domain.idles, 0.5, effect),
            idle_p95=self._quantile(domain.idles, 0.95, effect),
            freq_p50=self._quantile(domain.freqs, 0.5, effect),
            freq_p95=self._quantile(domain.freqs, 0.95, effect),
            largest=replace(domain.largest, namespace=name) if domain.largest else None,
            unsized=domain.unsized,
            heavy_tail=mean.heavy,
            folded=self._folded.get(path, 0),
            bytes_share=share_of_size,
            bytes=size,
        )

    def _count(self, share: Estimate) -> Estimate:
        return intervals.scaled(share, self._design.size)

    def _hits(self, hits: Hits, usual: float) -> Estimate:
        return self._count(self._design.share(hits, usual))

    def _share(self, domain: Domain) -> Estimate:
        """Return the share of the keys: known where a domain is whole nodes, as DBSIZE counts."""
        drawn = [stratum.drawn for stratum in self._design.strata]
        hits = domain.keys.y
        share = self._design.share(domain.keys, self._usual_effect)
        whole = domain is self.whole and hits == drawn
        node = self._by == "node" and all(y in (0, n) for y, n in zip(hits, drawn, strict=True))
        return intervals.exact(share.value) if whole or node else share

    def _means(self, domain: Domain) -> tuple[Mean, Mean]:
        """Return the mean sizes of a domain's keys and of all others."""
        rest = self._design.rest
        moments, keys = self._design.pooled(domain.sizes)
        mean = sizes.mean_size(moments, keys, rest, self._everyone)
        others, other_keys = self._design.pooled(
            [
                whole.plus(mine, -1.0)
                for whole, mine in zip(self.whole.sizes, domain.sizes, strict=True)
            ]
        )
        # Sums over pages cannot be taken apart: the others' pages are taken to be like all pages.
        effect = sizes.size_effect(self._everyone)
        return mean, sizes.mean_size(others, other_keys, rest, self._everyone, effect)

    def _quantile(
        self, values: Sequence[Sequence[int]], share: float, effect: float
    ) -> Estimate | None:
        weights = [stratum.weight for stratum in self._design.strata]
        return intervals.quantile(weights, values, share, self._design.rest * effect)


def _size_order(namespace: SampledNamespace) -> tuple[float, float, bytes]:
    size = namespace.bytes.value if namespace.bytes else 0.0
    return -size, -namespace.keys.value, namespace.namespace
