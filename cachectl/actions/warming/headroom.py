"""How much memory a server has left for what is about to be written, node by node."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from cachectl.actions.execution.recovery import TROUBLE, await_replicas
from cachectl.errors import PartialError
from cachectl.server.topology.handle import Server
from cachectl.server.topology.lanes import Lanes
from cachectl.server.topology.node import read_info
from cachectl.server.wire.info import Info, keyspace_of, number
from cachectl.server.wire.resp import ReplyError

_EVERY = 1.0


@dataclass(frozen=True, slots=True)
class Room:
    """The memory of one node, in bytes.

    limit: maxmemory, or the machine's memory where there is none; None: not to be had. evicts:
    whether keys go when maxmemory is reached; else writing fails. key_size: of a key that is
    there, on average. share: of all keys that go to this node.
    """

    node: str
    used: int | None
    limit: int | None
    is_capped: bool
    policy: str | None
    key_size: float
    share: float

    @property
    def evicts(self) -> bool:
        """Whether the server makes room by itself."""
        return self.is_capped and self.policy is not None and self.policy != "noeviction"

    def left(self, threshold: float) -> float | None:
        """Return the bytes that are left below a share of the limit; None: not known."""
        if self.used is None or self.limit is None:
            return None
        return threshold * self.limit - self.used

    def evictions(self, more: float) -> int:
        """Return about how many keys go when so many bytes come, by the average key's size."""
        if not self.evicts or self.used is None or self.limit is None:
            return 0
        return max(0, round((self.used + more - self.limit) / max(1.0, self.key_size)))


def rooms(server: Server) -> list[Room]:
    """Ask every primary. A login that may not run INFO gets rooms whose figures are not known."""
    slots = sum(node.facts.slots or 0 for node in server.primaries)
    found = []
    for node in server.primaries:
        try:
            info: Info = read_info(node.connection)
        except ReplyError:
            info = {}
        share = (node.facts.slots or 0) / slots if slots else 1.0
        found.append(_room(node.name, info, server.target.database, share))
    return found


def _room(node: str, info: Info, database: int, share: float) -> Room:
    used, maxmemory = number(info, "used_memory"), number(info, "maxmemory")
    limit = maxmemory or number(info, "total_system_memory") or None
    keys = keyspace_of(info, database).get("keys", 0)
    startup = number(info, "used_memory_startup") or 0
    key_size = max(0, (used or 0) - startup) / keys if keys else 0.0
    policy = info.get("maxmemory_policy")
    return Room(node, used, limit, bool(maxmemory), policy, key_size, share)


@dataclass(slots=True)
class Watch:
    """Looks about once a second whether a server still has room, and its replicas keep up.

    threshold: share of a node's limit above which nothing more is written; None: not looked at.
    """

    server: Server
    threshold: float | None
    _looked: float = 0.0
    _lanes: Lanes = field(init=False)

    def __post_init__(self) -> None:
        self._lanes = Lanes(self.server)

    def look(self, on_note: Callable[[str], None]) -> None:
        """Raise PartialError when it is time to stop; wait for replicas that are behind."""
        now = time.monotonic()
        if now - self._looked < _EVERY:
            return
        self._looked = now
        try:
            await_replicas(self.server, self._lanes, lambda _done, note: on_note(note))
            for node in self.server.primaries:
                self._check(node.name, read_info(self._lanes.lane(node), "memory"))
        except TROUBLE:
            self._lanes.drop()  # whoever writes meets the same, and knows how to go on

    def close(self) -> None:
        """Close the connections."""
        self._lanes.drop()

    def _check(self, node: str, info: Info) -> None:
        used, maxmemory = number(info, "used_memory"), number(info, "maxmemory")
        if self.threshold is None or not used or not maxmemory:
            return
        if used > self.threshold * maxmemory:
            raise PartialError(
                f"stopped: {node} uses {100 * used / maxmemory:.0f} % of its maxmemory, "
                f"more than the {100 * self.threshold:.0f} % of `thresholds.memory`",
                hint="make room, or give --allow-evictions, then go on with --resume",
                target=node,
            )
