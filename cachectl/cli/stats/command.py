"""`cachectl stats`: what is going on in this cache now."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from cachectl.cli import options
from cachectl.cli.context import App, context
from cachectl.cli.stats import measuring, notifying
from cachectl.errors import UsageError

if TYPE_CHECKING:
    from cachectl.output.report import Report
    from cachectl.server.topology.connect import Server

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.callback(invoke_without_command=True)
def stats(
    ctx: typer.Context,
    window: measuring.Window = None,
    since_last: measuring.SinceLast = False,
    watch: measuring.Watch = False,
    every: measuring.Every = None,
    count: measuring.Count = None,
    fail_on: options.Fail = options.FailOn.NONE,
    output: options.Output = None,
) -> None:
    """Show hits, misses, rates, memory and clients over a window, and since the server's start.

    Look-ups of cachectl's own jobs that run meanwhile are subtracted. A restart, a reset of the
    counters or a failover in the window is noticed and said.

    Examples:

      cachectl stats

      cachectl -p prod stats --window 1m -o json | jq .hit_ratio

      cachectl stats --since-last --fail-on warning

      cachectl stats --watch --every 5s -o ndjson
    """
    given = [window, since_last, watch, every, count, output, fail_on is not options.FailOn.NONE]
    if ctx.invoked_subcommand is not None:
        if any(given):
            raise UsageError(
                f"options of `stats` itself do not hold for `stats {ctx.invoked_subcommand}`",
                hint="put the options after the subcommand",
            )
        return
    app = context(ctx)
    fixed = window is not None or since_last
    interval = measuring.interval_of(watch=watch, every=every, count=count, fixed=fixed)
    if watch:
        from cachectl.cli.stats.watching import watch as show_windows

        with app.server() as server:
            show_windows(app, server, interval, count, output, fail_on)
        return
    _once(app, measuring.window_of(window, since_last), output, fail_on)


def _once(
    app: App, seconds: float, output: options.OutputFormat | None, fail_on: options.FailOn
) -> None:
    with app.server() as server:
        report, interruption = _window(app, server, seconds)
    measuring.finish(app, report, interruption, output, fail_on)


def _window(app: App, server: Server, seconds: float) -> tuple[Report, KeyboardInterrupt | None]:
    """Return the report of one window; a Ctrl-C shortens it."""
    from cachectl.analysis.traffic.traffic import findings
    from cachectl.views.stats.window import stats_report

    measured = measuring.measure(app, server, seconds)
    report = stats_report(
        measured.result,
        server.facts,
        findings=findings(measured.result, measuring.limits_of(app)),
        unavailable=measured.unavailable,
        notes=measured.notes,
        partial=measured.partial,
    )
    return report, measured.interruption


class ClientsBy(StrEnum):
    """What connections are grouped by; analysis.clients has the same list."""

    NAME = "name"
    ADDRESS = "address"
    LIBRARY = "library"
    USER = "user"
    DATABASE = "database"


class CommandSort(StrEnum):
    """Which commands come first."""

    TIME = "time"
    CALLS = "calls"
    PER_CALL = "per-call"
    FAILURES = "failures"
    NAME = "name"


@app.command("commands")
def commands(
    ctx: typer.Context,
    window: measuring.Window = None,
    since_last: measuring.SinceLast = False,
    sort: Annotated[CommandSort, typer.Option("--sort", help="What comes first")] = (
        CommandSort.TIME
    ),
    limit: options.Limit = None,
    fail_on: options.Fail = options.FailOn.NONE,
    output: options.Output = None,
) -> None:
    """Show which commands are called, what they cost, which fail.

    The time is the server's own; `a call` is what one call keeps everybody else waiting. What the
    measuring itself sends is left out.

    Examples:

      cachectl stats commands

      cachectl stats commands --window 1m --sort per-call --limit 10

      cachectl stats commands -o json | jq '.errors'
    """
    from cachectl.analysis.traffic.commandmix import command_mix, findings
    from cachectl.views.stats.commands import commands_report

    app = context(ctx)
    seconds = measuring.window_of(window, since_last)
    with app.server() as server:
        measured = measuring.measure(app, server, seconds)
        mix = command_mix(measured.result, measured.kinds, sort.value)
        report = commands_report(
            mix,
            measured.result,
            server.facts,
            limit=limit,
            findings=findings(mix),
            unavailable=measured.unavailable,
            notes=measured.notes,
            partial=measured.partial,
        )
    measuring.finish(app, report, measured.interruption, output, fail_on)


@app.command("clients")
def clients(
    ctx: typer.Context,
    by: Annotated[ClientsBy, typer.Option("--by", help="Group connections by")] = ClientsBy.NAME,
    window: measuring.ShortWindow = None,
    idle: Annotated[
        str | None,
        typer.Option(
            "--idle",
            metavar="DURATION",
            help="From when on a connection counts as idle, and many as a leak [default: 5m, 10m]",
            show_default=False,
        ),
    ] = None,
    limit: options.Limit = None,
    fail_on: options.Fail = options.FailOn.NONE,
    output: options.Output = None,
) -> None:
    """Show who is connected, and which pools leak or are full.

    Two looks tell how many connections come and go: a window of 0 is one look. Clients are told
    apart by the name that they give themselves, else by their host.

    Examples:

      cachectl stats clients

      cachectl stats clients --by library --window 0

      cachectl stats clients --idle 1m --fail-on warning

      cachectl stats clients -o json | jq '.groups[] | select(.idle > 10)'
    """
    from cachectl.cli.stats import measuring_clients

    app = context(ctx)
    seconds = 2.0 if window is None else measuring.duration("--window", window)
    since = None if idle is None else measuring.duration("--idle", idle)
    with app.server() as server:
        report, interruption = measuring_clients.measure(
            app, server, seconds, by.value, limit, since
        )
    measuring.finish(app, report, interruption, output, fail_on)


@app.command("latency")
def latency(
    ctx: typer.Context,
    window: measuring.WaitedWindow = None,
    limit: options.Limit = None,
    fail_on: options.Fail = options.FailOn.NONE,
    output: options.Output = None,
) -> None:
    """Show round trips, percentiles by command, and events.

    200 PINGs a second measure round trips from here; what this machine's own load adds to them is
    told apart. Percentiles by command come from the server's histograms, whose steps double: they
    are upper bounds. p99.9 takes 1000 values.

    Examples:

      cachectl stats latency

      cachectl stats latency --window 1m --fail-on warning

      cachectl stats latency -o json | jq '.probes[0].p99'
    """
    from cachectl.cli.stats import measuring_latency

    app = context(ctx)
    seconds = measuring.waited_window_of(window)
    with app.server() as server:
        report, interruption = measuring_latency.measure(app, server, seconds, limit)
    measuring.finish(app, report, interruption, output, fail_on)


@app.command("slow")
def slow(
    ctx: typer.Context,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="DURATION",
            help="Only what was logged in the last 10m, 1h [default: all that the log holds]",
            show_default=False,
        ),
    ] = None,
    limit: options.Limit = None,
    fail_on: options.Fail = options.FailOn.NONE,
    output: options.Output = None,
) -> None:
    """Show the logged slow commands, by shape and namespace.

    Keys are shown as templates, values, passwords and scripts never: they become `?`. Where the
    server logs large requests and replies as well (COMMANDLOG), they are shown too.

    Examples:

      cachectl stats slow

      cachectl stats slow --since 1h --fail-on warning

      cachectl stats slow -o json | jq '.commands[0]'
    """
    from cachectl.cli.stats import measuring_slow

    app = context(ctx)
    seconds = None if since is None else measuring.duration("--since", since)
    with app.server() as server:
        report = measuring_slow.read(app, server, seconds, limit)
    app.finish(report, output, fail_on)


class HotkeysMethod(StrEnum):
    """How much used keys are found."""

    AUTO = "auto"
    HOTKEYS = "hotkeys"
    LFU = "lfu"
    MONITOR = "monitor"


@app.command("hotkeys")
def hotkeys(
    ctx: typer.Context,
    method: Annotated[
        HotkeysMethod,
        typer.Option("--method", help="How: the server's HOTKEYS, LFU counters, or MONITOR"),
    ] = HotkeysMethod.AUTO,
    window: measuring.WaitedWindow = None,
    limit: options.Limit = None,
    fail_on: options.Fail = options.FailOn.NONE,
    output: options.Output = None,
) -> None:
    """Show the most used keys, by the best method that the server has.

    HOTKEYS (Redis 8.6, Valkey 9.2) counts in the server. With an LFU policy, frequencies are read
    of a sample. Else MONITOR is watched in bursts of 50 ms, after its cost has been predicted from
    the server's version, rate and sizes: above 5 % of a core it is refused. The report says which
    it was, and how sure the figures are.

    Examples:

      cachectl stats hotkeys

      cachectl stats hotkeys --method monitor --window 30s

      cachectl stats hotkeys -o json | jq '.keys[0]'
    """
    app = context(ctx)
    seconds = measuring.waited_window_of(window)
    with app.server() as server:
        from cachectl.cli.stats import measuring_hotkeys

        report, interruption = measuring_hotkeys.measure(app, server, method.value, seconds, limit)
    measuring.finish(app, report, interruption, output, fail_on)


@app.command("events")
def events(
    ctx: typer.Context,
    window: measuring.WaitedWindow = None,
    kinds: Annotated[
        str | None,
        typer.Option(
            "--events",
            metavar="KIND,…",
            help="Only these: expired, evicted, missed, new, set, deleted, other; or all "
            "[default: what is published]",
            show_default=False,
        ),
    ] = None,
    enable: notifying.Enable = False,
    watch: measuring.Watch = False,
    every: measuring.Every = None,
    count: measuring.Count = None,
    limit: options.Limit = None,
    yes: options.Yes = False,
    confirm: options.Confirm = None,
    fail_on: options.Fail = options.FailOn.NONE,
    output: options.Output = None,
) -> None:
    """Show what befalls keys, by namespace: expired, evicted, missed, new, set, deleted.

    The server publishes what its setting notify-keyspace-events names. With --enable the rest is
    switched on while this runs and the setting put back exactly, after Ctrl-C and kill -9 too
    (by the next command, then); without --events only as much as adds little to the server's load.
    Events that never came are noticed, since INFO counts expired, evicted and missed keys as well.

    Examples:

      cachectl stats events

      cachectl stats events --enable --window 1m

      cachectl stats events --watch --events evicted,missed -o ndjson

      cachectl stats events -o json | jq '.namespaces[] | select(.missed > 100)'
    """
    app = context(ctx)
    seconds = measuring.waited_window_of(window)
    interval = measuring.interval_of(
        watch=watch, every=every, count=count, fixed=window is not None
    )
    chosen, named = notifying.kinds_of(kinds)
    with app.server() as server:
        from cachectl.cli.stats import measuring_events

        with notifying.heard(
            app, server, chosen, enable=enable, named=named, yes=yes, confirm=confirm
        ) as heard:
            if watch:
                shown = measuring_events.watch(app, heard, interval, count, output)
            else:
                report, interruption = measuring_events.measure(heard, seconds, limit)
    if watch:
        last = shown.end()
        heard.finish(last)
        app.end(last, fail_on)
        return
    heard.finish(report)
    measuring.finish(app, report, interruption, output, fail_on)
