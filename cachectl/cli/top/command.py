"""`cachectl top`: what goes on in a cache, live on one screen."""

from __future__ import annotations

from typing import Annotated

import typer

from cachectl.cli.context import context
from cachectl.cli.stats import measuring
from cachectl.errors import UsageError

app = typer.Typer(rich_markup_mode=None, add_completion=False)

DEFAULT_EVERY = 1.0


@app.command()
def top(
    ctx: typer.Context,
    every: Annotated[
        str | None,
        typer.Option(
            "--every",
            metavar="DURATION",
            help="How often to look: 500ms, 5s [default: 1s]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show hit ratio, rates, memory, latency, clients and slow commands, live on one screen.

    Keys: q quit, p pause (the server is not asked meanwhile), tab or 0 to 5 another panel, s the
    next column to sort by, r the other way round, arrows scroll.

    Nothing on the server is changed. Namespaces are shown where it publishes the events of keys
    already. A server that is lost is waited for.

    Examples:

      cachectl top

      cachectl -p prod top --every 5s
    """
    from cachectl.output.fullscreen import why_not

    app_ = context(ctx)
    seconds = DEFAULT_EVERY if every is None else measuring.duration("--every", every)
    if seconds < measuring.SHORTEST:
        raise UsageError(f"--every must be {measuring.SHORTEST * 1000:g}ms or more")
    if reason := why_not(app_.terminal):
        raise UsageError(reason, hint="cachectl stats --watch shows one line a window anywhere")
    from cachectl.cli.top.live import run

    with app_.server() as server:
        run(app_, server, seconds)
