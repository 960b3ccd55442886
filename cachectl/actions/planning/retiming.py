"""Giving keys another TTL: the change behind `ttl set` and `ttl spread`.

Only TTLs are touched, so a value that is written meanwhile is safe. A key whose TTL is as it should
be is left alone. What a key gets follows from the run, its name and the TTL that it has: looking
again after a lost reply leads to the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal

from cachectl.actions.planning.changes import Outcome, done_if_one, fraction, ttl_differs
from cachectl.actions.planning.ranges import UNLIMITED, range_of
from cachectl.config.durations import format_duration
from cachectl.model.changes import NEVER, KeyCopy
from cachectl.policy import NO_RULE, Policy, Rule
from cachectl.server.values.logical import Command

How = Literal["range", "at", "extend", "persist", "policy", "spread"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a rule of the policy says of TTLs, as run.json keeps it.

    match: its patterns. presence: as in TtlRule. least, most: milliseconds, None for no limit.
    low, high: between which a key is put that has to have another TTL; None: nothing is asked.
    """

    match: tuple[str, ...]
    presence: str = "optional"
    least: int | None = None
    most: int | None = None
    low: int | None = None
    high: int | None = None

    @classmethod
    def of(cls, rule: Rule) -> Bounds:
        """Return the bounds of a rule."""
        low, high = range_of(rule.ttl) or (None, None)
        return cls(
            tuple(pattern.decode("utf-8", "surrogateescape") for pattern in rule.match),
            rule.ttl.presence,
            None if rule.ttl.least is None else round(rule.ttl.least * 1000),
            None if rule.ttl.most is None else round(rule.ttl.most * 1000),
            low,
            high,
        )


@dataclass(frozen=True, slots=True)
class Retime:
    """Another TTL for each key.

    how: `range`: between least and most from now on; `extend`: so much more than it has; `spread`:
    as it is and up to `most` later, within what its rule allows; `at`: expires at this time (Unix
    milliseconds); `persist`: no TTL; `policy`: what its rule asks, where the key has something
    else. least, most: milliseconds. bounds: the rules, in their order. seed: of the run, from which
    each key's place in a range follows.
    """

    how: How
    least: int = 0
    most: int = 0
    at: int = 0
    bounds: tuple[Bounds, ...] = ()
    seed: str = ""
    name: ClassVar[str] = "ttl"
    copies_value: ClassVar[bool] = False
    is_choosy: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Accept the bounds as JSON has them."""
        bounds = tuple(
            one if isinstance(one, Bounds) else Bounds(**{**one, "match": tuple(one["match"])})
            for one in self.bounds
        )
        object.__setattr__(self, "bounds", bounds)

    @property
    def needs(self) -> tuple[str, ...]:
        """The commands that the login must be allowed to run."""
        return {"persist": ("PERSIST",), "policy": ("PEXPIREAT", "PERSIST")}.get(
            self.how, ("PEXPIREAT",)
        )

    @property
    def verb(self) -> str:
        """What is done, for people."""
        least, most = (format_duration(ms / 1000) for ms in (self.least, self.most))
        span = most if least == most else f"{least} to {most}"
        match self.how:
            case "range":
                return f"given a TTL of {span}"
            case "extend":
                return f"given {span} more to live"
            case "spread":
                return f"spread over {most}"
            case "at":
                return "made to expire at the same time"
            case "persist":
                return "kept without a TTL"
        return "given the TTL that the policy asks"

    def wants(self, key: bytes, expires_at: int, now: int) -> bool:
        """Return whether this key's TTL is not what it should be."""
        target = self.target(key, expires_at, now)
        return target is not None and ttl_differs(expires_at, target)

    def target(self, key: bytes, expires_at: int, now: int) -> int | None:
        """Return when the key is to expire (Unix milliseconds, NEVER); None: nothing is asked.

        expires_at: when it does now, or NEVER. now: by the server's clock.
        """
        match self.how:
            case "range":
                return now + self._place(key, self.least, self.most)
            case "at":
                return self.at
            case "persist":
                return NEVER
            case "policy":
                return self._by_rule(key, expires_at, now)
        if expires_at == NEVER:
            return None
        if self.how == "extend":
            return expires_at + self._place(key, self.least, self.most)
        low, high = self._window(key, expires_at - now)
        return now + self._place(key, low, high)

    def _by_rule(self, key: bytes, expires_at: int, now: int) -> int | None:
        bounds = self._bounds(key)
        if bounds is None or bounds.low is None or bounds.high is None:
            return None
        if (bounds.low, bounds.high) == UNLIMITED:
            return NEVER
        if expires_at == NEVER:
            is_due = bounds.presence == "required"
        else:
            is_due = bounds.most is not None and expires_at - now > bounds.most
        return now + self._place(key, bounds.low, bounds.high) if is_due else None

    def _window(self, key: bytes, left: int) -> tuple[int, int]:
        """Return between which TTLs a key with so many milliseconds left may be put.

        Later than it is, unless that is more than its rule allows: then as much earlier as it
        takes, but never below the least that the rule asks.
        """
        bounds = self._bounds(key)
        most = None if bounds is None else bounds.most
        if most is None or left + self.most <= most:
            return left, left + self.most
        least = 0 if bounds is None or bounds.least is None else bounds.least
        low = max(least, most - self.most)
        return (low if left > most else min(left, low)), most

    def _bounds(self, key: bytes) -> Bounds | None:
        if not self.bounds:
            return None
        number = _policy_of(self.bounds).rule_numbers([key])[0]
        return None if number == NO_RULE else self.bounds[number]

    def _place(self, key: bytes, low: int, high: int) -> int:
        return max(1, low + round((high - low) * fraction(self.seed, key)))

    def archived(self, copy: KeyCopy, now: int) -> KeyCopy:
        """With the new time, by which undo tells it from one that somebody has set since."""
        return copy._replace(extra={"to": self.target(copy.key, copy.expires_at, now)})

    def commands(self, copies: Sequence[KeyCopy], now: int) -> list[Command]:
        """PEXPIREAT key time, or PERSIST key."""
        targets = [self.target(copy.key, copy.expires_at, now) for copy in copies]
        return [
            ("PERSIST", copy.key) if at == NEVER else ("PEXPIREAT", copy.key, at or 0)
            for copy, at in zip(copies, targets, strict=True)
        ]

    def outcomes(self, copies: Sequence[KeyCopy], replies: Sequence[Any]) -> list[Outcome]:
        """1: set; 0: it is gone."""
        del copies
        return list(map(done_if_one, replies))

    def probe(self, copy: KeyCopy) -> None:
        """Nothing: the TTL says enough."""
        del copy

    def happened(self, copy: KeyCopy, current: KeyCopy | None, reply: Any) -> bool:
        """It has the TTL that it was to get."""
        del reply
        return current is not None and not ttl_differs(copy.extra["to"], current.expires_at)


@cache
def _policy_of(bounds: tuple[Bounds, ...]) -> Policy:
    return Policy(
        "run",
        tuple(
            Rule(f"{number}", tuple(p.encode("utf-8", "surrogateescape") for p in one.match))
            for number, one in enumerate(bounds)
        ),
    )
