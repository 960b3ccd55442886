"""What watching a server costs it: two servers with the same load, one of which is watched.

A shared machine's good and bad seconds cancel out, and so do a server's own ways, when now this one
is watched and now that one. The rate of the load is fixed, because a server that is driven as fast
as a client can takes more commands in each turn of its loop when somebody else has a core, and so
seems to get cheaper.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import socket
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.harness import server_cpu
from servers import TestServer
from topologies import wait_until

from cachectl.server.wire.resp import pack

CONNECTIONS = 20
KEYS = 20_000
RATE = 8_000
"""Reads a second, of each server."""
SECONDS = 3.0

Watcher = Callable[[TestServer], contextlib.AbstractContextManager[Any]]
Twins = tuple[TestServer, TestServer]


@dataclass(frozen=True, slots=True)
class Added:
    """Cores that a watcher adds: the mean of all rounds, and the half of its 95 % interval. base:
    cores that a server takes without."""

    mean: float
    either: float
    base: float

    def __str__(self) -> str:
        return (
            f"{self.mean / self.base:+.1%} ± {self.either / self.base:.1%} of the server's CPU, "
            f"{self.mean:+.2%} ± {self.either:.2%} of a core"
        )


def fill_for_reading(server: TestServer) -> TestServer:
    """Write the keys that are read."""
    pipe = server.client().pipeline(transaction=False)
    for number in range(KEYS):
        pipe.set(f"user:{number}:profile", "x" * 100, ex=3600)
    pipe.execute()
    return server


def added_by(
    watchers: Mapping[str, Watcher], twins: Twins, miss: float, rounds: int
) -> dict[str, Added]:
    """Return what each watcher adds to a server that is read from. miss: the share of misses."""
    found: dict[str, list[float]] = {name: [] for name in watchers}
    without: list[float] = []
    with reading(twins[0], miss), reading(twins[1], miss):
        for _ in range(rounds):
            for name, watcher in watchers.items():
                both = [_compare(watcher, *twins), _compare(watcher, *reversed(twins))]
                found[name].append(statistics.fmean(more for more, _ in both))
                without += [base for _, base in both]
    base = statistics.fmean(without)
    return {
        name: Added(
            statistics.fmean(ones), T95[rounds] * statistics.stdev(ones) / rounds**0.5, base
        )
        for name, ones in found.items()
    }


T95 = {2: 12.706, 6: 2.571, 10: 2.262}
"""Rounds → Student's t for 95 %, with one degree of freedom less."""


def _compare(watcher: Watcher, watched: TestServer, other: TestServer) -> tuple[float, float]:
    """Return how many cores more a server takes that is watched, and what the other takes."""
    with watcher(watched):
        time.sleep(SECONDS / 10)
        before, begun = [server_cpu(watched), server_cpu(other)], time.perf_counter()
        time.sleep(SECONDS)
        spent = [server_cpu(watched) - before[0], server_cpu(other) - before[1]]
        seconds = time.perf_counter() - begun
    return (spent[0] - spent[1]) / seconds, spent[1] / seconds


@contextlib.contextmanager
def reading(server: TestServer, miss: float) -> Iterator[None]:
    """Have a process read RATE keys a second."""
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_read, args=(server.port, miss), daemon=True)
    process.start()
    wait_until("it reads", lambda: server.info("stats")["keyspace_hits"] > RATE)
    yield
    process.kill()
    process.join()


def _read(port: int, miss: float) -> None:
    """Read from CONNECTIONS connections, one key at a time on each; write what misses."""
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
