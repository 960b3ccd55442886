"""Connecting as a test: who answers, how long each step takes, what this login may do."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from cachectl.config.target import Target
from cachectl.model.findings import Unavailable
from cachectl.model.servers import ServerFacts
from cachectl.server.rights.capabilities import Capability, LoginFacts, capabilities
from cachectl.server.topology.connect import open_server
from cachectl.server.topology.handle import Server
from cachectl.server.wire.loading import OnLoading

_PINGS = 5


@dataclass(frozen=True, slots=True)
class Step:
    """One step of connecting, and how long it took in seconds."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What `profiles check` found.

    server: who answered, replicas included. user: the name that the server knows the login by.
    protocol: the RESP version spoken. tls: whether the connection is encrypted. steps: in order,
    with one round trip (the best of a few PINGs) and the permissions at the end. capabilities: of
    every feature. warnings: sentences. unavailable: nodes and slots that can't be used.
    """

    server: ServerFacts
    user: str
    protocol: int
    tls: bool
    steps: tuple[Step, ...]
    capabilities: tuple[Capability, ...]
    warnings: tuple[str, ...] = ()
    unavailable: tuple[Unavailable, ...] = ()

    @property
    def seconds(self) -> float:
        """How long it took to connect, log in and ask who is there."""
        return sum(step.seconds for step in self.steps if step.name not in _AFTERWARDS)


_AFTERWARDS = ("round trip", "permissions")


def check(
    target: Target,
    on_loading: OnLoading | None = None,
    on_open: Callable[[Server], None] = lambda _server: None,
) -> CheckResult:
    """Connect to everything that `target` names and find out what works there.

    Nothing is changed: see probing. on_open: called when it is connected. Raises what open_server
    raises.
    """
    with open_server(target, on_loading=on_loading) as server:
        on_open(server)
        steps = [Step(name, seconds) for name, seconds in server.durations.items()]
        connection = server.primaries[0].connection
        steps.append(Step("round trip", _round_trip(server)))
        began = time.monotonic()
        login = capabilities(server)
        steps.append(Step("permissions", time.monotonic() - began))
        return CheckResult(
            server=server.facts,
            user=login.user,
            protocol=connection.protocol,
            tls=target.tls is not None and connection.address.socket is None,
            steps=tuple(steps),
            capabilities=login.capabilities,
            warnings=(*_warnings(server), *_about_keys(login)),
            unavailable=server.unavailable,
        )


def _round_trip(server: Server) -> float:
    connection = server.primaries[0].connection
    times = []
    for _ in range(_PINGS):
        began = time.monotonic()
        connection.pipeline([("PING",)])  # a login that may not PING gets its answer as fast
        times.append(time.monotonic() - began)
    return min(times)


def _warnings(server: Server) -> list[str]:
    return [text for text in server.warnings if text not in server.gap_warnings]


def _about_keys(login: LoginFacts) -> list[str]:
    if login.keys_seen is None:
        return []
    if not login.keys_seen:
        return [f"user {login.user} may use some keys only"]
    return [
        f"user {login.user} may use some keys only: {login.keys_allowed} of the first "
        f"{login.keys_seen} that SCAN shows"
    ]
