"""Asking before something changes. Without a person at the terminal the answer is no."""

from __future__ import annotations

from cachectl.errors import RefusedError
from cachectl.output.escape import escape_lines
from cachectl.output.terminal import Terminal


def confirm(terminal: Terminal, question: str, *, yes: bool) -> None:
    """Return when the user agrees (or said --yes); raise RefusedError otherwise."""
    if yes:
        return
    _must_be_asked(terminal, "--yes")
    if _ask(terminal, f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
        raise RefusedError("nothing was changed: not confirmed")


def confirm_by_name(terminal: Terminal, question: str, *, name: str, given: str | None) -> None:
    """Return when the user typed the server's name (or gave it with --confirm); raise otherwise."""
    if given is None:
        _must_be_asked(terminal, f"--yes --confirm {name}")
        given = _ask(terminal, f"{question}\nType the name of the server ({name}) to go on: ")
    if given.strip() != name:
        raise RefusedError(
            f"nothing was changed: the confirmation does not name this server, which is {name}",
            hint=f"--confirm {name}",
        )


def _must_be_asked(terminal: Terminal, flag: str) -> None:
    if not terminal.can_ask:
        raise RefusedError(
            "nothing was changed: this must be confirmed, and there is no terminal to ask at",
            hint=f"give {flag}",
        )


def _ask(terminal: Terminal, prompt: str) -> str:
    terminal.stderr.write(escape_lines(prompt))
    terminal.stderr.flush()
    return terminal.stdin.readline()
