"""Documentation that the program knows best: exit codes, commands, formats, schemas.

A topic or README asks for a part with a line `<!-- generated: exit-codes -->`; in README the part
stands below it, up to `<!-- end -->`, and a test compares.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from cachectl.cli.tree import Command, Parameter, command_tree
from cachectl.errors import exit_codes

_MARKER = re.compile(r"^<!-- generated: ([a-z-]+) -->\n", re.MULTILINE)


def filled(markdown: str) -> str:
    """Return the text with every marker replaced by what it asks for."""
    return _MARKER.sub(lambda match: PARTS[match[1]](), markdown)


def reference() -> str:
    """Return all commands with their options, as Markdown."""
    tree = command_tree()
    parts = ["# All commands\n", "Options of every command, given before it:\n", _options(tree)]
    parts += [_section(command) for command in tree.walk() if command.runs]
    return "\n".join(parts)


def exit_code_table() -> str:
    """Return the table of exit codes."""
    return _table(("code", "meaning"), ((f"`{code}`", text) for code, text in exit_codes()))


def command_table() -> str:
    """Return the table of commands with their summaries."""
    rows = []
    for command in command_tree().children:
        names = " · ".join(child.path[-1] for child in command.children)
        shown = f"`{command.path[0]} {names}`" if names else f"`{command.path[0]}`"
        rows.append((shown, command.summary))
    return _table(("command", "what it does"), rows)


def schema_table() -> str:
    """Return the table of reports and their schemas."""
    from cachectl.views.schemas import schema, schema_names

    rows = []
    for name in schema_names():
        document = schema(name)
        rows.append((f"`{name}`", f"`{document['title']}`", document["description"]))
    return _table(("name", "`schema` field", "report"), rows)


def format_list() -> str:
    """Return the formats as a line."""
    from cachectl.cli.options import OutputFormat

    return ", ".join(f"`{chosen.value}`" for chosen in OutputFormat) + "\n"


def check_table() -> str:
    """Return the table of what `check` can check."""
    from cachectl.analysis.health.checks import CHECKS

    rows = []
    for name, check in CHECKS.items():
        shown = f"{name}:{check.about}" if check.about else name
        unit = {"B": "bytes"}.get(check.unit, check.unit)
        rows.append((f"`{shown}`", check.text, unit, f"`{check.warn}`" if check.warn else ""))
    return _table(("check", "what it measures", "unit", "warns at"), rows)


PARTS: dict[str, Callable[[], str]] = {
    "exit-codes": exit_code_table,
    "commands": command_table,
    "schemas": schema_table,
    "formats": format_list,
    "checks": check_table,
}
"""What a marker can ask for."""


def _section(command: Command) -> str:
    arguments = " ".join(_usage(argument) for argument in command.arguments)
    usage = f"cachectl {' '.join(command.path)} {arguments}".rstrip()
    lines = [f"## {' '.join(command.path)}", "", f"    {usage} [OPTIONS]", ""]
    lines += [_first_paragraph(command.text), ""]
    return "\n".join(lines) + "\n" + _options(command)


def _usage(argument: Parameter) -> str:
    name = argument.metavar + ("..." if argument.many else "")
    return name if argument.required else f"[{name}]"


def _first_paragraph(text: str) -> str:
    return " ".join(text.split("\n\n")[0].split())


def _options(command: Command) -> str:
    rows = []
    for parameter in (*command.arguments, *command.options):
        if parameter in command.arguments:
            shown = f"`{parameter.metavar}`"
        else:
            value = f" {parameter.metavar}" if parameter.takes_value else ""
            shown = f"`{', '.join(parameter.names)}{value}`"
        rows.append((shown.replace("|", "\\|"), parameter.help))
    return _table(("option", "meaning"), rows)


def _table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a table of Markdown whose columns are aligned: on a pipe it is read as it is."""
    lines = [headings, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, tuple("-" * width for width in widths))
    cells = ([text.ljust(w) for text, w in zip(line, widths, strict=True)] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)
