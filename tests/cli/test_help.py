"""Help topics, the help of commands, and the reference."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable

import pytest
from programs import cachectl, cachectl_tty

from cachectl import main
from cachectl.cli.app import COMMANDS
from cachectl.cli.help import TOPICS, topic_names
from cachectl.cli.reference import PARTS
from cachectl.cli.tree import command_tree
from cachectl.errors import exit_codes
from cachectl.output.show import Format

FILES = sorted(path.stem for path in TOPICS.glob("*.md"))
COMMAND_PATHS = [" ".join(command.path) for command in command_tree().walk() if command.path]


def test_the_topics_that_there_must_be() -> None:
    wanted = {"exit-codes", "formats", "patterns", "safety", "acl", "profiles", "getting-started"}
    assert wanted <= set(FILES)


def test_help_lists_every_topic() -> None:
    text = cachectl("help").check().stdout
    for name in topic_names():
        assert re.search(rf"^    {name} ", text, re.M), name


@pytest.mark.parametrize("name", FILES)
def test_a_topic_on_a_pipe_is_its_markdown(name: str) -> None:
    text = cachectl("help", name).check().stdout
    assert text.startswith("# ")
    assert "\x1b" not in text
    assert "<!--" not in text
    assert text.endswith("\n")


@pytest.mark.parametrize("name", FILES)
def test_a_topic_has_a_heading_that_says_what_it_is_about_and_lines_that_fit(name: str) -> None:
    heading, blank, *lines = TOPICS.joinpath(f"{name}.md").read_text("utf-8").splitlines()
    assert re.fullmatch(r"# .+: .+", heading)
    assert blank == ""
    assert [line for line in lines if len(line) > 100 and not line.startswith("|")] == []


@pytest.mark.parametrize("name", FILES)
def test_commands_in_topics_exist(name: str) -> None:
    """`cachectl …` in a topic, as code in a line or in a block of its own."""
    text = TOPICS.joinpath(f"{name}.md").read_text("utf-8")
    for words in re.findall(r"(?:`|^    (?:\$ )?)cachectl ([^`\n]+)", text, re.M):
        assert_parses(words)


def assert_parses(words: str) -> None:
    """Every command and option of the line is one of the program's."""
    command = command_tree()
    valued = {n for c in command.walk() for o in c.options if o.takes_value for n in o.names}
    skip = False
    for word in words.split("   ")[0].split("  (")[0].split():
        if skip:
            skip = False
        elif word.startswith("-") and word != "-":
            name = word.split("=")[0]
            assert name in {n for option in command.options for n in option.names}, words
            skip = name in valued and "=" not in word
        elif word in ("|", ">", "TOPIC", "COMMAND", "PROFILE"):
            return
        else:
            found = [child for child in command.children if child.path[-1] == word]
            assert found or command.runs, f"{word}: {words}"
            command = found[0] if found else command


def test_exit_codes_are_those_of_the_program() -> None:
    text = cachectl("help", "exit-codes").check().stdout
    for code, meaning in exit_codes():
        assert re.search(rf"^\| `{code}` +\| {re.escape(meaning)} +\|$", text, re.M)


def test_formats_are_those_of_the_program() -> None:
    text = cachectl("help", "formats").check().stdout
    for chosen in Format:
        assert re.search(rf"^\| `{chosen}` +\|", text, re.M), chosen


@pytest.fixture
def printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Return a function that runs the program here, for what needs no process of its own."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def run(*words: str) -> str:
        assert main.run(list(words)) == 0
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize("path", ["", *COMMAND_PATHS])
def test_help_of_a_command(path: str, printed: Callable[..., str]) -> None:
    words = path.split()
    by_option = printed(*words, "--help")
    assert [line for line in by_option.splitlines() if len(line) > 80] == []
    if words and (words[-1] not in topic_names() or len(words) > 1):
        assert printed("help", *words) == by_option


@pytest.mark.parametrize("path", COMMAND_PATHS)
def test_every_command_has_help_with_an_example(path: str) -> None:
    (command,) = [c for c in command_tree().walk() if " ".join(c.path) == path]
    assert command.text.strip()
    if command.runs:
        assert re.search("^Examples?:$", command.text, re.M), f"{path} shows no example"
        _, examples = re.split("^Examples?:$", command.text, flags=re.M)
        for words in re.findall(r"^ *(?:source <\()?cachectl (.+?)\)?$", examples, re.M):
            assert_parses(words)
    for parameter in (*command.options, *command.arguments):
        assert parameter.help, f"{path} {parameter.names} says nothing"


def test_reference_has_every_command_and_every_option() -> None:
    text = cachectl("help", "commands").check().stdout
    for command in command_tree().walk():
        if command.runs:
            assert f"\n## {' '.join(command.path)}\n" in text
        for option in command.options:
            assert ", ".join(option.names) in text


def test_no_command_carries_typers_own_completion_options() -> None:
    for command in command_tree().walk():
        names = {name for option in command.options for name in option.names}
        assert not names & {"--install-completion", "--show-completion"}


@pytest.mark.parametrize("words", [("nonsense",), ("scan", "nonsense"), ("keys", "nonsense")])
def test_no_such_topic(words: tuple[str, ...]) -> None:
    done = cachectl("help", *words).check(2)
    assert done.stderr.startswith(f"error: no help on '{' '.join(words)}'\n")
    assert "`cachectl help` lists the topics" in done.stderr


def test_a_topic_on_a_screen_is_drawn() -> None:
    with cachectl_tty("help", "exit-codes", columns=80, rows=100) as screen:
        done = screen.finish()
        text = screen.text
    assert done.exit_code == 0
    assert b"\x1b[" in done.out
    assert "| --" not in text
    assert "Locked by another run." in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_a_topic_on_a_dumb_screen_has_no_escape_codes() -> None:
    for env in ({"TERM": "dumb"}, {"NO_COLOR": "1"}):
        with cachectl_tty("help", "exit-codes", env=env) as screen:
            assert b"\x1b" not in screen.finish().out


def test_schemas_are_printed(printed: Callable[..., str]) -> None:
    names = printed("help", "schema").split()
    assert {"scan", "keys", "profiles", "profile", "profile-check", "error"} <= set(names)
    for name in names:
        assert json.loads(printed("help", "schema", name))["title"].startswith(f"cachectl.{name}")
    done = cachectl("help", "schema", "nonsense").check(2)
    assert "there is no schema called 'nonsense'" in done.stderr


def test_parts_are_all_used_somewhere() -> None:
    from programs import ROOT

    texts = [path.read_text("utf-8") for path in TOPICS.glob("*.md")]
    texts.append((ROOT / "README.md").read_text("utf-8"))
    asked = set(re.findall(r"<!-- generated: ([a-z-]+) -->", "\n".join(texts)))
    assert asked == set(PARTS)


def test_summaries_at_the_root_say_enough() -> None:
    text = cachectl("--help").check().stdout
    for name, (_, about) in COMMANDS.items():
        assert f"{name:<10}" in text
        assert about in re.sub(r"\s+", " ", text)


def test_help_costs_no_more_than_it_must() -> None:
    script = (
        "import sys, cachectl.main as m\n"
        "try: m.main(['help', 'exit-codes'])\n"
        "except SystemExit: pass\n"
        "print(json.dumps(sorted(sys.modules)) if (json := __import__('json')) else '')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert not loaded & {"rich.console", "redis", "pydantic", "yaml", "asyncio", "tabulate"}
