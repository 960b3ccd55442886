"""`cachectl help`: topics at length, the help of any command, the schemas of the reports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cachectl.cli import completing
from cachectl.cli.context import context
from cachectl.errors import UsageError

if TYPE_CHECKING:
    from cachectl.cli.context import App
    from cachectl.output.terminal import Terminal

app = typer.Typer(rich_markup_mode=None)

TOPICS = Path(__file__).with_name("topics")
_WIDEST = 100

# What is generated is a topic like the others, and inserted where a topic asks for it.
_GENERATED = {
    "commands": ("all commands and their options", "commands"),
    "schema": ("the JSON Schema of a report: `cachectl help schema scan`", "schemas"),
}


@app.command("help")
def show_help(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TOPIC|COMMAND]...",
            help="A topic, or a command",
            autocompletion=completing.topics,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show a topic at length, or the help of a command.

    Examples:

      cachectl help

      cachectl help exit-codes

      cachectl help schema scan > scan.schema.json

      cachectl help profiles show
    """
    app = context(ctx)
    match words or []:
        case []:
            _page(app.terminal, _overview())
        case ["commands"]:
            from cachectl.cli.reference import reference

            _page(app.terminal, reference())
        case ["schema", *names] if len(names) <= 1:
            _schema(app, names)
        case [topic] if topic in topic_names():
            _page(app.terminal, topic_text(topic))
        case path:
            app.terminal.write(_command_help(ctx, path) + "\n")


def topic_names() -> list[str]:
    """Return the names of all topics, the generated ones last."""
    return [*sorted(path.stem for path in TOPICS.glob("*.md")), *_GENERATED]


def topic_text(name: str) -> str:
    """Return a topic as Markdown, with its generated parts filled in."""
    from cachectl.cli.reference import filled

    return filled(TOPICS.joinpath(f"{name}.md").read_text(encoding="utf-8"))


def _overview() -> str:
    lines = ["# Help", "", "`cachectl help TOPIC` tells more:", ""]
    names = topic_names()
    wide = max(map(len, names))
    lines += [f"    {name:<{wide}}  {_about(name)}" for name in names]
    lines += ["", "`cachectl help COMMAND`, or `cachectl COMMAND --help`, explains a command.", ""]
    return "\n".join(lines)


def _about(name: str) -> str:
    """Return the heading of a topic, which says what it is about."""
    if name in _GENERATED:
        return _GENERATED[name][0].replace("`", "")
    with TOPICS.joinpath(f"{name}.md").open(encoding="utf-8") as file:
        return file.readline().lstrip("# ").strip()


def _schema(app: App, names: list[str]) -> None:
    from cachectl.output.formats.machines import dumps
    from cachectl.views.schemas import schema, schema_names

    if not names:
        app.terminal.write("".join(f"{name}\n" for name in schema_names()))
        return
    if names[0] not in schema_names():
        known = ", ".join(schema_names())
        raise UsageError(f"there is no schema called '{names[0]}'", hint=f"there are {known}")
    app.terminal.write(dumps(schema(names[0]), indent=2) + "\n")


def _command_help(ctx: typer.Context, path: list[str]) -> str:
    """Return what `cachectl PATH --help` prints."""
    root = ctx.find_root()
    command: Any = root.command
    current: Any = root
    for number, word in enumerate(path):
        found = None
        if hasattr(command, "resolve_command"):
            try:
                _, found, _ = command.resolve_command(current, [word])
            except typer.TyperException:
                found = None
        if found is None:
            words = " ".join(path[: number + 1])
            raise UsageError(f"no help on '{words}'", hint="`cachectl help` lists the topics")
        command = found
        current = type(root)(command, info_name=word, parent=current)
    text: str = command.get_help(current)
    return text


def _page(terminal: Terminal, markdown: str) -> None:
    """Write Markdown as it is to a pipe, drawn on a screen."""
    if not terminal.is_interactive:
        terminal.write(markdown)
        return
    from cachectl.output.markdown_page import drawn

    terminal.write(drawn(markdown, terminal, widest=_WIDEST))
