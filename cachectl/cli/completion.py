"""`cachectl completion`: scripts that complete commands, options, profiles and files."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cachectl.cli.context import context
from cachectl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)


class Shell(StrEnum):
    """The shells that there are scripts for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@app.command()
def show(
    ctx: typer.Context,
    shell: Annotated[Shell, typer.Argument(help="Which shell")],
) -> None:
    """Print the completion script of a shell.

    Examples:

      source <(cachectl completion show bash)

      cachectl completion show fish > ~/.config/fish/completions/cachectl.fish
    """
    from cachectl.cli.shells import script

    context(ctx).terminal.write(script(shell.value))


@app.command()
def install(
    ctx: typer.Context,
    shell: Annotated[
        Shell | None, typer.Argument(help="Which shell [default: yours]", show_default=False)
    ] = None,
) -> None:
    """Write the completion script to where your shell looks for it.

    Your shell's own settings are left alone; what is to be added there, if anything, is said.

    Examples:

      cachectl completion install

      cachectl completion install zsh
    """
    from cachectl.cli.shells import SHELLS, script
    from cachectl.config.files import write_private

    terminal = context(ctx).terminal
    chosen = shell or _own_shell(terminal.environ)
    directory = _directory(chosen, terminal.environ)
    path = directory / SHELLS[chosen.value]
    write_private(path, script(chosen.value), overwrite=True)
    terminal.write(f"{path}\n")
    terminal.say(_what_else(chosen, path))


def _own_shell(environ: Mapping[str, str]) -> Shell:
    name = Path(environ.get("SHELL", "")).name
    try:
        return Shell(name)
    except ValueError:
        known = ", ".join(Shell)
        raise UsageError(
            f"there is no completion for {name or 'an unknown shell'}",
            hint=f"name one: cachectl completion install SHELL ({known})",
        ) from None


def _directory(shell: Shell, environ: Mapping[str, str]) -> Path:
    """Return where the shell looks for the scripts of one user."""
    home = Path(environ.get("HOME") or Path.home())
    data = Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    return {
        Shell.BASH: data / "bash-completion" / "completions",
        Shell.ZSH: data / "zsh" / "site-functions",
        Shell.FISH: config / "fish" / "completions",
    }[shell]


def _what_else(shell: Shell, path: Path) -> str:
    return {
        Shell.BASH: (
            "new shells complete cachectl where the package bash-completion is set up; "
            f"elsewhere add to ~/.bashrc: source {path}"
        ),
        Shell.ZSH: f"add to ~/.zshrc, above compinit: fpath=({path.parent} $fpath)",
        Shell.FISH: "new shells complete cachectl",
    }[shell]
