"""What `stats --watch` and `top` cost the server and this machine, and whether they grow.

    pytest tests/benchmarks/bench_stats.py -m benchmark -s
    pytest tests/benchmarks/bench_stats.py -m soak -s

CACHECTL_SOAK_SECONDS (1800) says how long the soak test takes, CACHECTL_SOAK_EVERY (1s) how often
it looks: what grows, grows with each look.

Under load, a server that is watched is compared with one that is not (see twins.py); beside an idle
server, what the watcher alone makes it work.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import servers
from benchmarks.harness import server_cpu
from benchmarks.twins import added_by, fill_for_reading
from filling import fill
from programs import Running, Terminal, cachectl_started, cachectl_tty
from servers import TestServer
from topologies import wait_until

SOAK = float(os.environ.get("CACHECTL_SOAK_SECONDS", "1800"))
EVERY = os.environ.get("CACHECTL_SOAK_EVERY", "1s")
ROUNDS = 6
SECONDS = 4.0
PROMISE = 0.05
_PAGE = os.sysconf("SC_PAGE_SIZE")


FLAVOURS = ["redis-7.0", "redis-8.2", "valkey-9.1"]


@pytest.fixture(params=FLAVOURS)
def busy(request: pytest.FixtureRequest) -> Iterator[TestServer]:
    """A server of its own with some keys and a hundred clients."""
    with servers.start(request.param) as server:
        fill(server, 20_000)
        clients = [server.client(client_name=f"web-{number % 7}") for number in range(100)]
        for client in clients:
            client.ping()
        yield server


@contextlib.contextmanager
def watching(server: TestServer) -> Iterator[Running]:
    words = ("--url", server.url, "stats", "--watch", "--every", EVERY, "-o", "ndjson")
    with cachectl_started(*words) as run:
        wait_until("it watches", lambda: run.out.count(b"\n") >= 1)
        yield run


@contextlib.contextmanager
def live(server: TestServer) -> Iterator[Terminal]:
    words = ("--url", server.url, "top", "--every", EVERY)
    with cachectl_tty(*words, columns=120, rows=40) as screen:
        screen.expect(r"commands +\d")
        yield screen


@contextlib.contextmanager
def nobody(server: TestServer) -> Iterator[None]:
    del server
    yield None


WATCHERS: dict[
    str, Callable[[TestServer], contextlib.AbstractContextManager[Running | Terminal | None]]
] = {
    "nobody": nobody,
    "stats --watch": watching,
    "top": live,
}


def memory_of(pid: int) -> int:
    """Return the resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


@pytest.mark.benchmark
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_cpu_under_load(start_server: Callable[..., TestServer], flavour: str) -> None:
    watchers = {name: WATCHERS[name] for name in ("stats --watch", "top")}
    twins = fill_for_reading(start_server(flavour)), fill_for_reading(start_server(flavour))
    added = added_by(watchers, twins, 0.05, ROUNDS)
    print(f"\n{flavour}: a server without takes {added['top'].base:.1%} of a core")
    for name, one in added.items():
        print(f"  {name}: {one}")
        assert one.mean < PROMISE * one.base


@pytest.mark.benchmark
def test_cpu_beside_an_idle_server(busy: TestServer) -> None:
    print(f"\n{busy.flavour}: CPU of the idle server, as a share of one core")
    shares = {}
    for name, watcher in WATCHERS.items():
        with watcher(busy):
            before, begun = server_cpu(busy), time.perf_counter()
            time.sleep(2 * SECONDS)
            shares[name] = (server_cpu(busy) - before) / (time.perf_counter() - begun)
        print(f"  {name}: {shares[name]:.2%}")
    for name in ("stats --watch", "top"):
        assert shares[name] - shares["nobody"] < PROMISE


@pytest.mark.benchmark
def test_cpu_of_listening_to_events(busy: TestServer) -> None:
    """About as many events as `top` listens to: misses that the server publishes anyway."""
    busy.run("CONFIG", "SET", "notify-keyspace-events", "Em")
    print(f"\n{busy.flavour}: CPU of the server with 4,000 misses a second, as a share of one core")
    shares: dict[str, list[float]] = {"nobody": [], "top": []}
    for _ in range(3):
        for name, found in shares.items():
            with WATCHERS[name](busy):
                before, begun = server_cpu(busy), time.perf_counter()
                misses(busy, 4000, 2 * SECONDS)
                found.append((server_cpu(busy) - before) / (time.perf_counter() - begun))
    for name, found in shares.items():
        print(f"  {name}: {min(found):.2%} to {max(found):.2%}")
    assert min(shares["top"]) - min(shares["nobody"]) < PROMISE


def misses(server: TestServer, rate: int, seconds: float) -> None:
    """Ask for keys that are not there, so many a second, for so long."""
    client = server.client()
    due = begun = time.perf_counter()
    while (now := time.perf_counter()) - begun < seconds:
        pipe = client.pipeline(transaction=False)
        for number in range(rate // 50):
            pipe.get(f"absent:{number}")
        pipe.execute()
        due = max(due + 0.02, now)
        time.sleep(max(0.0, due - time.perf_counter()))


def slope(samples: list[tuple[float, int]]) -> float:
    """Return bytes a second, by least squares."""
    times, sizes = zip(*samples, strict=True)
    middle, mean = statistics.mean(times), statistics.mean(sizes)
    spread = sum((at - middle) ** 2 for at in times)
    return sum((at - middle) * (size - mean) for at, size in samples) / spread


@pytest.mark.soak
@pytest.mark.parametrize("name", ["stats --watch", "top"])
def test_memory_of_both_sides_stays(name: str) -> None:
    """The first third is for warming up: caches, histories and allocators fill."""
    with servers.start("valkey-9.1") as server, WATCHERS[name](server) as run:
        assert run is not None
        assert server.pid is not None
        client = server.client(client_name="web")
        client.set("known", "x")
        ours: list[tuple[float, int]] = []
        theirs: list[tuple[float, int]] = []
        begun = time.monotonic()
        number = 0
        while (at := time.monotonic() - begun) < SOAK:
            for _ in range(50):
                number += 1
                client.get("known" if number % 10 else f"absent:{number}")
            if isinstance(run, Terminal):
                _ = run.output  # a terminal that nobody reads holds the program up
            if at > SOAK / 3:
                ours.append((at, memory_of(run.process.pid)))
                theirs.append((at, server.info("memory")["used_memory"]))
            time.sleep(0.5)
        hours = 3600
        print(
            f"\n{name} every {EVERY} for {SOAK:.0f} s: ours {ours[0][1]:,} to {ours[-1][1]:,} "
            f"bytes, {slope(ours) * hours:,.0f} bytes an hour; the server's {theirs[0][1]:,} to "
            f"{theirs[-1][1]:,} bytes, {slope(theirs) * hours:,.0f} bytes an hour"
        )
        assert ours[-1][1] - ours[0][1] < 1024 * 1024
        assert theirs[-1][1] - theirs[0][1] < 1024 * 1024
