"""What a scan found, by namespace: the results that views print and diffs compare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TypeVar

from cachectl.analysis.keyspace.histogram import LogHistogram, log_histogram
from cachectl.analysis.naming.templates import Labels

_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True, slots=True)
class LargestKey:
    """A key that is larger than others. bytes: MEMORY USAGE. type: "" when it was not asked for."""

    key: bytes
    namespace: bytes
    bytes: int
    type: str
    node: str


@dataclass(frozen=True, slots=True)
class NamespaceSummary:
    """What is known of the keys of one namespace (or of all, or of a branch of the tree).

    namespace: the template, as bytes. path: its labels. keys: how many. bytes: their sum, without
    the `unsized` keys whose size was not to be had; None when sizes were not asked for.
    keys_share, bytes_share: of the whole, 0–1. no_ttl: keys that never expire. types: type → keys.
    ttl: milliseconds, of keys that expire; idle: seconds; freq: LFU counters; None each when not
    asked for. folded: names that were folded into this one, at least.
    """

    namespace: bytes
    path: Labels
    keys: int
    bytes: int | None
    unsized: int
    no_ttl: int | None
    types: Mapping[str, int]
    ttl: LogHistogram | None
    idle: LogHistogram | None
    freq: LogHistogram | None
    largest: LargestKey | None
    keys_share: float = 0.0
    bytes_share: float | None = None
    folded: int = 0

    @property
    def share(self) -> float:
        """The share of the bytes, or of the keys where bytes are not known."""
        return self.keys_share if self.bytes_share is None else self.bytes_share

    @property
    def no_ttl_share(self) -> float | None:
        """The share of this namespace's keys that never expire."""
        return None if self.no_ttl is None or not self.keys else self.no_ttl / self.keys

    @property
    def ttl_p50_ms(self) -> float | None:
        """The median TTL of keys that expire, within RELATIVE_ERROR."""
        return self.ttl.quantile(0.5) if self.ttl else None

    @property
    def ttl_p95_ms(self) -> float | None:
        """The TTL that 95 % of the keys that expire do not exceed, within RELATIVE_ERROR."""
        return self.ttl.quantile(0.95) if self.ttl else None

    @property
    def idle_p50(self) -> float | None:
        """The median of seconds since the last access, within RELATIVE_ERROR."""
        return self.idle.quantile(0.5) if self.idle else None

    @property
    def idle_p95(self) -> float | None:
        """The idle time that 95 % do not exceed, within RELATIVE_ERROR."""
        return self.idle.quantile(0.95) if self.idle else None

    @property
    def freq_p50(self) -> float | None:
        """The median of the LFU counters (logarithmic, 0–255)."""
        return self.freq.quantile(0.5) if self.freq else None

    @property
    def freq_p95(self) -> float | None:
        """The LFU counter that 95 % do not exceed."""
        return self.freq.quantile(0.95) if self.freq else None


@dataclass(frozen=True, slots=True)
class Fold:
    """Names that stand as one. namespace: where, as a template. names: how many, at least."""

    namespace: bytes
    names: int
    keys: int


@dataclass(frozen=True, slots=True)
class KeyspaceSummary:
    """What a scan found. whole: all keys; namespaces: the same keys, by namespace, largest first.

    by: what they are grouped by. largest: the largest keys of all, largest first. nodes: node →
    keys. folds: where names were folded, most first. capped: more groups than can be kept at once
    appeared, so that names were folded before all their keys were seen.
    """

    by: str
    whole: NamespaceSummary
    namespaces: tuple[NamespaceSummary, ...]
    largest: tuple[LargestKey, ...]
    nodes: Mapping[str, int]
    folds: tuple[Fold, ...] = ()
    capped: bool = False

    @property
    def keys(self) -> int:
        """All keys that were seen."""
        return self.whole.keys

    @property
    def bytes(self) -> int | None:
        """The bytes of all keys whose size is known; None when sizes were not asked for."""
        return self.whole.bytes

    @property
    def names_folded(self) -> int:
        """How many names were folded, at least."""
        return sum(fold.names for fold in self.folds)


@dataclass(frozen=True, slots=True)
class Branch:
    """A row of the tree of namespaces: a label below its parent's, and what its keys come to."""

    label: bytes
    summary: NamespaceSummary
    branches: tuple[Branch, ...] = ()


def to_depth(namespaces: Iterable[NamespaceSummary], depth: int) -> tuple[NamespaceSummary, ...]:
    """Sum namespaces up to their first `depth` labels: `user:{id}:profile` → `user:*` for 1."""
    groups: dict[Labels, list[NamespaceSummary]] = {}
    for namespace in namespaces:
        path = namespace.path
        short = path if len(path) <= depth else (*path[:depth], b"*")
        groups.setdefault(short, []).append(namespace)
    return by_size(combined(path, parts) for path, parts in groups.items())


def tree(namespaces: Sequence[NamespaceSummary], depth: int | None = None) -> tuple[Branch, ...]:
    """Return the namespaces as a tree, largest first; each parent is the sum of what is below it.

    A parent with one child is joined with it. depth: labels below which nothing is shown apart.
    """
    if depth is not None:
        namespaces = to_depth(namespaces, depth)
    return _branches(sorted(namespaces, key=lambda namespace: namespace.path), 0)


def _branches(namespaces: Sequence[NamespaceSummary], at: int) -> tuple[Branch, ...]:
    found = []
    for label, group in groupby(namespaces, key=lambda namespace: namespace.path[at]):
        members = list(group)
        end = at + 1
        while all(len(member.path) > end for member in members) and (
            len({member.path[end] for member in members}) == 1
        ):
            label += members[0].path[end]
            end += 1
        if len(members) == 1:
            found.append(Branch(label, members[0]))
            continue
        ended = [member for member in members if len(member.path) == end]
        below = tuple(Branch(b"", member) for member in ended)
        below += _branches([member for member in members if len(member.path) > end], end)
        found.append(Branch(label, combined(members[0].path[:end], members), below))
    return tuple(sorted(found, key=lambda branch: _size_order(branch.summary)))


def by_size(namespaces: Iterable[NamespaceSummary]) -> tuple[NamespaceSummary, ...]:
    """Return namespaces by bytes (keys where sizes are not known), largest first, then by name."""
    return tuple(sorted(namespaces, key=_size_order))


def _size_order(summary: NamespaceSummary) -> tuple[float, float, bytes]:
    return -(summary.bytes or 0), -summary.keys, summary.namespace


def combined(path: Labels, parts: Sequence[NamespaceSummary]) -> NamespaceSummary:
    """Return the sum of disjoint namespaces under one name."""
    if len(parts) == 1:
        return replace(parts[0], namespace=b"".join(path), path=path)
    types: dict[str, int] = {}
    for part in parts:
        for name, keys in part.types.items():
            types[name] = types.get(name, 0) + keys
    largest = [part.largest for part in parts if part.largest is not None]
    return NamespaceSummary(
        namespace=b"".join(path),
        path=path,
        keys=sum(part.keys for part in parts),
        bytes=_sum(part.bytes for part in parts),
        unsized=sum(part.unsized for part in parts),
        no_ttl=_sum(part.no_ttl for part in parts),
        types=types,
        ttl=_joined([part.ttl for part in parts]),
        idle=_joined([part.idle for part in parts]),
        freq=_joined([part.freq for part in parts]),
        largest=max(largest, key=lambda key: key.bytes, default=None),
        keys_share=sum(part.keys_share for part in parts),
        bytes_share=_sum(part.bytes_share for part in parts),
        folded=sum(part.folded for part in parts),
    )


def _sum(values: Iterable[_Number | None]) -> _Number | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _joined(histograms: Sequence[LogHistogram | None]) -> LogHistogram | None:
    known = [histogram for histogram in histograms if histogram is not None]
    if not known:
        return None
    counts: dict[int, int] = {}
    for histogram in known:
        for at, keys in histogram.counts:
            counts[at] = counts.get(at, 0) + keys
    return log_histogram(known[0].bounds, counts)
