"""What publishing events costs a server, predicted from its traffic, and which kinds are cheap.

Measured on Valkey 9.1 with our own listener: less than 1 µs an event where a turn of the server's
loop sends many. Where clients do not pipeline, a turn sends one, and what that costs is the packet:
3 to 6 µs, about what an answer to a client costs (tests/benchmarks/bench_events.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cachectl.analysis.events.keyevents import COUNTED, KINDS, Kind
from cachectl.analysis.traffic.counters import number
from cachectl.analysis.traffic.traffic import Traffic

PER_EVENT = 0.8e-6
PER_SEND = 6e-6
MOST_ADDED = 0.05
"""Of the CPU that the server uses, what events may add unasked."""
LEAST_ALLOWED = 0.005
"""Of one core, what they may take in any case: a share of next to nothing is nothing."""

_CHEAPEST = (
    *(Kind.EVICTED, Kind.EXPIRED, Kind.MISSED),
    *(Kind.DELETED, Kind.NEW, Kind.SET, Kind.OTHER),
)


@dataclass(frozen=True, slots=True)
class EventCost:
    """rates: kind → events a second, at most. cpu: cores that the server uses. turns: of its loop
    a second. allowed: cores that events may take."""

    rates: Mapping[Kind, float]
    cpu: float
    turns: float

    @property
    def allowed(self) -> float:
        """Cores that events may take unasked."""
        return max(MOST_ADDED * self.cpu, LEAST_ALLOWED)

    def cores(self, kinds: Sequence[Kind]) -> float:
        """Return how many cores events of these kinds take."""
        events = sum(self.rates[kind] for kind in kinds)
        return events * PER_EVENT + min(events, self.turns) * PER_SEND

    def affordable(self, kinds: Sequence[Kind] = KINDS) -> list[Kind]:
        """Return the kinds, the most telling first, that are allowed together."""
        chosen: list[Kind] = []
        for kind in _CHEAPEST:
            if kind in kinds and self.cores([*chosen, kind]) <= self.allowed:
                chosen.append(kind)
        return [kind for kind in KINDS if kind in chosen]

    def in_passing(self, published: Sequence[Kind]) -> tuple[Kind, ...]:
        """Return the kinds, of those that are published, to listen to by the way.

        Those that INFO counts come together, since they are compared with its counts.
        """
        chosen = self.affordable(published)
        counted = {kind for kind in published if kind in COUNTED}
        return tuple(chosen) if counted.issubset(chosen) else ()


def event_cost(seen: Traffic) -> EventCost:
    """Predict from a short window of traffic."""
    rates = seen.totals.rates
    writes = rates.get("writes")
    if writes is None:
        writes = rates.get("commands") or 0.0
    misses = rates.get("misses") or 0.0
    turns = [
        number(node.window.after, "instantaneous_eventloop_cycles_per_sec") for node in seen.nodes
    ]
    commands = rates.get("commands") or 0.0
    return EventCost(
        rates={
            Kind.EXPIRED: rates.get("expired") or 0.0,
            Kind.EVICTED: rates.get("evicted") or 0.0,
            Kind.MISSED: misses,
            # A cache is filled where it missed.
            Kind.NEW: min(writes, misses) if misses else writes,
            Kind.SET: writes,
            # One with a TTL is an `expire` besides, which the letter of `del` brings as well.
            Kind.DELETED: writes,
            Kind.OTHER: writes,
        },
        cpu=seen.totals.cpu or 0.0,
        turns=commands if None in turns else float(sum(one or 0 for one in turns)),
    )
