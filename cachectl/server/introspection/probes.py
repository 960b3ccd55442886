"""Probes of all primaries that go on for as long as a live screen is looked at."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from cachectl.errors import CachectlError
from cachectl.server.introspection.asked import Asked
from cachectl.server.introspection.latency import Probe
from cachectl.server.topology.handle import Server
from cachectl.server.topology.node import Node

INTERVAL = 0.05
"""Seconds between two probes of a node: measured, 20 PINGs a second take 0.03 % of a core."""


class Probes:
    """One probe a primary; one that was lost is begun again. From one thread.

    asked: counts what they send.
    """

    def __init__(self, server: Server, asked: Asked, interval: float = INTERVAL) -> None:
        self._server = server
        self._asked = asked
        self._interval = interval
        self._probes: dict[str, Probe] = {}
        self._counted: dict[str, int] = {}

    def follow(self) -> None:
        """Probe the primaries that there are now. A node that can't be reached has none."""
        nodes = {node.name: node for node in self._server.primaries}
        for name, probe in list(self._probes.items()):
            if name not in nodes or probe.error is not None:
                self._probes.pop(name).stop()
        for name, node in nodes.items():
            if name not in self._probes:
                self._begin(name, node)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let no PING be under way in the block, and have those up to then counted."""
        with contextlib.ExitStack() as stack:
            for name, probe in self._probes.items():
                stack.enter_context(probe.held())
                new = probe.sent - self._counted[name]
                self._asked.of(name).calls["ping"] += new
                self._counted[name] = probe.sent
            yield

    def take(self) -> tuple[list[float], list[float]]:
        """Return (trips, delays) of all nodes since the last call, in seconds."""
        trips: list[float] = []
        delays: list[float] = []
        for probe in self._probes.values():
            some, waits = probe.take()
            trips += some
            delays += waits
        return trips, delays

    @property
    def addresses(self) -> frozenset[str]:
        """Where the probes connect from, as CLIENT LIST shows it."""
        return frozenset(probe.address for probe in self._probes.values())

    def close(self) -> None:
        """End all of them."""
        for probe in self._probes.values():
            probe.stop()
        self._probes.clear()

    def _begin(self, name: str, node: Node) -> None:
        try:
            probe = Probe(self._server, node, self._interval)
        except CachectlError:
            return  # whoever samples the node says why
        self._probes[name] = probe
        self._counted[name] = 0
        self._asked.opened(name, probe.opening)
        probe.start()
