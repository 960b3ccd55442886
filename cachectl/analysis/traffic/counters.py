"""What happened on a node between two samples of its counters.

Counters only say something as differences, and a difference only when it is the same process with
the same counters. A restart, CONFIG RESETSTAT and a failover in between are noticed: then what is
known is counted (from the restart or the reset on), over the time that it covers, and said.
Sources of the fields' meaning: the INFO command's documentation, and resetServerStats in server.c.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from cachectl.model.counters import NodeSample, OwnWork

FIELDS: dict[str, str] = {
    "hits": "keyspace_hits",
    "misses": "keyspace_misses",
    "expired": "expired_keys",
    "evicted": "evicted_keys",
    "commands": "total_commands_processed",
    "connections": "total_connections_received",
    "rejected_connections": "rejected_connections",
    "net_input_bytes": "total_net_input_bytes",
    "net_output_bytes": "total_net_output_bytes",
    "errors": "total_error_replies",
}
"""Our name → INFO's. CONFIG RESETSTAT sets all of them to zero."""

_CPU = ("used_cpu_user", "used_cpu_sys")
_RESET_CALL = "config|resetstat"
_SHORTEST = 0.5


class Event(StrEnum):
    """What befell a node between two samples."""

    RESTARTED = "restarted"
    REPLACED = "replaced"
    RESET = "reset"
    DEMOTED = "demoted"
    PROMOTED = "promoted"


@dataclass(frozen=True, slots=True)
class CommandCount:
    """What commandstats say of one command. usec: of the server's time; rejected: before it ran
    (arity, ACL, memory); failed: while it ran."""

    calls: int = 0
    usec: int = 0
    rejected: int = 0
    failed: int = 0

    def __add__(self, other: CommandCount) -> CommandCount:
        return CommandCount(
            self.calls + other.calls,
            self.usec + other.usec,
            self.rejected + other.rejected,
            self.failed + other.failed,
        )

    def since(self, before: CommandCount) -> CommandCount:
        """Return the difference, never below zero."""
        return CommandCount(
            max(0, self.calls - before.calls),
            max(0, self.usec - before.usec),
            max(0, self.rejected - before.rejected),
            max(0, self.failed - before.failed),
        )


@dataclass(frozen=True, slots=True)
class NodeWindow:
    """What happened on one node in a window.

    seconds: that the counts cover. counts: by our names (FIELDS), without our own work; None where
    the server does not say. cpu_seconds: of the server. own: hits, misses and commands of ours that
    were subtracted; own_exact: whether they are all, and no more. strangers: commands that clients
    called cachectl elsewhere sent meanwhile, which could not be subtracted (None: an unknown
    number). event: why counts cover less than the window. commands: by name; errors: by kind.
    """

    node: str
    seconds: float
    counts: Mapping[str, int | None]
    cpu_seconds: float | None
    before: Mapping[str, str]
    after: Mapping[str, str]
    own: OwnWork = field(default_factory=OwnWork)
    own_exact: bool = True
    strangers: int | None = 0
    event: Event | None = None
    commands: Mapping[str, CommandCount] = field(default_factory=dict)
    errors: Mapping[str, int] = field(default_factory=dict)


def window(before: NodeSample, after: NodeSample) -> NodeWindow | None:
    """Return what happened between two samples of one node's place.

    None when another process has taken that place whose counters say nothing about the window.
    """
    seconds = elapsed(before, after)
    event = event_between(before, after, seconds)
    if event is Event.REPLACED:
        return None
    start: Mapping[str, str] = before.info
    if event is Event.RESTARTED:
        start, seconds = {}, max(_SHORTEST, min(seconds, _uptime(after) + 0.5))
    elif event is Event.RESET:
        start = {name: value for name, value in before.info.items() if name in _CPU}
    own, own_exact = _own_between(before, after, event)
    counts = {
        name: _difference(start, after.info, info_field) for name, info_field in FIELDS.items()
    }
    afresh = event in (Event.RESTARTED, Event.RESET)
    asked = {} if afresh else _more(before.asked, after.asked)
    refused = {} if afresh else _more(before.refused, after.refused)
    corrected = {
        "hits": own.hits,
        "misses": own.misses,
        "commands": own.commands + sum(asked.values()),
        "errors": sum(refused.values()),
    }
    for name, ours in corrected.items():
        value = counts[name]
        if value is not None:
            counts[name] = max(0, value - ours)
            own_exact = own_exact and (value >= ours or name in ("commands", "errors"))
    return NodeWindow(
        node=after.node,
        seconds=seconds,
        counts=counts,
        cpu_seconds=_cpu(start, after.info),
        before=before.info,
        after=after.info,
        own=own,
        own_exact=own_exact,
        strangers=_strangers(before, after),
        event=event,
        commands=without(commands_between(start, after.info), asked),
        errors=_more(refused, errors_between(start, after.info)),
    )


def elapsed(before: NodeSample, after: NodeSample) -> float:
    """Return the seconds between two samples, never 0 or less.

    By the monotonic clock of one process; between processes by the server's clock, else by ours.
    """
    if before.clock is not None and after.clock is not None:
        return max(1e-6, after.clock - before.clock)
    then, now = number(before.info, "server_time_usec"), number(after.info, "server_time_usec")
    if then is not None and now is not None and now > then:
        return (now - then) / 1e6
    return max(1e-6, after.at - before.at)


def event_between(before: NodeSample, after: NodeSample, seconds: float) -> Event | None:
    """Return what befell the node between two samples, None for nothing."""
    old, new = before.info.get("run_id"), after.info.get("run_id")
    # Where a service hides the run id, a process that is younger than before tells.
    another = old != new if old and new else _uptime(after) < _uptime(before)
    if another:
        # uptime_in_seconds is cut to whole seconds.
        return Event.RESTARTED if _uptime(after) <= seconds + 1 else Event.REPLACED
    if was_reset(before.info, after.info):
        return Event.RESET
    roles = before.info.get("role"), after.info.get("role")
    if roles[0] != roles[1] and all(roles):
        return Event.DEMOTED if roles[1] == "slave" else Event.PROMOTED
    return None


def was_reset(before: Mapping[str, str], after: Mapping[str, str]) -> bool:
    """Return whether CONFIG RESETSTAT ran in between.

    A counter that went down tells; so does RESETSTAT's own entry in commandstats, the only one
    that survives it, when it is new or has another duration.
    """
    for info_field in FIELDS.values():
        was, is_ = number(before, info_field), number(after, info_field)
        if was is not None and is_ is not None and is_ < was:
            return True
    then, now = (command_counts(info).get(_RESET_CALL, CommandCount()) for info in (before, after))
    ran = (now.calls, now.usec) != (then.calls, then.usec)
    return ran and now.calls > 0 and bool(command_counts(before))


def number(info: Mapping[str, str], name: str) -> int | None:
    """Return a field as a non-negative integer; None when it is absent or makes no sense."""
    try:
        value = int(info[name])
    except (KeyError, ValueError):
        return None
    return value if value >= 0 else None


def decimal(info: Mapping[str, str], name: str) -> float | None:
    """Return a field as a non-negative number; None when it is absent or makes no sense."""
    try:
        value = float(info[name])
    except (KeyError, ValueError):
        return None
    return value if value >= 0 else None


def command_counts(info: Mapping[str, str]) -> dict[str, CommandCount]:
    """Return commandstats: name → counts. Empty where the server keeps none."""
    found = {}
    for name, line in info.items():
        if name.startswith("cmdstat_"):
            values = dict(pair.partition("=")[::2] for pair in line.split(","))
            found[name.removeprefix("cmdstat_")] = CommandCount(
                calls=number(values, "calls") or 0,
                usec=number(values, "usec") or 0,
                rejected=number(values, "rejected_calls") or 0,
                failed=number(values, "failed_calls") or 0,
            )
    return found


def commands_between(
    before: Mapping[str, str], after: Mapping[str, str]
) -> dict[str, CommandCount]:
    """Return name → what was called in between; commands that were not are left out."""
    then = command_counts(before)
    none = CommandCount()
    differences = {
        name: counts.since(then.get(name, none)) for name, counts in command_counts(after).items()
    }
    return {name: counts for name, counts in differences.items() if counts != none}


def without(
    commands: Mapping[str, CommandCount], asked: Mapping[str, int]
) -> dict[str, CommandCount]:
    """Return the commands without what the measuring itself has sent: its calls, their usual time.

    asked: name → calls. Servers before 7.0 do not tell subcommands apart: `client`, not
    `client|list`.
    """
    left = dict(commands)
    for name, calls in asked.items():
        known = name if name in left else name.partition("|")[0]
        if (all_ := left.pop(known, None)) is None:
            continue
        rest = max(0, all_.calls - calls)
        if rest or all_.rejected or all_.failed:
            usec = round(all_.usec * rest / all_.calls) if all_.calls else 0
            left[known] = CommandCount(rest, usec, all_.rejected, all_.failed)
    return left


def _more(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """Return by how much each count is greater; those that are not are left out."""
    more = {name: after.get(name, 0) - before.get(name, 0) for name in (*before, *after)}
    return {name: count for name, count in more.items() if count > 0}


def errors_between(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, int]:
    """Return kind of error (`WRONGTYPE`) → how many in between."""
    found = {}
    for name in after:
        if name.startswith("errorstat_"):
            count = _error_count(after, name) - _error_count(before, name)
            if count > 0:
                found[name.removeprefix("errorstat_")] = count
    return found


def _error_count(info: Mapping[str, str], name: str) -> int:
    return number({"count": info.get(name, "").partition("count=")[2]}, "count") or 0


def _difference(before: Mapping[str, str], after: Mapping[str, str], name: str) -> int | None:
    now = number(after, name)
    return None if now is None else max(0, now - (number(before, name) or 0))


def _cpu(before: Mapping[str, str], after: Mapping[str, str]) -> float | None:
    now = [decimal(after, name) for name in _CPU]
    if None in now:
        return None
    then = sum(decimal(before, name) or 0.0 for name in _CPU)
    return max(0.0, sum(value or 0.0 for value in now) - then)


def _uptime(sample: NodeSample) -> float:
    return number(sample.info, "uptime_in_seconds") or 0


def _own_between(
    before: NodeSample, after: NodeSample, event: Event | None
) -> tuple[OwnWork, bool]:
    """Return what our jobs added in between, and whether that is exact."""
    # Counts of ours are kept by run id: a process that is new has them from its start on.
    then = OwnWork() if event is Event.RESTARTED else before.own
    now = after.own
    own = OwnWork(
        max(0, now.hits - then.hits),
        max(0, now.misses - then.misses),
        max(0, now.commands - then.commands),
    )
    some = own.hits + own.misses > 0
    exact = now.settled and then.settled and now.lost == then.lost
    return own, exact and not (event is Event.RESET and some)


def _strangers(before: NodeSample, after: NodeSample) -> int | None:
    total = 0
    for address, commands in after.strangers.items():
        if commands is None:
            return None
        total += max(0, commands - (before.strangers.get(address) or 0))
    return total
