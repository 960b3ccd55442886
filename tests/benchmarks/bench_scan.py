"""How fast the scan is, how much memory it takes, and what others feel of it.

    pytest tests/benchmarks/bench_scan.py -m benchmark -s

Prints ratios; asserts the bounds that the project promises, with room for a busy machine where a
figure depends on it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import servers
from benchmarks.harness import KEYS, alternate, bystander, cli_with, far_away, ratio, run_cli
from filling import fill
from servers import TestServer

from cachectl.config.target import Address, PaceName, Target
from cachectl.server.scanning.sample import sample
from cachectl.server.scanning.scan import ALL, Field, Scan, ScanRequest
from cachectl.server.topology.connect import open_server

pytestmark = pytest.mark.benchmark

BYTES_ONLY = frozenset({Field.TYPE, Field.BYTES})
FAR_KEYS = KEYS // 25


@pytest.fixture(scope="module", params=["redis-8.2", "valkey-9.1"])
def full(request: pytest.FixtureRequest) -> Iterator[TestServer]:
    """A server with KEYS mixed keys that do not expire while they are measured."""
    with servers.start(request.param) as server:
        fill(server, KEYS)
        yield server


def target_at(port: int) -> Target:
    return Target("benchmark", addresses=(Address("127.0.0.1", port),), timeout=30)


def scan_all(
    port: int, fields: frozenset[Field] = ALL, pace: PaceName = "normal", stop_after: int = 0
) -> int:
    keys = 0
    with open_server(target_at(port)) as server:
        scan = Scan(server, ScanRequest(fields=fields, pace=pace))
        with scan:
            for item in scan:
                keys += len(item)  # type: ignore[arg-type]
                if stop_after and keys >= stop_after:
                    return keys
    assert scan.outcome.complete
    return keys


def test_against_the_tuned_memkeys(full: TestServer) -> None:
    tuned = cli_with("--count <count>")
    if tuned is None:
        pytest.skip("no redis-cli with --count here")
    runs = alternate(
        {
            "scan: type, TTL, bytes, idle": lambda: scan_all(full.port, pace="flat-out"),
            "scan: type, bytes": lambda: scan_all(full.port, BYTES_ONLY, "flat-out"),
            "scan at the normal pace": lambda: scan_all(full.port),
            "memkeys --count 1000": lambda: run_cli(
                tuned, full.port, "--memkeys", "--count", "1000"
            ),
        },
        3,
        full,
    )
    everything, two, normal, memkeys = runs.values()
    for one in (everything, two, normal):
        by_cpu = min(w / c for w, c in zip(one.seconds, one.server, strict=True))
        print(f"{one.name}: wall is {by_cpu:.2f} times the server's CPU time")
    assert ratio(everything, memkeys, "scan of everything against tuned memkeys") < 1.5
    assert ratio(two, memkeys, "scan of type and bytes against tuned memkeys") < 1.1


def test_against_memkeys_as_shipped(full: TestServer) -> None:
    shipped = cli_with("--memkeys")
    if shipped is None:
        pytest.skip("no redis-cli here")
    runs = alternate(
        {
            "scan": lambda: scan_all(full.port),
            "memkeys": lambda: run_cli(shipped, full.port, "--memkeys"),
        },
        2,
        full,
    )
    assert ratio(runs["memkeys"], runs["scan"], "memkeys as shipped against the scan") > 2


def test_against_keystats(full: TestServer) -> None:
    program = cli_with("--keystats")
    if program is None:
        pytest.skip("no redis-cli 8 here")
    runs = alternate(
        {
            "scan": lambda: scan_all(full.port),
            "keystats": lambda: run_cli(program, full.port, "--keystats", "--count", "1000"),
        },
        2,
        full,
    )
    assert ratio(runs["keystats"], runs["scan"], "tuned keystats against the scan") > 1.2


def test_with_a_millisecond_of_round_trip() -> None:
    shipped = cli_with("--memkeys")
    if shipped is None:
        pytest.skip("no redis-cli here")
    with servers.start("redis-8.2") as server:
        fill(server, FAR_KEYS)
        with far_away(server, 0.001) as port:
            runs = alternate(
                {
                    "scan": lambda: scan_all(port),
                    "memkeys": lambda: run_cli(shipped, port, "--memkeys"),
                },
                2,
            )
    assert ratio(runs["memkeys"], runs["scan"], "memkeys against the scan, 1 ms away") > 10


def test_sample(full: TestServer) -> None:
    def draw() -> None:
        with open_server(target_at(full.port)) as server:
            assert sample(server, 20_000, ScanRequest(pace="normal")).drawn >= 20_000

    runs = alternate({f"sample 20,000 of {KEYS:,}": draw}, 5, full)
    assert min(next(iter(runs.values())).seconds) < 0.5


def test_what_a_bystander_feels(full: TestServer) -> None:
    shipped = cli_with("--memkeys")
    loads = {
        "nobody": lambda: subprocess.run(["sleep", "4"], check=True),
        "gentle": lambda: scan_all(full.port, pace="gentle", stop_after=80_000),
        "normal": lambda: scan_all(full.port, pace="normal", stop_after=400_000),
    }
    if shipped is not None:
        loads["memkeys"] = lambda: subprocess.run(
            ["timeout", "4", str(shipped), "-p", str(full.port), "--memkeys"],
            stdout=subprocess.DEVNULL,
            check=False,
        )
    print()
    felt = {}
    for name, load in loads.items():
        with bystander(full.port) as latency:
            load()
        felt[name] = latency
        print(f"bystander of {name}: {latency}")
    # On a busy machine nobody's own p99 may be milliseconds: only what comes on top is ours.
    assert felt["gentle"].p99 < 0.005 + felt["nobody"].p99


_MEMORY = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from benchmarks.bench_scan import scan_all
print(scan_all(int(sys.argv[2])), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_memory(full: TestServer) -> None:
    tests = Path(__file__).parent.parent
    command = [sys.executable, "-c", _MEMORY, str(tests), str(full.port)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    keys, megabytes = map(int, done.stdout.split())
    print(f"\n{keys:,} keys in {megabytes} MB (with pytest's modules)")
    assert megabytes < 150
