"""One window after the other: what changed from what was usual, in a few words."""

from __future__ import annotations

from collections import deque
from statistics import median

from cachectl.analysis.traffic.counters import Event
from cachectl.analysis.traffic.traffic import MIN_LOOKUPS, Traffic

REMEMBERED = 10
SHOWN = 6
_POINTS = 0.05
_FACTOR = 2.0
_BUSY = 50.0
_ENOUGH = 3

_EVENT_WORDS = {
    Event.RESTARTED: "restarted",
    Event.RESET: "reset",
    Event.DEMOTED: "demoted",
    Event.PROMOTED: "promoted",
}


class Usual:
    """What the last windows were like. Medians, so that one odd window is no new usual."""

    def __init__(self) -> None:
        self._ratios: deque[float] = deque(maxlen=REMEMBERED)
        self._rates: deque[float] = deque(maxlen=REMEMBERED)

    @property
    def rates(self) -> list[float | None]:
        """Commands per second of the last windows, the latest last; None where there was none."""
        known = list(self._rates)[-SHOWN:]
        return [*[None] * (SHOWN - len(known)), *known]

    def take(self, now: Traffic) -> list[str]:
        """Return what is different in this window, and remember it."""
        marks = [*_befell(now), *self._changes(now)]
        if now.totals.hit_ratio is not None and now.totals.lookups >= MIN_LOOKUPS:
            self._ratios.append(now.totals.hit_ratio)
        self._rates.append(now.totals.rates["commands"] or 0.0)
        return marks

    def _changes(self, now: Traffic) -> list[str]:
        marks = []
        ratio, rate = now.totals.hit_ratio, now.totals.rates["commands"] or 0.0
        if ratio is not None and now.totals.lookups >= MIN_LOOKUPS and len(self._ratios) >= _ENOUGH:
            points = ratio - median(self._ratios)
            if abs(points) >= _POINTS:
                marks.append(f"ratio {points * 100:+.0f}")
        if len(self._rates) >= _ENOUGH:
            usual = median(self._rates)
            low, high = sorted((max(usual, 1e-9), max(rate, 1e-9)))
            if high >= _BUSY and high / low >= _FACTOR:
                marks.append("busy" if rate > usual else "quiet")
        if now.totals.counts["evicted"]:
            marks.append(f"evicts {now.totals.rates['evicted'] or 0.0:,.0f}/s")
        if now.totals.counts["rejected_connections"]:
            marks.append("refuses")
        return marks


def _befell(now: Traffic) -> list[str]:
    words = [_EVENT_WORDS[n.window.event] for n in now.nodes if n.window.event in _EVENT_WORDS]
    if now.silent:
        words.append("new primary")
    return list(dict.fromkeys(words))
