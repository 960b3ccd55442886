"""How fast keys are removed by glob, with and without copies, and what others feel of it.

    pytest tests/benchmarks/bench_invalidate.py -m benchmark -s

A quarter of CACHECTL_BENCH_KEYS keys is removed in each run, and put there again in between.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import servers
from benchmarks.harness import KEYS, Runs, bystander, cli_with, peak_bytes, ratio, server_cpu
from filling import pack
from servers import TestServer

pytestmark = pytest.mark.benchmark

GONE = KEYS // 4
PATTERN = "product:*"
_AT_ONCE = 5000


@pytest.fixture(scope="module", params=["redis-8.2", "valkey-9.1"])
def full(request: pytest.FixtureRequest) -> Iterator[TestServer]:
    """A server whose keys are a quarter products, among the others in SCAN's order."""
    with servers.start(request.param) as server:
        _set(server, "other", KEYS - GONE)
        yield server


def _set(server: TestServer, prefix: str, count: int) -> None:
    client = server.client(protocol=2)
    value = b"v" * 100
    for start in range(0, count, _AT_ONCE):
        numbers = range(start, min(start + _AT_ONCE, count))
        packed = b"".join(pack("SET", f"{prefix}:{i}", value, "EX", 86_400) for i in numbers)
        connection = client.connection_pool.get_connection()
        connection.send_packed_command([packed])
        for _ in numbers:
            connection.read_response()
        client.connection_pool.release(connection)


def _timed(
    server: TestServer, state: Path, contestants: dict[str, Callable[[], object]], rounds: int
) -> dict[str, Runs]:
    """Run contestants in turn, each on a full server, and print what each took."""
    runs = {name: Runs(name) for name in contestants}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            _set(server, "product", GONE)
            shutil.rmtree(state, ignore_errors=True)  # the archive of the round before
            cpu, begun = server_cpu(server), time.perf_counter()
            contestant()
            runs[name].seconds.append(time.perf_counter() - begun)
            runs[name].server.append(server_cpu(server) - cpu)
            assert server.client(protocol=2).dbsize() == KEYS - GONE
    print()
    for one in runs.values():
        print(one)
    return runs


def _command(server: TestServer, state: Path, *words: str) -> tuple[list[str], dict[str, str]]:
    command = [sys.executable, "-m", "cachectl", "-q", "--url", server.url, "invalidate", PATTERN]
    environ = {"XDG_STATE_HOME": str(state), "PATH": "/usr/bin:/bin", "HOME": str(state)}
    return [*command, "--yes", *words], environ


def _invalidate(server: TestServer, state: Path, *words: str) -> Callable[[], object]:
    command, environ = _command(server, state, *words)
    return lambda: subprocess.run(command, env=environ, check=True, stdout=subprocess.DEVNULL)


def _pipe(program: Path, port: int, *count: str) -> Callable[[], object]:
    scan = f"{program} -p {port} --scan --pattern '{PATTERN}' {' '.join(count)}"
    line = f"{scan} | xargs -n 1000 {program} -p {port} unlink"
    return lambda: subprocess.run(["/bin/sh", "-c", line], check=True, stdout=subprocess.DEVNULL)


def test_against_scan_and_xargs(full: TestServer, tmp_path: Path) -> None:
    shipped, tuned = cli_with("--scan"), cli_with("--count <count>")
    if shipped is None or tuned is None:
        pytest.skip("no redis-cli with --scan and --count here")
    runs = _timed(
        full,
        tmp_path,
        {
            "invalidate --no-archive": _invalidate(full, tmp_path, "--no-archive"),
            "invalidate": _invalidate(full, tmp_path),
            "--scan | xargs": _pipe(shipped, full.port),
            "--scan --count 1000 | xargs": _pipe(tuned, full.port, "--count", "1000"),
        },
        3,
    )
    bare, archived, plain, counted = runs.values()
    by_cpu = min(w / c for w, c in zip(bare.seconds, bare.server, strict=True))
    print(f"without archive: wall is {by_cpu:.2f} times the server's CPU time")
    ratio(plain, bare, "--scan | xargs against invalidate without archive")
    ratio(counted, bare, "the same with --count 1000 against invalidate without archive")
    assert ratio(plain, archived, "--scan | xargs against invalidate with archive") > 1


def test_what_a_bystander_feels(full: TestServer, tmp_path: Path) -> None:
    for words in (
        ["--pace", "gentle", "--no-archive"],
        ["--pace", "gentle"],
        ["--pace", "flat-out"],
    ):
        _set(full, "product", GONE)
        with bystander(full.port) as latency:
            _invalidate(full, tmp_path, *words)()
        print(f"{' '.join(words)}: {latency}")


def test_memory_does_not_grow_with_the_number_of_keys(full: TestServer, tmp_path: Path) -> None:
    peaks = []
    for count in (GONE // 10, GONE):
        _set(full, "product", count)
        peaks.append(peak_bytes(*_command(full, tmp_path)) / 1e6)
    print(
        f"\npeak memory for {GONE // 10:,} and {GONE:,} keys: {peaks[0]:.0f} and {peaks[1]:.0f} MB"
    )
    assert peaks[1] < peaks[0] + 40
