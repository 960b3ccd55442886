"""Parameters that need no pydantic, and whose help names values as people do.

Typer builds a validator of pydantic for every option, used or not: that costs every command as
much again as typer itself. Text, numbers, choices and plain paths, which are nearly all of our
options, are converted here; whatever else there is goes Typer's way.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_origin

import typer
from typer.core import TyperArgument, TyperGroup, TyperOption

_METAVARS = {str: "TEXT", int: "NUMBER", float: "NUMBER", Path: "FILE", list[str]: "TEXT"}


def lighten(command: Any) -> Any:
    """Let a command, and all commands below it, convert its parameters here; return it."""
    for parameter in command.params:
        _lighten_parameter(parameter)
    # The option --help is made when it is first asked for.
    make_help_option = command.get_help_option
    command.get_help_option = lambda ctx: _lighten_parameter(make_help_option(ctx))
    if isinstance(command, TyperGroup):
        for child in command.commands.values():
            lighten(child)
    return command


def _lighten_parameter(parameter: Any) -> Any:
    _name_value(parameter)
    # Typer decides which class it makes a parameter of; ours differ from those in one method.
    if type(parameter) is TyperOption:
        parameter.__class__ = _LightOption
    elif type(parameter) is TyperArgument:
        parameter.__class__ = _LightArgument
    return parameter


def _name_value(parameter: Any) -> None:
    """Call the value `NUMBER` or `KEY` where Typer would say `<int range>` or `key`."""
    kind = parameter.type_descriptor.annotation
    if isinstance(parameter, TyperArgument):
        name = parameter.metavar or str(parameter.name).upper().rstrip("_")
        parameter.metavar = name.replace("[", "").replace("]", "").removesuffix("...")
    elif parameter.metavar is None and not (parameter.is_flag or parameter.count):
        parameter.metavar = _METAVARS.get(kind)


def _is_choice(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Enum)


class _LightOption(TyperOption):
    def get_runtime_param(self) -> Any:
        return _Conversion.of(self) or super().get_runtime_param()


class _LightArgument(TyperArgument):
    def get_runtime_param(self) -> Any:
        return _Conversion.of(self) or super().get_runtime_param()

    def get_usage_pieces(self, ctx: Any) -> list[str]:
        del ctx
        name = f"{self.metavar}..." if self.nargs == -1 else str(self.metavar)
        return [name if self.required else f"[{name}]"]

    def get_help_record(self, ctx: Any) -> tuple[str, str] | None:
        record = super().get_help_record(ctx)
        if record is None:
            return None
        kind = self.type_descriptor.annotation
        choices = "|".join(str(member.value) for member in kind) if _is_choice(kind) else ""
        return str(self.metavar), f"{record[1]} [{choices}]" if choices else record[1]


class _Conversion:
    """What Typer calls to convert the words of one parameter."""

    def __init__(self, convert: Callable[[str], Any], info: Any) -> None:
        self._convert = convert
        self._info = info

    @classmethod
    def of(cls, parameter: Any) -> _Conversion | None:
        """Return the conversion of a parameter, or None when Typer shall do it."""
        info = parameter.type_descriptor.parameter_info
        annotation = parameter.type_descriptor.annotation
        if get_origin(annotation) is list:
            (annotation,) = get_args(annotation)
        convert = _converter(annotation, info)
        return cls(convert, info) if convert and info.parser is None else None

    def coerce(self, value: Any, param: Any, ctx: typer.Context) -> Any:
        """Return the value that a command gets. Raises typer.BadParameter."""
        if param.multiple or param.nargs == -1:
            return [self._one(item, param, ctx) for item in value or ()]
        return None if value is None else self._one(value, param, ctx)

    def _one(self, value: Any, param: Any, ctx: typer.Context) -> Any:
        try:
            converted = self._convert(value) if isinstance(value, str) else value
        except ValueError as error:
            raise typer.BadParameter(str(error), ctx=ctx, param=param) from None
        if problem := _outside(converted, self._info.min, self._info.max):
            raise typer.BadParameter(problem, ctx=ctx, param=param)
        return converted


def _converter(annotation: Any, info: Any) -> Callable[[str], Any] | None:
    if annotation is str:
        return str
    if annotation is int:
        return _integer
    if annotation is float:
        return _number
    if annotation is bool and not info.envvar:
        return bool  # a flag: a bool already, or None when it is neither on nor off
    if annotation is Path and not (info.exists or info.resolve_path or info.path_type):
        return Path
    if _is_choice(annotation):
        return _choice(annotation)
    return None


def _choice(choices: type[Enum]) -> Callable[[str], Enum]:
    def convert(text: str) -> Enum:
        for member in choices:
            if member.value == text:
                return member
        known = ", ".join(f"'{member.value}'" for member in choices)
        raise ValueError(f"'{text}' is not one of {known}")

    return convert


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"'{text}' is not a whole number") from None


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"'{text}' is not a number") from None
    if number != number or number in (float("inf"), float("-inf")):
        raise ValueError(f"'{text}' is not a finite number")
    return number


def _outside(value: Any, least: float | None, most: float | None) -> str:
    if least is not None and value < least:
        return f"{value} is less than {least}"
    if most is not None and value > most:
        return f"{value} is more than {most}"
    return ""
