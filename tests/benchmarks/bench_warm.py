"""How fast a cache is loaded from a file, against other ways, and how much memory that takes.

    pytest tests/benchmarks/bench_warm.py -m benchmark -s

Half of CACHECTL_BENCH_KEYS strings of 300 bytes with TTLs are loaded in each run, into an empty
server. Everybody writes the same keys and values; `redis-cli --pipe` is given the commands encoded.
CACHECTL_BENCH_MOST_ROWS (two million) says with how many rows memory is measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
import servers
from benchmarks.harness import KEYS, alternate, bystander, cli_with, peak_bytes, ratio
from filling import pack
from servers import TestServer

pytestmark = pytest.mark.benchmark

ROWS = KEYS // 2
FEW_ROWS, MOST_ROWS = 200_000, int(os.environ.get("CACHECTL_BENCH_MOST_ROWS", "2000000"))
VALUE = "v" * 290
MANIFEST = """\
manifest: 1
sources: {rows: {file: rows.ndjson}}
entries:
  - {source: rows, key: "item:{id}", value: {column: value}, ttl: 1h}
"""


@dataclass(frozen=True, slots=True)
class Files:
    """The same rows as a manifest's source and as encoded commands."""

    manifest: Path
    rows: Path
    commands: Path


def write(directory: Path, count: int) -> Files:
    """Write a manifest with `count` rows, and their commands."""
    files = Files(directory / "m.yaml", directory / "rows.ndjson", directory / "commands")
    files.manifest.write_text(MANIFEST)
    expires_at = str(int(time.time() * 1000) + 3_600_000)
    with files.rows.open("w") as rows, files.commands.open("wb") as commands:
        for i in range(count):
            value = f"{i:010d}{VALUE}"
            rows.write(json.dumps({"id": i, "value": value}) + "\n")
            commands.write(pack("SET", f"item:{i}", value, "PXAT", expires_at, "NX"))
    return files


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return write(tmp_path_factory.mktemp("rows"), ROWS)


@pytest.fixture(scope="module", params=["redis-8.2", "valkey-9.1"])
def server(request: pytest.FixtureRequest) -> Iterator[TestServer]:
    with servers.start(request.param) as started:
        yield started


def _emptied(server: TestServer, load: Callable[[], object]) -> Callable[[], object]:
    def run() -> None:
        server.admin.flushall()
        load()
        assert server.admin.dbsize() >= ROWS

    return run


def _warm(server: TestServer, files: Files, state: Path, *words: str) -> Callable[[], object]:
    command = [sys.executable, "-m", "cachectl", "-q", "--url", server.url, "warm", "run"]
    environ = {"XDG_STATE_HOME": str(state), "PATH": "/usr/bin:/bin", "HOME": str(state)}

    def run() -> None:
        subprocess.run(
            [*command, str(files.manifest), *words],
            env=environ,
            check=True,
            stdout=subprocess.DEVNULL,
        )

    return run


def _piped(server: TestServer, files: Files) -> Callable[[], object]:
    program = cli_with("--pipe")
    assert program is not None, "no redis-cli on this machine"

    def run() -> None:
        with files.commands.open("rb") as commands:
            subprocess.run(
                [str(program), "-p", str(server.port), "--pipe"],
                stdin=commands,
                stdout=subprocess.DEVNULL,
                check=True,
            )

    return run


def _driver(server: TestServer, files: Files) -> Callable[[], object]:
    """redis-py as its documentation shows it: pipelines of 1,000 without a transaction."""

    def run() -> None:
        client = redis.Redis(server.host, server.port)
        pipe = client.pipeline(transaction=False)
        with files.rows.open("rb") as rows:
            for number, line in enumerate(rows, start=1):
                row = json.loads(line)
                pipe.set(f"item:{row['id']}", row["value"], px=3_600_000, nx=True)
                if number % 1000 == 0:
                    pipe.execute()
        pipe.execute()
        client.close()

    return run


def test_loading(server: TestServer, files: Files, tmp_path: Path) -> None:
    contestants = {
        "redis-cli --pipe": _emptied(server, _piped(server, files)),
        "cachectl": _emptied(server, _warm(server, files, tmp_path, "--pace", "flat-out")),
        "cachectl at pace normal": _emptied(server, _warm(server, files, tmp_path)),
        "redis-py": _emptied(server, _driver(server, files)),
    }
    runs = alternate(contestants, 3, server)
    slower = ratio(runs["cachectl"], runs["redis-cli --pipe"], "cachectl to redis-cli --pipe")
    ratio(runs["cachectl at pace normal"], runs["redis-cli --pipe"], "normal pace to --pipe")
    faster = ratio(runs["redis-py"], runs["cachectl"], "redis-py to cachectl")
    assert slower <= 1 / 0.6
    assert faster >= 2.5


def test_what_others_feel(server: TestServer, files: Files, tmp_path: Path) -> None:
    print()
    for pace in ("gentle", "normal", "flat-out"):
        server.admin.flushall()
        with bystander(server.port) as latency:
            _warm(server, files, tmp_path, "--pace", pace)()
        print(f"{pace}: {latency}")


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """Millions of rows take what 200,000 take."""
    peaks = {}
    for count in (FEW_ROWS, MOST_ROWS):
        (tmp_path / str(count)).mkdir()
        files = write(tmp_path / str(count), count)
        files.commands.unlink()
        with servers.start("valkey-9.1") as server:
            command = [sys.executable, "-m", "cachectl", "-q", "--url", server.url]
            command += ["warm", "run", str(files.manifest), "--pace", "flat-out"]
            environ = {"XDG_STATE_HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "HOME": "/"}
            peaks[count] = peak_bytes(command, environ)
        files.rows.unlink()
        print(f"\n{count:,} rows: {peaks[count] / 1e6:.0f} MB")
    assert max(peaks.values()) < 150e6
    assert peaks[MOST_ROWS] < 1.1 * peaks[FEW_ROWS]
