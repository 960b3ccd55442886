"""`cachectl doctor`: one page on whether a cache is healthy, and what to mend first."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cachectl.cli import options
from cachectl.cli.context import App, context
from cachectl.cli.stats import measuring

if TYPE_CHECKING:
    from cachectl.model.findings import Suppression

app = typer.Typer(rich_markup_mode=None)

DEFAULT_WINDOW = 3.0


@app.command()
def doctor(
    ctx: typer.Context,
    window: Annotated[
        str | None,
        typer.Option(
            "--window",
            "-w",
            metavar="DURATION",
            help="How long to watch its traffic: 3s, 1m [default: 3s]",
            show_default=False,
        ),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(
            "--sample",
            min=100,
            max=200_000,
            metavar="N",
            help="Keys to look at [default: all up to 200000, else 20000 of them]",
            show_default=False,
        ),
    ] = None,
    suppressions: Annotated[
        Path | None,
        typer.Option(
            "--suppressions",
            metavar="FILE",
            help="Findings that are accepted, besides those in the profile",
            show_default=False,
        ),
    ] = None,
    policy: options.PolicyFile = None,
    fail_on: options.Fail = options.FailOn.NONE,
    output: options.Output = None,
) -> None:
    """Say whether this cache is healthy, what to mend first, and how.

    Settings, security, traffic, clients, the design of the keys, and their TTLs by the policy if
    there is one, on one page. Looking changes nothing. What is known and accepted can be suppressed
    for a while, in the profile (`suppressions`) or a file: id, reason, the last day, and what it is
    about.

    Examples:

      cachectl doctor

      cachectl -p prod doctor --window 30s --fail-on warning

      cachectl -p prod doctor -o json | jq -r '.findings[] | .id, .remedy'

      cachectl doctor -o junit > doctor.xml
    """
    from cachectl.analysis.doctor.examine import examine
    from cachectl.cli.health.examining import Examination
    from cachectl.views.health.doctor import doctor_report

    app = context(ctx)
    seconds = DEFAULT_WINDOW if window is None else measuring.waited_window_of(window)
    accepted = _accepted(app, suppressions)
    rules = app.policy(policy)
    with app.server() as server:
        look = Examination(app, server, seconds, sample, rules, str(policy) if policy else None)
        facts = look.facts()
        report = doctor_report(
            examine(facts, accepted, today=_today(app)),
            facts,
            server.facts,
            drawn=look.drawn.drawn if look.drawn else 0,
            size=look.drawn.size if look.drawn else 0,
            unavailable=server.unavailable,
            partial=look.partial,
        )
    measuring.finish(app, report, look.interruption, output, fail_on)


def _accepted(app: App, file: Path | None) -> tuple[Suppression, ...]:
    accepted = app.target.suppressions
    if file is not None:
        from cachectl.config.profiles import load_suppressions

        accepted += load_suppressions(file)
    return accepted


def _today(app: App) -> date:
    return datetime.fromtimestamp(app.terminal.now(), UTC).date()
