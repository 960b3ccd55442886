"""What keys cost on this server, learnt from its own: MEMORY USAGE of keys whose value is known.

MEMORY USAGE of a key with a plain value is what the value takes, plus a share for the key itself
(its name, its object, its place in the table) that depends on version, flavour and length of the
name, and is learnt here. Whether MEMORY USAGE rounds as the allocator does is learnt as well:
Redis 6.2 does not (measured), so there the figures are a little low on both sides of a saving.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from statistics import median

from cachectl.analysis import encodings
from cachectl.analysis.advice import Drawn
from cachectl.model import LogicalValue

EMBEDDED = 200
"""Strings up to so many bytes may lie within their object, and say nothing of the rest."""
_BEFORE_NAMES = (0, 9, 17, 25)
"""A name has an allocation of its own, or follows its object (16 bytes) and its TTL (8)."""
_LENGTHS = 3
_COMPACT = frozenset({"listpack", "ziplist"})


class KeyCosts:
    """Prices of keys and values. allocator: mem_allocator of INFO."""

    def __init__(self, drawn: Drawn, allocator: str) -> None:
        self._round = encodings.rounding_of(allocator)
        self.ziplists = any("ziplist" in (page.encodings or ()) for page in drawn.pages)
        self.known = 0
        rounded: dict[int, list[int]] = {}
        plain: dict[int, list[int]] = {}
        for key, used, size in self._examples(drawn):
            rounded.setdefault(len(key), []).append(used - self._round(size))
            plain.setdefault(len(key), []).append(used - size)
            self.known += 1
        self.rounds = _spread(rounded) <= _spread(plain)
        chosen = rounded if self.rounds else plain
        self._bases = sorted((length, round(median(rest))) for length, rest in chosen.items())
        self._before_name = self._fitted()

    def _examples(self, drawn: Drawn) -> Iterable[tuple[bytes, int, int]]:
        """Yield (name, MEMORY USAGE, bytes of the value) of keys whose value is known."""
        for page, values in zip(drawn.pages, drawn.values, strict=True):
            kinds = page.encodings or [None] * len(page)
            sizes = page.sizes or [None] * len(page)
            for key, used, kind, value in zip(page.keys, sizes, kinds, values, strict=True):
                if used is None or value is None:
                    continue
                if value.type == "string" and kind == "raw":
                    length = len(value.elements[0])
                    if length > EMBEDDED and used - length < length:
                        yield key, used, encodings.text(length)
                elif kind in _COMPACT and value.type != "list":
                    yield key, used, self.compact_size(value)

    def base(self, name: int) -> int:
        """Return what a key with a name of so many bytes costs besides its value."""
        if not self._bases:
            return 0
        at = bisect_left(self._bases, (name, 0))
        nearest = min(self._bases[max(at - 1, 0) : at + 1], key=lambda one: abs(one[0] - name))
        return max(0, nearest[1] + name - nearest[0])

    def name(self, length: int) -> int:
        """Return what a name of so many bytes costs, of `base`, up to a constant."""
        size = encodings.text(length)
        return size if self._before_name is None else self._rounded(self._before_name + size)

    def _fitted(self) -> int | None:
        """Return how many bytes lie before a name in its allocation, as fits the bases best.

        None where names of too few lengths were seen, so that only their length counts.
        """
        if len(self._bases) < _LENGTHS:
            return None

        def misfit(before: int) -> float:
            rest = [
                base - self._rounded(before + encodings.text(length))
                for length, base in self._bases
            ]
            middle = median(rest)
            return sum(abs(one - middle) for one in rest)

        return min(_BEFORE_NAMES, key=misfit)

    def text(self, length: int) -> int:
        """Return what a string of so many bytes costs as a value of its own."""
        return self._rounded(encodings.text(length))

    def compact(self, value: LogicalValue) -> int:
        """Return what a collection costs in its compact encoding."""
        return self._rounded(self.compact_size(value))

    def compact_size(self, value: LogicalValue) -> int:
        """Return the bytes of a collection's compact encoding, before the allocator rounds."""
        parts = list(parts_of(value))
        return encodings.ziplist(parts) if self.ziplists else encodings.listpack(parts)

    def packed(self, size: int) -> int:
        """Return what so many bytes of an encoding cost."""
        return self._rounded(size)

    def _rounded(self, size: int) -> int:
        return self._round(size) if self.rounds else size


def parts_of(value: LogicalValue) -> Iterable[bytes]:
    """Yield the elements as a compact encoding stores them."""
    for element in value.elements:
        match value.type:
            case "hash":
                yield from element[:2]
            case "zset":
                yield element[0]
                yield score_text(element[1])
            case _:
                yield element


def score_text(score: float) -> bytes:
    """Return a score as a compact encoding stores it."""
    if abs(score) < 2**63 and score == int(score):
        return b"%d" % int(score)
    return b"%.17g" % score


def _spread(residuals: dict[int, list[int]]) -> float:
    """Return how far residuals of names of one length are apart, in the mean."""
    total, count = 0.0, 0
    for rest in residuals.values():
        middle = median(rest)
        total += sum(abs(one - middle) for one in rest)
        count += len(rest)
    return total / count if count else 0.0
