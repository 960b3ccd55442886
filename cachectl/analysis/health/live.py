"""What a live screen knows: the latest look at a server, and how the main figures went before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cachectl.analysis.events.keyevents import EventWindow, Kind
from cachectl.analysis.traffic.clients import Group
from cachectl.analysis.traffic.commandmix import CommandRow
from cachectl.analysis.traffic.counters import Event
from cachectl.analysis.traffic.latency import CommandLatency, Distribution
from cachectl.analysis.traffic.slowest import SlowShape
from cachectl.analysis.traffic.traffic import Traffic
from cachectl.model.findings import Finding, Unavailable

REMEMBERED = 60
"""Looks whose main figures are kept, for a line that shows where they came from."""

LATELY = 60.0
"""Seconds for which it is told what befell a node."""

TRENDS = ("hit_ratio", "commands", "used_memory", "worst", "connected_clients", "net_output_bytes")


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a server. at: Unix seconds.

    trips: round trips of the last seconds, worst: the longest since the look before (seconds).
    own_clients: connections that are ours. latencies: by command. events: of keys, None when nobody
    listens; why: then, what would have to be done; kinds: that are listened to.
    """

    at: float
    traffic: Traffic
    commands: Sequence[CommandRow] = ()
    latencies: Mapping[str, CommandLatency] = field(default_factory=dict)
    trips: Distribution = field(default_factory=lambda: Distribution(0))
    worst: float | None = None
    clients: Sequence[Group] = ()
    own_clients: int = 0
    slow: Sequence[SlowShape] = ()
    events: EventWindow | None = None
    why: str = ""
    kinds: Sequence[Kind] = ()
    findings: Sequence[Finding] = ()
    unavailable: Sequence[Unavailable] = ()


@dataclass(frozen=True, slots=True)
class Live:
    """All that is known at a moment. look: the latest that succeeded, None before the first.

    trends: figure (one of TRENDS) → its last values, the latest last; None where nobody answered.
    lost: since when nobody answers (Unix seconds), None while somebody does; reason: the error.
    befell: what happened to nodes lately, (Unix seconds, node, event), the latest last.
    """

    look: Look | None = None
    trends: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    lost: float | None = None
    reason: str = ""
    befell: tuple[tuple[float, str, Event], ...] = ()

    def saw(self, look: Look) -> Live:
        """Return what is known after one more look."""
        fresh = tuple(one for one in self.befell if look.at - one[0] < LATELY)
        return Live(look, self._longer(_figures(look)), befell=(*fresh, *_events(look)))

    def missed(self, at: float, reason: str) -> Live:
        """Return what is known after a look that failed: the figures of before stay."""
        since = at if self.lost is None else self.lost
        return replace(self, trends=self._longer({}), lost=since, reason=reason)

    def _longer(self, figures: Mapping[str, float | None]) -> dict[str, tuple[float | None, ...]]:
        return {
            name: (*self.trends.get(name, ()), figures.get(name))[-REMEMBERED:] for name in TRENDS
        }


def _events(look: Look) -> Iterator[tuple[float, str, Event]]:
    """What befell nodes in the window: a screen that shows it for a second shows it to nobody."""
    for node in look.traffic.nodes:
        if node.window.event is not None:
            yield look.at, node.window.node, node.window.event
    for name in look.traffic.silent:
        yield look.at, name, Event.REPLACED


def _figures(look: Look) -> dict[str, float | None]:
    totals, gauges = look.traffic.totals, look.traffic.gauges
    return {
        "hit_ratio": totals.hit_ratio,
        "commands": totals.rates.get("commands"),
        "used_memory": gauges.used_memory,
        "worst": look.worst,
        "connected_clients": gauges.connected_clients,
        "net_output_bytes": totals.rates.get("net_output_bytes"),
    }
