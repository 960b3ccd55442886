"""RESP, the wire protocol: packing of commands, and replies that are errors or maps.

Source: the Redis serialization protocol specification (arrays of bulk strings; maps in version 3
where version 2 has flat arrays of names and values).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Argument = bytes | str | int | float


class ReplyError(Exception):
    """An error that the server sent in place of a reply (`-NOPERM User …`).

    It is a value in the results of a pipeline, and an exception from a single call.
    """

    @property
    def text(self) -> str:
        """The whole line, as the server sent it; escape it before showing it."""
        return str(self.args[0]) if self.args else ""

    @property
    def code(self) -> str:
        """The first word, upper case by convention: NOPERM, MOVED, WRONGTYPE, ERR, …"""
        return self.text.split(" ", 1)[0]

    @property
    def is_unknown_command(self) -> bool:
        """Whether the command or subcommand is absent, renamed or disabled on this server."""
        text = self.text.lower()
        return "unknown command" in text or "unknown subcommand" in text


_CONTAINERS = frozenset(
    (
        *("acl", "client", "cluster", "command", "commandlog", "config"),
        *("latency", "memory", "object", "pubsub", "slowlog"),
    )
)


def command_name(command: Sequence[Argument]) -> str:
    """Return what commandstats call a command: `get`, `client|list`."""
    name = as_text(command[0]).lower()
    inner = name in _CONTAINERS and len(command) > 1
    return f"{name}|{as_text(command[1]).lower()}" if inner else name


def encode(argument: Argument) -> bytes:
    """Return the argument as the bytes that travel."""
    if isinstance(argument, bytes):
        return argument
    if isinstance(argument, str):
        return argument.encode("utf-8", "surrogateescape")
    return repr(argument).encode() if isinstance(argument, float) else b"%d" % argument


def pack(*arguments: Argument) -> bytes:
    """Return one command, ready to be sent."""
    encoded = [one if isinstance(one, bytes) else encode(one) for one in arguments]
    parts = [b"$%d\r\n%b\r\n" % (len(data), data) for data in encoded]
    return b"*%d\r\n%b" % (len(parts), b"".join(parts))


class _Heads(dict[int, bytes]):
    """Length → what stands before an argument of that length, kept for those that come often.

    Formatting a number for each of a million arguments is not free.
    """

    def __missing__(self, length: int) -> bytes:
        head = b"$%d\r\n" % length
        if length < _OFTEN:
            self[length] = head
        return head


_OFTEN = 4096
HEADS = _Heads()


def sized(name: bytes) -> bytes:
    """Return a byte string as an argument of a command, to be put behind a packed beginning."""
    return HEADS[len(name)] + name + b"\r\n"


def pack_names(command: str, names: Sequence[bytes]) -> bytes:
    """Return a command that takes names and nothing else, ready to be sent: UNLINK, WATCH, …."""
    head = b"*%d\r\n$%d\r\n%b\r\n" % (len(names) + 1, len(command), command.encode())
    heads = HEADS
    return head + b"".join([heads[len(name)] + name + b"\r\n" for name in names])


def pack_all(commands: Iterable[tuple[Argument, ...]]) -> bytes:
    """Return several commands as one pipeline, ready to be sent."""
    return b"".join(pack(*command) for command in commands)


def as_pairs(reply: Any) -> list[tuple[Any, Any]]:
    """Return a map as (name, value) pairs, whether it came as a map (RESP3) or flat (RESP2).

    Anything that is neither is an empty list: an odd server is not a reason to fail.
    """
    if isinstance(reply, dict):
        return list(reply.items())
    if isinstance(reply, list | tuple):
        return list(zip(reply[::2], reply[1::2], strict=False))
    return []


def as_dict(reply: Any) -> dict[str, Any]:
    """Return a map with its names as text, from RESP2 or RESP3. Values stay as they are."""
    return {as_text(name): value for name, value in as_pairs(reply)}


def as_text(value: Any) -> str:
    """Return a reply of text (an address, a name, an option) as str; nil is ''.

    Bytes that are not UTF-8 survive as surrogates; escape the text before showing it.
    """
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return "" if value is None else str(value)


def as_int(value: Any) -> int | None:
    """Return a number that came as an integer or as its digits; None when it is neither."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def as_float(value: Any) -> float | None:
    """Return a double, which RESP3 sends as one and RESP2 as text; None when it is neither."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
