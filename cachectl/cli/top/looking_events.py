"""The events of keys in `top`: listened to where the server publishes them already, and only there.

Each event costs the server a message to us, so that a busy one is not listened to: what may be
expected is predicted from its traffic.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cachectl.errors import CachectlError, PermissionDeniedError

if TYPE_CHECKING:
    from cachectl.analysis.events.keyevents import EventTally, EventWindow, Kind
    from cachectl.analysis.traffic.traffic import Traffic
    from cachectl.server.events.events import EventFeed
    from cachectl.server.introspection.asked import Ask
    from cachectl.server.topology.connect import Server

LOOK_EVERY = 10.0
"""Seconds after which is looked again whether the setting, or the traffic, has changed."""

OFF = "no events: cachectl stats events --enable switches them on"
TOO_MANY = "too many events to listen to by the way; cachectl stats events does"


class Events:
    """What the namespaces' keys went through, look by look. From one thread."""

    def __init__(self, server: Server, ask: Ask) -> None:
        self._server = server
        self._ask = ask
        self._feed: EventFeed | None = None
        self._kinds: tuple[Kind, ...] = ()
        self._why = OFF
        self._denied = ""
        self._decided: float | None = None
        self._tally: EventTally | None = None
        self._since = 0.0

    def window(self, seen: Traffic) -> EventWindow | None:
        """Return the events since the last call, None when nobody listens: `why` says why.

        seen: the traffic of the last moments.
        """
        now = time.monotonic()
        if self._decided is None or now - self._decided >= LOOK_EVERY:
            self._decided = now
            self._decide(seen)
        return None if self._feed is None else self._counted(self._feed)

    @property
    def kinds(self) -> Sequence[Kind]:
        """What is listened to."""
        return () if self._feed is None else self._kinds

    @property
    def why(self) -> str:
        """Why nobody listens; empty while somebody does."""
        return "" if self._feed is not None else self._denied or self._why

    @property
    def addresses(self) -> frozenset[str]:
        """Where we listen from, as CLIENT LIST shows it."""
        return frozenset(() if self._feed is None else self._feed.addresses)

    def close(self) -> None:
        """Stop listening."""
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.close()

    def _counted(self, feed: EventFeed) -> EventWindow:
        with contextlib.suppress(CachectlError):  # whoever samples that node says why
            feed.follow()
        from cachectl.analysis.events.keyevents import EventTally

        tally = self._tally = self._tally or EventTally()
        for item in feed.take(0):
            tally.add(item)
        now = time.monotonic()
        seconds, self._since = now - self._since, now
        return tally.end(max(seconds, 1e-6))

    def _decide(self, seen: Traffic) -> None:
        """Listen to what is published and not too much, where that is other than before."""
        from cachectl.analysis.events.cost import event_cost
        from cachectl.analysis.events.keyevents import names_of
        from cachectl.server.events.events import EventFeed

        published = self._published()
        kinds = event_cost(seen).in_passing(published)
        if kinds == self._kinds and (self._feed is not None or not kinds):
            return
        self.close()
        self._kinds = kinds
        self._why = OFF if not published else TOO_MANY
        if not kinds or self._denied:
            return
        feed = EventFeed(self._server, names_of(kinds))
        try:
            feed.__enter__()
        except PermissionDeniedError as error:
            self._denied = f"not available: {error.message}; {error.hint}"
        except CachectlError as error:
            self._why = f"not available: {error.message}"
        else:
            self._feed, self._since = feed, time.monotonic()
            self._tally = None

    def _published(self) -> Sequence[Kind]:
        """Return the kinds of events that some node publishes."""
        from cachectl.analysis.events.keyevents import KINDS, Kind, kinds_without, letters_of
        from cachectl.server.events.notifications import missing_from, read_setting

        wanted = [kind for kind in KINDS if kind is not Kind.OTHER]
        found: set[Kind] = set()
        for node in self._server.primaries:
            try:
                setting = read_setting(node.connection, self._ask)
            except CachectlError:
                continue
            if setting is not None:
                none, _ = kinds_without(wanted, missing_from(setting, letters_of(wanted)))
                found |= set(wanted) - set(none)
        return [kind for kind in wanted if kind in found]
