"""The report of `evictions`: pressure, ages, regret, namespaces that lose keys, what to set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cachectl.analysis.events.eviction_advice import Setting
from cachectl.analysis.events.evictions import AgeSample, NodePressure
from cachectl.analysis.events.keyevents import EventWindow, Kind
from cachectl.analysis.events.regret import Regret
from cachectl.model.figures import Estimate
from cachectl.model.findings import Finding, Unavailable
from cachectl.model.servers import ServerFacts
from cachectl.output.report import Audience, Column, Pairs, Report, Table
from cachectl.output.report import Kind as Cell
from cachectl.views.cut import cut
from cachectl.views.stats.events import completeness

SCHEMA = "cachectl.evictions/1"
SHOWN = 15
"""Namespaces that people see unless they ask for more; machines get all."""

NAMESPACES = (
    Column("namespace", Cell.NAMESPACE),
    Column("evicted", Cell.COUNT),
    Column("per_second", Cell.RATE, title="a second", drop=1),
    Column("share", Cell.RATIO, drop=2),
    Column("regretted", Cell.COUNT, title="missed after"),
    Column("young", Cell.COUNT, title="new before", drop=3),
    Column("missed", Cell.COUNT, title="misses", drop=4),
)
NODES = (
    Column("node"),
    Column("policy", drop=6),
    Column("maxmemory", Cell.BYTES),
    Column("used", Cell.BYTES),
    Column("used_share", Cell.RATIO, title="share"),
    Column("headroom", Cell.BYTES, drop=3),
    Column("growth", Cell.NUMBER, audience="machines"),
    Column("seconds_until_full", Cell.SECONDS, title="full in", drop=5),
    Column("keys", Cell.COUNT, drop=4),
    Column("evictable", Cell.RATIO, drop=2),
    Column("evicted", Cell.COUNT),
    Column("evicted_per_second", Cell.RATE, title="a second", drop=1),
    Column("stay", Cell.SECONDS, audience="machines"),
    Column("over_limit", Cell.SECONDS, audience="machines"),
)
SETTINGS = (
    Column("name", title="look at"),
    Column("value", title="now"),
    Column("reason", title="because"),
    Column("advice", title="what helps"),
)


@dataclass(frozen=True, slots=True)
class EvictionFacts:
    """What was found in a window.

    regret, events: None where the events that they take are not published; known: the kinds that
    are. own: the look-ups that sampling the ages has added.
    """

    nodes: Sequence[NodePressure]
    ages: AgeSample
    seconds: float
    regret: Regret | None = None
    events: EventWindow | None = None
    known: frozenset[Kind] = frozenset()
    own: int = 0


def evictions_report(
    facts: EvictionFacts,
    settings: Sequence[Setting],
    server: ServerFacts,
    *,
    limit: int | None = None,
    findings: Sequence[Finding] = (),
    unavailable: Sequence[Unavailable] = (),
    notes: Sequence[str] = (),
    partial: bool = False,
) -> Report:
    """Return the report. settings: the most important first."""
    rows, shown, more = cut(_namespaces(facts), limit, SHOWN, "namespaces")
    several = len(facts.nodes) > 1
    chosen = [(one.name, one.value, one.reason, one.advice) for one in settings]
    tables = [
        Table("namespaces", NAMESPACES, rows, audience="machines"),
        Table("nodes", NODES, [_node(one) for one in facts.nodes], audience="machines"),
        Table("settings", SETTINGS, chosen, title="Settings to look at"),
    ]
    if facts.events is not None:
        said = "Nothing was evicted."
        tables.insert(0, Table("shown", NAMESPACES, shown, empty=said, audience="people"))
    if several:
        tables.insert(
            0, Table("shown_nodes", NODES, [_node(one) for one in facts.nodes], audience="people")
        )
    seen = completeness(facts.events) if facts.events else []
    incomplete = facts.events is not None and not facts.events.complete
    return Report(
        SCHEMA,
        [_head(facts), *tables],
        server=server,
        main="namespaces",
        partial=partial or incomplete,
        findings=findings,
        unavailable=unavailable,
        notes=[*more, *seen, *_notes(facts), *notes],
    )


def _head(facts: EvictionFacts) -> Pairs:
    nodes = facts.nodes
    maxmemory = 0 if any(not one.maxmemory for one in nodes) else sum(n.maxmemory for n in nodes)
    used = sum(one.used for one in nodes)
    evicted = sum(one.evicted for one in nodes)
    regret = facts.regret
    return Pairs(
        [
            (Column("window", Cell.SECONDS), round(facts.seconds, 3)),
            (Column("policy"), ", ".join(dict.fromkeys(one.policy for one in nodes))),
            (Column("maxmemory", Cell.BYTES, missing="no limit"), maxmemory or None),
            (Column("used", Cell.BYTES), used),
            (
                Column("used_share", Cell.RATIO, "of maxmemory"),
                used / maxmemory if maxmemory else None,
            ),
            (
                Column("headroom", Cell.BYTES, missing="no limit"),
                sum(one.headroom or 0 for one in nodes) if maxmemory else None,
            ),
            (Column("growth", Cell.BYTES, "growth a second"), _sum([n.growth for n in nodes])),
            (Column("seconds_until_full", Cell.SECONDS, "full in"), _first_full(nodes)),
            (Column("evictable", Cell.RATIO, "keys that may go"), _evictable(nodes)),
            (Column("evicted", Cell.COUNT), evicted),
            (
                Column("evicted_per_second", Cell.RATE, "evicted a second"),
                sum(one.evicted_rate for one in nodes),
            ),
            (Column("stay", Cell.SECONDS, "a key stays about"), _shortest_stay(nodes)),
            (Column("idle_p95", Cell.SECONDS, "95 % were used within"), facts.ages.idle),
            *_counters(facts.ages),
            (Column("young", Cell.RATIO, "new before it went"), _young(facts)),
            (Column("young_age_p50", Cell.SECONDS, "of these, lived"), _median_age(facts)),
            (
                Column("regret", Cell.RATIO, "missed after it went"),
                regret.regretted if regret else None,
            ),
            (
                Column("regret_of_misses", Cell.RATIO, "of all misses"),
                regret.share_of_misses if regret else None,
            ),
            (Column("own_lookups", Cell.COUNT, audience="machines"), facts.own),
        ]
    )


def _counters(ages: AgeSample) -> list[tuple[Column, Any]]:
    audience: Audience = "all" if ages.full is not None else "machines"
    return [(Column("full_counters", Cell.RATIO, "full LFU counters", audience), ages.full)]


def _sum(parts: Sequence[Estimate | None]) -> Estimate | None:
    """Add up estimates that are independent: their half widths add up as squares."""
    known = [one for one in parts if one is not None]
    if not known or len(known) < len(parts):
        return None
    value = sum(one.value for one in known)
    below = sum((one.value - one.low) ** 2 for one in known) ** 0.5
    above = sum((one.high - one.value) ** 2 for one in known) ** 0.5
    return Estimate(value, value - below, value + above)


def _first_full(nodes: Sequence[NodePressure]) -> Estimate | None:
    known = [one.seconds_until_full for one in nodes]
    return min((one for one in known if one is not None), key=lambda one: one.value, default=None)


def _shortest_stay(nodes: Sequence[NodePressure]) -> float | None:
    return min((one.stay for one in nodes if one.stay is not None), default=None)


def _evictable(nodes: Sequence[NodePressure]) -> float | None:
    keys = sum(one.keys for one in nodes)
    if not keys:
        return next((one.evictable for one in nodes), None)
    return sum(one.keys * (one.evictable or 0.0) for one in nodes) / keys


def _young(facts: EvictionFacts) -> float | None:
    regret = facts.regret
    if regret is None or Kind.NEW not in facts.known or not regret.evicted:
        return None
    return regret.young / regret.evicted


def _median_age(facts: EvictionFacts) -> float | None:
    ages = facts.regret.ages if facts.regret else ()
    return ages[len(ages) // 2] if ages else None


def _namespaces(facts: EvictionFacts) -> list[Sequence[Any]]:
    if facts.events is None:
        return []
    total = facts.events.counts[Kind.EVICTED]
    lost = [one for one in facts.events.namespaces if one.counts.get(Kind.EVICTED, 0)]
    return [
        (
            one.namespace,
            one.counts[Kind.EVICTED],
            one.counts[Kind.EVICTED] / max(facts.events.seconds, 1e-6),
            one.counts[Kind.EVICTED] / total,
            one.counts.get("regretted", 0) if Kind.MISSED in facts.known else None,
            one.counts.get("young", 0) if Kind.NEW in facts.known else None,
            one.counts.get(Kind.MISSED, 0) if Kind.MISSED in facts.known else None,
        )
        for one in sorted(lost, key=lambda one: (-one.counts[Kind.EVICTED], one.namespace))
    ]


def _node(one: NodePressure) -> Sequence[Any]:
    return (
        one.node,
        one.policy,
        one.maxmemory,
        one.used,
        one.used_share,
        one.headroom,
        one.growth,
        one.seconds_until_full,
        one.keys,
        one.evictable,
        one.evicted,
        one.evicted_rate,
        one.stay,
        one.over,
    )


def _notes(facts: EvictionFacts) -> list[str]:
    notes = [
        f"{one.node} may fill or not: memory grew by {one.growth.value:,.0f} bytes a second, "
        f"{one.growth.low:,.0f} to {one.growth.high:,.0f}"
        for one in facts.nodes
        if one.growth is not None and one.growth.low <= 0 < one.growth.value and one.headroom
    ]
    regret = facts.regret
    if regret is not None and regret.followed < 1:
        notes.append(
            f"regret is that of {regret.followed:.1%} of the keys, chosen by their hash, scaled up"
        )
    if regret is not None and regret.evicted:
        notes.append(
            "missed after it went: within this window; a longer --window sees what is missed later"
        )
    if facts.own:
        notes.append(f"{facts.own:,} look-ups of our own sampled the ages of keys")
    return notes
