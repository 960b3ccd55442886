"""Commands about one key, sent to where it is: in a cluster that can change between two of them."""

from __future__ import annotations

import time
from typing import Any

from cachectl.errors import CannotConnectError
from cachectl.server.topology.handle import Server
from cachectl.server.topology.node import Node
from cachectl.server.wire.addresses import reachable
from cachectl.server.wire.connection import NodeConnection, connect
from cachectl.server.wire.resp import Argument, ReplyError

Command = tuple[Argument, ...]
_TRIES = 5
_WAIT = 0.1


class OneKey:
    """One key and the node that holds it. Only for reading: a command may be sent twice.

    node: the primary that serves its slot. no_touch: whether reading leaves its idle time alone.
    """

    def __init__(self, server: Server, key: bytes) -> None:
        self.key = key
        self.node: Node = server.node_of(key)
        self._server = server
        self._asking: NodeConnection | None = None

    @property
    def no_touch(self) -> bool:
        """Whether CLIENT NO-TOUCH holds on the connection."""
        return (self._asking or self.node.connection).no_touch

    def ask(self, *commands: Command) -> list[Any]:
        """Return the replies, after following MOVED and ASK; other errors are values.

        Raises ConnectionLostError, and CannotConnectError when the key can't be reached.
        """
        for tried in range(_TRIES):
            replies = self._flight(commands)
            elsewhere = [r for r in replies if isinstance(r, ReplyError) and _is_elsewhere(r)]
            if not elsewhere:
                return replies
            self._follow(elsewhere[0], tried)
        raise CannotConnectError(
            f"the slot of this key keeps moving: {elsewhere[0].text}",
            hint="try again in a moment",
            target=self._server.target.name,
        )

    def call(self, *arguments: Argument) -> Any:
        """Send one command and return its reply. Raises ReplyError, and as `ask`."""
        reply = self.ask(arguments)[0]
        if isinstance(reply, ReplyError):
            raise reply
        return reply

    def close(self) -> None:
        """Close what was opened to follow the key."""
        if self._asking is not None:
            self._asking.close()
            self._asking = None

    def __enter__(self) -> OneKey:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _flight(self, commands: tuple[Command, ...]) -> list[Any]:
        if self._asking is None:
            return self.node.connection.pipeline(commands)
        pairs = [part for command in commands for part in (("ASKING",), command)]
        return self._asking.pipeline(pairs)[1::2]

    def _follow(self, reply: ReplyError, tried: int) -> None:
        self.close()
        where = reply.text.rpartition(" ")[2]
        if self._server.slot_map is None:
            raise CannotConnectError(
                f"this key is on another node of a cluster, {where}",
                hint="set `topology: cluster` in the profile",
                target=self.node.name,
            )
        if reply.code == "ASK":
            host, _, port = where.rpartition(":")
            target = self._server.target
            address = reachable(target.address_map, host or self.node.address.host, int(port))
            self._asking = connect(target, address)
            return
        if tried or reply.code != "MOVED":
            time.sleep(_WAIT * 2**tried)
        self._server.refresh()
        self.node = self._server.node_of(self.key)


def _is_elsewhere(reply: ReplyError) -> bool:
    return reply.code in ("MOVED", "ASK", "TRYAGAIN")
