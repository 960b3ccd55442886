"""Markdown of our own, such as a help topic, drawn on a screen."""

from __future__ import annotations

import io

from rich.console import Console
from rich.markdown import Markdown

from cachectl.output.terminal import Terminal


def drawn(markdown: str, terminal: Terminal, *, widest: int) -> str:
    """Return the text to write: at most `widest` columns wide, coloured where that is welcome."""
    buffer = io.StringIO()
    console = Console(
        file=buffer,
        width=min(terminal.width, widest),
        height=25,
        emoji=False,
        highlight=False,
        force_terminal=terminal.color,
        color_system="auto" if terminal.color else None,
        no_color=not terminal.color,
        legacy_windows=False,
        _environ=terminal.environ,
    )
    console.print(Markdown(markdown, code_theme="ansi_dark", hyperlinks=False))
    return "\n".join(line.rstrip(" ") for line in buffer.getvalue().split("\n"))
