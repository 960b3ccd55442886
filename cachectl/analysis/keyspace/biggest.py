"""The biggest keys, by bytes and by elements, in all and of each namespace, in bounded heaps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappush, heappushpop

from cachectl.analysis.keyspace.keyspace import folding_of
from cachectl.analysis.naming.groups import GroupIndex
from cachectl.model.keys import Page

Entry = tuple[int, bytes, str, int | None, int | None]
"""What ranks it, key, type, bytes, elements."""


@dataclass(frozen=True, slots=True)
class BigKey:
    """A key with its size. bytes, elements: None where they were not to be had."""

    key: bytes
    namespace: bytes
    type: str
    bytes: int | None
    elements: int | None
    node: str


@dataclass(frozen=True, slots=True)
class Biggest:
    """What was found, the biggest first. namespaces: name → its biggest keys by bytes."""

    by_bytes: tuple[BigKey, ...]
    by_elements: tuple[BigKey, ...]
    namespaces: Mapping[bytes, tuple[BigKey, ...]]


@dataclass(slots=True)
class _Heaps:
    """Those of one node. groups: gid → heap."""

    bytes: list[Entry] = field(default_factory=list)
    elements: list[Entry] = field(default_factory=list)
    groups: dict[int, list[Entry]] = field(default_factory=dict)


class BiggestKeys:
    """Keeps them over the pages of a pass. keep: in all; per_namespace: of each namespace.

    Strings are left out of the ranking by elements: their length is in their bytes.
    """

    def __init__(self, index: GroupIndex, by: str, *, keep: int, per_namespace: int = 0) -> None:
        self._index = index
        self._by = by
        self._keep = keep
        self._per_namespace = per_namespace
        self._nodes: dict[str, _Heaps] = {}
        self._keys: dict[int, int] = {}
        index.attach(self)

    def add(self, page: Page) -> Sequence[int]:
        """Look at the keys of a page; return their gids."""
        heaps = self._nodes.setdefault(page.node, _Heaps())
        types = page.types or [""] * len(page)
        sizes: Sequence[int | None] = page.sizes or [None] * len(page)
        elements: Sequence[int | None] = page.elements or [None] * len(page)
        self._add(heaps.bytes, self._keep, sizes, page, types, sizes, elements)
        counted = [
            None if kind == "string" else count for kind, count in zip(types, elements, strict=True)
        ]
        self._add(heaps.elements, self._keep, counted, page, types, sizes, elements)
        gids: Sequence[int] = ()
        if self._per_namespace:
            gids = self._index.gids(page)
            for i, gid in enumerate(gids):
                size = sizes[i]
                self._keys[gid] = self._keys.get(gid, 0) + 1
                if size is None:
                    continue
                heap = heaps.groups.setdefault(gid, [])
                if len(heap) < self._per_namespace or size > heap[0][0]:
                    entry = (size, page.keys[i], types[i], size, elements[i])
                    _push(heap, self._per_namespace, entry)
            self._index.shrink()
        return gids

    def drop(self, node: str) -> None:
        """Forget a node."""
        self._nodes.pop(node, None)

    def add_counts(self, counts: list[int]) -> None:
        """Add the keys of each group, by which names are folded."""
        for gid, keys in self._keys.items():
            counts[gid] += keys

    def remap(self, merged: dict[int, int]) -> None:
        """Follow the index when groups merge."""
        for gid, target in merged.items():
            if gid in self._keys:
                self._keys[target] = self._keys.get(target, 0) + self._keys.pop(gid)
        for heaps in self._nodes.values():
            for gid in merged.keys() & heaps.groups.keys():
                target_heap = heaps.groups.setdefault(merged[gid], [])
                for entry in heaps.groups.pop(gid):
                    _push(target_heap, self._per_namespace, entry)

    def result(self) -> Biggest:
        """Return the biggest of all nodes."""
        groups: dict[bytes, list[BigKey]] = {}
        if self._per_namespace:
            counts = [0] * self._index.size
            self.add_counts(counts)
            folding = folding_of(self._index, self._by, counts)
            names = {node.gid: b"".join(path) for path, node in folding.root.walk()}
            for node, heaps in self._nodes.items():
                for gid, heap in heaps.groups.items():
                    name = names[folding.merged.get(gid, gid)]
                    groups.setdefault(name, []).extend(_named(heap, name, node))
        return Biggest(
            self._ranked((heaps.bytes for heaps in self._nodes.values()), "bytes"),
            self._ranked((heaps.elements for heaps in self._nodes.values()), "elements"),
            {
                name: tuple(sorted(keys, key=_by_bytes)[: self._per_namespace])
                for name, keys in sorted(
                    groups.items(), key=lambda item: (min(map(_by_bytes, item[1])), item[0])
                )
            },
        )

    def _ranked(self, heaps: Iterable[list[Entry]], by: str) -> tuple[BigKey, ...]:
        order = _by_bytes if by == "bytes" else _by_elements
        found = [
            key
            for node, heap in zip(self._nodes, heaps, strict=True)
            for key in _named(heap, b"", node)
        ]
        return tuple(sorted(found, key=order)[: self._keep])

    def _add(
        self,
        heap: list[Entry],
        keep: int,
        ranks: Sequence[int | None],
        page: Page,
        types: Sequence[str],
        sizes: Sequence[int | None],
        elements: Sequence[int | None],
    ) -> None:
        """Add those keys of a page that are among the biggest; mostly there are none."""
        if not keep:
            return
        floor = heap[0][0] if len(heap) >= keep else -1
        for i, rank in enumerate(ranks):
            if rank is not None and rank > floor:
                _push(heap, keep, (rank, page.keys[i], types[i], sizes[i], elements[i]))
                floor = heap[0][0] if len(heap) >= keep else -1


def _push(heap: list[Entry], keep: int, entry: Entry) -> None:
    if len(heap) < keep:
        heappush(heap, entry)
    else:
        heappushpop(heap, entry)


def _named(heap: Iterable[Entry], namespace: bytes, node: str) -> list[BigKey]:
    return [
        BigKey(key, namespace, kind, size, elements, node) for _, key, kind, size, elements in heap
    ]


def _by_bytes(key: BigKey) -> tuple[int, bytes]:
    return -(key.bytes or 0), key.key


def _by_elements(key: BigKey) -> tuple[int, bytes]:
    return -(key.elements or 0), key.key
