"""Which commands a server spends its time on, and which of them fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cachectl.analysis.traffic.counters import CommandCount
from cachectl.analysis.traffic.traffic import Traffic
from cachectl.model.findings import Finding, Severity

FAILING = 0.05
"""Share of the calls of one command above which its failures are worth a finding."""
MIN_CALLS = 20
SLOW_CALL = 0.010
"""Seconds of the server's time for one call: nobody else is served meanwhile."""
SLOW_SHARE = 0.05

BLOCKING = {
    "keys": "SCAN goes through the names in small steps",
    "flushall": "FLUSHALL ASYNC frees the memory in the background",
    "flushdb": "FLUSHDB ASYNC frees the memory in the background",
    "smembers": "SSCAN reads a large set in small steps",
    "hgetall": "HSCAN reads a large hash in small steps",
    "lrange": "read the list in ranges",
    "zrange": "read the sorted set in ranges",
    "sort": "sort in the application, or keep a sorted set",
    "del": "UNLINK frees the memory in the background",
    "monitor": "MONITOR costs more than half of the server's throughput",
    "debug": "DEBUG is not for production",
}


@dataclass(frozen=True, slots=True)
class CommandRow:
    """One command in a window.

    share, time_share: of all calls and of all the server's time, 0–1. seconds: of its time.
    per_call: seconds a call. rejected: before it ran, failed: while it ran.
    """

    name: str
    kind: str
    calls: int
    per_second: float
    share: float
    seconds: float
    time_share: float
    per_call: float | None
    rejected: int
    failed: int


@dataclass(frozen=True, slots=True)
class CommandMix:
    """All commands of a window, the most expensive first; errors: kind → how many."""

    seconds: float
    rows: tuple[CommandRow, ...]
    errors: Mapping[str, int]
    calls: int
    busy: float


def command_mix(result: Traffic, kinds: Mapping[str, str] | None, sort: str = "time") -> CommandMix:
    """Return the commands of a window. sort: time, calls, per-call, failures or name."""
    commands = result.commands
    calls = sum(one.calls for one in commands.values())
    usec = sum(one.usec for one in commands.values())
    rows = [
        _row(name, one, (kinds or {}).get(name, ""), result.totals.seconds, calls, usec)
        for name, one in commands.items()
    ]
    return CommandMix(
        result.totals.seconds,
        tuple(sorted(rows, key=_ORDERS[sort])),
        dict(sorted(result.errors.items(), key=lambda item: -item[1])),
        calls,
        usec / 1e6,
    )


_ORDERS = {
    "time": lambda row: (-row.seconds, -row.calls, row.name),
    "calls": lambda row: (-row.calls, row.name),
    "per-call": lambda row: (-(row.per_call or 0.0), row.name),
    "failures": lambda row: (-(row.failed + row.rejected), row.name),
    "name": lambda row: row.name,
}
SORTS = tuple(_ORDERS)


def _row(
    name: str, one: CommandCount, kind: str, seconds: float, calls: int, usec: int
) -> CommandRow:
    return CommandRow(
        name=name,
        kind=kind,
        calls=one.calls,
        per_second=one.calls / seconds if seconds > 0 else 0.0,
        share=one.calls / calls if calls else 0.0,
        seconds=one.usec / 1e6,
        time_share=one.usec / usec if usec else 0.0,
        per_call=one.usec / one.calls / 1e6 if one.calls else None,
        rejected=one.rejected,
        failed=one.failed,
    )


def findings(mix: CommandMix) -> list[Finding]:
    """Return the commands that fail often, and those that keep the others waiting."""
    found = []
    for row in mix.rows:
        bad = row.failed + row.rejected
        tried = row.calls + row.rejected
        if tried >= MIN_CALLS and bad / tried > FAILING:
            found.append(
                Finding(
                    "stats.failing_command",
                    Severity.WARNING,
                    f"{bad / tried:.0%} of the calls of {row.name.upper()} fail",
                    _evidence(row, mix.errors),
                    subject=row.name,
                )
            )
        blocks = row.per_call is not None and row.per_call >= SLOW_CALL
        if blocks and row.seconds >= SLOW_SHARE * mix.seconds:
            found.append(
                Finding(
                    "stats.blocking_command",
                    Severity.WARNING,
                    f"{row.name.upper()} blocks for {(row.per_call or 0) * 1e3:,.0f} ms a call",
                    f"{row.calls:,} calls took {row.seconds:.2f} s of {mix.seconds:.1f} s",
                    BLOCKING.get(row.name.partition("|")[0], "cachectl stats slow shows the calls"),
                    row.name,
                )
            )
    return found


def _evidence(row: CommandRow, errors: Mapping[str, int]) -> str:
    kinds: Sequence[str] = [f"{count:,} {kind}" for kind, count in list(errors.items())[:3]]
    of_all = f"; of all commands: {', '.join(kinds)}" if kinds else ""
    return (
        f"{row.failed:,} failed, {row.rejected:,} rejected of {row.calls + row.rejected:,}{of_all}"
    )
