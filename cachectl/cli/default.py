"""A group one of whose commands is meant when none is named: `invalidate 'user:*'`."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup


class DefaultGroup(TyperGroup):
    """The first command of the group is the default; its help is the group's."""

    @property
    def default(self) -> str:
        """The name of the command that is meant when none is named."""
        return next(iter(self.commands))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default in front unless a command, or the group's help, is asked for."""
        asks_help = any(word in ("-h", "--help") for word in args[:1])
        if not asks_help and (not args or args[0] not in self.commands):
            args = [self.default, *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the commands besides the default."""
        return [name for name in super().list_commands(ctx) if name != self.default]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the default's help under the group's name, and the other commands."""
        default = self.commands[self.default]
        inner = typer.Context(default, info_name=ctx.info_name, parent=ctx.parent)
        default.format_help(inner, formatter)
        self.format_commands(ctx, formatter)
