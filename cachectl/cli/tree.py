"""The live command tree as plain records, for the completions and the command reference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from typer.core import TyperArgument, TyperGroup

from cachectl.cli import completing
from cachectl.cli.default import DefaultGroup

Completes = Literal["nothing", "choices", "files", "profiles", "profiles-or-files"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One option or argument.

    names: of an option, those that switch a flag off included; metavar: what its value is called,
    empty for a flag; completes: what can stand there, choices if they are known. many: can be given
    again.
    """

    names: tuple[str, ...]
    metavar: str
    help: str
    completes: Completes = "nothing"
    choices: tuple[str, ...] = ()
    many: bool = False
    required: bool = False

    @property
    def takes_value(self) -> bool:
        """Whether the next word is its value."""
        return bool(self.metavar)


@dataclass(frozen=True, slots=True)
class Command:
    """One command or group. path: its words, without the program's name.

    runs: whether it does something by itself, as some groups do: when one of their commands is the
    default, its options and arguments are the group's.
    """

    path: tuple[str, ...]
    summary: str
    text: str
    options: tuple[Parameter, ...] = ()
    arguments: tuple[Parameter, ...] = ()
    children: tuple[Command, ...] = field(default=())
    runs: bool = True

    def walk(self) -> Iterator[Command]:
        """Yield this command and all below it, in the order of the help."""
        yield self
        for child in self.children:
            yield from child.walk()


HELP = Parameter(("-h", "--help"), "", "Show this message and exit")


def command_tree() -> Command:
    """Return the root with everything below it. Imports the module of every command."""
    from typer.main import get_command

    from cachectl.cli.app import COMMANDS, app, load

    root: Any = get_command(app)
    children = tuple(_command(load(name), (name,), summary(name)) for name in COMMANDS)
    return Command((), "", root.help or "", *_parameters(root), children, runs=False)


def summary(name: str) -> str:
    """Return the one line on a command at the root."""
    from cachectl.cli.app import COMMANDS

    return COMMANDS[name][1]


def _command(command: Any, path: tuple[str, ...], about: str) -> Command:
    if not isinstance(command, TyperGroup):
        return Command(path, about, command.help or "", *_parameters(command))
    default = command.default if isinstance(command, DefaultGroup) else None
    children = tuple(
        _command(child, (*path, name), _first_sentence(child.help or ""))
        for name, child in command.commands.items()
        if not child.hidden and name != default
    )
    acting = command.commands[default] if default else command
    text = acting.help or ""
    runs = bool(default) or command.invoke_without_command
    return Command(path, about, text, *_parameters(acting), children, runs)


def _first_sentence(text: str) -> str:
    paragraph = " ".join(text.strip().split("\n\n")[0].split())
    return paragraph.removesuffix(".")


def _parameters(command: Any) -> tuple[tuple[Parameter, ...], tuple[Parameter, ...]]:
    shown = [parameter for parameter in command.params if not parameter.hidden]
    arguments = tuple(_parameter(p) for p in shown if isinstance(p, TyperArgument))
    options = tuple(_parameter(p) for p in shown if not isinstance(p, TyperArgument))
    return (*options, HELP), arguments


def _parameter(parameter: Any) -> Parameter:
    descriptor = parameter.type_descriptor
    kind = descriptor.annotation
    many = get_origin(kind) is list or bool(getattr(parameter, "count", False))
    if get_origin(kind) is list:
        (kind,) = get_args(kind)
    flag = getattr(parameter, "is_flag", False) or getattr(parameter, "count", False)
    completes, choices = _completes(kind, descriptor.parameter_info)
    return Parameter(
        names=(*parameter.opts, *parameter.secondary_opts),
        metavar="" if flag else _metavar(parameter, kind, choices),
        help=_first_sentence(parameter.help or ""),
        completes=completes,
        choices=choices,
        many=many,
        required=parameter.required,
    )


def _completes(kind: Any, info: Any) -> tuple[Completes, tuple[str, ...]]:
    if info.autocompletion is completing.profiles:
        return "profiles", ()
    if info.autocompletion is completing.profiles_or_files:
        return "profiles-or-files", ()
    if info.autocompletion is not None:
        return "choices", tuple(info.autocompletion(""))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "choices", tuple(str(member.value) for member in kind)
    if isinstance(kind, type) and issubclass(kind, Path):
        return "files", ()
    return "nothing", ()


def _metavar(parameter: Any, kind: Any, choices: tuple[str, ...]) -> str:
    if parameter.metavar:
        return str(parameter.metavar).replace("[", "").replace("]", "").removesuffix("...")
    if isinstance(parameter, TyperArgument):
        return str(parameter.name).upper()
    if choices and len(choices) <= 4:
        return "|".join(choices)
    names = {int: "NUMBER", float: "NUMBER", Path: "FILE"}
    return names.get(kind, "FORMAT" if "--output" in parameter.opts else "TEXT")
