"""Commands: INFO's commandstats and errorstats as numbers, and which commands read or write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cachectl.server.introspection.asked import Ask, plainly
from cachectl.server.wire.connection import NodeConnection
from cachectl.server.wire.resp import ReplyError, as_text


def kinds_of(
    connection: NodeConnection, names: Iterable[str], ask: Ask = plainly
) -> dict[str, str] | None:
    """Return name (`get`, `config|get`) → `read`, `write` or `other`, by the server's own flags.

    A name that the server does not know is left out. None when this login may not ask (it takes
    +command|info).
    """
    listed = list(names)
    replies = ask(connection, [("COMMAND", "INFO", *listed)])[0]
    if isinstance(replies, ReplyError):
        return None
    return {
        name: _kind(reply)
        for name, reply in zip(listed, replies, strict=False)
        if isinstance(reply, list) and len(reply) > 2
    }


def _kind(reply: list[object]) -> str:
    flags = reply[2]
    words = {as_text(flag) for flag in flags} if isinstance(flags, list | set | tuple) else set()
    if "write" in words:
        return "write"
    return "read" if "readonly" in words else "other"


def names_in(info: Mapping[str, str]) -> list[str]:
    """Return the names of the commands that INFO's commandstats list."""
    return [name.removeprefix("cmdstat_") for name in info if name.startswith("cmdstat_")]
