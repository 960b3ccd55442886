"""What listening to events costs a server: `stats events` beside the same load without it.

The load is that of an application: many connections, one command at a time, nearly all of them
reads that hit; where one misses, the value is written with a TTL. What is compared is the server's
CPU time at the same rate of commands, with nothing listening, with `stats events --enable` (the
kinds that it chooses by itself from that traffic), with all kinds, and with MONITOR, which is what
others use.

Two servers have the same load at the same time, and one of them is listened to, now this one and
now that one: a shared machine's good and bad seconds, and a server's own ways, cancel out. The rate
is fixed, because a server that is driven as fast as a client can takes more commands in each turn
of its loop when somebody else has a core, and so seems to get cheaper. What is printed is the mean
of the rounds' differences and the interval in which that mean lies with 95 %.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from benchmarks.harness import server_cpu
from programs import cachectl_started
from servers import TestServer
from topologies import wait_until

from cachectl.server.wire.resp import pack

pytestmark = pytest.mark.benchmark

CONNECTIONS = 20
KEYS = 20_000
RATE = 8_000
"""Reads a second, of each server."""
SECONDS = 3.0
ROUNDS = 10
"""Of two measurements each."""
T95 = 2.262
"""Student's t for 95 % with ROUNDS - 1 degrees of freedom."""
PROMISE = 0.05


@pytest.fixture
def twins(start_server: Callable[..., TestServer]) -> tuple[TestServer, TestServer]:
    return filled(start_server("valkey-9.1")), filled(start_server("valkey-9.1"))


def filled(server: TestServer) -> TestServer:
    pipe = server.client().pipeline(transaction=False)
    for number in range(KEYS):
        pipe.set(f"user:{number}:profile", "x" * 100, ex=3600)
    pipe.execute()
    return server


@contextlib.contextmanager
def loaded(server: TestServer, miss: float) -> Iterator[None]:
    """Have a process read RATE keys a second, since what is chosen depends on the traffic."""
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=load, args=(server.port, miss), daemon=True)
    process.start()
    wait_until("it reads", lambda: server.info("stats")["keyspace_hits"] > RATE)
    yield
    process.kill()
    process.join()


def load(port: int, miss: float) -> None:
    """Read RATE keys a second from CONNECTIONS connections, one at a time on each; for ever."""
    rng = random.Random(1)
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
    due = time.perf_counter()
    while True:
        due = max(due + CONNECTIONS / RATE, time.perf_counter() - 0.1)
        time.sleep(max(0.0, due - time.perf_counter()))
        missed = []
        for one in sockets:
            key = f"user:{rng.randrange(KEYS)}:profile"
            if rng.random() < miss:
                key = f"user:{KEYS + rng.randrange(1 << 40)}:profile"
                missed.append((one, key))
            one.sendall(pack("GET", key))
        for one in sockets:
            one.recv(4096)
        for one, key in missed:
            one.sendall(pack("SET", key, "x" * 100, "EX", 60))
            one.recv(4096)


@contextlib.contextmanager
def events(server: TestServer, *words: str) -> Iterator[None]:
    command = ("--url", server.url, "stats", "events", "--enable", "--yes", "--watch", *words)
    with cachectl_started(*command) as run:
        wait_until("it listens", lambda: server.run("CLIENT", "LIST", "TYPE", "pubsub"))
        yield
        run.process.terminate()
        run.process.wait()


@contextlib.contextmanager
def monitor(server: TestServer) -> Iterator[None]:
    program = (
        f"import socket; s = socket.create_connection(('127.0.0.1', {server.port})); "
        "s.sendall(b'MONITOR\\r\\n')\nwhile s.recv(1 << 20): pass"
    )
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        wait_until("it monitors", lambda: b"cmd=monitor" in server.run("CLIENT", "LIST"))
        yield
        process.kill()


WAYS: dict[str, Callable[[TestServer], contextlib.AbstractContextManager[None]]] = {
    "stats events": events,
    "stats events --events all": lambda server: events(server, "--events", "all"),
    "MONITOR": monitor,
}


@pytest.mark.parametrize("miss", [0.05, 0.3])
def test_what_listening_costs(twins: tuple[TestServer, TestServer], miss: float) -> None:
    added: dict[str, list[float]] = {name: [] for name in WAYS}
    without: list[float] = []
    with loaded(twins[0], miss), loaded(twins[1], miss):
        for _ in range(ROUNDS):
            for name, way in WAYS.items():
                found = [compare(way, *twins), compare(way, *reversed(twins))]
                added[name].append(statistics.fmean(more for more, _ in found))
                without += [base for _, base in found]
    base = statistics.fmean(without)
    print(f"\nmisses {miss:.0%}; a server without: {base:.1%} of a core")
    for name, rounds in added.items():
        mean, either = statistics.fmean(rounds), T95 * statistics.stdev(rounds) / ROUNDS**0.5
        print(
            f"  {name}: {mean / base:+.1%} ± {either / base:.1%} of the server's CPU, "
            f"{mean:+.2%} ± {either:.2%} of a core"
        )
    assert statistics.fmean(added["stats events"]) < PROMISE * base
    assert statistics.fmean(added["stats events"]) < statistics.fmean(added["MONITOR"])


def compare(
    way: Callable[[TestServer], contextlib.AbstractContextManager[None]],
    heard: TestServer,
    other: TestServer,
) -> tuple[float, float]:
    """Return how many cores more a server takes that is listened to, and what the other takes."""
    with way(heard):
        time.sleep(SECONDS / 10)
        before, begun = [server_cpu(heard), server_cpu(other)], time.perf_counter()
        time.sleep(SECONDS)
        spent = [server_cpu(heard) - before[0], server_cpu(other) - before[1]]
        seconds = time.perf_counter() - begun
    return (spent[0] - spent[1]) / seconds, spent[1] / seconds
