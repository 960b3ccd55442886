"""What `stats latency` does: probes that run while the server's histograms are read twice."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from cachectl.cli.context import App
from cachectl.cli.stats import measuring
from cachectl.errors import CachectlError

if TYPE_CHECKING:
    from cachectl.analysis.traffic.latency import CommandLatency, Counts
    from cachectl.model.findings import Finding, Unavailable
    from cachectl.output.report import Report
    from cachectl.server.introspection.asked import Ask
    from cachectl.server.introspection.latency import LatencyFacts, Probe
    from cachectl.server.topology.connect import Server
    from cachectl.views.stats.latency import ProbeView


def measure(
    app: App, server: Server, seconds: float, limit: int | None
) -> tuple[Report, KeyboardInterrupt | None]:
    """Measure for so long; a Ctrl-C ends it early. Raises CannotConnectError."""
    from cachectl.analysis.traffic.latency import bins, command_findings
    from cachectl.views.stats.latency import EventView, latency_report

    before, _ = read_facts(server)
    with probing(server) as probes:
        begun = time.monotonic()
        interruption = measuring.wait(app, seconds)
    took = time.monotonic() - begun
    after, errors = read_facts(server)
    gaps = [*server.unavailable, *errors, *_gaps(after, probes)]
    commands = commands_between(before, after)
    found, views, trips = judged(app, probes, after)
    report = latency_report(
        views,
        bins(trips),
        commands,
        [
            EventView(facts.node, event.name, event.at, event.latest, event.worst)
            for facts in after
            for event in facts.events
        ],
        server.facts,
        seconds=took,
        limit=limit,
        findings=[
            *found,
            *command_findings(commands or (), limit=app.target.thresholds.latency_p99),
        ],
        unavailable=gaps,
        notes=_notes(after, views),
        partial=interruption is not None or bool(errors) or bool(server.unavailable),
    )
    return report, interruption


@contextmanager
def probing(server: Server) -> Iterator[list[Probe]]:
    """Measure round trips to every primary for the body of a `with`."""
    from cachectl.server.introspection.latency import Probe

    probes: list[Probe] = []
    try:
        probes += [Probe(server, node) for node in server.primaries]
        for probe in probes:
            probe.start()
        yield probes
    finally:
        for probe in probes:
            probe.stop()


def read_facts(
    server: Server, ask: Ask | None = None
) -> tuple[list[LatencyFacts], list[Unavailable]]:
    """Return histograms and events of each node, and what could not be had."""
    from cachectl.model.findings import Unavailable
    from cachectl.server.introspection.asked import plainly
    from cachectl.server.introspection.latency import latency_facts
    from cachectl.server.topology.parallel import run_all

    nodes = server.primaries
    results = run_all([partial(latency_facts, node, ask or plainly) for node in nodes])
    facts, gaps = [], []
    for node, result in zip(nodes, results, strict=True):
        if isinstance(result, CachectlError):
            gaps.append(Unavailable("latency", result.message, result.hint, node.name))
        else:
            facts.append(result)
    return facts, gaps


def commands_between(
    before: Sequence[LatencyFacts], after: Sequence[LatencyFacts]
) -> list[CommandLatency] | None:
    """Return the commands of all nodes together; None where no node keeps histograms."""
    from cachectl.analysis.traffic.latency import added, command_latencies

    if not any(facts.histograms for facts in after):
        return None
    earlier = {facts.node: facts for facts in before}
    both = [(earlier[facts.node], facts) for facts in after if facts.node in earlier]
    return command_latencies(
        added([_counts(one) for one, _ in both]), added([_counts(one) for _, one in both])
    )


def _counts(facts: LatencyFacts) -> dict[str, Counts]:
    return {name: one.counts for name, one in facts.histograms.items()}


def judged(
    app: App, probes: Sequence[Probe], facts: Sequence[LatencyFacts]
) -> tuple[list[Finding], list[ProbeView], list[float]]:
    """Return findings, one view a node, and the round trips of all."""
    from cachectl.analysis.traffic.latency import (
        Distribution,
        distribution,
        findings,
        without_delays,
    )
    from cachectl.views.stats.latency import ProbeView

    events = {one.node: one.events for one in facts}
    found, views, trips = [], [], []
    for probe in probes:
        clean = without_delays(probe.trips, probe.delays)
        own = distribution(probe.delays) if probe.delays else None
        view = ProbeView(probe.node, distribution(clean), own, distribution(probe.late))
        found += findings(
            probe.node,
            view.trips,
            own or Distribution(0),
            events.get(probe.node, ()),
            limit=app.target.thresholds.latency_p99,
            now=app.terminal.now(),
        )
        views.append(view)
        trips += clean
    return found, views, trips


def _gaps(facts: Sequence[LatencyFacts], probes: Sequence[Probe]) -> list[Unavailable]:
    from cachectl.model.findings import Unavailable
    from cachectl.server.scanning.scan_types import merged

    gaps = merged([list(one.unavailable) for one in facts])
    return gaps + [
        Unavailable("round trips to the end", probe.error.message, probe.error.hint, probe.node)
        for probe in probes
        if probe.error is not None
    ]


def _notes(facts: Sequence[LatencyFacts], views: Sequence[ProbeView]) -> list[str]:
    notes = []
    if any(view.own is None for view in views):
        notes.append(
            "this system does not say how long a thread waits for a CPU: round trips may contain "
            "delays of this machine"
        )
    if any(one.threshold == 0 for one in facts):
        notes.append(
            "the server notes no latency events: CONFIG SET latency-monitor-threshold 100 does"
        )
    return notes
