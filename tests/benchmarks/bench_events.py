"""What listening to events costs a server: `stats events` beside the same load without it.

The load is that of an application: many connections, one command at a time, nearly all of them
reads that hit; where one misses, the value is written with a TTL. What is compared is the server's
CPU time for the same number of commands at the same rate, with nothing listening, with
`stats events --enable` (the kinds that it chooses by itself from that traffic), with all kinds, and
with MONITOR, which is what others use.

The rate is fixed, because a server that is driven as fast as a client can takes more commands in
each turn of its loop when somebody else has the other core, and so seems to get cheaper. A round
runs all ways one after the other; what is printed is the mean of the rounds' differences and the
interval in which that mean lies with 95 %.
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
RATE = 12_000
"""Reads a second."""
SECONDS = 3
ROUNDS = 12
T95 = 2.201
"""Student's t for 95 % with ROUNDS - 1 degrees of freedom."""


@pytest.fixture
def filled(start_server: Callable[..., TestServer]) -> TestServer:
    server = start_server("valkey-9.1")
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


@pytest.mark.parametrize("miss", [0.05, 0.3])
def test_what_listening_costs(filled: TestServer, miss: float) -> None:
    ways: dict[str, Callable[[], contextlib.AbstractContextManager[None]]] = {
        "nothing": contextlib.nullcontext,
        "stats events": lambda: events(filled),
        "stats events --events all": lambda: events(filled, "--events", "all"),
        "MONITOR": lambda: monitor(filled),
    }
    used: dict[str, list[float]] = {name: [] for name in ways}
    with loaded(filled, miss):
        for _ in range(ROUNDS):
            for name, way in ways.items():
                with way():
                    time.sleep(SECONDS / 10)
                    before, begun = server_cpu(filled), time.perf_counter()
                    time.sleep(SECONDS)
                    spent = server_cpu(filled) - before
                    used[name].append(spent / (time.perf_counter() - begun))
    without = statistics.fmean(used["nothing"])
    print(f"\nmisses {miss:.0%}; the server without: {without:.1%} of a core")
    added = {}
    for name in (one for one in ways if one != "nothing"):
        pairs = zip(used[name], used["nothing"], strict=True)
        rounds = [(with_it - without_it) / without for with_it, without_it in pairs]
        added[name] = statistics.fmean(rounds)
        either = T95 * statistics.stdev(rounds) / ROUNDS**0.5
        print(
            f"  {name}: {added[name]:+.1%} ± {either:.1%} of the server's CPU, "
            f"{added[name] * without:+.2%} of a core"
        )
    assert added["stats events"] < added["MONITOR"]
