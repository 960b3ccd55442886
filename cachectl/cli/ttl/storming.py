"""What `ttl storms` does: one pass over the TTLs of all keys, or a sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cachectl.cli.memory.memory_pass import KeyPass, Work
from cachectl.cli.ttl.pages import with_ttls

if TYPE_CHECKING:
    from cachectl.analysis.audits.storms import ExpiryTimes, Forecast
    from cachectl.analysis.estimates.intervals import Stratum
    from cachectl.model.keys import Page
    from cachectl.server.clock import ServerClock
    from cachectl.server.topology.handle import Server


AHEAD = 6 * 3600.0
"""Seconds to look ahead, for who looks for storms among other things."""
COARSE = 10
"""Seconds of a bin then: an answer in a second, and storms of seconds are seen as well."""


def forecast(work: Work, horizon: float, width: int | None) -> tuple[KeyPass, Forecast]:
    """Return the pass and what it found. horizon, width: seconds; None: what resolves it best.

    Raises CachectlError when no key can be read.
    """
    from cachectl.analysis.audits.storms import ExpiryTimes, width_for
    from cachectl.server.scanning.columns import Field

    clocks = _clocks(work.server)
    begins = next(iter(clocks.values())).now()
    seen = Expiring(ExpiryTimes(begins, horizon, width or width_for(horizon)), clocks)
    done = work.read(frozenset({Field.TTL}), [seen])
    if done.drawn is None:
        return done, seen.times.forecast()
    # A sample is drawn in seconds at most, and its pages come when it is complete.
    for page in done.drawn.pages:
        seen.add(page)
    return done, seen.times.forecast(done.strata)


def forecast_of_sample(
    server: Server, pages: Sequence[Page], strata: Mapping[str, Stratum]
) -> Forecast:
    """Return what keys that have just been read say of the coming AHEAD seconds."""
    from cachectl.analysis.audits.storms import ExpiryTimes

    clocks = _clocks(server)
    begins = next(iter(clocks.values())).now()
    seen = Expiring(ExpiryTimes(begins, AHEAD, COARSE), clocks)
    for page in pages:
        seen.add(page)
    exact = all(one.drawn >= one.size for one in strata.values())
    return seen.times.forecast(None if exact else strata)


class Expiring:
    """Expiry times by the clock of the node that told them."""

    def __init__(self, times: ExpiryTimes, clocks: dict[str, ServerClock]) -> None:
        self.times = times
        self._clocks = clocks

    def add(self, page: Page) -> Sequence[int]:
        """Count a page whose TTLs have just been told."""
        clock = self._clocks.get(page.node) or next(iter(self._clocks.values()))
        self.times.add(with_ttls(page), clock.now())
        return ()

    def drop(self, node: str) -> None:
        """Forget a node: it is read again."""
        self.times.drop(node)


def _clocks(server: Server) -> dict[str, ServerClock]:
    from cachectl.server.clock import ServerClock

    return {node.name: ServerClock.of(node.connection) for node in server.primaries}
