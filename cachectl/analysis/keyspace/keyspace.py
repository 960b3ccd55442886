"""From the pages of a scan to its summary: namespaces with keys, bytes, types, TTLs, idle times.

Pages go in as they come; memory depends on the number of groups that live at once, never on the
number of keys. Each node has columns of its own, because a node that fails over is scanned again
from the start. Not safe for several threads at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from cachectl.analysis.keyspace.columns import NodeColumns, TypeNames
from cachectl.analysis.keyspace.histogram import (
    IDLE_BOUNDS,
    STRIDE,
    TTL_BOUNDS,
    LogHistogram,
    log_histogram,
)
from cachectl.analysis.keyspace.summary import (
    Fold,
    KeyspaceSummary,
    LargestKey,
    NamespaceSummary,
    by_size,
    combined,
    to_depth,
)
from cachectl.analysis.naming.folding import NEVER, Limits
from cachectl.analysis.naming.groups import Folding, GroupIndex
from cachectl.analysis.naming.labeltree import Node
from cachectl.analysis.naming.namespaces import Grouper, index_by, index_of
from cachectl.analysis.naming.templates import Labels
from cachectl.model.keys import Page

FREQ_BOUNDS: list[int] = list(range(256))
"""LFU counters are their own bins."""

_What = TypeVar("_What", int, str)

MAX_FOLDS = 100


class KeyspaceAccumulator:
    """Takes pages, gives a summary.

    by: template, prefix, type, node, or a Grouper (a policy's namespaces). depth: segments of a
    prefix. largest: how many of the largest keys to keep. index: that of another accumulator, so
    that both fold the same names.
    """

    def __init__(
        self,
        by: str | Grouper = "template",
        *,
        depth: int = 1,
        largest: int = 20,
        index: GroupIndex | None = None,
    ) -> None:
        self.by = by if isinstance(by, str) else "policy"
        if index is None:
            index = index_by(by, depth=depth) if isinstance(by, str) else index_of(by)
        self.index = index
        self._largest = largest
        self._types = TypeNames()
        self._nodes: dict[str, NodeColumns] = {}
        index.attach(self)

    def add(self, page: Page) -> Sequence[int]:
        """Count the keys of a page; return the gids of their groups, good until groups fold."""
        gids = self.index.gids(page)
        self._columns(page.node).add(page, gids, self.index.size)
        if self.index.live > self.index.limit:
            self.index.shrink()
        return gids

    def drop(self, node: str) -> None:
        """Forget what this node said: it is scanned again from the start."""
        self._nodes.pop(node, None)

    def merge(self, other: KeyspaceAccumulator) -> None:
        """Add what another accumulator, with the same grouping, has counted; it is left alone."""
        gid_of = self.index.absorb(other.index)
        type_of = [self._types[name] for name in other._types.names]
        for node, columns in other._nodes.items():
            self._columns(node).take(columns, gid_of, type_of)
        self.index.shrink()

    def result(self, *, depth: int | None = None) -> KeyspaceSummary:
        """Return the summary of all pages so far; more may be added afterwards.

        depth: sum namespaces up to so many labels.
        """
        counts = [0] * self.index.size
        self.add_counts(counts)
        return self.summarise(folding_of(self.index, self.by, counts), depth=depth)

    def summarise(self, folding: Folding, *, depth: int | None = None) -> KeyspaceSummary:
        """Return the summary with the groups as this folding has them."""
        tallies = self._tallies(folding.merged)
        found = []
        paths: dict[int, bytes] = {}
        for path, node in folding.root.walk():
            if node.gid in tallies:
                paths[node.gid] = b"".join(path)
                found.append(tallies[node.gid].summary(path, node.folded))
        whole = combined((), found) if found else Tally().summary((), 0)
        whole = replace(whole, namespace=b"", path=(), folded=0, keys_share=1.0)
        namespaces = [_with_shares(namespace, whole) for namespace in found]
        return KeyspaceSummary(
            by=self.by,
            whole=replace(whole, bytes_share=None if whole.bytes is None else 1.0),
            namespaces=by_size(namespaces) if depth is None else to_depth(namespaces, depth),
            largest=self._largest_keys(folding.merged, paths),
            nodes={node: columns.keys.total() for node, columns in self._nodes.items()},
            folds=folds_of(folding.root),
            capped=self.index.capped,
        )

    def add_counts(self, counts: list[int]) -> None:
        """Add the keys of each group to `counts`, which is indexed by gid."""
        for columns in self._nodes.values():
            for gid, keys in columns.keys.items():
                counts[gid] += keys

    def remap(self, merged: dict[int, int]) -> None:
        """Follow the index when groups merge."""
        for columns in self._nodes.values():
            columns.remap(merged)

    def _columns(self, node: str) -> NodeColumns:
        columns = self._nodes.get(node)
        if columns is None:
            columns = self._nodes[node] = NodeColumns(self._types, self._largest)
        return columns

    def _tallies(self, merged: Mapping[int, int]) -> dict[int, Tally]:
        tallies: dict[int, Tally] = {}
        for name, columns in self._nodes.items():
            for gid, keys in columns.keys.items():
                tally = tallies.setdefault(merged.get(gid, gid), Tally())
                tally.keys += keys
                tally.unsized += columns.unsized.get(gid, 0)
                tally.had |= columns.had
                if gid < len(columns.total):
                    key, kind = columns.top_key[gid]
                    tally.add_sizes(columns.total[gid], columns.top[gid], key, kind, name)
            for packed, keys in columns.types.items():
                gid, at = divmod(packed, STRIDE)
                _count(tallies[merged.get(gid, gid)].types, self._types.names[at], keys)
            for column in ("ttls", "idles", "freqs"):
                counts = {gid: getattr(tally, column) for gid, tally in tallies.items()}
                for packed, keys in getattr(columns, column).items():
                    gid, at = divmod(packed, STRIDE)
                    _count(counts[merged.get(gid, gid)], at, keys)
        return tallies

    def _largest_keys(
        self, merged: Mapping[int, int], paths: Mapping[int, bytes]
    ) -> tuple[LargestKey, ...]:
        found = [
            LargestKey(key, paths.get(merged.get(gid, gid), b""), key_bytes, kind, node)
            for node, columns in self._nodes.items()
            for key_bytes, key, kind, gid in columns.largest
        ]
        found.sort(key=lambda largest: (-largest.bytes, largest.key))
        return tuple(found[: self._largest])


@dataclass(slots=True)
class Tally:
    """What is known of one group over all nodes."""

    keys: int = 0
    total: int = 0
    unsized: int = 0
    types: dict[str, int] = field(default_factory=dict)
    ttls: dict[int, int] = field(default_factory=dict)
    idles: dict[int, int] = field(default_factory=dict)
    freqs: dict[int, int] = field(default_factory=dict)
    largest: LargestKey | None = None
    had: set[str] = field(default_factory=set)

    def add_sizes(self, total: int, top: int, key: bytes, kind: str, node: str) -> None:
        """Add the bytes of a group on one node, and its largest key there (top < 0: none)."""
        self.total += total
        if top >= 0 and (self.largest is None or top > self.largest.bytes):
            self.largest = LargestKey(key, b"", top, kind, node)

    def summary(self, path: Labels, folded: int) -> NamespaceSummary:
        """Return it frozen, under a name, shares still open."""
        name = b"".join(path)
        return NamespaceSummary(
            namespace=name,
            path=path,
            keys=self.keys,
            bytes=self.total if "sizes" in self.had else None,
            unsized=self.unsized,
            no_ttl=self.ttls.get(0, 0) if "ttls" in self.had else None,
            types=self.types,
            ttl=self._histogram("ttls", TTL_BOUNDS),
            idle=self._histogram("idles", IDLE_BOUNDS),
            freq=self._histogram("freqs", FREQ_BOUNDS),
            largest=replace(self.largest, namespace=name) if self.largest else None,
            folded=folded,
        )

    def _histogram(self, column: str, bounds: Sequence[int]) -> LogHistogram | None:
        return log_histogram(bounds, getattr(self, column)) if column in self.had else None


def summarise(
    pages: Iterable[Page], by: str | Grouper = "template", *, depth: int | None = None
) -> KeyspaceSummary:
    """Return the summary of these pages, in one go."""
    accumulator = KeyspaceAccumulator(by, depth=depth or 1)
    for page in pages:
        accumulator.add(page)
    return accumulator.result(depth=depth if by == "template" else None)


def folding_of(index: GroupIndex, by: str, counts: Sequence[int]) -> Folding:
    """Return how groups with these counts (by gid) are shown: names that vary fold in templates."""
    return index.folding(counts, Limits() if by == "template" else NEVER)


def _count(counts: dict[_What, int], what: _What, keys: int) -> None:
    counts[what] = counts.get(what, 0) + keys


def _with_shares(namespace: NamespaceSummary, whole: NamespaceSummary) -> NamespaceSummary:
    share = None
    if namespace.bytes is not None:
        share = namespace.bytes / whole.bytes if whole.bytes else 0.0
    return replace(namespace, keys_share=namespace.keys / whole.keys, bytes_share=share)


def folds_of(root: Node) -> tuple[Fold, ...]:
    """Return where names were folded in a folded tree, most first."""
    found = [
        Fold(b"".join(path) + (b"*" if node.kids else b""), node.folded, node.keys)
        for path, node in root.walk()
        if node.folded
    ]
    found.sort(key=lambda place: (-place.names, place.namespace))
    return tuple(found[:MAX_FOLDS])
