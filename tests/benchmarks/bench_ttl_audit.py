"""What `ttl audit` and `ttl storms` cost beside the scan that reads the same keys.

    pytest tests/benchmarks/bench_ttl_audit.py -m benchmark -s

CACHECTL_BENCH_KEYS sets the size of the keyspace (default one million). Whole commands, start-up
included, as their users run them (with modules that Python has compiled before, whatever
PYTHONDONTWRITEBYTECODE says here); prints ratios of time, and of the client's CPU.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Iterator
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


class Command:
    """A command line, run as a process. cpu: the client's CPU seconds, of each run."""

    def __init__(self, server: TestServer, compiled: Path, *words: str) -> None:
        self.cpu: list[float] = []
        self._line = [sys.executable, "-m", "cachectl", "--url", server.url, *words]
        self._env = {**os.environ, "PYTHONPYCACHEPREFIX": str(compiled)}
        self._env.pop("PYTHONDONTWRITEBYTECODE", None)

    def __call__(self) -> bytes:
        before = _of_children()
        done = subprocess.run(self._line, check=True, capture_output=True, env=self._env)
        self.cpu.append(_of_children() - before)
        return done.stdout


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_the_audit_costs_no_more_than_a_scan(full: TestServer, tmp_path: Path) -> None:
    """Against a policy with a rule for each namespace, least TTLs included: ages are asked for."""
    compiled = tmp_path / "compiled"
    text = Command(full, compiled, "policy", "init", "--from-scan")().decode()
    policy = tmp_path / "policy.yaml"
    policy.write_text(text.replace("ttl: {max:", "ttl: {min: 1m, max:"))
    pace = ("--pace", "flat-out", "-o", "json")
    against = ("audit", "--policy", str(policy), *pace)
    commands = {
        "scan": Command(full, compiled, "scan", *pace),
        "ttl audit": Command(full, compiled, "ttl", *against),
        "policy audit": Command(full, compiled, "policy", *against),
        "ttl storms": Command(full, compiled, "ttl", "storms", *pace),
        "ttl histogram": Command(full, compiled, "ttl", "histogram", *pace),
    }
    for one in commands.values():  # until its modules are compiled
        one()
        one.cpu.clear()
    runs = alternate(commands, ROUNDS, full)
    scan = runs["scan"]
    for name, one in commands.items():
        by_median = statistics.median(one.cpu) / statistics.median(commands["scan"].cpu)
        by_best = min(one.cpu) / min(commands["scan"].cpu)
        print(f"{name}: client CPU {by_median:.2f} times scan's by medians, {by_best:.2f} by best")
    ratio(runs["policy audit"], scan, "policy audit to scan")
    ratio(runs["ttl storms"], scan, "ttl storms to scan")
    ratio(runs["ttl histogram"], scan, "ttl histogram to scan")
    ratio(runs["ttl audit"], scan, f"ttl audit to scan, {KEYS:,} keys")
