"""README's two commands stand where `.ci/run` and the reader look for them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from programs import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def run_ci(directory: Path, readme: str) -> subprocess.CompletedProcess[str]:
    (directory / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", directory / ".ci" / "run")
    (directory / "README.md").write_text(readme, encoding="utf-8")
    return subprocess.run(
        [directory / ".ci" / "run"], capture_output=True, text=True, check=False, timeout=10
    )


def test_both_commands_are_there_once_and_whole() -> None:
    blocks = re.findall(r"^<!-- run: (\w+) -->\n```bash\n(.*?)\n```$", README, re.DOTALL | re.M)
    commands = dict(blocks)
    assert [name for name, _ in blocks] == ["main", "tests"]
    assert commands["main"].endswith(".venv/bin/cachectl demo")
    assert commands["tests"].splitlines()[-1] == ".venv/bin/pytest -q -n 6"
    assert all(text.startswith("python3 -m venv .venv") for text in commands.values())


def test_ci_runs_exactly_the_marked_block_where_readme_is(tmp_path: Path) -> None:
    readme = (
        "```\necho unmarked\n```\n<!-- run: main -->\n```\necho main\n```\n"
        '<!-- run: tests -->\n```bash\necho "it\'s" in $(basename "$PWD")\n\necho last\n```\n'
        "```\necho after\n```\n"
    )
    done = run_ci(tmp_path, readme)
    assert (done.returncode, done.stdout) == (0, f"it's in {tmp_path.name}\nlast\n")


def test_ci_stops_at_the_first_failure_also_in_a_pipe(tmp_path: Path) -> None:
    done = run_ci(tmp_path, "<!-- run: tests -->\n```\nfalse | true\necho not reached\n```\n")
    assert (done.returncode, done.stdout) == (1, "")


def test_ci_refuses_a_readme_without_the_block(tmp_path: Path) -> None:
    done = run_ci(tmp_path, "<!-- run: tests -->\n\nwords\n\n```\necho no\n```\n")
    assert done.returncode == 1
    assert "no fenced block" in done.stderr
    assert done.stdout == ""
