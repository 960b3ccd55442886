"""`cachectl warm refresh`: load again what is about to expire, before anybody misses it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cachectl.cli import options
from cachectl.cli.context import App, context
from cachectl.cli.invalidate.invalidating import seconds_of
from cachectl.cli.warm import manifests, warming
from cachectl.errors import UsageError

if TYPE_CHECKING:
    from cachectl.actions.warming.refresh import Pass, Refresher


def refresh(
    ctx: typer.Context,
    manifest: manifests.File,
    set_: manifests.Set = None,
    policy: options.PolicyFile = None,
    allow_path: manifests.AllowPath = None,
    allow_network: manifests.AllowNetwork = None,
    within: Annotated[
        str, typer.Option(metavar="DURATION", help="Load what expires within this time")
    ] = "5m",
    beta: Annotated[
        float, typer.Option(min=0.0, help="How eagerly before that (XFetch); 0: not at all")
    ] = 1.0,
    watch: Annotated[bool, typer.Option("--watch", help="Pass after pass, until Ctrl-C")] = False,
    every: Annotated[
        str | None,
        typer.Option(
            "--every",
            metavar="DURATION",
            help="With --watch: the longest rest between passes [default: half of --within]",
            show_default=False,
        ),
    ] = None,
    count: Annotated[
        int | None, typer.Option("--count", min=1, help="Stop --watch after so many passes")
    ] = None,
    max_time: warming.MaxTime = None,
    confirm: options.Confirm = None,
    pace: options.Pace = None,
    rate: options.Rate = None,
    output: options.Output = None,
) -> None:
    """Load keys of a manifest again before they expire, the soonest first.

    For cron, or with --watch for as long as you like. A key that the application has renewed
    meanwhile is left alone; one that is missing is loaded.

    Examples:

      cachectl -p prod warm refresh catalogue.yaml --within 10m --confirm prod

      cachectl -p staging warm refresh catalogue.yaml --watch --within 5m
    """
    from cachectl.actions.warming.job import held
    from cachectl.actions.warming.refresh import Refresher, deadline
    from cachectl.output.report import RowStream
    from cachectl.views.warm import refresh as view

    if not watch and (every is not None or count is not None):
        raise UsageError("--every and --count belong to --watch", hint="add --watch")
    app = context(ctx)
    until = warming.deadline("--max-time", max_time)
    window = seconds_of("--within", within)
    longest = None if every is None else seconds_of("--every", every)
    allowed = manifests.allowed(allow_path, allow_network)
    given = warming.inputs(app, manifest, set_, allowed, policy)
    with app.server() as server:
        warming.check_guards(server, given.manifest)
        warming.confirm(app, server, given.manifest, confirm)
        _warn_of_wide_windows(app, given, window)
        what = "warm refresh"
        with held(server, given.manifest, what, 0.0, lambda _: None, purpose="refresh") as lock:
            refresher = Refresher(
                server=server,
                manifest=given.manifest,
                sources=given.sources,
                lifetimes=given.lifetimes,
                pace=warming.pace_of(server, pace, rate),
                within=window,
                beta=beta,
                idle=deadline(until, lock.lock),
            )
            passes = _Passes(refresher, count if watch else 1, longest)
            with closing(refresher):
                stream = RowStream(
                    view.SCHEMA,
                    view.TABLE,
                    view.COLUMNS,
                    passes.rows(),
                    lambda: view.end_report(passes.broken, server.facts),
                    live=True,
                )
                app.stream(stream, output)
            app.end(view.end_report(passes.broken, server.facts))


def _warn_of_wide_windows(app: App, given: warming.Inputs, window: float) -> None:
    """Say where every pass would load everything: keys that live no longer than the window."""
    for name, lifetimes in given.lifetimes.items():
        if lifetimes.fixed is not None and 0 <= lifetimes.fixed[1] <= 1000 * window:
            app.terminal.warn(
                f"the keys of entry {name} live no longer than --within: "
                "every pass loads all of them"
            )


class _Passes:
    """The passes of one refresher as rows. broken: the last of those in which something failed."""

    def __init__(self, refresher: Refresher, count: int | None, longest: float | None) -> None:
        self.broken: deque[Pass] = deque(maxlen=20)
        self._refresher, self._count, self._longest = refresher, count, longest

    def rows(self) -> Iterator[Sequence[Any]]:
        """Yield a row at the end of each pass."""
        from cachectl.views.warm import refresh as view

        for one in self._refresher.passes(self._count, self._longest):
            if one.is_partial:
                self.broken.append(one)
            yield view.row(one)
