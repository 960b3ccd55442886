"""What `evictions` does: counters, memory and events of one window, then a sample of keys."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cachectl.cli.context import App
from cachectl.cli.stats import measuring, notifying
from cachectl.errors import CachectlError, RefusedError

if TYPE_CHECKING:
    from cachectl.analysis.events.evictions import AgeSample, MemoryReading, NodePressure
    from cachectl.analysis.events.keyevents import EventWindow
    from cachectl.analysis.events.regret import RegretTracker
    from cachectl.cli.stats.notifying import Heard
    from cachectl.model.events import EventBatch
    from cachectl.model.findings import Unavailable
    from cachectl.output.report import Report
    from cachectl.server.topology.connect import Server

SAMPLE = 2000
"""Keys whose idle time or frequency is read."""
REGRETTED, YOUNG = "regretted", "young"
_STEPS = 20
_LEAST_STEP = 0.1


@dataclass(slots=True)
class _Watched:
    """What a window has brought. events: None where none are published."""

    events: EventWindow | None = None
    readings: dict[str, list[MemoryReading]] = field(default_factory=dict)
    interruption: KeyboardInterrupt | None = None


def measure(
    app: App, server: Server, seconds: float, limit: int | None, asked: Mapping[str, Any]
) -> tuple[Report, KeyboardInterrupt | None]:
    """Return the report. asked: enable, yes and confirm of the command line."""
    from cachectl.analysis.events.eviction_advice import findings, settings_to_look_at
    from cachectl.analysis.events.keyevents import Kind
    from cachectl.analysis.events.regret import RegretTracker
    from cachectl.views.stats.evictions import EvictionFacts, evictions_report

    sampler = measuring.sampler_of(server, look_around=False)
    tracker = RegretTracker()
    gaps: list[Unavailable] = []
    heard: Heard | None = None
    with ExitStack() as stack:
        try:
            kinds = (Kind.EVICTED, Kind.MISSED, Kind.NEW)
            labels = (REGRETTED, YOUNG)
            heard = stack.enter_context(notifying.heard(app, server, kinds, labels=labels, **asked))
        except RefusedError as error:
            if asked["enable"]:
                raise
            gaps.append(_no_events(error))
        if heard is not None:
            heard.also = _follow(heard, tracker)
        before = sampler.sample().nodes
        watched = _watch(app, server, heard, seconds)
        after = sampler.sample()
    traffic = measuring.compare(before, after, sampler)
    ages, own = _ages(server, gaps)
    starts = {one.node: one.info for one in before}
    nodes = [
        _pressure(server, one.node, starts.get(one.node, {}), one.info, watched, traffic)
        for one in after.nodes
    ]
    known: frozenset[Kind] = frozenset()
    if heard is not None and watched.events is not None:
        known = frozenset(heard.known(watched.events))
    events = watched.events if Kind.EVICTED in known else None
    regret = tracker.result() if known >= {Kind.EVICTED, Kind.MISSED} else None
    if heard is not None:
        gaps += heard.unavailable
    report = evictions_report(
        EvictionFacts(nodes, ages, traffic.totals.seconds, regret, events, known, own),
        settings_to_look_at(nodes, ages, regret),
        server.facts,
        limit=limit,
        findings=findings(nodes, ages, regret),
        unavailable=[*after.unavailable, *gaps],
        notes=heard.notes if heard else [],
        partial=watched.interruption is not None or bool(after.unavailable),
    )
    if heard is not None:
        heard.finish(report)
    return report, watched.interruption


def _no_events(error: CachectlError) -> Unavailable:
    from cachectl.model.findings import Unavailable

    return Unavailable("evictions by namespace, and regret", error.message, error.hint)


def _follow(heard: Heard, tracker: RegretTracker) -> Any:
    def follow(batch: EventBatch) -> None:
        regretted, young = tracker.add(batch.names, batch.keys, time.monotonic())
        heard.tally.label(REGRETTED, regretted)
        heard.tally.label(YOUNG, young)

    return follow


def _watch(app: App, server: Server, heard: Heard | None, seconds: float) -> _Watched:
    """Read the memory of every node at even distances, and listen between; Ctrl-C ends it."""
    found = _Watched()
    step = max(_LEAST_STEP, seconds / _STEPS)
    begun = time.monotonic()
    try:
        _read_memory(server, found.readings)
        with app.progress("watching", unit="%") as progress:
            while (left := begun + seconds - time.monotonic()) > 0:
                if heard is None:
                    time.sleep(min(step, left))
                else:
                    heard.listen(min(step, left))
                _read_memory(server, found.readings)
                progress.update(100 * (1 - max(0.0, left - step) / seconds), 100)
    except KeyboardInterrupt as caught:
        found.interruption = caught
    if heard is not None:
        found.events = heard.end()
    return found


def _read_memory(server: Server, readings: dict[str, list[MemoryReading]]) -> None:
    from cachectl.analysis.events.evictions import MemoryReading, counted_memory
    from cachectl.server.topology.connect import read_info
    from cachectl.server.wire.resp import ReplyError

    for node in server.primaries:
        try:
            used = counted_memory(read_info(node.connection, "memory"))
        except (CachectlError, ReplyError):
            continue  # the sample at the end looks for whoever is gone
        readings.setdefault(node.name, []).append(MemoryReading(time.monotonic(), used))


def _pressure(
    server: Server,
    node: str,
    before: Mapping[str, str],
    after: Mapping[str, str],
    watched: _Watched,
    traffic: Any,
) -> NodePressure:
    from cachectl.analysis.events.evictions import node_pressure
    from cachectl.analysis.events.keyevents import Kind

    window = next((one.window for one in traffic.nodes if one.window.node == node), None)
    evicted = window.counts.get("evicted") if window else None
    seconds = window.seconds if window else 0.0
    if watched.events is not None:
        # INFO at exactly the ends of the events' window, so that namespaces add up to it.
        told = next((one for one in watched.events.nodes if one.node == node), None)
        if told is not None and Kind.EVICTED in told.counted:
            evicted, seconds = told.counted[Kind.EVICTED], watched.events.seconds
    readings = watched.readings.get(node, [])
    settings = _settings(server, node)
    return node_pressure(node, before, after, readings, evicted or 0, seconds, settings)


def _settings(server: Server, name: str) -> dict[str, str]:
    """Return the settings that decide about evictions; none where they may not be read."""
    from cachectl.server.wire.resp import ReplyError, as_dict, as_text

    node = next((one for one in server.primaries if one.name == name), None)
    if node is None:
        return {}
    wanted = ("maxmemory*", "lfu-*", "lazyfree-lazy-eviction", "active-expire-effort")
    try:
        replies = node.connection.pipeline([("CONFIG", "GET", one) for one in wanted])
    except CachectlError:
        return {}
    return {
        setting: as_text(value)
        for reply in replies
        if not isinstance(reply, ReplyError)
        for setting, value in as_dict(reply).items()
    }


def _ages(server: Server, gaps: list[Unavailable]) -> tuple[AgeSample, int]:
    """Return what a sample of keys says of their ages, and the look-ups that it took."""
    from cachectl.analysis.estimates.intervals import Stratum
    from cachectl.analysis.events.evictions import AgeSample, age_sample
    from cachectl.model.findings import Unavailable
    from cachectl.server.scanning.columns import Field
    from cachectl.server.scanning.sample import sample
    from cachectl.server.scanning.scan_types import ScanRequest

    request = ScanRequest(fields=frozenset({Field.IDLE, Field.FREQ}))
    try:
        drawn = sample(server, SAMPLE, request)
    except CachectlError as error:
        gaps.append(Unavailable("ages of keys", error.message, error.hint))
        return AgeSample(), 0
    gaps += [gap for gap in drawn.unavailable if gap not in server.unavailable]
    strata = {one.node: Stratum(one.size, one.drawn) for one in drawn.nodes}
    return age_sample(drawn.pages, strata), drawn.hits + drawn.misses
