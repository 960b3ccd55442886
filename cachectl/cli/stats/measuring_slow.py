"""What `stats slow` does: read the logs of all nodes, and group what is in them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from cachectl.cli.context import App
from cachectl.errors import CachectlError

if TYPE_CHECKING:
    from cachectl.model.findings import Unavailable
    from cachectl.output.report import Report
    from cachectl.server.introspection.asked import Ask
    from cachectl.server.introspection.slowlog import SlowLog
    from cachectl.server.topology.connect import Server


def read(app: App, server: Server, seconds: float | None, limit: int | None) -> Report:
    """Return the report of what was logged in the last `seconds` (None: all that is there)."""
    from cachectl.analysis.traffic.slowest import findings, slow_shapes
    from cachectl.server.clock import ServerClock
    from cachectl.views.stats.slow import slow_report

    logs, gaps = read_logs(server)
    now = ServerClock.of(server.primaries[0].connection).now() / 1000
    since = 0.0 if seconds is None else now - seconds
    entries = [entry for log in logs for entry in log.entries if entry.at >= since]
    shapes = slow_shapes(entries)
    return slow_report(
        shapes,
        server.facts,
        entries=len(entries),
        thresholds=[
            (log.node, why, least) for log in logs for why, least in log.thresholds.items()
        ],
        limit=limit,
        findings=findings(shapes, limit=app.target.thresholds.latency_p99, now=now),
        unavailable=[*server.unavailable, *gaps],
        notes=_notes(logs),
        partial=bool(gaps) or bool(server.unavailable),
    )


def read_logs(server: Server, ask: Ask | None = None) -> tuple[list[SlowLog], list[Unavailable]]:
    """Return the logs of each node, and what could not be had."""
    from cachectl.model.findings import Unavailable
    from cachectl.server.introspection.asked import plainly
    from cachectl.server.introspection.slowlog import slow_log
    from cachectl.server.topology.parallel import run_all

    nodes = server.primaries
    results = run_all([partial(slow_log, node, ask or plainly) for node in nodes])
    logs, gaps = [], []
    for node, result in zip(nodes, results, strict=True):
        if isinstance(result, CachectlError):
            gaps.append(Unavailable("slow commands", result.message, result.hint, node.name))
        else:
            logs.append(result)
            gaps += result.unavailable
    return logs, gaps


def _notes(logs: list[SlowLog]) -> list[str]:
    notes = []
    for log in logs:
        least = log.thresholds.get("slow")
        if least is not None and least < 0:
            notes.append(f"{log.node} logs no slow commands: its threshold is negative")
        notes += [
            f"the log of {log.node} ({why}) is full: what was before its oldest entry is gone"
            for why in sorted(log.full)
        ]
    return notes
