"""The queue of a write-behind application: which keys its database does not know the latest of yet.

Such an application writes its cache first and the database later, through a stream or a list.
Until a change has left the queue, the cache is right to differ from the source.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from cachectl.config.manifest import Pending
from cachectl.server.topology.handle import Server
from cachectl.server.topology.onekey import OneKey
from cachectl.server.wire.resp import ReplyError, as_dict, as_int, as_pairs

MOST = 10_000
"""Items of a queue that are read; of a longer one nothing is settled."""
_LOOK_AGAIN = 0.2


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is in a queue. keys: that it names; None: can't be told, so any key may be meant."""

    length: int
    keys: frozenset[bytes] | None


@dataclass(slots=True)
class Queue:
    """One queue, watched from before the source is read until keys have been compared.

    longest: items that were in it at most, when it was looked at.
    """

    server: Server
    pending: Pending
    longest: int = 0
    problem: str | None = None
    _unsettled: set[bytes] = field(default_factory=set)
    _is_any: bool = False
    _since: bytes | None = None

    def wait(self) -> None:
        """Wait until the queue is empty, for as long as the manifest allows, and look at it."""
        until = time.monotonic() + self.pending.wait
        while self._read().length and time.monotonic() < until:
            time.sleep(min(_LOOK_AGAIN, max(0.0, until - time.monotonic())))
        self._since = self._last_id()
        self.look()

    def look(self) -> None:
        """Add what is in the queue now to what is not settled."""
        backlog = self._read()
        self.longest = max(self.longest, backlog.length)
        if backlog.keys is not None:
            self._unsettled |= backlog.keys
        elif backlog.length:
            self._is_any = True

    def is_unsettled(self, key: bytes) -> bool:
        """Return whether a key may be newer than the source."""
        return self._is_any or key in self._unsettled

    def _read(self) -> Backlog:
        with OneKey(self.server, self.pending.key) as queue:
            try:
                if self.pending.kind == "list":
                    return self._of_list(queue)
                return self._of_stream(queue)
            except ReplyError as error:
                if "no such key" in error.text.lower():
                    return Backlog(0, frozenset())
                self.problem = f"the queue {self.pending.key!r} can't be read: {error.text}"
                return Backlog(1, None)

    def _of_list(self, queue: OneKey) -> Backlog:
        length, items = queue.ask(
            ("LLEN", self.pending.key), ("LRANGE", self.pending.key, 0, MOST - 1)
        )
        for reply in (length, items):
            if isinstance(reply, ReplyError):
                raise reply
        name = self.pending.key_field
        if name is None or length > MOST:
            return Backlog(length, None)
        return Backlog(length, _named(_json_field(item, name) for item in items))

    def _of_stream(self, queue: OneKey) -> Backlog:
        key, group = self.pending.key, self.pending.group
        groups = [as_dict(one) for one in queue.call("XINFO", "GROUPS", key)]
        facts = next((one for one in groups if one.get("name") == group), None)
        if facts is None:
            self.problem = f"the stream {key!r} has no group {group!r}"
            return Backlog(1, None)
        waiting = as_int(facts.get("pending")) or 0
        begin = b"(" + facts["last-delivered-id"]
        new = queue.call("XRANGE", key, begin, "+", "COUNT", MOST + 1)
        length = waiting + len(new)
        name = self.pending.key_field
        if name is None or length > MOST:
            return Backlog(length, None)
        entries = list(new)
        if self._since is not None:  # what came and was written since, while we were reading
            entries += queue.call("XRANGE", key, b"(" + self._since, "+", "COUNT", MOST)
        if waiting:
            ids = [one[0] for one in queue.call("XPENDING", key, group, "-", "+", MOST)]
            found = queue.ask(*(("XRANGE", key, one, one) for one in ids))
            entries += [entry for some in found if isinstance(some, list) for entry in some]
        field_name = name.encode()
        named = _named(dict(as_pairs(fields)).get(field_name) for _, fields in entries)
        return Backlog(length, named)

    def _last_id(self) -> bytes | None:
        if self.pending.kind != "stream" or self.pending.key_field is None:
            return None
        with OneKey(self.server, self.pending.key) as queue:
            try:
                info = as_dict(queue.call("XINFO", "STREAM", self.pending.key))
            except ReplyError:
                return None
        last = info.get("last-generated-id")
        return last if isinstance(last, bytes) else None


def _named(names: Iterable[bytes | None]) -> frozenset[bytes] | None:
    """Return the keys, None when one of the items names none."""
    found = set()
    for name in names:
        if name is None:
            return None
        found.add(name)
    return frozenset(found)


def _json_field(item: bytes, name: str) -> bytes | None:
    try:
        found: Any = json.loads(item)
    except ValueError:
        return None
    value = found.get(name) if isinstance(found, dict) else None
    return value.encode() if isinstance(value, str) else None
