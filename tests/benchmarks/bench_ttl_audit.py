"""What `ttl audit` and `ttl storms` cost beside the scan that reads the same keys.

    pytest tests/benchmarks/bench_ttl_audit.py -m benchmark -s

CACHECTL_BENCH_KEYS sets the size of the keyspace (default one million). Whole commands, start-up
included, as their users run them; prints ratios.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import servers
from benchmarks.harness import KEYS, alternate, ratio
from filling import fill
from servers import TestServer

pytestmark = pytest.mark.benchmark

ROUNDS = 3


@pytest.fixture(scope="module", params=["redis-8.2", "valkey-9.1"])
def full(request: pytest.FixtureRequest) -> Iterator[TestServer]:
    """A server with KEYS mixed keys that do not expire while they are measured."""
    with servers.start(request.param) as server:
        fill(server, KEYS)
        yield server


def command(server: TestServer, *words: str) -> Callable[[], bytes]:
    line = [sys.executable, "-m", "cachectl", "--url", server.url, *words]

    def run() -> bytes:
        return subprocess.run(line, check=True, capture_output=True).stdout

    return run


def test_the_audit_costs_no_more_than_a_scan(full: TestServer, tmp_path: Path) -> None:
    """Against a policy with a rule for each namespace, least TTLs included: ages are asked for."""
    text = command(full, "policy", "init", "--from-scan")().decode()
    policy = tmp_path / "policy.yaml"
    policy.write_text(text.replace("ttl: {max:", "ttl: {min: 1m, max:"))
    pace = ("--pace", "flat-out", "-o", "json")
    runs = alternate(
        {
            "scan": command(full, "scan", *pace),
            "ttl audit": command(full, "ttl", "audit", "--policy", str(policy), *pace),
            "ttl storms": command(full, "ttl", "storms", *pace),
            "ttl histogram": command(full, "ttl", "histogram", *pace),
        },
        ROUNDS,
        full,
    )
    scan = runs["scan"]
    ratio(runs["ttl storms"], scan, "ttl storms to scan")
    ratio(runs["ttl histogram"], scan, "ttl histogram to scan")
    ratio(runs["ttl audit"], scan, f"ttl audit to scan, {KEYS:,} keys")
