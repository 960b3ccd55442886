"""How long starting takes, as a ratio to what cannot be avoided; all measured in turn, in one run.

pytest -m benchmark tests/benchmarks/bench_startup.py -s
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from programs import ROOT
from servers import TestServer

pytestmark = pytest.mark.benchmark

ROUNDS = 15
SMALLEST = """
import typer
app = typer.Typer(name="smallest")
@app.command()
def main(name: str = "x"):
    "Say a name."
    print(name)
app(prog_name="smallest")
"""


def program() -> list[str]:
    """Return the console script where there is one: `python -m` costs runpy besides."""
    script = Path(sys.executable).with_name("cachectl")
    return [str(script)] if script.exists() else [sys.executable, "-m", "cachectl"]


def medians(
    commands: Mapping[str, Sequence[str | Path]], env: Mapping[str, str] | None = None
) -> dict[str, float]:
    """Return the median seconds of each command; they take turns, so that load hits all alike."""
    # Without bytecode every start would compile the program anew, and no user has that.
    environ = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")} | dict(env or {})
    environ["PYTHONPATH"] = str(ROOT)
    took: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(ROUNDS + 2):
        for name, command in commands.items():
            begin = time.perf_counter()
            done = subprocess.run(command, check=False, env=environ, capture_output=True)
            assert done.returncode == (2 if "usage" in name else 0), done.stderr
            if turn > 1:
                took[name].append(time.perf_counter() - begin)
    return {name: statistics.median(times) for name, times in took.items()}


def compare(found: Mapping[str, float], what: str, base: str, most: float) -> None:
    ratio = found[what] / found[base]
    print(
        f"\n{what}: {found[what] * 1000:.0f} ms = {ratio:.2f} times {base} "
        f"({found[base] * 1000:.0f} ms), at most {most}"
    )
    assert ratio <= most


@pytest.fixture
def smallest(tmp_path: Path) -> list[str]:
    """The smallest Typer program, as Typer's documentation has it."""
    path = tmp_path / "smallest.py"
    path.write_text(SMALLEST)
    return [sys.executable, str(path)]


def test_version() -> None:
    found = medians(
        {"python -c pass": [sys.executable, "-c", "pass"], "--version": [*program(), "--version"]}
    )
    compare(found, "--version", "python -c pass", 2)


def test_help_and_usage_error(smallest: list[str]) -> None:
    found = medians(
        {
            "smallest --help": [*smallest, "--help"],
            "--help": [*program(), "--help"],
            "scan --help": [*program(), "scan", "--help"],
            "smallest usage error": [*smallest, "--nonsense"],
            "usage error": [*program(), "scan", "--nonsense"],
        }
    )
    compare(found, "--help", "smallest --help", 1.25)
    compare(found, "scan --help", "smallest --help", 1.25)
    compare(found, "usage error", "smallest usage error", 1.25)


def test_completion(smallest: list[str]) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed here")
    script = textwrap.dedent(f"""
        source {ROOT}/completions/cachectl.bash
        COMP_WORDS=(cachectl -p '') COMP_CWORD=2
        _cachectl
    """)
    environ = {"COMP_WORDS": "smallest --n", "COMP_CWORD": "1"}
    found = medians(
        {
            "smallest completion": ["env", "_SMALLEST_COMPLETE=complete_bash", *smallest],
            "completion script": [bash, "--norc", "-c", script],
            "Typer's protocol": ["env", "_CACHECTL_COMPLETE=complete_bash", *program()],
        },
        environ,
    )
    compare(found, "completion script", "smallest completion", 1.25)
    compare(found, "Typer's protocol", "smallest completion", 1.25)


def test_smallest_command_that_talks_to_a_server(any_server: TestServer) -> None:
    any_server.admin.set("key", "value")
    found = medians(
        {
            "import redis, typer": [sys.executable, "-c", "import redis, typer"],
            "keys get": [*program(), "--url", any_server.url, "keys", "get", "key"],
            "keys list": [*program(), "--url", any_server.url, "keys", "list"],
            "scan": [*program(), "--url", any_server.url, "scan"],
        }
    )
    compare(found, "keys get", "import redis, typer", 1.3)
    compare(found, "keys list", "import redis, typer", 1.3)
    compare(found, "scan", "import redis, typer", 1.3)
