"""`cachectl check`: figures held against ranges, in the language of monitoring plugins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cachectl.cli import options
from cachectl.cli.context import App, context
from cachectl.cli.stats import measuring
from cachectl.errors import CannotConnectError, ConfigError, UsageError

if TYPE_CHECKING:
    from cachectl.analysis.health.checks import Limits
    from cachectl.output.report import Report
    from cachectl.policy import Policy

app = typer.Typer(rich_markup_mode=None)

DEFAULT_WINDOW = 5.0


@app.command()
def check(
    ctx: typer.Context,
    checks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CHECK]...",
            help="Only these checks, such as memory or backlog:queue:mail",
            show_default=False,
        ),
    ] = None,
    warn: Annotated[
        list[str] | None,
        typer.Option(
            "--warn",
            metavar="CHECK=RANGE",
            help="Outside of the range it is WARNING: hit_ratio=90:",
            show_default=False,
        ),
    ] = None,
    critical: Annotated[
        list[str] | None,
        typer.Option(
            "--crit",
            metavar="CHECK=RANGE",
            help="Outside of the range it is CRITICAL: latency=0.5",
            show_default=False,
        ),
    ] = None,
    skip: Annotated[
        list[str] | None,
        typer.Option("--skip", metavar="CHECK", help="Leave a check out", show_default=False),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(
            "--window",
            "-w",
            metavar="DURATION",
            help="How long to watch for rates and latency: 5s, 1m [default: 5s]",
            show_default=False,
        ),
    ] = None,
    since_last: measuring.SinceLast = False,
    sample: Annotated[
        int,
        typer.Option("--sample", min=1, max=200_000, help="Keys to look at, for checks of keys"),
    ] = 10_000,
    policy: options.PolicyFile = None,
    textfile: Annotated[
        Path | None,
        typer.Option(
            "--textfile",
            metavar="FILE",
            help="Write metrics of Prometheus to this file besides, in one step",
            show_default=False,
        ),
    ] = None,
    output: options.PluginOutput = None,
) -> None:
    """Hold the cache against thresholds, for monitoring and CI.

    Ends with 0 OK, 1 WARNING, 2 CRITICAL or 3 UNKNOWN. Ranges are those of monitoring plugins:
    `80:` alerts below 80, `10` above 10, `@10:20` within. They come from --warn and --crit, the
    profile's `thresholds`, the policy; else: hit ratio 80 %, p99 of latency 100 ms, memory 80 %.

    Examples:

      cachectl -p prod check

      cachectl check hit_ratio latency --warn hit_ratio=90: --crit latency=0.5

      cachectl check backlog:queue:mail --warn backlog:queue:mail=1000

      cachectl check --since-last --textfile /var/lib/node_exporter/cache.prom

      cachectl check -o junit > check.xml
    """
    from cachectl.cli.health.checking import Asked, run

    app = context(ctx)
    output = output or _default(app)
    # Icinga reads standard error with the answer, and the first line of both is the state.
    app.terminal.muted = output is options.OutputFormat.NAGIOS
    rules = app.policy(policy)
    limits = _limits(app, rules, warn or (), critical or ())
    asked = Asked(
        names=tuple(_named(name) for name in checks or ()),
        skipped=frozenset(_named(name) for name in skip or ()),
        limits=limits,
        seconds=_seconds(window, since_last),
        sample=sample,
        policy=rules,
    )
    interruption = None
    try:
        with app.server() as server:
            report, interruption = run(app, server, asked)
    except CannotConnectError as error:
        from cachectl.cli.health.checking import unreachable

        report = unreachable(app, error)
    if textfile is not None:
        _write(textfile, report)
    app.show(report, output)
    if interruption is not None:
        raise interruption
    app.end_as_plugin(report)


def _default(app: App) -> options.OutputFormat:
    """Return the format when none was asked for: a monitor reads the pipe."""
    interactive = app.terminal.is_interactive
    return options.OutputFormat.TABLE if interactive else options.OutputFormat.NAGIOS


def _seconds(window: str | None, since_last: bool) -> float:
    if since_last:
        return measuring.window_of(window, since_last)
    if window is None:
        return DEFAULT_WINDOW
    return measuring.waited_window_of(window)


def _named(name: str) -> str:
    """Return the name of a check. Raises UsageError."""
    from cachectl.analysis.health.checks import problem_of

    if problem := problem_of(name):
        raise UsageError(problem)
    return name


def _limits(
    app: App, policy: Policy | None, warn: Sequence[str], critical: Sequence[str]
) -> dict[str, Limits]:
    """Return name → ranges: of the policy, the profile before it, the options before both."""
    from cachectl.analysis.health.checks import Limits, problem_of
    from cachectl.cli.health.checking import ranges_of
    from cachectl.ranges import parse_range

    found = {}
    for name, (low, high) in ranges_of(app.target.thresholds, policy).items():
        if problem := problem_of(name):
            raise ConfigError(f"thresholds of the profile or the policy: {problem}")
        found[name] = Limits(parse_range(low) if low else None, parse_range(high) if high else None)
    for option, words in (("--warn", warn), ("--crit", critical)):
        for word in words:
            name, equals, text = word.rpartition("=")
            if not equals:
                raise UsageError(f"{option} wants CHECK=RANGE, like {option} hit_ratio=80:")
            try:
                range_ = parse_range(text)
            except ValueError as error:
                raise UsageError(f"{option} {name}: {error}") from error
            before = found.get(_named(name), Limits())
            if option == "--warn":
                found[name] = Limits(range_, before.critical)
            else:
                found[name] = Limits(before.warn, range_)
    return found


def _write(path: Path, report: Report) -> None:
    """Write metrics for node_exporter, which runs as another user. Raises StorageError."""
    from cachectl.output.formats.prometheus import prometheus_text
    from cachectl.storage.files import publish_file

    publish_file(path, prometheus_text(report).encode("ascii"))
