"""`cachectl evictions`: what is evicted, whether it is missed, and which settings decide it."""

from __future__ import annotations

from typing import Any

import typer

from cachectl.cli import options
from cachectl.cli.context import context
from cachectl.cli.default import DefaultGroup
from cachectl.cli.stats import measuring, notifying

app = typer.Typer(cls=DefaultGroup, rich_markup_mode=None, add_completion=False)


@app.callback()
def evictions(ctx: typer.Context) -> None:
    """Show what is evicted, whether it is missed, and which settings decide it."""
    del ctx


@app.command("now")
def now(
    ctx: typer.Context,
    window: measuring.WaitedWindow = None,
    enable: notifying.Enable = False,
    limit: options.Limit = None,
    yes: options.Yes = False,
    confirm: options.Confirm = None,
    fail_on: options.Fail = options.FailOn.NONE,
    output: options.Output = None,
) -> None:
    """Show memory pressure, what is evicted and how old, whether it is missed, and what to set.

    Policy, headroom and growth come from the server's counters, ages from a sample of keys. Which
    namespaces lose keys, and how many of these are looked for again (regret), comes from events of
    keys: with --enable they are switched on while this runs.

    Examples:

      cachectl evictions

      cachectl evictions --enable --window 1m

      cachectl -p prod evictions --fail-on warning

      cachectl evictions -o json | jq '.settings[] | {name, value, advice}'
    """
    from cachectl.cli.stats import measuring_evictions

    cli = context(ctx)
    seconds = measuring.waited_window_of(window)
    with cli.server() as server:
        asked: dict[str, Any] = {"enable": enable, "yes": yes, "confirm": confirm}
        report, interruption = measuring_evictions.measure(cli, server, seconds, limit, asked)
    measuring.finish(cli, report, interruption, output, fail_on)
