"""`cachectl warm run`: load a cache from a manifest, without harm to what is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cachectl.cli import options
from cachectl.cli.context import App, context
from cachectl.cli.invalidate.invalidating import seconds_of, trail_of
from cachectl.cli.invalidate.orders import AuditStream, Syslog
from cachectl.cli.warm import manifests, warming
from cachectl.errors import UsageError

if TYPE_CHECKING:
    from cachectl.server.pace import Pace
    from cachectl.server.topology.handle import Server


def run(
    ctx: typer.Context,
    manifest: manifests.File,
    set_: manifests.Set = None,
    policy: options.PolicyFile = None,
    allow_path: manifests.AllowPath = None,
    allow_network: manifests.AllowNetwork = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where the last run of this manifest stopped")
    ] = False,
    wait: Annotated[
        str,
        typer.Option(
            metavar="DURATION", help="How long to wait for another job of the same manifest"
        ),
    ] = "1h",
    max_time: warming.MaxTime = None,
    allow_evictions: warming.AllowEvictions = False,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    confirm: options.Confirm = None,
    pace: options.Pace = None,
    rate: options.Rate = None,
    syslog: Syslog = False,
    audit_stream: AuditStream = None,
    output: options.Output = None,
) -> None:
    """Write the keys of a manifest: whole, in time, and without pushing out what is hot.

    What it would take is looked at first; it is refused when the server has no room for it. Keys
    that are there are kept, unless the manifest says otherwise: running it twice changes nothing.
    One failing row, source or node does not stop the rest (exit code 3, and the report says what).

    Examples:

      cachectl warm run catalogue.yaml --dry-run

      cachectl -p prod warm run catalogue.yaml --yes --confirm prod

      cachectl -p staging warm run catalogue.yaml --set region=eu --max-time 10m -o junit

      cachectl -p staging warm run catalogue.yaml --resume
    """
    from cachectl.actions.warming.job import Job

    if resume and dry_run:
        raise UsageError("--resume writes, and --dry-run does not: give one of them")
    del yes  # only production is asked about, and there the name is what counts
    app = context(ctx)
    until = warming.deadline("--max-time", max_time)
    patience = seconds_of("--wait", wait)
    allowed = manifests.allowed(allow_path, allow_network)
    given = warming.inputs(app, manifest, set_, allowed, policy)
    with app.server() as server:
        speed = warming.pace_of(server, pace, rate)
        if dry_run:
            _dry(app, server, given, speed, output)
            return
        warming.check_guards(server, given.manifest)
        estimate = warming.look_ahead(app, server, given, speed, writes=True)
        warming.announce(app, estimate, pace.value if pace else server.target.pace)
        if not allow_evictions:
            estimate.check()
        warming.confirm(app, server, given.manifest, confirm)
        job = Job(
            server,
            given.manifest,
            given.sources,
            given.lifetimes,
            speed,
            until,
            patience,
            allow_evictions,
        )
        trail = trail_of(syslog, audit_stream)
        warming.perform(app, job, rows=estimate.rows, resume=resume, trail=trail, output=output)


def _dry(
    app: App,
    server: Server,
    given: warming.Inputs,
    speed: Pace,
    output: options.OutputFormat | None,
) -> None:
    from cachectl.views.warm.run import estimate_report

    target = server.target
    # A few keys written and removed within a transaction change nothing, but production is asked.
    is_free = not target.read_only and target.environment != "production"
    writes = is_free and server.primaries[0].facts.role == "primary"
    estimate = warming.look_ahead(app, server, given, speed, writes=writes)
    app.finish(estimate_report(estimate, server.target.pace, server.facts), output)
