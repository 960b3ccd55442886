"""Converting parameters without pydantic gives what Typer gives."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.main import get_command

from cachectl.cli.light import lighten


class Colour(StrEnum):
    RED = "red"
    DARK_BLUE = "dark-blue"


def program(found: list[dict[str, Any]]) -> typer.Typer:
    app = typer.Typer(rich_markup_mode=None)

    @app.command()
    def command(
        name: str,
        files: Annotated[list[Path] | None, typer.Argument()] = None,
        count: Annotated[int, typer.Option(min=1, max=9)] = 3,
        ratio: Annotated[float | None, typer.Option(min=0)] = None,
        colour: Annotated[Colour, typer.Option()] = Colour.RED,
        word: Annotated[list[str] | None, typer.Option("--word", "-w")] = None,
        flag: Annotated[bool, typer.Option("--flag/--no-flag")] = True,
        maybe: Annotated[bool | None, typer.Option("--maybe/--never")] = None,
        verbose: Annotated[int, typer.Option("-v", count=True)] = 0,
        where: Annotated[Path, typer.Option(envvar="TEST_WHERE")] = Path("."),
    ) -> None:
        found.append(dict(locals()) | {"found": None})

    return app


def parsed(words: list[str], *, light: bool) -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    command: Any = get_command(program(found))
    if light:
        lighten(command)
    with command.make_context("program", list(words)) as ctx:
        command.invoke(ctx)
    return found[0]


@pytest.mark.parametrize(
    "words",
    [
        ["x"],
        ["x", "a", "b/c"],
        ["x", "--count", "9", "--ratio", "0.5"],
        ["x", "--ratio", "1e3"],
        ["x", "--colour", "dark-blue"],
        ["x", "-w", "a", "--word", "b"],
        ["x", "--no-flag", "--maybe"],
        ["x", "--never", "-vvv"],
        ["x", "--where", "/tmp/x"],
        ["\udcff name", "\udcfe"],
    ],
)
def test_the_same_as_typer(words: list[str]) -> None:
    assert parsed(words, light=True) == parsed(words, light=False)


def test_the_same_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_WHERE", "/there")
    assert parsed(["x"], light=True)["where"] == Path("/there")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["x", "--count", "0"], "0 is less than 1"),
        (["x", "--count", "10"], "10 is more than 9"),
        (["x", "--count", "1.5"], "'1.5' is not a whole number"),
        (["x", "--ratio", "-0.1"], "-0.1 is less than 0"),
        (["x", "--ratio", "much"], "'much' is not a number"),
        (["x", "--ratio", "nan"], "'nan' is not a finite number"),
        (["x", "--colour", "RED"], "'RED' is not one of 'red', 'dark-blue'"),
        ([], "Missing argument"),
    ],
)
def test_what_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(typer.TyperException) as caught:
        parsed(words, light=True)
    assert message in caught.value.format_message()
    with pytest.raises(typer.TyperException):
        parsed(words, light=False)


def test_values_have_the_names_that_people_give_them() -> None:
    command: Any = lighten(get_command(program([])))
    help_text = command.get_help(typer.Context(command, info_name="program"))
    assert "Usage: program [OPTIONS] NAME [FILES...]" in help_text
    assert "--count NUMBER" in help_text
    assert "--where FILE" in help_text
    assert "--colour <red|dark-blue>" in help_text
    assert "range>" not in help_text
    assert "<str>" not in help_text
