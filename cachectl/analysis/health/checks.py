"""Measurements held against ranges: what `check` tells monitoring and CI.

A check has a name that stays the same, a unit, and ranges (cachectl.ranges) in that unit. Some are
about something: `backlog:KEY`, `share:PATTERN`. A measurement says little when too little happened
for it, and then no range applies; what could not be measured is UNKNOWN.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cachectl.model.findings import State, Unavailable, Verdict
from cachectl.ranges import Range, parse_range


@dataclass(frozen=True, slots=True)
class Check:
    """What one check is. unit: of its figure; warn: its range unless another is given.

    about: what it needs after a colon, '' for nothing. low, high: bounds of the figure.
    """

    unit: str
    text: str
    warn: str = ""
    about: str = ""
    low: float | None = 0.0
    high: float | None = None


CHECKS: dict[str, Check] = {
    "hit_ratio": Check("%", "hits of all look-ups in the window", "80:", high=100),
    "latency": Check("s", "99 % of our own round trips took less", "0.1"),
    "memory": Check("%", "used share of maxmemory, or of the machine where there is none", "80"),
    "fragmentation": Check("", "resident to used memory", "1.5"),
    "evictions": Check("", "keys evicted per second"),
    "expirations": Check("", "keys expired per second"),
    "connected_clients": Check("", "clients"),
    "blocked_clients": Check("", "clients that wait in a blocking command"),
    "replication_lag": Check("B", "bytes that the slowest replica is behind"),
    "persistence_age": Check("s", "since the last save, where persistence is on"),
    "keys": Check("", "keys of all databases"),
    "ttl_violations": Check("", "keys whose TTL is not what the policy says", "0"),
    "storms": Check("", "waves of keys that expire together, within the next 6 hours", "0"),
    "poisoned": Check("%", "of the values that were read, not what the policy says", "0", high=100),
    "backlog": Check("", "entries that wait in a list, a stream or for a group", about="KEY"),
    "share": Check("%", "share of the bytes of keys of a pattern", about="PATTERN", high=100),
}
"""Name → check, in the order of the report."""

OF_POLICY = ("ttl_violations", "poisoned")
"""Checks that need a policy."""
OF_KEYS = frozenset({*OF_POLICY, "storms", "share"})
"""Checks that look at keys."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When one check warns, and when it is critical."""

    warn: Range | None = None
    critical: Range | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one check has found.

    name: with what it is about. value: None for nothing to measure. text: the figure in words.
    judged: False when it says too little for any range. floor: the state that it has whatever the
    ranges say. gap: why it could not be had.
    """

    name: str
    value: float | None
    text: str
    judged: bool = True
    floor: State = State.OK
    gap: Unavailable | None = None


@dataclass(slots=True)
class Judged:
    """Verdicts in the order of the checks, and what could not be measured."""

    verdicts: list[Verdict] = field(default_factory=list)
    unavailable: list[Unavailable] = field(default_factory=list)


def kind_of(name: str) -> str:
    """Return the check that a name with its subject belongs to: `backlog:a:b` → backlog."""
    return name.partition(":")[0]


def subject_of(name: str) -> str:
    """Return what a check is about, '' for nothing."""
    return name.partition(":")[2]


def problem_of(name: str) -> str | None:
    """Return what is wrong with the name of a check, as a sentence; None when nothing is."""
    kind = kind_of(name)
    if kind not in CHECKS:
        return f"there is no check called {kind!r}; there are {', '.join(CHECKS)}"
    about = CHECKS[kind].about
    if about and not subject_of(name):
        return f"{kind} needs to know of what: {kind}:{about}"
    if not about and ":" in name:
        return f"{kind} is of the whole server, and takes nothing after a colon"
    return None


def limits_for(name: str, given: Mapping[str, Limits]) -> Limits:
    """Return the ranges of a check: what is given, else its own."""
    own = CHECKS[kind_of(name)].warn
    found = given.get(name, Limits())
    return Limits(found.warn or (parse_range(own) if own else None), found.critical)


def judged(measurements: Iterable[Measurement], given: Mapping[str, Limits]) -> Judged:
    """Hold measurements against their ranges. given: name → ranges of the user's."""
    result = Judged()
    for one in measurements:
        result.verdicts.append(judge(one, limits_for(one.name, given)))
        if one.gap is not None:
            result.unavailable.append(one.gap)
    return result


def judge(one: Measurement, limits: Limits) -> Verdict:
    """Hold one measurement against its ranges."""
    check = CHECKS[kind_of(one.name)]
    state, why = one.floor, ""
    if one.gap is not None:
        state = max(state, State.UNKNOWN)
    elif one.value is not None and one.judged:
        for range_, worse in ((limits.warn, State.WARNING), (limits.critical, State.CRITICAL)):
            if range_ is not None and range_.alerts(one.value):
                state = max(state, worse)
                why = f" (alert: {range_.text})"
    return Verdict(
        one.name,
        state,
        one.text + why,
        one.value,
        check.unit,
        limits.warn.text if limits.warn else "",
        limits.critical.text if limits.critical else "",
        check.low,
        check.high,
    )
