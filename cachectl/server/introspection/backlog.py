"""How much waits in a queue: a list, a stream, or what a consumer group has not been given yet."""

from __future__ import annotations

from dataclasses import dataclass

from cachectl.model.findings import Unavailable
from cachectl.server.scanning.scan_errors import why_refused
from cachectl.server.topology.handle import Server
from cachectl.server.topology.onekey import Command, OneKey
from cachectl.server.wire.resp import ReplyError, as_dict, as_int, as_text

_LENGTHS = {"list": "LLEN", "stream": "XLEN", "zset": "ZCARD", "set": "SCARD"}


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits in one key. type: of the key, `none` when there is no such key.

    waiting: entries, of a group those that it was not given yet; None where it can't be told, and
    gap says why. pending: given to the group's consumers and not acknowledged.
    """

    type: str
    waiting: int | None
    pending: int | None = None
    gap: Unavailable | None = None


def backlog_of(server: Server, key: bytes, group: bytes | None = None) -> Backlog:
    """Return what waits in a list, stream, set or sorted set; an absent key holds nothing.

    The look-ups are made known to who counts them. Raises CannotConnectError.
    """
    with OneKey(server, key) as one:
        node = one.node
        gate = server.gates(node.facts.run_id, node.connection.local_address)
        gate.enter()
        hits = misses = commands = 0

        def ask(*command: bytes | str) -> object:
            nonlocal hits, commands
            commands += 1
            reply = one.ask(command)[0]
            hits += not isinstance(reply, ReplyError)
            return reply

        try:
            kind = ask("TYPE", key)
            if kind == b"none":
                hits, misses = hits - 1, 1
                return Backlog("none", 0)
            if isinstance(kind, ReplyError):
                return Backlog("", None, gap=_refused(("TYPE",), kind))
            if group is not None:
                return _of_group(as_text(kind), group, ask("XINFO", "GROUPS", key))
            length = _LENGTHS.get(as_text(kind))
            if length is None:
                reason = f"it is a {as_text(kind)}, in which nothing waits"
                return Backlog(as_text(kind), None, gap=Unavailable("backlog", reason))
            reply = ask(length, key)
            if isinstance(reply, ReplyError):
                return Backlog(as_text(kind), None, gap=_refused((length,), reply))
            return Backlog(as_text(kind), as_int(reply))
        finally:
            gate.leave(hits, misses, commands)
            gate.close()


def _of_group(kind: str, group: bytes, reply: object) -> Backlog:
    if isinstance(reply, ReplyError):
        if reply.code == "WRONGTYPE":
            gap = Unavailable("backlog", f"it is a {kind}, and only streams have groups")
        else:
            gap = _refused(("XINFO", "GROUPS"), reply)
        return Backlog(kind, None, gap=gap)
    groups = reply if isinstance(reply, list) else []
    facts = next((f for f in map(as_dict, groups) if f.get("name") == group), None)
    if facts is None:
        gap = Unavailable("backlog", "the stream has no such group", "see its groups: keys show")
        return Backlog(kind, None, gap=gap)
    pending, lag = as_int(facts.get("pending")), as_int(facts.get("lag"))
    if lag is None:
        gap = Unavailable(
            "backlog",
            "the server can't tell how far the group is behind"
            if "lag" in facts
            else "the server does not tell how far a group is behind",
            "entries were deleted or the group was set back: XGROUP SETID with ENTRIESREAD mends it"
            if "lag" in facts
            else "Redis 7.0 or newer does",
        )
        return Backlog(kind, None, pending, gap)
    return Backlog(kind, lag, pending)


def _refused(command: Command, reply: ReplyError) -> Unavailable:
    return Unavailable("backlog", *why_refused([as_text(word) for word in command], reply))
