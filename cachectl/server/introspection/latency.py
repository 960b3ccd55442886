"""Latency: the server's own histograms and events, and a probe of ours from this side.

The probe sends a PING now and then over a connection of its own. What a busy client machine adds
is told apart where the kernel says how long our thread waited for a CPU (Linux: the second field
of /proc/thread-self/schedstat, in nanoseconds; see the kernel's sched-stats documentation).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import FileIO

from cachectl.errors import CachectlError
from cachectl.model.findings import Unavailable
from cachectl.server.introspection.asked import Ask, plainly
from cachectl.server.topology.handle import Server
from cachectl.server.topology.node import Node
from cachectl.server.wire.connection import NodeConnection
from cachectl.server.wire.resp import ReplyError, as_dict, as_int, as_text, pack

INTERVAL = 0.005
"""Seconds between two probes: measured, 200 PINGs a second take 1.5 % of a core of the server."""
_SCHEDSTAT = "/proc/thread-self/schedstat"
_PING = pack("PING")


@dataclass(frozen=True, slots=True)
class CommandHistogram:
    """How long calls of one command took, since the start or RESETSTAT.

    counts: ascending (upper bound in µs, calls that took no longer): the bounds about double.
    """

    calls: int
    counts: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class LatencyEvent:
    """One line of LATENCY LATEST. at: Unix seconds; latest, worst: seconds."""

    name: str
    at: float
    latest: float
    worst: float


@dataclass(frozen=True, slots=True)
class LatencyFacts:
    """What one node says. threshold: seconds from which on it notes events; 0 is never."""

    node: str
    histograms: Mapping[str, CommandHistogram] = field(default_factory=dict)
    events: tuple[LatencyEvent, ...] = ()
    threshold: float | None = None
    unavailable: tuple[Unavailable, ...] = ()


def latency_facts(node: Node, ask: Ask = plainly) -> LatencyFacts:
    """Ask one node. Raises ConnectionLostError."""
    replies = ask(
        node.connection,
        [
            ("LATENCY", "HISTOGRAM"),
            ("LATENCY", "LATEST"),
            ("CONFIG", "GET", "latency-monitor-threshold"),
        ],
    )
    histograms, latest, setting = replies
    gaps = []
    if isinstance(histograms, ReplyError):
        gaps.append(_no_histograms(histograms))
        histograms = {}
    if isinstance(latest, ReplyError):
        gaps.append(_refused("latency events", latest, "+latency|latest"))
        latest = []
    threshold = None
    if not isinstance(setting, ReplyError):
        found = as_int(as_dict(setting).get("latency-monitor-threshold"))
        threshold = None if found is None else found / 1000
    events = tuple(event for event in map(_event, latest or ()) if event is not None)
    return LatencyFacts(node.name, _histograms(histograms), events, threshold, tuple(gaps))


def _histograms(reply: object) -> dict[str, CommandHistogram]:
    found = {}
    for name, fields in as_dict(reply).items():
        parts = as_dict(fields)
        counts = [
            (bound, count)
            for raw_bound, raw in as_dict(parts.get("histogram_usec")).items()
            if (bound := as_int(raw_bound)) is not None and (count := as_int(raw)) is not None
        ]
        found[name] = CommandHistogram(as_int(parts.get("calls")) or 0, tuple(sorted(counts)))
    return found


def _event(line: object) -> LatencyEvent | None:
    if not isinstance(line, list) or len(line) < 4:
        return None
    at, latest, worst = (as_int(value) for value in line[1:4])
    if at is None or latest is None or worst is None:
        return None
    return LatencyEvent(as_text(line[0]), float(at), latest / 1000, worst / 1000)


def _no_histograms(reply: ReplyError) -> Unavailable:
    if reply.code == "NOPERM":
        return _refused("percentiles by command", reply, "+latency|histogram")
    return Unavailable(
        "percentiles by command",
        "the server keeps no histograms",
        "LATENCY HISTOGRAM came with Redis 7.0",
    )


def _refused(what: str, reply: ReplyError, rule: str) -> Unavailable:
    if reply.code == "NOPERM":
        name = rule.lstrip("+").replace("|", " ").upper()
        return Unavailable(what, f"this login may not run {name}", f"allow it with {rule}")
    return Unavailable(what, reply.text)


class Probe:
    """A thread that measures round trips to one node until it is stopped.

    trips: seconds each, in order; delays: of each, the seconds that our own thread waited for a
    CPU (empty where the kernel does not say). late: seconds that the thread woke up too late.
    sent: PINGs that were answered so far. address: where it connects from; opening: see
    NodeConnection. error: why it ended early.
    """

    def __init__(self, server: Server, node: Node, interval: float = INTERVAL) -> None:
        self.node = node.name
        self.trips: list[float] = []
        self.delays: list[float] = []
        self.late: list[float] = []
        self.sent = 0
        self.error: CachectlError | None = None
        self._interval = interval
        self._at_rest = threading.Lock()
        self._stop = threading.Event()
        self._connection = server.new_connection(node)
        self.address = self._connection.local_address
        self.opening = tuple(self._connection.opening)
        self._thread = threading.Thread(target=self._run, name=f"probe {node.name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for it. Harmless twice."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(2 * self._interval)
            self._connection.interrupt()
            self._thread.join(1.0)
        self._connection.close()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let no PING be under way, so that `sent` is what the server has counted."""
        with self._at_rest:
            yield

    def take(self) -> tuple[list[float], list[float]]:
        """Return (trips, delays) since the last call, and forget them: for who measures for long.

        The probe is held meanwhile.
        """
        with self._at_rest:
            trips, delays = self.trips, self.delays
            self.trips, self.delays, self.late = [], [], []
        return trips, delays

    def _run(self) -> None:
        try:
            with _waited() as waited:
                while not self._stop.is_set():
                    with self._at_rest:
                        self._measure(self._connection, waited)
                        self.sent += 1
                    due = time.perf_counter() + self._interval
                    time.sleep(self._interval)
                    self.late.append(time.perf_counter() - due)
        except CachectlError as error:
            if not self._stop.is_set():
                self.error = error

    def _measure(self, connection: NodeConnection, waited: _Waited) -> None:
        before = waited.seconds()
        begun = time.perf_counter()
        connection.send(_PING)
        connection.receive(1)
        took = time.perf_counter() - begun
        after = waited.seconds()
        self.trips.append(took)
        if before is not None and after is not None:
            self.delays.append(min(took, max(0.0, after - before)))


class _Waited:
    """How long this thread has waited for a CPU in all."""

    def __init__(self, file: FileIO | None) -> None:
        self._file = file

    def seconds(self) -> float | None:
        if self._file is None:
            return None
        self._file.seek(0)
        fields = self._file.read().split()
        return int(fields[1]) / 1e9 if len(fields) > 1 else None


@contextlib.contextmanager
def _waited() -> Iterator[_Waited]:
    try:
        file = FileIO(_SCHEDSTAT)
    except OSError:
        yield _Waited(None)
        return
    with file:
        yield _Waited(file)
