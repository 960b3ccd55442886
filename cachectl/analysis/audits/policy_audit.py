"""Keys as they are against the policy: types, sizes, elements, names, shares of memory, values.

Pages go in as they come. What is wrong with a key is a set of flags; namespace, rule and flags are
packed into one number, its place (see rule_places). Only keys that violate a rule, or that no rule
names, are looked at one by one. TTLs are ttl_audit's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import compress, repeat
from math import inf
from operator import add, gt, mul

from cachectl.analysis.audits.judged_values import READABLE, Judged, Values, values_of
from cachectl.analysis.audits.rule_figures import Counted, Estimated, Figure, Figures
from cachectl.analysis.audits.rule_places import RulePlaces
from cachectl.analysis.audits.rule_tally import EXAMPLES, Example, Tally
from cachectl.analysis.estimates.intervals import Stratum
from cachectl.analysis.estimates.value_sample import ValueSample
from cachectl.analysis.naming.groups import GroupIndex
from cachectl.model.figures import Estimate, value_of
from cachectl.model.keys import Page
from cachectl.policy import NO_RULE, Policy, Rule


class Kind(StrEnum):
    """What is wrong with a key; share_exceeded: with all keys of a rule together."""

    WRONG_TYPE = "wrong_type"
    TOO_LARGE = "too_large"
    TOO_MANY_ELEMENTS = "too_many_elements"
    BADLY_NAMED = "badly_named"
    POISONED = "poisoned"
    SHARE_EXCEEDED = "share_exceeded"


_FLAGS = {
    Kind.WRONG_TYPE: 1,
    Kind.TOO_LARGE: 2,
    Kind.TOO_MANY_ELEMENTS: 4,
    Kind.BADLY_NAMED: 8,
}
_BAD = sum(_FLAGS.values())
_JUDGED = 16
"""The flag of a key whose value can be held against its rule."""
_STRIDE = 32


@dataclass(frozen=True, slots=True)
class Violation:
    """Keys of one namespace that violate one rule in one way; a key may do so in several.

    namespace: None for all keys of the rule together (share_exceeded). bytes: their memory, None
    when it was not asked for. share: of the bytes of all keys, where that is what is wrong.
    """

    rule: Rule
    namespace: bytes | None
    kind: Kind
    keys: Figure
    bytes: Figure | None
    examples: tuple[Example, ...] = ()
    share: float | Estimate | None = None

    @property
    def doubtful(self) -> bool:
        """Whether the limit lies within the interval of an estimated share."""
        most = self.rule.max_memory_share
        return isinstance(self.share, Estimate) and most is not None and self.share.low <= most


@dataclass(frozen=True, slots=True)
class Unruled:
    """A namespace that no rule names."""

    namespace: bytes
    keys: Figure
    bytes: Figure | None


@dataclass(frozen=True, slots=True)
class RuleTally:
    """The keys of a rule, their memory and its share, and how many violate it.

    violating: without those whose values alone are wrong. read: values that were read; poisoned:
    keys whose values are not what the rule says, None when none was read.
    """

    rule: Rule
    keys: Figure
    bytes: Figure | None
    share: float | Estimate | None
    violating: Figure
    read: int = 0
    poisoned: Figure | None = None


@dataclass(frozen=True, slots=True)
class PolicyAudit:
    """What was found. violations, unruled: those with the most keys first; rules: as in the policy.

    violating: keys that violate a rule, values aside; no_rule, protected: that fall under none, and
    that no run may change. drawn: keys of a sample, None when all keys were looked at.
    """

    policy: Policy
    keys: Figure
    bytes: Figure | None
    violating: Figure
    no_rule: Figure
    protected: Figure
    violations: tuple[Violation, ...]
    unruled: tuple[Unruled, ...]
    rules: tuple[RuleTally, ...]
    drawn: int | None = None

    @property
    def read(self) -> int:
        """Values that were read."""
        return sum(one.read for one in self.rules)


class PolicyAuditor(RulePlaces):
    """Takes pages, gives an audit. What a page has no column for is not judged.

    values: how many of each rule to read. whole: all keys are looked at, so that shares of memory
    can be judged. Not safe for several threads at once.
    """

    def __init__(
        self,
        policy: Policy,
        values: int = 0,
        index: GroupIndex | None = None,
        *,
        whole: bool = True,
    ) -> None:
        super().__init__(policy, _STRIDE, index)
        rules = policy.rules
        self.values = ValueSample(values)
        self._whole = whole
        # The last is that of keys without a rule, whose number is -1.
        self._most_bytes = [*(rule.max_bytes or inf for rule in rules), inf]
        self._of_type = _ByType(lambda number, kind: _type_flags(rules, number, kind))
        self._most_elements = _ByType(lambda number, kind: _most_elements(rules, number, kind))
        self._naming = {n: rule.naming for n, rule in enumerate(rules) if rule.naming is not None}
        codes = range(_STRIDE * (len(rules) + 1))
        self._wanted = frozenset(code for code in codes if code < _STRIDE or code & _BAD)
        self._judged = frozenset(code for code in codes if code & _JUDGED)

    def add(self, page: Page) -> list[int]:
        """Count the keys of a page; return their places, good until groups fold."""
        numbers = self.policy.rule_numbers(page.keys)
        codes = self._codes(page, numbers)
        places, tally = self._count(page, numbers, codes)
        self._look(page, codes, places, tally)
        if self.values.most:
            judged = list(map(self._judged.__contains__, codes))
            rows = list(compress(range(len(page)), judged))
            self.values.add(page, rows, list(compress(numbers, judged)))
        self._settle()
        return places

    def drop(self, node: str) -> None:
        """Forget what this node said: it is scanned again from the start."""
        super().drop(node)
        self.values.drop(node)

    def result(self, judged: Sequence[Judged] = ()) -> PolicyAudit:
        """Return the audit of all pages so far. judged: values that were read since."""
        total, names, merged = self.folded()
        figures = Counted(total, self.rule_of, self.gid_of, self._is_bad, lambda _: False)
        return self._audit(total, names, figures, merged, judged)

    def estimate(
        self,
        pages: Sequence[Page],
        strata: Mapping[str, Stratum],
        judged: Sequence[Judged] = (),
    ) -> PolicyAudit:
        """Return what a sample says of all keys.

        pages: all that were added, one for each draw; strata: node → its keys, and how many were
        drawn.
        """
        # Groups may have folded since the pages were added: places are found again.
        again = PolicyAuditor(self.policy, 0, self.index, whole=self._whole)
        places = [again.add(page) for page in pages]
        total, names, merged = again.folded()
        now = [[self.moved(place, merged) for place in own] for own in places]
        figures = Estimated(pages, now, strata, self.rule_of, self.gid_of, self._is_bad)
        return self._audit(total, names, figures, merged, judged)

    def _codes(self, page: Page, numbers: list[int]) -> list[int]:
        """Return for each key its rule and what is wrong with it."""
        codes = list(map(mul, map(add, numbers, repeat(1)), repeat(_STRIDE)))
        if page.types is not None:
            codes = list(map(add, codes, self._of_type.of(numbers, page.types)))
        if page.sizes is not None:
            over = map(gt, _known(page.sizes), map(self._most_bytes.__getitem__, numbers))
            codes = list(map(add, codes, map(mul, over, repeat(_FLAGS[Kind.TOO_LARGE]))))
        if page.elements is not None and page.types is not None:
            most = self._most_elements.of(numbers, page.types)
            over = map(gt, _known(page.elements), most)
            codes = list(map(add, codes, map(mul, over, repeat(_FLAGS[Kind.TOO_MANY_ELEMENTS]))))
        if self._naming:
            for at in compress(range(len(codes)), map(self._naming.__contains__, numbers)):
                if self._naming[numbers[at]].problems(page.keys[at]):
                    codes[at] += _FLAGS[Kind.BADLY_NAMED]
        return codes

    def _look(self, page: Page, codes: list[int], places: list[int], tally: Tally) -> None:
        """Look at the keys that violate a rule, and at those that have none."""
        for at in compress(range(len(codes)), map(self._wanted.__contains__, codes)):
            size = page.sizes[at] if page.sizes else None
            if size is not None:
                tally.bytes[places[at]] += size
            if codes[at] & _BAD:
                kind = page.types[at] if page.types else ""
                elements = page.elements[at] if page.elements else None
                tally.note(places[at], Example(page.keys[at], None, size, kind, elements), None)

    def _audit(
        self,
        total: Tally,
        names: Mapping[int, bytes],
        figures: Figures,
        merged: Mapping[int, int],
        judged: Sequence[Judged],
    ) -> PolicyAudit:
        rules = self.policy.rules
        shares = [figures.share(n) if self._whole else None for n in range(len(rules))]
        values = self._values(names, figures, merged, judged)
        violations = [
            *(one for kind in _FLAGS for one in self._of(kind, total, names, figures)),
            *(one for number, found in values.items() for one in _poisoned(rules[number], found)),
            *self._exceeded(shares, figures),
        ]
        violations.sort(
            key=lambda one: (-value_of(one.keys), one.rule.name, one.namespace or b"", one.kind)
        )
        no_rule = figures.grouped(lambda p: self.gid_of(p) if self.rule_of(p) == NO_RULE else -1)
        unruled = [Unruled(names[gid], *found) for gid, found in no_rule.items() if gid >= 0]
        unruled.sort(key=lambda one: (-value_of(one.keys), one.namespace))
        keys, size = figures.whole()
        return PolicyAudit(
            policy=self.policy,
            keys=keys,
            bytes=size,
            violating=figures.matching(self._is_bad)[0],
            no_rule=figures.matching(lambda place: self.rule_of(place) == NO_RULE)[0],
            protected=figures.matching(self._is_protected)[0],
            violations=tuple(violations),
            unruled=tuple(unruled),
            rules=tuple(
                RuleTally(
                    rule,
                    *figures.rule(number),
                    shares[number],
                    figures.violating(number),
                    values[number].read if number in values else 0,
                    values[number].poisoned if number in values else None,
                )
                for number, rule in enumerate(rules)
            ),
            drawn=figures.drawn,
        )

    def _of(
        self, kind: Kind, total: Tally, names: Mapping[int, bytes], figures: Figures
    ) -> list[Violation]:
        """Return the violations of one kind, by rule and namespace."""
        flag, width = _FLAGS[kind], len(self.policy.rules) + 1

        def label(place: int) -> int:
            if not place & flag:
                return -1
            return self.gid_of(place) * width + self.rule_of(place)

        examples: dict[int, list[Example]] = {}
        for place, own in total.examples.items():
            examples.setdefault(label(place), []).extend(own)
        # A place may have lost all of its keys: their node was read again.
        return [
            Violation(
                self.policy.rules[at % width],
                names[at // width],
                kind,
                *found,
                tuple(examples.get(at, ())[:EXAMPLES]),
            )
            for at, found in figures.grouped(label).items()
            if at >= 0 and value_of(found[0])
        ]

    def _exceeded(
        self, shares: Sequence[float | Estimate | None], figures: Figures
    ) -> Iterator[Violation]:
        """Yield the rules whose keys hold more of the memory than they may."""
        for number, share in enumerate(shares):
            rule = self.policy.rules[number]
            most = rule.max_memory_share
            if most is not None and share is not None and value_of(share) > most:
                sizes = figures.rule(number)
                yield Violation(rule, None, Kind.SHARE_EXCEEDED, *sizes, share=share)

    def _values(
        self,
        names: Mapping[int, bytes],
        figures: Figures,
        merged: Mapping[int, int],
        judged: Sequence[Judged],
    ) -> dict[int, Values]:
        """Return what the values that were read say of all values, by the number of the rule."""
        there = figures.grouped(lambda p: self.rule_of(p) if p & _JUDGED else NO_RULE)
        rules: dict[int, list[Judged]] = {}
        for one in judged:
            rules.setdefault(one.key.rule, []).append(one)
        found = {}
        for number, own in rules.items():
            gids = self.index.gids(Page("", [one.key.key for one in own]))
            spaces = [names.get(merged.get(gid, gid), b"") for gid in gids]
            found[number] = values_of(own, spaces, there[number][0])
        return found

    def _is_bad(self, place: int) -> bool:
        return bool(place & _BAD)

    def _is_protected(self, place: int) -> bool:
        number = self.rule_of(place)
        return number != NO_RULE and self.policy.rules[number].protected


class _ByType(dict[tuple[int, str], float]):
    """What follows from the number of a rule and a type, remembered."""

    def __init__(self, find: Callable[[int, str], float]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, pair: tuple[int, str]) -> float:
        found = self[pair] = self._find(*pair)
        return found

    def of(self, numbers: Sequence[int], kinds: Sequence[str]) -> map[float]:
        """Return it for each key of a page."""
        return map(self.__getitem__, zip(numbers, kinds, strict=True))


def _poisoned(rule: Rule, found: Values) -> Iterator[Violation]:
    for space, (keys, size) in found.poisoned_by_namespace.items():
        examples = [
            Example(one.key.key, None, one.key.bytes, one.key.type, problem=one.problem)
            for one in found.bad[space][:EXAMPLES]
        ]
        yield Violation(rule, space, Kind.POISONED, keys, size, tuple(examples))


def _type_flags(rules: Sequence[Rule], number: int, kind: str) -> int:
    """Return what a type means under a rule: that it is wrong, that its values are judged."""
    if number == NO_RULE:
        return 0
    rule = rules[number]
    if rule.types and kind.lower() not in rule.types:
        return _FLAGS[Kind.WRONG_TYPE]
    return _JUDGED if rule.value is not None and kind in READABLE else 0


def _most_elements(rules: Sequence[Rule], number: int, kind: str) -> float:
    """Return the most elements that a key may have; the length of a string is not meant."""
    most = None if number == NO_RULE or kind == "string" else rules[number].max_elements
    return inf if most is None else most


def _known(column: Sequence[int | None]) -> Sequence[int]:
    """Return a column with 0 for what is not known."""
    return [one or 0 for one in column] if None in column else column  # type: ignore[return-value]
