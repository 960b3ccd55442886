"""MONITOR for a moment: which keys a server's commands name.

The server copies every command to us, and keeps what we do not read (redis#11573: in production,
until it ran out of memory). So it is watched in bursts of some 50 ms over a connection that is
closed after each, and before its end when the server has to keep more than a megabyte for us.
Whether to do it at all is decided before: see analysis.hotkeys.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cachectl.model.findings import Unavailable
from cachectl.server.introspection.stats import client_fields
from cachectl.server.topology.handle import Server
from cachectl.server.topology.node import Node
from cachectl.server.wire.connection import NodeConnection
from cachectl.server.wire.resp import ReplyError, as_int, pack

MOST_KEPT = 1 << 20
"""Bytes that the server may keep for us; then we hang up."""
_LOOK = 0.01

# 1339518083.107412 [0 127.0.0.1:60866] "keys" "*"; the client of a script is `lua`.
_LINE = re.compile(rb"[0-9.]+ \[(\d+) ([^\]]*)\] (.*)", re.DOTALL).fullmatch
_ARGUMENT = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPE = re.compile(rb'\\(x[0-9a-fA-F]{2}|[nrtab"\\])')
_PLAIN = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b"}

Keys = Callable[[bytes, Sequence[bytes]], Iterable[int]]
"""(name in lower case, arguments) → which of these are keys."""


@dataclass(frozen=True, slots=True)
class MonitoredBurst:
    """Commands that one node was seen to run in a moment.

    seconds: how long it was watched; commands: (name in lower case, keys) of the profile's
    database. overrun: watching ended early because the server had to keep too much for us.
    """

    node: str
    seconds: float
    commands: Sequence[tuple[bytes, Sequence[bytes]]]
    overrun: bool = False


class NoMonitorError(Exception):
    """This node does not let us watch; the argument is the gap that it leaves."""

    @property
    def gap(self) -> Unavailable:
        """What is missing, why, and what would help."""
        found = self.args[0]
        assert isinstance(found, Unavailable)  # noqa: S101
        return found


def burst(server: Server, node: Node, seconds: float, keys: Keys) -> MonitoredBurst:
    """Watch a node's commands for so long, our own left out.

    Raises NoMonitorError, CannotConnectError.
    """
    with server.new_connection(node) as watcher, server.new_connection(node) as guard:
        own = {one.local_address for one in (watcher, guard, node.connection) if one.is_open}
        lines, took, overrun = _watch(node, watcher, guard, seconds)
    commands = []
    for line in lines:
        database, client, arguments = split_line(line)
        if arguments and database == server.target.database and client not in own:
            name, rest = arguments[0].lower(), arguments[1:]
            places = sorted(keys(name, rest))
            commands.append((name, [rest[place] for place in places if place < len(rest)]))
    return MonitoredBurst(node.name, took, commands, overrun)


def _watch(
    node: Node, watcher: NodeConnection, guard: NodeConnection, seconds: float
) -> tuple[list[bytes], float, bool]:
    """Return the lines, how long it took, and whether it was ended for what it cost."""
    me = watcher.pipeline([("CLIENT", "ID")])[0]
    watcher.send(pack("MONITOR"))
    first = watcher.receive(1)[0]
    if isinstance(first, ReplyError):
        denied = first.code == "NOPERM"
        raise NoMonitorError(
            Unavailable(
                "commands as they run (MONITOR)",
                "this login may not" if denied else first.text,
                "allow it with the ACL rule +monitor" if denied else None,
                node.name,
            )
        )
    begun = looked = time.monotonic()
    lines: list[bytes] = []
    overrun = False
    while (now := time.monotonic()) < begun + seconds and not overrun:
        left = begun + seconds - now
        lines += [one for one in watcher.receive_within(min(left, _LOOK)) if _is_line(one)]
        if now - looked >= _LOOK:
            looked = now
            overrun = _kept_for(guard, me) > MOST_KEPT
    took = time.monotonic() - begun
    watcher.close()  # what is under way is not waited for
    return lines, took, overrun


def _is_line(reply: Any) -> bool:
    return isinstance(reply, bytes)


def _kept_for(guard: NodeConnection, client: Any) -> int:
    """Return the bytes that the server keeps for a client; 0 when it does not say."""
    if not isinstance(client, int):
        return 0
    reply = guard.pipeline([("CLIENT", "LIST", "ID", client)])[0]
    if not isinstance(reply, bytes):
        return 0
    return as_int(client_fields(reply.rstrip()).get("omem")) or 0


def split_line(line: bytes) -> tuple[int, str, list[bytes]]:
    """Return database, client and arguments of a line of MONITOR; no arguments for none."""
    parts = _LINE(line)
    if parts is None:
        return 0, "", []
    found = [_unescaped(one) if b"\\" in one else one for one in _ARGUMENT.findall(parts[3])]
    return int(parts[1]), parts[2].decode("ascii", "replace"), found


def _unescaped(text: bytes) -> bytes:
    return _ESCAPE.sub(_meant, text)


def _meant(match: re.Match[bytes]) -> bytes:
    what = match[1]
    if what[:1] == b"x":
        return bytes([int(what[1:], 16)])
    return _PLAIN.get(what, what)
