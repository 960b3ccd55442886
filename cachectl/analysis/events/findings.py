"""What of a window of events is worth a finding."""

from __future__ import annotations

from cachectl.analysis.events.keyevents import EventWindow, Kind, NamespaceEvents
from cachectl.model.findings import Finding, Severity

MIN_EVENTS = 100
"""Events of a kind below which shares say little."""
_MOSTLY = 0.5
_NEVER_KEPT = 0.9
_SIGNS_OF_LIFE = {Kind.SET, Kind.EVICTED, Kind.EXPIRED}
"""Kinds that a namespace in use has events of: without them nobody knows that it has none."""


def findings(window: EventWindow) -> list[Finding]:
    """Return what a cache does that works for nothing. The worst first."""
    found = [*_evictions(window)]
    counts, knows_all = window.counts, window.whole.issuperset(_SIGNS_OF_LIFE)
    for one in window.namespaces:
        found += _of_namespace(one, counts[Kind.MISSED], knows_all=knows_all)
    return sorted(found, key=lambda one: -one.severity)


def _evictions(window: EventWindow) -> list[Finding]:
    evicted = window.counts[Kind.EVICTED]
    if not evicted or window.seconds <= 0:
        return []
    top = max(window.namespaces, key=lambda one: one.counts.get(Kind.EVICTED, 0))
    share = top.counts[Kind.EVICTED] / evicted
    return [
        Finding(
            "events.evicted",
            Severity.INFO,
            f"{evicted / window.seconds:,.1f} keys a second are evicted, {share:.0%} of them from "
            f"{_text(top.namespace)}",
            f"{evicted:,} in {window.seconds:.1f} s",
            "cachectl evictions shows why, and what helps",
            _text(top.namespace),
        )
    ]


def _of_namespace(one: NamespaceEvents, missed_in_all: int, *, knows_all: bool) -> list[Finding]:
    missed, new = one.counts.get(Kind.MISSED, 0), one.counts.get(Kind.NEW, 0)
    written = new + one.counts.get(Kind.SET, 0)
    gone = one.counts.get(Kind.EVICTED, 0) + one.counts.get(Kind.EXPIRED, 0)
    found = []
    is_silent = knows_all and not written and not gone
    if missed >= MIN_EVENTS and missed >= _MOSTLY * missed_in_all and is_silent:
        found.append(
            Finding(
                "events.missed_only",
                Severity.WARNING,
                "keys are looked for that nobody writes",
                f"{missed:,} misses, none written or removed meanwhile",
                "cache the fact that there is nothing, or stop asking",
                _text(one.namespace),
            )
        )
    evicted = one.counts.get(Kind.EVICTED, 0)
    if new >= MIN_EVENTS and evicted >= _NEVER_KEPT * new:
        found.append(
            Finding(
                "events.churn",
                Severity.WARNING,
                "nearly as many keys are evicted as come: they are not kept long enough to be used",
                f"{new:,} new, {evicted:,} evicted",
                "raise maxmemory, or do not cache this",
                _text(one.namespace),
            )
        )
    return found


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
