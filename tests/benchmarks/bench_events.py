"""What listening to events costs a server: `stats events` beside the same load without it.

The load is that of an application: many connections, one command at a time, nearly all of them
reads that hit; where one misses, the value is written with a TTL. What is compared is the server's
CPU time for the same number of commands, with nothing listening, with `stats events --enable` (the
kinds that it chooses by itself), with all kinds, and with MONITOR, which is what others use.
"""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from benchmarks.harness import alternate, server_cpu
from programs import cachectl_started
from servers import TestServer
from topologies import wait_until

from cachectl.server.wire.resp import pack

pytestmark = pytest.mark.benchmark

COMMANDS = 20_000
CONNECTIONS = 20
KEYS = 20_000
ROUNDS = 6


@pytest.fixture
def loaded(start_server: Callable[..., TestServer]) -> TestServer:
    server = start_server("valkey-9.1")
    pipe = server.client().pipeline(transaction=False)
    for number in range(KEYS):
        pipe.set(f"user:{number}:profile", "x" * 100, ex=3600)
    pipe.execute()
    return server


def load(port: int, miss: float, commands: int) -> int:
    """Send commands from CONNECTIONS connections, one at a time on each; return how many missed."""
    rng = random.Random(1)
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
    sent = absent = 0
    while sent < commands:
        missed = []
        for one in sockets:
            key = f"user:{rng.randrange(KEYS)}:profile"
            if rng.random() < miss:
                key = f"user:{KEYS + sent}:profile"
                missed.append((one, key))
            one.sendall(pack("GET", key))
            sent += 1
        for one in sockets:
            one.recv(4096)
        for one, key in missed:
            one.sendall(pack("SET", key, "x" * 100, "EX", 60))
            one.recv(4096)
            sent += 1
        absent += len(missed)
    for one in sockets:
        one.close()
    return absent


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
def test_what_listening_costs(loaded: TestServer, miss: float) -> None:
    ways: dict[str, Callable[[], contextlib.AbstractContextManager[None]]] = {
        "nothing": contextlib.nullcontext,
        "stats events": lambda: events(loaded),
        "stats events --events all": lambda: events(loaded, "--events", "all"),
        "MONITOR": lambda: monitor(loaded),
    }
    used: dict[str, list[float]] = {name: [] for name in ways}

    def measured(name: str) -> Callable[[], None]:
        def run() -> None:
            with ways[name]():
                load(loaded.port, miss, COMMANDS // 10)  # warm
                before = server_cpu(loaded)
                load(loaded.port, miss, COMMANDS)
                used[name].append(server_cpu(loaded) - before)

        return run

    alternate({name: measured(name) for name in ways}, ROUNDS, loaded)
    least = {name: min(seconds) for name, seconds in used.items()}
    print(f"misses {miss:.0%}, CPU a command without: {least['nothing'] / COMMANDS * 1e6:.1f} µs")
    for name, seconds in least.items():
        print(f"  {name}: {seconds / least['nothing'] - 1:+.1%} of the server's CPU")
    assert least["stats events"] < least["MONITOR"]
