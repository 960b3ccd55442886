"""The figures of an audit: counted where all keys were seen, estimated where some were drawn.

A place is a namespace, a rule and a code, packed into one number (see rule_places).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from cachectl.analysis.audits.rule_tally import Tally
from cachectl.analysis.estimates.intervals import Stratum, exact
from cachectl.analysis.keyspace.sampling import SampledNamespace, estimate_groups
from cachectl.analysis.naming.templates import Labels
from cachectl.model.figures import Estimate
from cachectl.model.keys import Page

Figure = int | Estimate
Sizes = tuple[Figure, Figure | None]
"""Keys, and their bytes (None: sizes were not asked for)."""


class Figures(Protocol):
    """Says how many keys there are, and their bytes. drawn: keys of a sample, None for all."""

    drawn: int | None

    def whole(self) -> Sizes:
        """Return those of all keys."""
        ...

    def matching(self, test: Callable[[int], bool]) -> Sizes:
        """Return those of all places that pass a test."""
        ...

    def place(self, packed: int) -> Sizes:
        """Return those of one place."""
        ...

    def grouped(self, label: Callable[[int], int]) -> Mapping[int, Sizes]:
        """Return those of the places that a function gives the same label."""
        ...

    def rule(self, number: int) -> Sizes:
        """Return those of the keys that fall under a rule."""
        ...

    def share(self, number: int) -> float | Estimate | None:
        """Return the share of the bytes of all keys that a rule's hold; None: sizes are unknown."""
        ...

    def violating(self, number: int) -> Figure:
        """Return the keys that violate a rule."""
        ...

    def unruled(self, gid: int) -> tuple[Figure, Figure | None, Figure]:
        """Return those of a namespace that no rule names, and its keys without a TTL."""
        ...


class Counted(Figures):
    """The figures of a full pass. rule_of, gid_of: of a packed place; bad, no_ttl: tests of one."""

    def __init__(
        self,
        tally: Tally,
        rule_of: Callable[[int], int],
        gid_of: Callable[[int], int],
        bad: Callable[[int], bool],
        no_ttl: Callable[[int], bool],
    ) -> None:
        self.drawn = None
        self._tally = tally
        self._rules: dict[int, list[int]] = {}
        self._gids: dict[int, list[int]] = {}
        for packed in tally.keys:
            number = rule_of(packed)
            self._rules.setdefault(number, []).append(packed)
            if number < 0:
                self._gids.setdefault(gid_of(packed), []).append(packed)
        self._bad = bad
        self._no_ttl = no_ttl

    def whole(self) -> Sizes:
        """See Figures."""
        return self._tally.keys.total(), self._of_sized(sum(self._tally.rule_bytes.values()))

    def matching(self, test: Callable[[int], bool]) -> Sizes:
        """See Figures."""
        places = [packed for packed in self._tally.keys if test(packed)]
        size = sum(self._tally.bytes[packed] for packed in places)
        return sum(self._tally.keys[packed] for packed in places), self._of_sized(size)

    def place(self, packed: int) -> Sizes:
        """See Figures."""
        return self._tally.keys[packed], self._of_sized(self._tally.bytes[packed])

    def grouped(self, label: Callable[[int], int]) -> Mapping[int, Sizes]:
        """See Figures."""
        keys: Counter[int] = Counter()
        size: Counter[int] = Counter()
        for packed, count in self._tally.keys.items():
            named = label(packed)
            keys[named] += count
            size[named] += self._tally.bytes[packed]
        return {named: (count, self._of_sized(size[named])) for named, count in keys.items()}

    def share(self, number: int) -> float | None:
        """See Figures."""
        total = sum(self._tally.rule_bytes.values())
        if not self._tally.sized:
            return None
        return self._tally.rule_bytes[number] / total if total else 0.0

    def rule(self, number: int) -> Sizes:
        """See Figures."""
        keys = sum(self._tally.keys[packed] for packed in self._rules.get(number, ()))
        return keys, self._of_sized(self._tally.rule_bytes[number])

    def violating(self, number: int) -> Figure:
        """See Figures."""
        places = self._rules.get(number, ())
        return sum(self._tally.keys[packed] for packed in places if self._bad(packed))

    def unruled(self, gid: int) -> tuple[Figure, Figure | None, Figure]:
        """See Figures."""
        places = self._gids.get(gid, ())
        keys, size = self._tally.keys, self._tally.bytes
        return (
            sum(keys[packed] for packed in places),
            self._of_sized(sum(size[packed] for packed in places)),
            sum(keys[packed] for packed in places if self._no_ttl(packed)),
        )

    def _of_sized(self, size: int) -> int | None:
        return size if self._tally.sized else None


class Estimated(Figures):
    """The figures of a sample. places: for each page the packed place of each key."""

    def __init__(
        self,
        pages: Sequence[Page],
        places: Sequence[Sequence[int]],
        strata: Mapping[str, Stratum],
        rule_of: Callable[[int], int],
        gid_of: Callable[[int], int],
        bad: Callable[[int], bool],
    ) -> None:
        self._pages, self._strata, self._of_pages = pages, strata, places
        self.drawn = sum(stratum.drawn for stratum in strata.values())
        self._whole = all_keys(pages, strata)
        self._places = self._by(lambda packed: packed)
        self._rules = self._by(rule_of)
        self._violating = self._by(lambda packed: rule_of(packed) if bad(packed) else -2)
        self._unruled = self._by(lambda packed: gid_of(packed) if rule_of(packed) < 0 else -1)

    def whole(self) -> Sizes:
        """See Figures."""
        return self._whole

    def matching(self, test: Callable[[int], bool]) -> Sizes:
        """See Figures."""
        return _sizes(self._by(test).get(_label(True)))

    def place(self, packed: int) -> Sizes:
        """See Figures."""
        return _sizes(self._places.get(_label(packed)))

    def grouped(self, label: Callable[[int], int]) -> Mapping[int, Sizes]:
        """See Figures."""
        return {int(path[0]): _sizes(found) for path, found in self._by(label).items()}

    def share(self, number: int) -> Estimate | None:
        """See Figures."""
        found = self._rules.get(_label(number))
        return exact(0.0) if found is None else found.bytes_share

    def rule(self, number: int) -> Sizes:
        """See Figures."""
        return _sizes(self._rules.get(_label(number)))

    def violating(self, number: int) -> Figure:
        """See Figures."""
        return _sizes(self._violating.get(_label(number)))[0]

    def unruled(self, gid: int) -> tuple[Figure, Figure | None, Figure]:
        """See Figures."""
        found = self._unruled[_label(gid)]
        return found.keys, found.bytes, found.no_ttl or exact(0)

    def _by(self, label: Callable[[int], int]) -> _Found:
        labels = [[_label(label(packed)) for packed in own] for own in self._of_pages]
        return estimate_groups(self._pages, self._strata, labels)


def all_keys(pages: Sequence[Page], strata: Mapping[str, Stratum]) -> Sizes:
    """Return what a sample says of all keys together: their number, and their bytes."""
    found = estimate_groups(pages, strata, [[_label(0)] * len(page) for page in pages])
    keys, size = _sizes(found.get(_label(0)))
    if sum(map(len, pages)) < sum(stratum.drawn for stratum in strata.values()):
        return keys, size
    # Where nothing was filtered, it is what DBSIZE says.
    return exact(sum(stratum.size for stratum in strata.values())), size


_Found = Mapping[Labels, SampledNamespace]


def _label(number: int) -> Labels:
    return (b"%d" % number,)


def _sizes(found: SampledNamespace | None) -> Sizes:
    return (exact(0), exact(0)) if found is None else (found.keys, found.bytes)
