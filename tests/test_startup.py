"""What is not needed is not imported: starting costs what typer costs, and no more."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from programs import environment

# Each of these costs 20 to 200 ms; a screen needs rich, a profile pydantic and yaml, a server none.
HEAVY = {"redis", "pydantic", "pydantic_core", "rich.console", "yaml", "tabulate"}
HEAVY |= {"asyncio", "jsonschema", "concurrent.futures", "http.client", "email"}

SCRIPT = """
import sys
from cachectl import main
try:
    main.main(sys.argv[1:])
except SystemExit:
    pass
names = sorted(sys.modules)
import json
print("\\0" + json.dumps(names), file=sys.stderr)
"""


def loaded(*words: str, env: dict[str, str] | None = None) -> set[str]:
    """Return the modules that these words make Python load."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *words],
        env=environment(env, 80),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return set(json.loads(done.stderr.split("\0")[-1]))


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("-h",),
        (),
        ("scna",),
        ("--nonsense",),
        ("--timeout", "soon", "scan"),
        ("scan", "--help"),
        ("scan", "--nonsense"),
        ("scan", "--nonsense", "-o", "json"),
        ("scan", "--limit", "0"),
        ("scan", "-o", "nonsense"),
        ("keys", "--help"),
        ("keys", "show"),
        ("profiles", "init"),
        ("completion", "show", "bash"),
        ("completion", "show", "tcsh"),
        ("help",),
        ("help", "exit-codes"),
        ("help", "scan"),
        ("help", "nonsense"),
        ("-p", "nonsense", "scan"),
        ("--url", "nonsense", "scan"),
    ],
    ids=lambda words: " ".join(words) or "nothing",
)
def test_heavy_things_stay_where_they_are(words: tuple[str, ...]) -> None:
    assert loaded(*words) & HEAVY == set()


def test_version_loads_not_even_typer() -> None:
    assert loaded("--version") & (HEAVY | {"typer", "typing", "enum", "signal"}) == set()


def test_typers_own_completion_loads_nothing_heavy_either() -> None:
    words = {"COMP_WORDS": "cachectl profiles sh", "COMP_CWORD": "2"}
    assert loaded(env={"_CACHECTL_COMPLETE": "complete_bash", **words}) & HEAVY == set()


def test_a_command_on_a_pipe_loads_no_library_for_screens() -> None:
    assert loaded("profiles", "list") & {"rich.console", "tabulate", "redis"} == set()


def test_the_test_sees_what_is_loaded() -> None:
    assert "rich.console" in loaded("profiles", "list", "-o", "table")
    assert "tabulate" in loaded("profiles", "list", "-o", "markdown")
