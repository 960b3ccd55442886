"""What keys cost on this server, learnt from its own: MEMORY USAGE of keys whose value is known.

MEMORY USAGE of a key with a plain value is what the value takes, plus a share for the key itself
(its name, its object, its place in the table) that depends on version, flavour and length of the
name, and is learnt here. Whether MEMORY USAGE rounds as the allocator does is learnt as well:
Redis 6.2 does not (measured), so there the figures are a little low on both sides of a saving.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp
from statistics import median

from cachectl.analysis.memory import encodings
from cachectl.analysis.memory.advice import Drawn
from cachectl.model.values import LogicalValue

EMBEDDED = 200
"""Strings up to so many bytes may lie within their object, and say nothing of the rest."""
_BEFORE_NAMES = (0, 9, 17, 25)
"""A name has an allocation of its own, or follows its object (16 bytes) and its TTL (8)."""
_LENGTHS = 3
_SINCE_7_2 = "set-max-listpack-entries"
_ENTRY, _COLLIDING = 24, 16
_COMPACT = frozenset({"listpack", "ziplist"})


Example = tuple[bytes, int, int]
"""A key's name, its MEMORY USAGE, and the bytes of its value before the allocator rounds."""


class KeyCosts:
    """Prices of keys and values. allocator: mem_allocator of INFO; settings: see server.memory."""

    def __init__(
        self, drawn: Drawn, allocator: str, settings: Mapping[str, str] | None = None
    ) -> None:
        self._sets_without_entries = _SINCE_7_2 in (settings or {})
        self.ziplists = any("ziplist" in (page.encodings or ()) for page in drawn.pages)
        examples = list(self._examples(drawn))
        self.known = len(examples)
        fits = [_Fit.of(examples, rounding) for rounding in encodings.roundings_of(allocator)]
        best = min(fits, key=lambda one: one.misfit)
        self._round, self._before_name = best.rounding, best.before_name
        plain = _Fit.of(examples, lambda size: size)
        # The server allocates as the allocator rounds, but 6.2 does not say so in MEMORY USAGE.
        self._bases = (best if best.spread <= plain.spread else plain).bases

    def _examples(self, drawn: Drawn) -> Iterable[Example]:
        """Yield those keys whose value is known."""
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
        return size if self._before_name is None else self._round(self._before_name + size)

    def text(self, length: int) -> int:
        """Return what a string of so many bytes costs as a value of its own."""
        return self._round(encodings.text(length))

    def loose(self, used: int, name: int, value: LogicalValue) -> int:
        """Return what a collection in a table costs, the key included. used: its MEMORY USAGE.

        MEMORY USAGE counts an entry of 24 bytes for each element of a table (object.c). The
        allocator rounds that up; and since Redis 7.2 a set's table holds its members themselves,
        with entries of 16 bytes only where they collide (dict.c, no_value). Measured on 7.0 and
        8.2: without this a saving would be 22 % too low there, and twice too high here.
        """
        count = len(value.elements)
        own = sum(map(self.text, map(len, parts_of(value)))) if value.type != "zset" else used
        if used - self.base(name) - own < _ENTRY * count:
            return used  # no such table: Valkey's, since 8.1
        if value.type == "set" and self._sets_without_entries:
            slots = 1 << (count - 1).bit_length() if count > 1 else 1
            colliding = count - slots * (1 - exp(-count / slots))
            return self.base(name) + own + 8 * slots + round(_COLLIDING * colliding)
        return used + count * (self._round(_ENTRY) - _ENTRY)

    def compact(self, value: LogicalValue) -> int:
        """Return what a collection costs in its compact encoding."""
        return self._round(self.compact_size(value))

    def compact_size(self, value: LogicalValue) -> int:
        """Return the bytes of a collection's compact encoding, before the allocator rounds."""
        parts = list(parts_of(value))
        return encodings.ziplist(parts) if self.ziplists else encodings.listpack(parts)

    def packed(self, size: int) -> int:
        """Return what so many bytes of an encoding cost."""
        return self._round(size)


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


@dataclass(frozen=True, slots=True)
class _Fit:
    """How well examples go together when the allocator rounds in a certain way.

    bases: (length of the name, what a key costs besides its value). spread: how far those of
    names of one length are apart, in the mean. before_name: how many bytes lie before a name in
    its allocation, None where names of too few lengths were seen. misfit: spread, and how far the
    bases are from what names of their lengths take.
    """

    rounding: encodings.Rounding
    bases: list[tuple[int, int]]
    spread: float
    before_name: int | None
    misfit: float

    @classmethod
    def of(cls, examples: Iterable[Example], rounding: encodings.Rounding) -> _Fit:
        rest: dict[int, list[int]] = {}
        for key, used, size in examples:
            rest.setdefault(len(key), []).append(used - rounding(size))
        bases = sorted((length, round(median(own))) for length, own in rest.items())
        spread = _apart(rest.values())
        if len(bases) < _LENGTHS:
            return cls(rounding, bases, spread, None, spread)

        def misfit(before: int) -> float:
            return _apart([[base - rounding(before + encodings.text(n)) for n, base in bases]])

        before = min(_BEFORE_NAMES, key=misfit)
        return cls(rounding, bases, spread, before, spread + misfit(before))


def _apart(groups: Iterable[Sequence[int]]) -> float:
    """Return how far numbers are from the median of their group, in the mean."""
    total, count = 0.0, 0
    for group in groups:
        middle = median(group)
        total += sum(abs(one - middle) for one in group)
        count += len(group)
    return total / count if count else 0.0
