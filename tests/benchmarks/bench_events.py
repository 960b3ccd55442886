"""What listening to events costs a server: `stats events` beside the same load without it.

The load is that of an application: many connections, one command at a time, nearly all of them
reads that hit; where one misses, the value is written with a TTL. Compared are `stats events
--enable` (the kinds that it chooses by itself from that traffic), all kinds, and MONITOR, which is
what others use; how is said in twins.py.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from benchmarks.twins import Twins, Watcher, added_by, fill_for_reading
from programs import cachectl_started
from servers import TestServer
from topologies import wait_until

pytestmark = pytest.mark.benchmark

ROUNDS = 10
PROMISE = 0.05


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


WAYS: dict[str, Watcher] = {
    "stats events": events,
    "stats events --events all": lambda server: events(server, "--events", "all"),
    "MONITOR": monitor,
}


@pytest.mark.parametrize("miss", [0.05, 0.3])
def test_what_listening_costs(start_server: Callable[..., TestServer], miss: float) -> None:
    twins: Twins = (
        fill_for_reading(start_server("valkey-9.1")),
        fill_for_reading(start_server("valkey-9.1")),
    )
    added = added_by(WAYS, twins, miss, ROUNDS)
    print(f"\nmisses {miss:.0%}; a server without: {added['MONITOR'].base:.1%} of a core")
    for name, one in added.items():
        print(f"  {name}: {one}")
    assert added["stats events"].mean < PROMISE * added["stats events"].base
    assert added["stats events"].mean < added["MONITOR"].mean
