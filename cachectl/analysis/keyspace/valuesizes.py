"""Histograms of how large values are, in powers of two: from INFO keysizes, or from a pass.

INFO keysizes (Redis 8) counts every key as it changes: lengths of strings in bytes, elements of
all others, by database. Elsewhere a pass gives the memory of keys by type.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cachectl.analysis.estimates.intervals import Stratum
from cachectl.analysis.keyspace.sampling import estimate_groups
from cachectl.model.figures import Figure
from cachectl.model.keys import Page

_LINE = re.compile(r"db(\d+)_distrib_([a-z]+)_(sizes|items)")
_TYPES = {"strings": "string", "lists": "list", "sets": "set", "zsets": "zset", "hashes": "hash"}
_SUFFIXES = {"K": 10, "M": 20, "G": 30, "T": 40, "P": 50}
_UNITS = {"sizes": "bytes", "items": "elements"}


@dataclass(frozen=True, slots=True)
class SizeBin:
    """So many keys of a type whose values have from `low` to less than 2·low bytes or elements.

    unit: bytes (of a string), elements, or memory (bytes of the whole key, as MEMORY USAGE has
    it). low: 0 is a bin of its own. database: None for the one that a pass has read.
    """

    type: str
    unit: str
    low: int
    keys: Figure
    database: int | None = None

    @property
    def high(self) -> int:
        """The greatest value that falls into it."""
        return 2 * self.low - 1 if self.low else 0


def from_keysizes(infos: Iterable[Mapping[str, str]]) -> tuple[SizeBin, ...]:
    """Return the histograms that nodes keep themselves, summed; empty where none does."""
    found: Counter[tuple[int, str, str, int]] = Counter()
    for info in infos:
        for name, line in info.items():
            match = _LINE.fullmatch(name)
            if match is None:
                continue
            kind = _TYPES.get(match[2], match[2])
            for low, keys in _bins(line):
                found[int(match[1]), kind, _UNITS[match[3]], low] += keys
    return tuple(
        SizeBin(kind, unit, low, keys, database)
        for (database, kind, unit, low), keys in sorted(found.items())
    )


def _bins(line: str) -> Iterable[tuple[int, int]]:
    for pair in line.split(","):
        low, equals, keys = pair.partition("=")
        shift = _SUFFIXES.get(low[-1:], 0)
        digits = low[:-1] if shift else low
        if equals and digits.isdigit() and keys.isdigit():
            yield int(digits) << shift, int(keys)


class MemorySizes:
    """Counts keys by type and memory, over the pages of a pass."""

    def __init__(self) -> None:
        self._nodes: dict[str, Counter[tuple[str, int]]] = {}

    def add(self, page: Page) -> Sequence[int]:
        """Count the keys of a page whose size is known."""
        if page.sizes is not None:
            counts = self._nodes.setdefault(page.node, Counter())
            types = page.types or [""] * len(page)
            counts.update(
                (kind, size.bit_length())
                for kind, size in zip(types, page.sizes, strict=True)
                if size is not None
            )
        return ()

    def drop(self, node: str) -> None:
        """Forget a node."""
        self._nodes.pop(node, None)

    def bins(self) -> tuple[SizeBin, ...]:
        """Return the histograms."""
        total: Counter[tuple[str, int]] = Counter()
        for counts in self._nodes.values():
            total.update(counts)
        return tuple(
            SizeBin(kind, "memory", _low(bits), keys)
            for (kind, bits), keys in sorted(total.items())
        )


def from_sample(pages: Sequence[Page], strata: Mapping[str, Stratum]) -> tuple[SizeBin, ...]:
    """Return the histograms of memory by type that a sample says."""
    paths = [
        [
            (kind.encode(), b"" if size is None else b"%d" % size.bit_length())
            for kind, size in zip(
                page.types or [""] * len(page), page.sizes or [None] * len(page), strict=True
            )
        ]
        for page in pages
    ]
    found = estimate_groups(pages, strata, paths)
    bins = [
        SizeBin(kind.decode(), "memory", _low(int(bits)), one.keys)
        for (kind, bits), one in found.items()
        if bits
    ]
    return tuple(sorted(bins, key=lambda one: (one.type, one.low)))


def _low(bits: int) -> int:
    return 1 << (bits - 1) if bits else 0
