"""The looks of `top`: everything that is asked of a server, round after round, and put together."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from cachectl.cli.context import App
from cachectl.cli.stats import measuring, measuring_clients, measuring_latency, measuring_slow
from cachectl.cli.top.looking_events import Events
from cachectl.errors import AuthenticationError, CachectlError

if TYPE_CHECKING:
    from cachectl.analysis.health.live import Look
    from cachectl.analysis.traffic.clients import Group
    from cachectl.analysis.traffic.commandmix import CommandMix
    from cachectl.analysis.traffic.latency import CommandLatency
    from cachectl.analysis.traffic.slowest import SlowShape
    from cachectl.analysis.traffic.traffic import Traffic
    from cachectl.model.counters import NodeSample
    from cachectl.model.findings import Finding, Unavailable
    from cachectl.server.introspection.clients import ClientsOfNode
    from cachectl.server.introspection.latency import LatencyFacts
    from cachectl.server.topology.connect import Server

SLOW_EVERY = 5.0
"""Seconds between two readings of the log of slow commands, which may be long."""
FIRST = 0.5
"""Seconds until the first look, so that nobody sits before an empty screen."""
_REMEMBERED_TRIPS = 10.0


class Looker:
    """Looks at a server. Everything it does from one thread; `interrupt` from any.

    Questions that a login may not ask are asked once. Raises CachectlError from `look` when no
    node answers; the next look begins again where it can.
    """

    def __init__(self, app: App, server: Server) -> None:
        from cachectl.server.introspection.probes import Probes

        self._app = app
        self._server = server
        self._sampler = measuring.sampler_of(server, look_around=False)
        self._probes = Probes(server, self._sampler.asked)
        self._before: dict[str, NodeSample] = {}
        self._clients: dict[str, ClientsOfNode] = {}
        self._clients_at = 0.0
        self._latency: list[LatencyFacts] = []
        self._events = Events(server, self._sampler.asked.pipeline)
        self._slow: list[SlowShape] = []
        self._slow_gaps: list[Unavailable] = []
        self._slow_at: float | None = None
        self._trips: deque[tuple[float, list[float]]] = deque()

    def begin(self) -> None:
        """Take the samples that the first look compares with. Raises CachectlError."""
        self._probes.follow()
        self._latencies()
        with self._probes.held():
            self._before = {one.node: one for one in self._sampler.sample().nodes}

    def look(self) -> Look:
        """Return what happened since the last look. Raises CachectlError when nobody answers."""
        from cachectl.analysis.health.live import Look
        from cachectl.analysis.traffic.commandmix import command_mix
        from cachectl.analysis.traffic.latency import distribution

        self._probes.follow()
        with self._probes.held():
            after = self._sampler.sample()
        result = measuring.compare(list(self._before.values()), after, self._sampler)
        self._before.update((one.node, one) for one in after.nodes)
        mix = command_mix(result, self._sampler.kinds(()))
        latencies, gaps = self._latencies()
        worst, trips = self._round_trips()
        clients, client_findings, client_gaps = self._who(result)
        shapes = self._slow_shapes()
        events = self._events.window(result)
        return Look(
            at=self._app.terminal.now(),
            traffic=result,
            commands=mix.rows,
            latencies=latencies,
            trips=distribution(trips),
            worst=worst,
            clients=clients,
            own_clients=len(self._server.primaries) + len(self._further()),
            slow=shapes,
            events=events,
            why=self._events.why,
            kinds=self._events.kinds,
            findings=self._findings(result, mix, client_findings),
            unavailable=[*after.unavailable, *gaps, *client_gaps, *self._slow_gaps],
        )

    def interrupt(self) -> None:
        """Let a look that is under way fail now. Thread-safe."""
        for node in self._server.primaries:
            node.connection.interrupt()

    def close(self) -> None:
        """End the probes, and listen no more."""
        self._probes.close()
        self._events.close()

    # Parts of a look

    def _latencies(self) -> tuple[dict[str, CommandLatency], list[Unavailable]]:
        facts, gaps = measuring_latency.read_facts(self._server, self._sampler.asked.pipeline)
        found = measuring_latency.commands_between(self._latency, facts) or []
        self._latency = facts
        return {one.name: one for one in found}, gaps

    def _round_trips(self) -> tuple[float | None, list[float]]:
        """Return the longest since the last look, and all of the last seconds."""
        from cachectl.analysis.traffic.latency import without_delays

        new = without_delays(*self._probes.take())
        now = time.monotonic()
        self._trips.append((now, new))
        while self._trips[0][0] < now - _REMEMBERED_TRIPS:
            self._trips.popleft()
        return max(new, default=None), [trip for _, trips in self._trips for trip in trips]

    def _who(self, result: Traffic) -> tuple[list[Group], list[Finding], list[Unavailable]]:
        from cachectl.analysis.traffic.clients import findings
        from cachectl.model.findings import Unavailable
        from cachectl.server.introspection.stats import MAX_LISTED

        connected = result.gauges.connected_clients or 0
        if connected > MAX_LISTED * len(result.nodes):
            reason = f"listing {connected:,} clients again and again would cost the server too much"
            remedy = "cachectl stats clients lists them once"
            return [], [], [Unavailable("who is connected", reason, remedy)]
        before, since = self._clients, self._clients_at
        try:
            after, gaps = measuring_clients.look(self._server, self._sampler.asked.pipeline)
        except CachectlError as error:
            return [], [], [Unavailable("who is connected", error.message, error.hint)]
        after = {name: _without(one, self._further()) for name, one in after.items()}
        self._clients, self._clients_at = after, time.monotonic()
        seconds = self._clients_at - since if before else 0.0
        nodes = measuring_clients.node_clients(before, after, seconds)
        groups = measuring_clients.groups_between(before or after, after, "name")
        return groups, [finding for node in nodes for finding in findings(node)], gaps

    def _further(self) -> frozenset[str]:
        """Return where we connect from besides."""
        return self._probes.addresses | self._events.addresses

    def _slow_shapes(self) -> list[SlowShape]:
        from cachectl.analysis.traffic.slowest import slow_shapes

        now = time.monotonic()
        if self._slow_at is None or now - self._slow_at >= SLOW_EVERY:
            logs, gaps = measuring_slow.read_logs(self._server, self._sampler.asked.pipeline)
            self._slow = slow_shapes(entry for log in logs for entry in log.entries)
            self._slow_gaps, self._slow_at = gaps, now
        return self._slow

    def _findings(
        self, result: Traffic, mix: CommandMix, of_clients: Sequence[Finding]
    ) -> list[Finding]:
        from cachectl.analysis.traffic import commandmix, traffic

        found = [
            *traffic.findings(result, measuring.limits_of(self._app)),
            *of_clients,
            *commandmix.findings(mix),
        ]
        # Both ways of looking at clients notice that some are turned away.
        known = {(one.title, one.subject): one for one in reversed(found)}
        return sorted(known.values(), key=lambda one: (-one.severity, one.id, one.subject or ""))


def _without(one: ClientsOfNode, addresses: frozenset[str]) -> ClientsOfNode:
    """Return the clients of a node without our own further connections to it."""
    return replace(one, clients=tuple(c for c in one.clients if c.address not in addresses))


class Worker:
    """Looks from a thread of its own, every so many seconds, and puts what it saw in a queue.

    deliver: called after each, from that thread. A CachectlError in the queue is a look that
    failed; any other exception, and a refused login, ends the work.
    """

    def __init__(self, looker: Looker, every: float, deliver: Callable[[], None]) -> None:
        self.results: queue.SimpleQueue[Look | BaseException] = queue.SimpleQueue()
        self._looker = looker
        self._every = every
        self._deliver = deliver
        self._stopping = threading.Event()
        self._going = threading.Event()
        self._going.set()
        self._thread = threading.Thread(target=self._run, name="looks", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def pause(self, paused: bool) -> None:
        """Ask nothing until it is called with False."""
        if paused:
            self._going.clear()
        else:
            self._going.set()

    def stop(self) -> None:
        """End, at once."""
        self._stopping.set()
        self._going.set()
        self._looker.interrupt()
        self._thread.join(1.0)
        self._looker.close()

    def _run(self) -> None:
        due = time.monotonic() + min(self._every, FIRST)
        while not self._stopping.wait(max(0.0, due - time.monotonic())):
            self._going.wait()
            if self._stopping.is_set():
                return
            try:
                self.results.put(self._looker.look())
            except BaseException as error:
                self.results.put(error)
                fatal = not isinstance(error, CachectlError)
                if fatal or isinstance(error, AuthenticationError):
                    return
            finally:
                self._deliver()
            due = max(due + self._every, time.monotonic())
