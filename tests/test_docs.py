"""README shows what the program does: its generated parts are current, its examples run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import ROOT, cachectl
from readme import GENERATED, README, generated, running_demo

TEXT = README.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^<!-- try: demo -->\n```console\n(.*?)```$", TEXT, re.DOTALL | re.M)
COMMANDS = [line.removeprefix("$ ") for block in BLOCKS for line in block.splitlines()]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home for the whole module, as the demo outlives a test."""
    directory = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(directory))
        for kind in ("CONFIG_HOME", "DATA_HOME", "STATE_HOME", "CACHE_HOME", "RUNTIME_DIR"):
            patch.setenv(f"XDG_{kind}", str(directory / kind.lower()))
        yield directory


@pytest.fixture(scope="module")
def demo(home: Path) -> Iterator[str]:
    with running_demo() as name:
        yield name


@pytest.fixture(autouse=True)
def isolated_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of conftest's: all tests here share the home that the demo has published in."""
    monkeypatch.setenv("HOME", str(home))
    for kind in ("CONFIG_HOME", "DATA_HOME", "STATE_HOME", "CACHE_HOME", "RUNTIME_DIR"):
        monkeypatch.setenv(f"XDG_{kind}", str(home / kind.lower()))


def shape(text: str) -> list[str]:
    """Return what stays of a screen from run to run: its words, without figures and drawings."""
    lines = (re.sub(r"[\d.,:%█▏▎▍▌▋▊▉<~±–-]+|\b[KMGT]iB\b|\b[wdhms]\b", " ", x) for x in [text])
    return sorted(set(next(lines).split()))


@pytest.mark.parametrize("name", [match[2] for match in GENERATED.finditer(TEXT)])
def test_generated_parts_are_current(name: str, demo: str) -> None:
    (shown,) = [match[3] for match in GENERATED.finditer(TEXT) if match[2] == name]
    now = generated(name, demo)
    if name.startswith("screen: "):
        assert shape(shown) == shape(now), "out of date: python tests/readme.py"
        assert all(len(line) <= 80 for line in shown.splitlines())
    else:
        assert shown == now, "out of date: python tests/readme.py"


def test_there_are_examples() -> None:
    assert len(COMMANDS) > 8
    assert all(command.startswith("cachectl ") for command in COMMANDS)


def test_examples_run(demo: str) -> None:
    """All of them in their order, as a reader would try them: some build on those before."""
    url = cachectl("-p", demo, "profiles", "show", "-o", "json").check().json["addresses"][0]
    for command in COMMANDS:
        _, *words = shlex.split(command.replace("$URL", f"redis://{url}"))
        done = cachectl(*words).check()
        assert done.stdout.strip(), command
        assert "\x1b" not in done.stdout, command


def test_commands_in_the_text_exist() -> None:
    from cachectl.cli.tree import command_tree

    paths = {command.path for command in command_tree().walk()}
    for words in re.findall(r"`cachectl ((?:[a-z-]+ ?)+)", TEXT):
        first, *_ = words.split()
        assert (first,) in paths, words


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        if "://" not in target:
            assert (ROOT / target).exists(), target


def test_every_directory_that_is_described_exists() -> None:
    for name in re.findall(r"^\| `(cachectl/\w+|tests)` ", TEXT, re.M):
        assert (ROOT / name).is_dir(), name


def test_changelog_is_in_the_form_that_it_names() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert text.startswith("# Changelog\n")
    sections = re.findall(r"^## (.+)$", text, re.M)
    assert sections[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", name) for name in sections[1:])
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.+)$", text, re.M)) <= kinds
