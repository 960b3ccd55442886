"""TTLs as they are against the policy: which keys have none, too long a one, too short a one.

Pages go in as they come. Of each key the namespace, the rule and the bin of its TTL (none, under
the least, within, over the most) are packed into one number, its place (see rule_places). Only keys
that violate a rule, or that no rule names, are looked at one by one.

What is left of a TTL says how long a key will live, not how long it was meant to: a key near its
end has little left. It counts as too short only where what is left and the time since its last
access come to less than the least: it was used so recently that it was written, or renewed, with
too little. Where each access renews the TTL that is proof. Elsewhere a read hides the age, and
`may_be_age` says whether keys that were written as they should be could look the same.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import compress, repeat
from operator import add, mul

from cachectl.analysis.audits.rule_figures import Counted, Estimated, Figure, Figures
from cachectl.analysis.audits.rule_places import RulePlaces
from cachectl.analysis.audits.rule_tally import Example, Tally
from cachectl.analysis.estimates.intervals import Stratum
from cachectl.analysis.naming.groups import GroupIndex
from cachectl.model.figures import value_of
from cachectl.model.keys import NO_TTL, Page
from cachectl.policy import NO_RULE, Policy, Rule

_STRIDE = 8
"""More than the bins of a rule."""
_NONE, _UNDER, _WITHIN, _OVER, _PARTLY = range(5)
_IDLE_ERROR = 1_000
"""Milliseconds: the server counts idle time in whole seconds."""


class Kind(StrEnum):
    """What is wrong with a TTL; partly: only some fields of a hash expire, so it never goes."""

    MISSING = "missing"
    TOO_LONG = "too_long"
    TOO_SHORT = "too_short"
    UNEXPECTED = "unexpected"
    PARTLY = "partly"


@dataclass(frozen=True, slots=True)
class Violation:
    """Keys of one namespace that violate one rule in one way.

    bytes: their memory, None when it was not asked for. tiers: tier → those of the keys (of a
    sample: of those drawn) whose TTL lies in it, which is the wrong one. may_be_age: too short,
    but keys that were written with enough could look the same.
    """

    rule: Rule
    namespace: bytes
    kind: Kind
    keys: Figure
    bytes: Figure | None
    examples: tuple[Example, ...] = ()
    tiers: Mapping[str, int] = field(default_factory=dict)
    may_be_age: bool = False


@dataclass(frozen=True, slots=True)
class Unruled:
    """A namespace that no rule names. no_ttl: those of its keys that never expire."""

    namespace: bytes
    keys: Figure
    bytes: Figure | None
    no_ttl: Figure


@dataclass(frozen=True, slots=True)
class RuleTally:
    """How many keys fall under a rule, their memory, and how many of them violate it."""

    rule: Rule
    keys: Figure
    bytes: Figure | None
    violating: Figure


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found. violations, unruled: those with the most keys first; rules: as in the policy.

    violating, no_rule: keys that violate a rule, and that fall under none. held_bytes: memory of
    keys that are there past their time: without a TTL that is due, or with too long a one. drawn:
    keys of a sample, None when all keys were looked at.
    """

    policy: Policy
    keys: Figure
    bytes: Figure | None
    violating: Figure
    held_bytes: Figure | None
    no_rule: Figure
    violations: tuple[Violation, ...]
    unruled: tuple[Unruled, ...]
    rules: tuple[RuleTally, ...]
    drawn: int | None = None

    def of(self, *kinds: Kind) -> list[Violation]:
        """Return the violations of these kinds."""
        return [violation for violation in self.violations if violation.kind in kinds]


class TtlAudit(RulePlaces):
    """Takes pages, gives an Audit. A page needs its TTLs; sizes and idle times where there are any.

    Not safe for several threads at once.
    """

    def __init__(self, policy: Policy, index: GroupIndex | None = None) -> None:
        super().__init__(policy, _STRIDE, index)
        # The last is that of keys without a rule, whose number is -1.
        self._bounds = [*map(_bounds, policy.rules), [0, 0]]
        self._kinds = _kinds(policy.rules)
        self._wanted = frozenset(self._kinds) | {_NONE, _WITHIN}

    @property
    def needs_idle(self) -> bool:
        """Whether a rule has a least TTL, so that it matters when keys were used."""
        return any(rule.ttl.least for rule in self.policy.rules)

    def doubtful(self, page: Page) -> list[int]:
        """Return which keys are hashes without a TTL, where TTLs of their fields would matter."""
        if page.types is None or page.ttls is None or "hash" not in page.types:
            return []
        numbers = self.policy.rule_numbers(page.keys)
        return [
            at
            for at, (kind, ttl) in enumerate(zip(page.types, page.ttls, strict=True))
            if kind == "hash" and ttl == NO_TTL and numbers[at] != NO_RULE
            if self.policy.rules[numbers[at]].ttl.presence != "optional"
        ]

    def add(self, page: Page, partly: Collection[int] = ()) -> list[int]:
        """Count the keys of a page; return their places, for `estimate`, good until groups fold.

        partly: those that are hashes of which some fields expire, and not all.
        """
        numbers = self.policy.rule_numbers(page.keys)
        codes = self._codes(page, numbers, partly)
        places, tally = self._count(page, numbers, codes)
        self._look(page, codes, places, tally)
        self._settle()
        return places

    def result(self) -> Audit:
        """Return the audit of all pages so far."""
        total, names, _ = self.folded()
        return self._audit(
            total,
            names,
            Counted(total, self.rule_of, self.gid_of, self._is_bad, self._is_endless),
        )

    def estimate(
        self,
        pages: Sequence[Page],
        places: Sequence[Sequence[int]],
        strata: Mapping[str, Stratum],
    ) -> Audit:
        """Return what a sample says of all keys.

        pages: all that were added, one for each draw; places: what `add` returned of each; strata:
        node → its keys, and how many were drawn.
        """
        total, names, merged = self.folded()
        now = [[self.moved(place, merged) for place in own] for own in places]
        figures = Estimated(pages, now, strata, self.rule_of, self.gid_of, self._is_bad)
        return self._audit(total, names, figures)

    def _codes(self, page: Page, numbers: list[int], partly: Collection[int]) -> list[int]:
        """Return for each key its rule and the bin of its TTL."""
        assert page.ttls is not None  # noqa: S101 - the audit asks for TTLs
        bins = map(bisect_right, map(self._bounds.__getitem__, numbers), page.ttls)
        codes = list(map(add, map(mul, map(add, numbers, repeat(1)), repeat(_STRIDE)), bins))
        for at in partly:
            codes[at] += _PARTLY - _NONE
        return codes

    def _look(self, page: Page, codes: list[int], places: list[int], tally: Tally) -> None:
        """Look at the keys that violate a rule, and at those that have none."""
        ttls, sizes, idles = page.ttls or (), page.sizes, page.idles
        wanted = self._wanted
        for at in compress(range(len(codes)), map(wanted.__contains__, codes)):
            ttl, kind = ttls[at], self._kinds.get(codes[at])
            if kind is Kind.TOO_SHORT:
                least = self._least(codes[at])
                tally.note_short(places[at], ttl, least)
                idle = None if idles is None else idles[at]
                if idle is not None and ttl + idle * 1000 + _IDLE_ERROR >= least:
                    # It has been there for so long that it may have had enough.
                    tally.keys[places[at]] -= 1
                    places[at] += _WITHIN - _UNDER
                    tally.keys[places[at]] += 1
                    continue
            size = None if sizes is None else sizes[at]
            if size is not None:
                tally.bytes[places[at]] += size
            if kind is not None:
                tier = self.policy.tier_of(ttl / 1000) if ttl != NO_TTL else None
                example = Example(page.keys[at], ttl, size)
                tally.note(places[at], example, tier.name if tier else None)

    def _audit(self, total: Tally, names: Mapping[int, bytes], figures: Figures) -> Audit:
        violations = [
            self._violation(total, place, names[self.gid_of(place)], figures)
            for place, keys in total.keys.items()
            if keys and self._is_bad(place)
        ]
        violations.sort(
            key=lambda one: (-value_of(one.keys), one.rule.name, one.namespace, one.kind)
        )
        nameless = {self.gid_of(p) for p in total.keys if self.rule_of(p) == NO_RULE}
        unruled = [Unruled(names[gid], *figures.unruled(gid)) for gid in nameless]
        unruled.sort(key=lambda one: (-value_of(one.keys), one.namespace))
        keys, size = figures.whole()
        return Audit(
            policy=self.policy,
            keys=keys,
            bytes=size,
            violating=figures.matching(self._is_bad)[0],
            held_bytes=figures.matching(self._is_held)[1],
            no_rule=figures.matching(lambda place: self.rule_of(place) == NO_RULE)[0],
            violations=tuple(violations),
            unruled=tuple(unruled),
            rules=tuple(
                RuleTally(rule, *figures.rule(number), figures.violating(number))
                for number, rule in enumerate(self.policy.rules)
            ),
            drawn=figures.drawn,
        )

    def _violation(self, total: Tally, place: int, namespace: bytes, figures: Figures) -> Violation:
        code = place % self._width
        rule, kind = self.policy.rules[self.rule_of(place)], self._kinds[code]
        may_be_age = False
        if kind is Kind.TOO_SHORT and rule.ttl.expiry != "sliding":
            within = place + _WITHIN - _UNDER
            enough = total.keys[within] + total.keys[within + _OVER - _WITHIN]
            may_be_age = total.short[place].may_be_age(self._least(code), enough)
        keys, size = figures.place(place)
        return Violation(
            rule=rule,
            namespace=namespace,
            kind=kind,
            keys=keys,
            bytes=size,
            examples=tuple(total.examples.get(place, ())),
            tiers=dict(sorted(total.tiers.get(place, {}).items())),
            may_be_age=may_be_age,
        )

    def _is_bad(self, place: int) -> bool:
        return place % self._width in self._kinds

    def _is_held(self, place: int) -> bool:
        return self._kinds.get(place % self._width) in (Kind.MISSING, Kind.TOO_LONG)

    def _is_endless(self, place: int) -> bool:
        return place % _STRIDE == _NONE

    def _least(self, code: int) -> int:
        return self._bounds[code // _STRIDE - 1][1]


def audit_sample(
    pages: Sequence[Page],
    strata: Mapping[str, Stratum],
    policy: Policy,
    partly: Mapping[int, Collection[int]] | None = None,
) -> Audit:
    """Return what a sample says of all keys. partly: page → as in TtlAudit.add."""
    audit = TtlAudit(policy)
    partly = partly or {}
    places = [audit.add(page, partly.get(n, ())) for n, page in enumerate(pages)]
    if audit.index.capped:
        # Groups have folded since: places are found again.
        audit = TtlAudit(policy, audit.index)
        places = [audit.add(page, partly.get(n, ())) for n, page in enumerate(pages)]
    return audit.estimate(pages, places, strata)


def _bounds(rule: Rule) -> list[int]:
    """Return the lower borders of a rule's bins, in milliseconds."""
    ttl = rule.ttl
    if ttl.presence == "forbidden":
        return [0, 0, 0]
    bounds = [0, round((ttl.least or 0) * 1000)]
    return bounds if ttl.most is None else [*bounds, round(ttl.most * 1000) + 1]


def _kinds(rules: Sequence[Rule]) -> dict[int, Kind]:
    """Return what each bin of each rule that is a violation means."""
    found = {}
    for number, rule in enumerate(rules):
        base = (number + 1) * _STRIDE
        if rule.ttl.presence == "forbidden":
            found[base + _OVER] = found[base + _PARTLY] = Kind.UNEXPECTED
            continue
        found[base + _UNDER] = Kind.TOO_SHORT
        found[base + _OVER] = Kind.TOO_LONG
        if rule.ttl.presence == "required":
            found[base + _NONE] = Kind.MISSING
            found[base + _PARTLY] = Kind.PARTLY
    return found
