"""What `stats hotkeys` does: by the best method that the server has, or the one that was named."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from cachectl.cli.context import App
from cachectl.cli.stats import measuring
from cachectl.errors import CachectlError, PermissionDeniedError, RefusedError

if TYPE_CHECKING:
    from threading import Event

    from cachectl.analysis.traffic.hotkeys import HotKey, MonitorPlan
    from cachectl.analysis.traffic.traffic import NodeTraffic, Traffic
    from cachectl.model.findings import Unavailable
    from cachectl.output.report import Report
    from cachectl.server.introspection.hotkeys import KeyRanking
    from cachectl.server.introspection.monitor import MonitoredBurst
    from cachectl.server.topology.connect import Node, Server

T = TypeVar("T")

SAMPLE = 50_000
"""Keys whose LFU counters are read; of twice as many keys, all are."""


@dataclass(slots=True)
class Found:
    """What a method has found. method: its name; how: it and its error, in words."""

    method: str
    how: str
    keys: list[HotKey]
    unavailable: list[Unavailable] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    interruption: KeyboardInterrupt | None = None
    partial: bool = False


def measure(
    app: App, server: Server, method: str, seconds: float, limit: int | None
) -> tuple[Report, KeyboardInterrupt | None]:
    """Return the report, and the Ctrl-C that ended it early."""
    from cachectl.analysis.traffic.hotkeys import findings
    from cachectl.views.stats.hotkeys import hotkeys_report

    found = _find(app, server, method, seconds)
    report = hotkeys_report(
        found.keys,
        server.facts,
        method=found.method,
        how=found.how,
        limit=limit,
        findings=findings(found.keys),
        unavailable=[*server.unavailable, *found.unavailable],
        notes=found.notes,
        partial=found.partial or found.interruption is not None or bool(server.unavailable),
    )
    return report, found.interruption


def _find(app: App, server: Server, method: str, seconds: float) -> Found:
    gaps: list[Unavailable] = []
    if method in ("auto", "hotkeys"):
        found = _by_server(server, seconds)
        if found.keys or method == "hotkeys":
            if not found.keys and found.unavailable:
                raise _refused(found.unavailable[0])
            return found
        gaps = found.unavailable
    if method == "lfu" or (method == "auto" and _keeps_frequencies(server)):
        return _by_frequency(app, server)
    found = _by_monitor(app, server, seconds)
    # Only of interest where the better method would have been there.
    found.unavailable += [gap for gap in gaps if gap.remedy and "came with" not in gap.remedy]
    return found


def _refused(gap: Unavailable) -> RefusedError:
    where = f" on {gap.node}" if gap.node else ""
    kind = PermissionDeniedError if gap.remedy and "ACL" in gap.remedy else RefusedError
    return kind(f"not available{where}: {gap.what}: {gap.reason}", hint=gap.remedy, target=gap.node)


# --- HOTKEYS --------------------------------------------------------------------------------------


def _by_server(server: Server, seconds: float) -> Found:
    from threading import Event

    from cachectl.analysis.traffic.hotkeys import ranked
    from cachectl.server.introspection.hotkeys import KeyRanking, NoHotkeysError, hotkeys

    over = Event()
    rankings: list[KeyRanking] = []
    gaps: list[Unavailable] = []

    def one(node: Node) -> KeyRanking | Unavailable:
        try:
            with server.new_connection(node) as connection:
                rate = _rate_of(node.info)
                return hotkeys(node, connection, seconds, rate, lambda: over.wait(seconds))
        except NoHotkeysError as error:
            return error.gap

    calls = [partial(one, node) for node in server.primaries]
    results, interruption = _all_at_once(calls, over)
    for result in results:
        if isinstance(result, CachectlError):
            raise result
        if isinstance(result, KeyRanking):
            rankings.append(result)
        else:
            gaps.append(result)
    return Found(
        "hotkeys",
        _how_of_server(rankings),
        ranked(rankings),
        gaps,
        [
            f"{one.node}: somebody else had begun to count; what they have is shown"
            for one in rankings
            if one.foreign
        ],
        interruption,
        bool(gaps) and bool(rankings),
    )


def _how_of_server(rankings: list[KeyRanking]) -> str:
    sampled = min((one.sampled for one in rankings), default=1.0)
    looked = "of every access" if sampled >= 1 else f"of 1 access in {1 / sampled:,.0f}"
    return f"HOTKEYS: the server's own counts {looked}; keys that are little used are approximate"


def _rate_of(info: Mapping[str, str]) -> float:
    from cachectl.analysis.traffic.counters import number

    return float(number(info, "instantaneous_ops_per_sec") or 0)


def _all_at_once(
    calls: Sequence[Callable[[], T]], over: Event
) -> tuple[list[T | CachectlError], KeyboardInterrupt | None]:
    """Run all calls in threads; a Ctrl-C tells them that the time is over, and waits for them."""
    from threading import Thread

    from cachectl.server.topology.parallel import run_all

    results: list[T | CachectlError] = []
    thread = Thread(target=lambda: results.extend(run_all(calls)), daemon=True)
    thread.start()
    interruption = None
    while thread.is_alive():
        try:
            thread.join(0.2)
        except KeyboardInterrupt as caught:
            interruption = caught
            over.set()
    return results, interruption


# --- LFU ------------------------------------------------------------------------------------------


def _keeps_frequencies(server: Server) -> bool:
    return all("lfu" in (node.facts.policy or "") for node in server.primaries)


def _by_frequency(app: App, server: Server) -> Found:
    from cachectl.analysis.traffic.hotkeys import LFU_TOP, by_frequency
    from cachectl.server.scanning.columns import Field
    from cachectl.server.scanning.sample import sample
    from cachectl.server.scanning.scan_types import ScanRequest

    if not _keeps_frequencies(server):
        policy = server.primaries[0].facts.policy or "not known"
        raise RefusedError(
            f"the server keeps no frequencies: its policy is {policy}",
            hint="--method monitor watches commands; an LFU policy (maxmemory-policy) keeps them",
            target=server.target.name,
        )
    factor, decay = _lfu_settings(server)
    with app.progress("reading frequencies", unit="") as progress:
        progress.update(0, None)
        drawn = sample(server, SAMPLE, ScanRequest(fields=frozenset({Field.FREQ})))
    seen = drawn.drawn / drawn.size if drawn.size else 1.0
    all_or_some = (
        "of all keys"
        if seen >= 1
        else f"of {drawn.drawn:,} keys: any one was looked at with a chance of {seen:.0%}"
    )
    keys = by_frequency(drawn.pages, factor)
    notes = list(drawn.errors)
    if own := drawn.hits + drawn.misses:
        notes.append(f"{own:,} look-ups of our own are in the server's hits and misses")
    if full := sum(one.frequency == LFU_TOP for one in keys):
        notes.append(f"{full:,} counters are full (255): those keys were accessed more than shown")
    return Found(
        "lfu",
        f"LFU counters {all_or_some}; intervals are of 95 %, and what is not accessed fades by a "
        f"step every {decay} min",
        keys,
        list(drawn.unavailable),
        notes,
        partial=bool(drawn.errors),
    )


def _lfu_settings(server: Server) -> tuple[int, int]:
    """Return lfu-log-factor and lfu-decay-time; their defaults where they may not be read."""
    from cachectl.server.wire.resp import ReplyError, as_dict, as_int

    reply = server.primaries[0].connection.pipeline([("CONFIG", "GET", "lfu-*")])[0]
    known = {} if isinstance(reply, ReplyError) else as_dict(reply)
    factor, decay = as_int(known.get("lfu-log-factor")), as_int(known.get("lfu-decay-time"))
    return 10 if factor is None else factor, 1 if decay is None else decay


# --- MONITOR --------------------------------------------------------------------------------------


def _by_monitor(app: App, server: Server, seconds: float) -> Found:
    from cachectl.analysis.traffic.hotkeys import BURST, monitored

    sampler = measuring.sampler_of(server, look_around=False)
    before = sampler.sample().nodes
    if (interruption := measuring.wait(app, 1.0)) is not None:
        raise interruption
    now = measuring.compare(before, sampler.sample(), sampler)
    plans = _plans(server, now, seconds)
    bursts: list[MonitoredBurst] = []
    interruption = None
    try:
        with app.progress("watching commands", unit="%") as progress:
            for number in range(most := max(plan.bursts for plan in plans.values())):
                due = time.monotonic() + seconds / most
                bursts += _bursts(server, plans, number, BURST)
                progress.update(100 * (number + 1) / most, 100)
                if any(one.overrun for one in bursts):
                    break
                time.sleep(max(0.0, due - time.monotonic()))
    except KeyboardInterrupt as caught:
        interruption = caught
    commands = sum(len(one.commands) for one in bursts)
    watched = sum(one.seconds for one in bursts)
    cost = max(plan.cost for plan in plans.values())
    notes = []
    if any(one.overrun for one in bursts):
        notes.append("ended early: the server had to keep more than 1 MiB for us")
    return Found(
        "monitor",
        f"MONITOR for {watched:.2f} s in {len(bursts)} bursts, {commands:,} commands seen; it was "
        f"to cost {cost:.1%} of a core; intervals are of 95 %",
        monitored(bursts),
        notes=notes,
        interruption=interruption,
        partial=bool(notes),
    )


def _bursts(
    server: Server, plans: dict[str, MonitorPlan], number: int, seconds: float
) -> list[MonitoredBurst]:
    """Watch every node whose plan has so many bursts, all at once."""
    from cachectl.analysis.naming.commandshape import key_positions
    from cachectl.server.introspection.monitor import NoMonitorError, burst
    from cachectl.server.topology.parallel import run_all

    def one(node: Node) -> MonitoredBurst:
        try:
            return burst(server, node, seconds, key_positions)
        except NoMonitorError as error:
            raise _refused(error.gap) from error

    nodes = [node for node in server.primaries if number < plans[node.name].bursts]
    found = []
    for result in run_all([partial(one, node) for node in nodes]):
        if isinstance(result, CachectlError):
            raise result
        found.append(result)
    return found


def _plans(server: Server, now: Traffic, seconds: float) -> dict[str, MonitorPlan]:
    """Predict what MONITOR costs each node. Raises RefusedError when it is too much for one."""
    plans = {}
    for one in now.nodes:
        plan = _plan(server, one, seconds)
        plans[one.window.node] = plan
        busy = one.totals.cpu or 0.0
        if not plan.allowed or busy + plan.burning > _MOST_BUSY:
            raise RefusedError(
                f"watching {one.window.node} by MONITOR would cost it {plan.cost:.0%} of a core "
                f"({plan.burning:.0%} during a burst, on top of {busy:.0%}), more than may be",
                hint="a longer --window spreads it; an LFU policy keeps frequencies without it; "
                "HOTKEYS (Redis 8.6, Valkey 9.2) counts in the server",
                target=one.window.node,
            )
    return plans


_MOST_BUSY = 0.95


def _plan(server: Server, node: NodeTraffic, seconds: float) -> MonitorPlan:
    from cachectl.analysis.traffic.hotkeys import plan_monitor

    counts = node.totals.counts
    rate = node.totals.rates.get("commands") or 0.0
    size = (counts.get("net_input_bytes") or 0) / max(1, counts.get("commands") or 1)
    version = next((one.facts for one in server.primaries if one.name == node.window.node), None)
    old = version is None or _is_before_7_2(version.flavour, version.version)
    return plan_monitor(rate, size, old=old, window=seconds)


def _is_before_7_2(flavour: str, version: str) -> bool:
    """Whether each byte of a command costs MONITOR a printf (redis#11725). Forks are younger."""
    if flavour == "valkey":
        return False
    numbers = [int(part) for part in version.split(".")[:2] if part.isdigit()]
    return len(numbers) < 2 or numbers < [7, 2]
