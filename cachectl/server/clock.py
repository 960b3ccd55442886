"""The server's clock: TTLs count by it, and ours may be an hour off."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from cachectl.server.wire.connection import NodeConnection
from cachectl.server.wire.resp import ReplyError


@dataclass(frozen=True, slots=True)
class ServerClock:
    """A clock that goes like the server's. offset: milliseconds that it is ahead of ours."""

    offset: int = 0

    @classmethod
    def of(cls, connection: NodeConnection) -> ServerClock:
        """Ask the server once; its clock counts as ours when this login may not run TIME."""
        before = time.time()
        try:
            answer = connection.call("TIME")
        except ReplyError:
            return cls()
        middle = (before + time.time()) / 2
        return cls(milliseconds(answer) - round(middle * 1000))

    def now(self) -> int:
        """Return the server's time in Unix milliseconds."""
        return round(time.time() * 1000) + self.offset


def milliseconds(answer: Any) -> int:
    """Return the reply of TIME (seconds, microseconds) as Unix milliseconds."""
    seconds, microseconds = answer
    return int(seconds) * 1000 + int(microseconds) // 1000
