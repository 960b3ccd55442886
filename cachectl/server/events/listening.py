"""Listening to the events of one node: a connection and a thread of its own."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from cachectl.config.target import Target
from cachectl.errors import (
    AuthenticationError,
    CachectlError,
    CannotConnectError,
    PermissionDeniedError,
)
from cachectl.model.events import EventBatch, EventGap, EventMark
from cachectl.server.topology.node import Node
from cachectl.server.wire.connection import NodeConnection
from cachectl.server.wire.info import parse_info
from cachectl.server.wire.resp import ReplyError, pack

Put = Callable[[EventBatch | EventGap | EventMark], None]

_REST, _GLANCE = 0.02, 0.001
"""Seconds between two reads, and for which one waits. Whoever waits at the socket all the time is
woken by each message, at the cost of the server that sends it (measured: half of it)."""
_MANY = 1000
"""Replies of one read after which the next one follows at once."""
_QUIET = 10.0
"""Seconds of silence after which we ask whether anybody is there."""
_RETRY, _LONGEST_RETRY = 0.1, 2.0
COUNTED = ("expired", "evicted", "keymiss")
"""Events of which INFO keeps a count of its own, over all databases."""


class Channels:
    """The channels of one node, and what a message on each of them means."""

    def __init__(self, names: Iterable[str], database: int, counted_in: Sequence[int]) -> None:
        self._names = {_channel(database, name): name for name in names}
        self._elsewhere = {
            _channel(other, name): name
            for other in counted_in
            if other != database
            for name in COUNTED
        }
        for name in COUNTED:
            self._names.setdefault(_channel(database, name), name)

    @property
    def all(self) -> list[bytes]:
        """Every channel to subscribe to."""
        return [*self._names, *self._elsewhere]

    def batch(self, node: str, messages: Iterable[Sequence[Any]]) -> EventBatch | None:
        """Return what these messages say; None when none of them is an event."""
        names, keys = [], []
        others: Counter[str] = Counter()
        here, elsewhere = self._names.get, self._elsewhere.get
        for message in messages:
            if len(message) == 3 and message[0] == b"message":
                name = here(message[1])
                if name is not None:
                    names.append(name)
                    keys.append(message[2])
                elif (other := elsewhere(message[1])) is not None:
                    others[other] += 1
        return EventBatch(node, names, keys, others) if names or others else None


def _channel(database: int, name: str) -> bytes:
    return b"__keyevent@%d__:%b" % (database, name.encode())


class Listener:
    """Puts the events of one node, gaps and marks where they are wanted. Its thread ends at once
    when it is closed."""

    def __init__(self, target: Target, node: Node, channels: Channels, put: Put) -> None:
        # RESP3 lets a subscriber ask INFO in between, which is what makes a mark exact.
        self._target = replace(target, protocol=3)
        self.node = node.name
        self._address = node.address
        self._channels = channels
        self._put = put
        self._connection: NodeConnection | None = None
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        self._mark_wanted = threading.Event()
        self._asked_info = 0
        self._pinged: float | None = None

    def start(self) -> None:
        """Subscribe, then listen in a thread. Raises CannotConnectError, PermissionDeniedError."""
        self._connection = self._subscribed()
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """Where it listens from, as CLIENT LIST shows it; '' while it does not."""
        return "" if self._connection is None else self._connection.local_address

    def mark(self) -> None:
        """Put an EventMark after whatever has happened up to now."""
        self._mark_wanted.set()

    def close(self) -> None:
        """Stop at once. Harmless twice."""
        self._closed.set()
        if self._connection is not None:
            self._connection.interrupt()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(1.0)
        if self._connection is not None:
            self._connection.close()

    def _subscribed(self) -> NodeConnection:
        """Return a connection that listens. Nothing was sent on it that is not answered."""
        connection = NodeConnection(self._target, self._address).open()
        try:
            channels = self._channels.all
            connection.send(pack("SUBSCRIBE", *channels))
            first = connection.receive(1)[0]
            if isinstance(first, ReplyError):
                raise self._refused(first)
            connection.receive(len(channels) - 1)
        except BaseException:
            connection.close()
            raise
        return connection

    def _refused(self, reply: ReplyError) -> CachectlError:
        if reply.code == "NOPERM":
            return PermissionDeniedError(
                f"this login may not listen to the events of keys on {self.node}: {reply.text}",
                hint="allow it with the ACL rules +subscribe &__keyevent@*",
                target=self.node,
            )
        return CannotConnectError(
            f"{self.node} does not let anyone subscribe: {reply.text}", target=self.node
        )

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                assert self._connection is not None  # noqa: S101 - start, or _again
                self._listen(self._connection)
            except CachectlError as error:
                if not self._again(error):
                    return

    def _listen(self, connection: NodeConnection) -> None:
        heard = time.monotonic()
        replies: Sequence[Any] = ()
        while not self._closed.is_set():
            if self._mark_wanted.is_set():
                self._mark_wanted.clear()
                self._ask(connection)
            if len(replies) < _MANY:
                self._closed.wait(_REST)
            replies = connection.receive_within(_GLANCE)
            if replies:
                heard, self._pinged = time.monotonic(), None
                self._sort(replies)
                continue
            silent = time.monotonic() - heard
            if silent > _QUIET and self._pinged is None:
                self._pinged = time.monotonic()
                connection.send(pack("PING"))
            owed = self._asked_info > 0 or self._pinged is not None
            if owed and silent > self._target.timeout + (_QUIET if self._pinged else 0.0):
                connection.close()
                raise CannotConnectError(f"{self.node} does not answer", target=self.node)

    def _ask(self, connection: NodeConnection) -> None:
        """Send what is answered after all events so far."""
        if connection.protocol == 3:
            self._asked_info += 1
            connection.send(pack("INFO", "stats"))
        else:
            self._asked_info += 1
            connection.send(pack("PING", "mark"))

    def _sort(self, replies: Sequence[Any]) -> None:
        """Put events as batches, and marks where their answers stand between them."""
        messages: list[Sequence[Any]] = []
        for reply in replies:
            mark = self._mark_in(reply)
            if mark is not None:
                self._put_batch(messages)
                messages = []
                self._asked_info = max(0, self._asked_info - 1)
                self._put(mark)
            elif isinstance(reply, list):
                messages.append(reply)
        self._put_batch(messages)

    def _mark_in(self, reply: Any) -> EventMark | None:
        if isinstance(reply, list):
            return EventMark(self.node) if reply == [b"pong", b"mark"] else None
        if reply == b"PONG":
            return None
        if isinstance(reply, bytes | str):
            raw = reply if isinstance(reply, bytes) else reply.encode()
            return EventMark(self.node, parse_info(raw))
        return EventMark(self.node) if isinstance(reply, ReplyError) else None

    def _put_batch(self, messages: Sequence[Sequence[Any]]) -> None:
        if messages and (batch := self._channels.batch(self.node, messages)):
            self._put(batch)

    def _again(self, error: CachectlError) -> bool:
        """Connect and subscribe until it works, and put the gap. False: it never will."""
        lost_at, pause = time.monotonic(), _RETRY
        self._asked_info, self._pinged = 0, None
        reason = error.message
        while not self._closed.is_set():
            try:
                self._connection = self._subscribed()
            except (AuthenticationError, PermissionDeniedError) as refusal:
                self._put(EventGap(self.node, time.monotonic() - lost_at, refusal.message))
                self._put(EventMark(self.node, listening=False))
                return False
            except CachectlError:
                if self._mark_wanted.is_set():
                    self._mark_wanted.clear()
                    self._put(EventMark(self.node, listening=False))
                self._closed.wait(pause)
                pause = min(_LONGEST_RETRY, pause * 2)
                continue
            if self._closed.is_set():
                self._connection.close()
                return False
            self._put(EventGap(self.node, time.monotonic() - lost_at, reason))
            return True
        return False
