"""The log of slow commands: SLOWLOG everywhere, COMMANDLOG besides large ones on Valkey 8.1+.

The server cuts commands before it logs them: 32 arguments, 128 bytes each; what it left out it
says in the last argument or at the end of one ("... (12 more arguments)").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cachectl.model.findings import Unavailable
from cachectl.server.introspection.asked import Ask, plainly
from cachectl.server.topology.node import Node
from cachectl.server.wire.resp import ReplyError, as_dict, as_int, as_text

Why = Literal["slow", "large-request", "large-reply"]
ENTRIES = 1000

_LOGS: tuple[Why, ...] = ("slow", "large-request", "large-reply")


@dataclass(frozen=True, slots=True)
class LoggedCommand:
    """One entry. at: Unix seconds; seconds: that it took (slow); size: of the request or reply.

    arguments: as the server logged them, secrets and values included: never show them as they are.
    """

    why: Why
    node: str
    at: float
    seconds: float | None
    size: int | None
    arguments: tuple[bytes, ...]
    client: str
    address: str


@dataclass(frozen=True, slots=True)
class SlowLog:
    """The logs of one node. thresholds: why → what is logged, µs or bytes, negative is nothing;
    full: the logs that hold as many entries as they can, so that older ones are gone."""

    node: str
    entries: tuple[LoggedCommand, ...] = ()
    thresholds: Mapping[str, int] = field(default_factory=dict)
    full: frozenset[str] = frozenset()
    unavailable: tuple[Unavailable, ...] = ()


def slow_log(node: Node, ask: Ask = plainly) -> SlowLog:
    """Read the logs of one node. Raises ConnectionLostError."""
    connection = node.connection
    # One after the other where the first is unknown: each would count as an error there.
    replies = ask(connection, [("COMMANDLOG", "GET", ENTRIES, _LOGS[0])])
    if not isinstance(replies[0], ReplyError):
        replies += ask(connection, [("COMMANDLOG", "GET", ENTRIES, why) for why in _LOGS[1:]])
        settings = _settings(node, "commandlog-*", ask)
        return _result(node, dict(zip(_LOGS, replies, strict=True)), _of_commandlog(settings))
    reply = ask(connection, [("SLOWLOG", "GET", ENTRIES)])[0]
    if isinstance(reply, ReplyError):
        denied = "NOPERM" in (reply.code, replies[0].code)
        rule = "+slowlog|get" if replies[0].is_unknown_command else "+slowlog|get +commandlog|get"
        reason = "this login may not read the log" if denied else reply.text
        remedy = f"allow it with {rule}" if denied else None
        gap = Unavailable("slow commands", reason, remedy, node.name)
        return SlowLog(node.name, unavailable=(gap,))
    settings = _settings(node, "slowlog-*", ask)
    names = {"slow": ("slowlog-log-slower-than", "slowlog-max-len")}
    return _result(node, {"slow": reply}, _named(settings, names))


def _settings(node: Node, pattern: str, ask: Ask) -> dict[str, Any]:
    reply = ask(node.connection, [("CONFIG", "GET", pattern)])[0]
    return {} if isinstance(reply, ReplyError) else as_dict(reply)


Settings = Mapping[str, tuple[int | None, int | None]]
"""why → (threshold, how many entries the log can hold)."""


def _of_commandlog(settings: Mapping[str, Any]) -> Settings:
    names = {
        "slow": ("commandlog-execution-slower-than", "commandlog-slow-execution-max-len"),
        "large-request": ("commandlog-request-larger-than", "commandlog-large-request-max-len"),
        "large-reply": ("commandlog-reply-larger-than", "commandlog-large-reply-max-len"),
    }
    return _named(settings, names)


def _named(settings: Mapping[str, Any], names: Mapping[str, tuple[str, str]]) -> Settings:
    return {
        why: (as_int(settings.get(least)), as_int(settings.get(most)))
        for why, (least, most) in names.items()
    }


def _result(node: Node, replies: Mapping[Any, Any], settings: Settings) -> SlowLog:
    entries = []
    full = set()
    for why, reply in replies.items():
        if isinstance(reply, ReplyError):
            continue
        found = [entry for line in reply if (entry := _entry(why, node.name, line))]
        entries += found
        capacity = settings.get(why, (None, None))[1]
        if found and len(reply) >= min(capacity or ENTRIES, ENTRIES):
            full.add(why)
    thresholds = {why: least for why, (least, _) in settings.items() if least is not None}
    return SlowLog(node.name, tuple(entries), thresholds, frozenset(full))


def _entry(why: Why, node: str, line: Any) -> LoggedCommand | None:
    if not isinstance(line, list) or len(line) < 4 or not isinstance(line[3], list):
        return None
    at, amount = as_int(line[1]), as_int(line[2])
    if at is None or amount is None:
        return None
    slow = why == "slow"
    return LoggedCommand(
        why=why,
        node=node,
        at=float(at),
        seconds=amount / 1e6 if slow else None,
        size=None if slow else amount,
        arguments=tuple(one for one in line[3] if isinstance(one, bytes)),
        address=as_text(line[4]) if len(line) > 4 else "",
        client=as_text(line[5]) if len(line) > 5 else "",
    )
