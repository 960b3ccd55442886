"""Events of keys, as the servers publish them: what expired, was evicted, missed, written, deleted.

    with EventFeed(server, ["expired", "evicted", "keymiss"]) as feed:
        for item in feed.take(1.0):
            ...                     # EventBatch, EventGap or EventMark of one node

Every primary publishes the events of its own keys, so each has a thread that listens to it. It
takes what comes as fast as it can, whatever becomes of it here: the server keeps what is not read
in its memory. What is not taken in time is dropped and counted. A connection that breaks is made
again, and the time in between is a gap. Source: the documentation of keyspace notifications.

Which events a server publishes is its setting `notify-keyspace-events`: see server.notifications.
Channels are named one by one: each pattern would be matched against each message.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial

from cachectl.errors import CachectlError
from cachectl.model.events import EventBatch, EventGap, EventMark
from cachectl.server.events.listening import Channels, Listener
from cachectl.server.topology.handle import Server
from cachectl.server.topology.node import Node
from cachectl.server.topology.parallel import run_all

EventItem = EventBatch | EventGap | EventMark

MOST_WAITING = 200_000
"""Events that wait to be taken; beyond that they are dropped and counted."""
MARK_PATIENCE = 2.0


class Inbox:
    """What the listeners have heard and nobody has taken yet. Thread-safe, and bounded."""

    def __init__(self, most: int = MOST_WAITING) -> None:
        self._most = most
        self._items: deque[EventItem] = deque()
        self._waiting = 0
        self._dropped: dict[str, int] = {}
        self._changed = threading.Condition()

    def put(self, item: EventItem) -> None:
        """Add an item; a batch for which there is no room is dropped and counted."""
        size = len(item.keys) if isinstance(item, EventBatch) else 0
        with self._changed:
            if size and self._waiting + size > self._most:
                self._dropped[item.node] = self._dropped.get(item.node, 0) + size
                return
            self._items.append(item)
            self._waiting += size
            self._changed.notify()

    def wait(self, seconds: float) -> None:
        """Wait up to `seconds` for something to be there."""
        with self._changed:
            if not self._items:
                self._changed.wait(seconds)

    def take(self, seconds: float) -> list[EventItem]:
        """Return all that has come, after waiting up to `seconds` for the first."""
        self.wait(seconds)
        with self._changed:
            items, self._items = list(self._items), deque()
            self._waiting = 0
            lost, self._dropped = self._dropped, {}
        return [*(EventBatch(node, dropped=count) for node, count in lost.items()), *items]


class EventFeed:
    """Listens to all primaries of a server. Use it as a context manager, from one thread.

    names: events of keys of the profile's database, as the server names them. Those that INFO
    counts (listening.COUNTED) are listened to in all databases, and those of the other databases
    are only counted, so that their number can be compared with INFO's.
    """

    def __init__(self, server: Server, names: Iterable[str], *, most: int = MOST_WAITING) -> None:
        self._server = server
        self._names = tuple(names)
        self._inbox = Inbox(most)
        self._later: list[EventItem] = []
        self._listeners: dict[int, Listener] = {}

    def __enter__(self) -> EventFeed:
        """Listen. Raises CannotConnectError, PermissionDeniedError."""
        try:
            self.follow()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def nodes(self) -> list[str]:
        """The nodes that are listened to, or should be."""
        return [one.node for one in self._listeners.values()]

    @property
    def addresses(self) -> list[str]:
        """Where we listen from, as CLIENT LIST shows it."""
        return [one.address for one in self._listeners.values()]

    def follow(self) -> None:
        """Listen to the primaries that there are now: others than before after a failover.

        Call it after whatever may have changed `server.primaries`. Raises CannotConnectError,
        PermissionDeniedError when a new one can't be listened to.
        """
        places = {id(node): node for node in self._server.primaries}
        for place in [one for one in self._listeners if one not in places]:
            self._listeners.pop(place).close()
        new = [node for place, node in places.items() if place not in self._listeners]
        results = run_all([partial(self._listen, node) for node in new]) if new else []
        for node, result in zip(new, results, strict=True):
            if isinstance(result, Listener):
                self._listeners[id(node)] = result
        for result in results:
            if isinstance(result, CachectlError):
                raise result

    def wait(self, seconds: float) -> None:
        """Wait up to `seconds` for something to take; a Ctrl-C in here loses nothing."""
        if not self._later:
            self._inbox.wait(seconds)

    def take(self, seconds: float) -> list[EventItem]:
        """Return all that has come, after waiting up to `seconds` for something."""
        self.wait(seconds)
        later, self._later = self._later, []
        return [*later, *self._inbox.take(0)]

    def take_to_mark(self, patience: float = MARK_PATIENCE) -> list[EventItem]:
        """Return all that has happened up to now, with one EventMark a node at the end of its own.

        A node that does not come to its mark within `patience` seconds has none that listens.
        """
        waited = {one.node for one in self._listeners.values()}
        for listener in self._listeners.values():
            listener.mark()
        items: list[EventItem] = []
        later: list[EventItem] = []
        marked: set[str] = set()
        deadline = time.monotonic() + patience
        while waited - marked and (left := deadline - time.monotonic()) > 0:
            for one in self.take(left):
                (later if one.node in marked else items).append(one)
                if isinstance(one, EventMark):
                    marked.add(one.node)
        # What a node said after its mark belongs to whoever takes next.
        self._later = later
        return [*items, *(EventMark(node, listening=False) for node in sorted(waited - marked))]

    def close(self) -> None:
        """Stop listening, at once."""
        for listener in self._listeners.values():
            listener.close()
        self._listeners.clear()

    def _listen(self, node: Node) -> Listener:
        database = self._server.target.database
        channels = Channels(self._names, database, _databases(node, database))
        listener = Listener(self._server.target, node, channels, self._inbox.put)
        listener.start()
        return listener


_FEW_DATABASES = 16


def _databases(node: Node, chosen: int) -> Sequence[int]:
    """Return the databases whose counted events matter: INFO's counts are of all of them."""
    used = {int(name[2:]) for name in node.info if name[:2] == "db" and name[2:].isdigit()}
    few = set() if node.info.get("cluster_enabled") == "1" else set(range(_FEW_DATABASES))
    return sorted(used | few | {chosen})
