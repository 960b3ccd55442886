"""What is sent for the sake of measuring, counted so that it can be left out of what is measured.

    asked = Asked()
    reply = asked.pipeline(connection, [("INFO", "all")])[0]
    asked.of(str(connection.address))

Names are those of commandstats: `info`, `client|list`. What the server refused before it ran is no
call there, but counts as an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cachectl.server.connection import NodeConnection
from cachectl.server.resp import Argument, ReplyError, as_text

Ask = Callable[[NodeConnection, Sequence[tuple[Argument, ...]]], list[Any]]
"""How to send commands and get their replies: NodeConnection.pipeline, or one that counts."""

_CONTAINERS = frozenset(
    ("client", "command", "commandlog", "config", "latency", "memory", "object", "slowlog")
)


@dataclass(slots=True)
class NodeAsked:
    """What one node was sent so far. calls: name → answered; refused: code of the error → times."""

    calls: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)


class Asked:
    """Counts by node. A node is asked by one thread at a time."""

    def __init__(self) -> None:
        self._nodes: dict[str, NodeAsked] = {}

    def of(self, node: str) -> NodeAsked:
        """Return the counts of one node, which go on counting."""
        return self._nodes.setdefault(node, NodeAsked())

    def pipeline(
        self, connection: NodeConnection, commands: Sequence[tuple[Argument, ...]]
    ) -> list[Any]:
        """Send commands in one flight, count them, and return their replies."""
        replies = connection.pipeline(commands)
        self.note(str(connection.address), map(name_of, commands), replies)
        return replies

    def note(self, node: str, names: Iterable[str], replies: Iterable[Any]) -> None:
        """Count commands that were answered."""
        one = self.of(node)
        for name, reply in zip(names, replies, strict=True):
            if isinstance(reply, ReplyError):
                one.refused[reply.code] += 1
            else:
                one.calls[name] += 1


def name_of(command: Sequence[Argument]) -> str:
    """Return what commandstats call a command: `client|list`."""
    name = as_text(command[0]).lower()
    inner = name in _CONTAINERS and len(command) > 1
    return f"{name}|{as_text(command[1]).lower()}" if inner else name


def plainly(connection: NodeConnection, commands: Sequence[tuple[Argument, ...]]) -> list[Any]:
    """Send commands in one flight and count nothing: who measures nothing else asks so."""
    return connection.pipeline(commands)
