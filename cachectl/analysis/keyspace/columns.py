"""Statistics of the keys of one node, as columns by gid: what adding a page touches.

Everything that can be counted is counted by C code over whole columns: the group and the bin of a
value are packed into one number, and a Counter eats the numbers. Only sizes need a loop.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from heapq import heappush, heappushpop
from itertools import repeat
from operator import add, mul

from cachectl.analysis.keyspace.histogram import IDLE_BOUNDS, STRIDE, TTL_BOUNDS
from cachectl.model.keys import Page

_LAST_TYPE = STRIDE - 1


class TypeNames(dict[str, int]):
    """Type names as small numbers, shared by all columns of an accumulator."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __missing__(self, name: str) -> int:
        if len(self.names) >= _LAST_TYPE:
            name = self.names[-1]
            return self[name]
        self[name] = len(self.names)
        self.names.append(name)
        return self[name]


class NodeColumns:
    """What is known of the keys of one node, by gid.

    keys, unsized: gid → keys. types, ttls, idles, freqs: gid * STRIDE + (type, bin or counter) →
    keys. total, top, top_key: lists by gid: bytes, the largest size, and (key, type) of it.
    largest: a heap of the node's largest keys as (bytes, key, type, gid). had: the columns seen.
    """

    def __init__(self, type_names: TypeNames, keep: int) -> None:
        self._type_names = type_names
        self._keep = keep
        self.keys: Counter[int] = Counter()
        self.unsized: Counter[int] = Counter()
        self.types: Counter[int] = Counter()
        self.ttls: Counter[int] = Counter()
        self.idles: Counter[int] = Counter()
        self.freqs: Counter[int] = Counter()
        self.total: list[int] = []
        self.top: list[int] = []
        self.top_key: list[tuple[bytes, str]] = []
        self.largest: list[tuple[int, bytes, str, int]] = []
        self.had: set[str] = set()

    def add(self, page: Page, gids: Sequence[int], size: int) -> None:
        """Count the keys of a page. size: how many gids there are."""
        self.keys.update(gids)
        bases = list(map(mul, gids, repeat(STRIDE)))
        if page.types is not None:
            self.had.add("types")
            self.types.update(map(add, bases, map(self._type_names.__getitem__, page.types)))
        if page.ttls is not None:
            self.had.add("ttls")
            self.ttls.update(map(add, bases, map(bisect_right, repeat(TTL_BOUNDS), page.ttls)))
        if page.idles is not None:
            self.had.add("idles")
            idle_bases, idles = _known(bases, page.idles)
            self.idles.update(map(add, idle_bases, map(bisect_right, repeat(IDLE_BOUNDS), idles)))
        if page.freqs is not None:
            self.had.add("freqs")
            # A histogram's first bin is 1, and the counters start at 0.
            freq_bases, freqs = _known(bases, page.freqs)
            self.freqs.update(map(add, map(add, freq_bases, freqs), repeat(1)))
        if page.sizes is not None and page.keys:
            self.had.add("sizes")
            self._add_sizes(page, gids, size)

    def _add_sizes(self, page: Page, gids: Sequence[int], size: int) -> None:
        self._grow(size)
        sizes: Sequence[int | None] = page.sizes or ()
        if None in sizes:
            self.unsized.update(
                gid for gid, known in zip(gids, sizes, strict=True) if known is None
            )
        total, top, top_key = self.total, self.top, self.top_key
        types = page.types or repeat("", len(page))
        for gid, key_bytes, key, kind in zip(gids, sizes, page.keys, types, strict=True):
            if key_bytes is None:
                continue
            total[gid] += key_bytes
            if key_bytes > top[gid]:
                top[gid] = key_bytes
                top_key[gid] = (key, kind)
        if (
            len(self.largest) < self._keep
            or max(filter(None, sizes), default=0) > self.largest[0][0]
        ):
            types = page.types or repeat("", len(page))
            for gid, key_bytes, key, kind in zip(gids, sizes, page.keys, types, strict=True):
                if key_bytes is not None:
                    self._add_largest(key_bytes, key, kind, gid)

    def _add_largest(self, key_bytes: int, key: bytes, kind: str, gid: int) -> None:
        if len(self.largest) < self._keep:
            heappush(self.largest, (key_bytes, key, kind, gid))
        elif self.largest and key_bytes > self.largest[0][0]:
            heappushpop(self.largest, (key_bytes, key, kind, gid))

    def _grow(self, size: int) -> None:
        missing = size - len(self.total)
        if missing > 0:
            self.total.extend(repeat(0, missing))
            self.top.extend(repeat(-1, missing))
            self.top_key.extend(repeat((b"", ""), missing))

    def remap(self, merged: dict[int, int]) -> None:
        """Move what is known of each gid to the gid that took it."""
        if not merged:
            return
        for counter in (self.keys, self.unsized):
            for gid in merged.keys() & counter.keys():
                counter[merged[gid]] += counter.pop(gid)
        for counter in (self.types, self.ttls, self.idles, self.freqs):
            for packed_from in [packed for packed in counter if packed // STRIDE in merged]:
                gid, at = divmod(packed_from, STRIDE)
                counter[merged[gid] * STRIDE + at] += counter.pop(packed_from)
        self._grow(max(merged.values()) + 1)
        for gid, target in merged.items():
            if gid < len(self.total):
                self._merge_sizes(target, self.total[gid], self.top[gid], self.top_key[gid])
                self.total[gid], self.top[gid], self.top_key[gid] = 0, -1, (b"", "")
        self.largest = [(*key[:3], merged.get(key[3], key[3])) for key in self.largest]

    def take(self, other: NodeColumns, gid_of: dict[int, int], type_of: Sequence[int]) -> None:
        """Add another node's columns, whose gids and types go by other numbers."""
        for mine, theirs in ((self.keys, other.keys), (self.unsized, other.unsized)):
            for gid, keys in theirs.items():
                mine[gid_of[gid]] += keys
        for packed, keys in other.types.items():
            gid, at = divmod(packed, STRIDE)
            self.types[gid_of[gid] * STRIDE + type_of[at]] += keys
        for mine, theirs in (
            (self.ttls, other.ttls),
            (self.idles, other.idles),
            (self.freqs, other.freqs),
        ):
            for packed, keys in theirs.items():
                gid, at = divmod(packed, STRIDE)
                mine[gid_of[gid] * STRIDE + at] += keys
        for gid, target in gid_of.items():
            if gid < len(other.total):
                self._grow(target + 1)
                self._merge_sizes(target, other.total[gid], other.top[gid], other.top_key[gid])
        for key_bytes, key, kind, gid in other.largest:
            self._add_largest(key_bytes, key, kind, gid_of[gid])
        self.had |= other.had

    def _merge_sizes(self, gid: int, total: int, top: int, top_key: tuple[bytes, str]) -> None:
        self.total[gid] += total
        if top > self.top[gid]:
            self.top[gid], self.top_key[gid] = top, top_key


def _known(
    bases: Sequence[int], values: Sequence[int | None]
) -> tuple[Iterable[int], Iterable[int]]:
    """Return both without the places where the value is None."""
    if None not in values:
        return bases, values  # type: ignore[return-value]
    pairs = [(base, v) for base, v in zip(bases, values, strict=True) if v is not None]
    return [base for base, _ in pairs], [value for _, value in pairs]
