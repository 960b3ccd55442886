"""Emptying a database: a command of its own, for it keeps nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from cachectl.actions.planning.guards import check_target
from cachectl.actions.trail import Trail
from cachectl.errors import PartialError, RefusedError
from cachectl.server.topology.handle import Server
from cachectl.server.transactions.locks import Lock
from cachectl.server.wire.resp import ReplyError


@dataclass(slots=True)
class FlushResult:
    """What was emptied: keys before, by node; notes for people."""

    nodes: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)


def flush(server: Server, trail: Trail) -> FlushResult:
    """Remove every key of the database, in the background of each node.

    Protected globs refuse it altogether: there is no flushing around them. Raises RefusedError.
    """
    check_target(server)
    if server.target.protected:
        raise RefusedError(
            f"the profile {server.target.name} protects keys, so its database can't be emptied",
            hint="remove the others with: cachectl invalidate --all --not match=…",
            target=server.target.name,
        )
    result = FlushResult()
    begun = time.monotonic()
    facts = {"server": server.target.name, "database": server.target.database}
    with Lock(server, "flush"):
        for node in server.primaries:
            keys = node.connection.call("DBSIZE")
            try:
                node.connection.call("FLUSHDB", "ASYNC")
            except ReplyError as error:
                trail.record(server, "stopped", facts, {"error": error.text, **result.nodes})
                done = f", and {', '.join(result.nodes)} were" if result.nodes else ""
                kind = PartialError if done else RefusedError
                raise kind(
                    f"{node.name} was not emptied{done}: {error.text}", target=node.name
                ) from error
            result.nodes[node.name] = keys
    result.seconds = time.monotonic() - begun
    result.notes += trail.record(server, "flush", facts, result.nodes)
    return result
