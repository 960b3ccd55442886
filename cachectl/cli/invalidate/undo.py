"""`cachectl undo`: put back what a run has removed."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from cachectl.cli import options
from cachectl.cli.context import context
from cachectl.cli.invalidate.invalidating import trail_of
from cachectl.cli.invalidate.orders import AuditStream, Syslog

app = typer.Typer(rich_markup_mode=None)


@app.command()
def undo(
    ctx: typer.Context,
    run: Annotated[str, typer.Argument(help="The run's name, the beginning of it, or last")],
    match: Annotated[
        str | None, typer.Option("--match", help="Only keys that match this glob")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Put old values in the place of newer ones")
    ] = False,
    other_server: Annotated[
        bool,
        typer.Option("--other-server", help="Put them into another server than the run's"),
    ] = False,
    yes: options.Yes = False,
    confirm: options.Confirm = None,
    pace: options.Pace = None,
    rate: options.Rate = None,
    syslog: Syslog = False,
    audit_stream: AuditStream = None,
    output: options.Output = None,
) -> None:
    """Put back the keys that a run has removed, with the TTL that is left to them.

    Keys that were written since are kept as they are, and reported. Undoing twice does no harm:
    what is back already counts as restored.

    Examples:

      cachectl undo last

      cachectl -p prod undo 20260101-0300 --match 'product:4*' --yes --confirm prod

    `cachectl invalidate runs` lists the runs.
    """
    from cachectl import glob
    from cachectl.actions.planning.guards import check_permissions, check_target
    from cachectl.actions.undoing.undo import Undo
    from cachectl.output.confirm import confirm as confirmed
    from cachectl.output.confirm import confirm_by_name
    from cachectl.server.pace import Pace, RateCap
    from cachectl.storage.runs import Runs
    from cachectl.views.invalidate import undo_report

    app = context(ctx)
    directory = Runs().find(run)
    facts = directory.load()
    with app.server() as server:
        check_target(server)
        check_permissions(server, _NEEDS[facts.get("change", {}).get("name", "unlink")])
        target = server.target
        is_named = app.profile is not None or app.url is not None
        question = f"The {facts.get('keys', 0):,} keys of run {directory.id} will be put back."
        if target.environment == "production":
            confirm_by_name(app.terminal, question, name=target.name, given=confirm)
        elif overwrite:
            confirmed(app.terminal, f"{question} Newer values are lost. Go on?", yes=yes)
        matches = glob.matcher(os.fsencode(match) if match else b"*")
        cap = RateCap(rate or target.limits.max_rate)
        trail = trail_of(syslog, audit_stream)
        with (
            trail.following(server, facts, "undo"),
            app.progress(f"undo of {directory.id}") as progress,
        ):
            job = Undo(
                server,
                directory,
                Pace.of(target.limits, pace.value if pace else target.pace, cap),
                lambda key: bool(matches(key)),
                overwrite,
                progress.update,
                # A default profile is no answer to the question which server is meant.
                elsewhere=other_server or (is_named and target.environment != "production"),
            )
            result = job.perform()
        counts = {
            "restored": result.restored,
            "expired": result.expired,
            "conflicts": result.conflicts,
            "failed": result.failed,
        }
        for problem in trail.record(server, "undo", facts, counts):
            app.terminal.warn(problem)
        app.finish(undo_report(result, server.facts), output)


_LOOK = ("TYPE", "PTTL", "TIME", "EXISTS")
_NEEDS = {
    "unlink": (*_LOOK, "RESTORE"),
    "expire": (*_LOOK, "WATCH", "MULTI", "EXEC", "PEXPIREAT", "PERSIST"),
    "ttl": (*_LOOK, "WATCH", "MULTI", "EXEC", "PEXPIREAT", "PERSIST"),
    "rename": (*_LOOK, "RENAMENX"),
}
