"""The root of the command line: the table of commands, each imported when it is named."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command as build_command

from cachectl import __version__
from cachectl.cli import completing
from cachectl.cli.context import App
from cachectl.cli.light import lighten

COMMANDS: dict[str, tuple[str, str]] = {
    "profiles": ("profiles", "Named connections: list, show, check, init"),
    "scan": ("scan.command", "Namespaces: keys, bytes, types, TTLs, idle time"),
    "diff": ("scan.diff", "Compare two saved scans: what grew, shrank, came, went"),
    "keys": ("keys.command", "One key inside out; find keys by name, type, TTL, size"),
    "stats": ("stats.command", "Hits and misses over a window; latency, events, hot keys"),
    "top": ("top.command", "The same, live on one screen"),
    "memory": ("memory.command", "Where the bytes are, the biggest keys, what would help"),
    "evictions": ("stats.evictions", "What is evicted, whether it is missed, what to set"),
    "invalidate": ("invalidate.command", "Remove keys so that they can be put back"),
    "undo": ("invalidate.undo", "Put back what a run has removed"),
    "warm": ("warm.command", "Load a cache from a manifest, prove it, keep it fresh"),
    "doctor": ("health.doctor", "Is this cache healthy, and what to mend first"),
    "check": ("health.check", "Thresholds to exit codes, for monitoring and CI"),
    "ttl": ("ttl.command", "TTLs against the policy; when keys expire"),
    "policy": ("policy.command", "What is meant to be true of each namespace"),
    "demo": ("demo", "An embedded server with a realistic cache to try everything on"),
    "completion": ("completion", "Shell completions for bash, zsh and fish"),
    "help": ("help", "Longer texts: formats, patterns, profiles, exit codes"),
}
"""Command → (module in cachectl.cli with its `app`, summary). In the order of `--help`."""


class LazyGroup(TyperGroup):
    """A group that knows its commands' names and summaries, and imports one when it is used."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names, without importing anything."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command, or a stand-in that knows only its summary: enough for --help."""
        del ctx
        if cmd_name in self.commands:
            return self.commands[cmd_name]
        if cmd_name not in COMMANDS:
            return None
        return TyperCommand(cmd_name, help=COMMANDS[cmd_name][1])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import the command that the arguments name, and go on as usual."""
        if args and args[0] in COMMANDS:
            self.commands[args[0]] = load(args[0])
        elif args:
            # For the "did you mean" of the base class, which looks at the loaded ones.
            for name in COMMANDS:
                self.commands.setdefault(name, self.get_command(ctx, name))
        return super().resolve_command(ctx, args)


def load(name: str) -> Any:
    """Import the module of one command and return the command."""
    module, summary = COMMANDS[name]
    command: Any = lighten(build_command(import_module(f"cachectl.cli.{module}").app))
    # A single command, taken for a program of its own, is given Typer's options for completion.
    command.params = [p for p in command.params if not str(p.name).endswith("_completion")]
    command.name = name
    command.help = command.help or summary
    return command


app = typer.Typer(
    name="cachectl",
    cls=LazyGroup,
    # Plain help: rich's costs more than all else on the way to it.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"cachectl {__version__}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            "-p",
            metavar="NAME|FILE",
            help="Which server: a profile's name or file",
            envvar="CACHECTL_PROFILE",
            autocompletion=completing.profiles_or_files,
        ),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option("--url", help="Which server: its URL, without the password"),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            min=0.001,
            help="Seconds that connecting and each reply may take",
            envvar="CACHECTL_TIMEOUT",
        ),
    ] = None,
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, help="Say more on stderr")
    ] = 0,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Say nothing on stderr but errors")
    ] = False,
    no_color: Annotated[
        bool, typer.Option("--no-color", help="No colours (also NO_COLOR)")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Look after Redis and Valkey caches: inspect, measure, invalidate, undo, warm, audit.

    Start with `cachectl demo`, or name a server: `cachectl --url redis://host:6379 scan`.
    """
    del version
    if ctx.obj is None:
        ctx.obj = App()
    app_context: App = ctx.obj
    app_context.profile, app_context.url, app_context.timeout = profile, url, timeout
    app_context.terminal.verbose = verbose
    app_context.terminal.quiet = quiet
    app_context.terminal.no_color = no_color


Command = Callable[..., None]
