"""What is sent for the sake of measuring, counted so that it can be left out of what is measured.

    asked = Asked()
    reply = asked.pipeline(connection, [("INFO", "all")])[0]
    asked.of(str(connection.address))

Names are those of commandstats: `info`, `client|list`. What the server refused before it ran is no
call there, but counts as an error, and may be noted in ACL LOG: so it is not asked again, and who
asks gets the refusal of the first time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cachectl.server.wire.connection import NodeConnection
from cachectl.server.wire.resp import Argument, ReplyError, command_name

Ask = Callable[[NodeConnection, Sequence[tuple[Argument, ...]]], list[Any]]
"""How to send commands and get their replies: NodeConnection.pipeline, or one that counts."""


_RAN = "unknown subcommand or wrong number of arguments"
"""What Redis before 7.0 says of a subcommand: there the command itself ran and found out."""


@dataclass(slots=True)
class NodeAsked:
    """What one node was sent so far.

    calls: name → answered; refused: code of the error → times; never: name → the refusal that
    holds for whatever this login asks by that name.
    """

    calls: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    never: dict[str, ReplyError] = field(default_factory=dict)

    def noted(self, name: str, reply: Any) -> Any:
        """Count one reply, and return it."""
        if not isinstance(reply, ReplyError):
            self.calls[name] += 1
            return reply
        self.refused[reply.code] += 1
        if _RAN in reply.text.lower():
            self.calls[name] += 1
        if reply.code == "NOPERM" or reply.is_unknown_command:
            self.never[name] = reply
        return reply


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
        one = self.of(str(connection.address))
        names = list(map(command_name, commands))
        sent = [
            command for name, command in zip(names, commands, strict=True) if name not in one.never
        ]
        replies = iter(connection.pipeline(sent))
        return [one.never.get(name) or one.noted(name, next(replies)) for name in names]

    def opened(self, node: str, opening: Iterable[tuple[str, ReplyError | None]]) -> None:
        """Count what opening a connection to a node took: see NodeConnection.opening."""
        one = self.of(node)
        for name, reply in opening:
            one.noted(name, reply)

    def forget(self, node: str) -> None:
        """Ask again for what was refused: another process may be in the node's place."""
        self.of(node).never.clear()


def plainly(connection: NodeConnection, commands: Sequence[tuple[Argument, ...]]) -> list[Any]:
    """Send commands in one flight and count nothing: who measures nothing else asks so."""
    return connection.pipeline(commands)
