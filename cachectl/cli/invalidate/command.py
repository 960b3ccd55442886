"""`cachectl invalidate`: remove keys so that they can be put back."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cachectl.cli import options, selectors
from cachectl.cli.context import context
from cachectl.cli.default import DefaultGroup
from cachectl.cli.invalidate.invalidating import (
    ask,
    carry,
    carry_out,
    check_archive_fits,
    check_rights,
    new_run,
    protection_of,
    seconds_of,
    trail_of,
)
from cachectl.cli.invalidate.orders import (
    AuditStream,
    MaxKeys,
    MaxPercent,
    NoArchive,
    Orders,
    Syslog,
    ordering,
)

if TYPE_CHECKING:
    from cachectl.actions.planning.changes import Change
    from cachectl.analysis.selecting.selection import Selection
    from cachectl.storage.runs import RunDirectory

app = typer.Typer(cls=DefaultGroup, rich_markup_mode=None, no_args_is_help=True)


class Mode(StrEnum):
    """What is done to the keys."""

    UNLINK = "unlink"
    EXPIRE = "expire"
    RENAME = "rename"


@app.command("keys")
@selectors.selecting
@ordering
def invalidate(
    ctx: typer.Context,
    selection: Selection,
    mode: Annotated[Mode, typer.Option("--mode", help="Remove, let expire, or quarantine")] = (
        Mode.UNLINK
    ),
    in_: Annotated[
        str, typer.Option("--in", metavar="DURATION", help="With --mode expire: the new TTL")
    ] = "30s",
    spread: Annotated[
        str, typer.Option(metavar="DURATION", help="With --mode expire: spread TTLs over this")
    ] = "0s",
    no_archive: NoArchive = False,
    *,
    orders: Orders,
) -> None:
    """Remove keys, so that `cachectl undo` can put them back.

    Every key is copied to a local archive, with its TTL, before it is removed. A tag set (--tag) is
    trimmed: it loses the members that are gone.

    Examples:

      cachectl invalidate 'product:*' --dry-run

      cachectl invalidate 'product:*' --type hash --idle-over 1h --yes

      cachectl invalidate --tag tag:product:42 --yes

      cachectl invalidate 'user:*' --mode expire --in 30s --spread 5m

      cachectl -p prod invalidate 'tmp:*' --plan tmp.plan

      cachectl -p prod invalidate apply tmp.plan --yes --confirm prod

    A key that is named like a command is meant by --key.
    """
    change = change_maker(mode, in_, spread)
    carry(context(ctx), selection, orders, change, archives=not no_archive, trims=True)


def change_maker(mode: Mode, in_: str, spread: str) -> Callable[[str], Change]:
    """Return what makes the change that the options mean, for a run. Raises UsageError."""
    from cachectl.actions.planning.changes import Expire, Rename, Unlink

    if mode is Mode.UNLINK:
        return lambda _run: Unlink()
    if mode is Mode.RENAME:
        return Rename
    after, over = seconds_of("--in", in_), seconds_of("--spread", spread)
    return lambda run: Expire(round(after * 1000), round(over * 1000), run)


@app.command()
def apply(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="A plan that `invalidate --plan` has saved")],
    no_archive: NoArchive = False,
    max_keys: MaxKeys = None,
    max_percent: MaxPercent = None,
    yes: options.Yes = False,
    confirm: options.Confirm = None,
    pace: options.Pace = None,
    rate: options.Rate = None,
    syslog: Syslog = False,
    audit_stream: AuditStream = None,
    output: options.Output = None,
) -> None:
    """Do what a saved plan says. Keys that have changed since are left alone.

    Example:

      cachectl -p prod invalidate apply tmp.plan --yes --confirm prod
    """
    from cachectl.actions.execution.planfile import open_plan
    from cachectl.actions.execution.run import Settings, describe
    from cachectl.actions.planning.guards import Allowance, check_amount, check_target
    from cachectl.storage.runs import Runs

    app = context(ctx)
    settings = Settings(not no_archive, True, pace.value if pace else None, rate)
    with app.server() as server:
        check_target(server)
        plan = open_plan(file, server, app.terminal.now())
        with new_run(Runs()) as run:
            change = plan.change_for(run.id)
            check_rights(server, change, settings, plan.tags)
            meant = plan.copy_to(run.plan, protection_of(server, app.policy()))
            check_amount(server, meant.keys, meant.total, Allowance(max_keys, max_percent))
            check_archive_fits(server, meant.size, change, settings)
            ask(app, server, meant, change, settings, yes, confirm)
            words = [f"plan {file}", *plan.words]
            facts = describe(
                server,
                run,
                change,
                settings,
                meant,
                words,
                plan.tags,
            )
            carry_out(app, server, run, facts, trail_of(syslog, audit_stream), output)


@app.command("resume")
def resume_run(
    ctx: typer.Context,
    run: Annotated[str, typer.Argument(help="The run's name, the beginning of it, or last")],
    syslog: Syslog = False,
    audit_stream: AuditStream = None,
    output: options.Output = None,
) -> None:
    """Go on with a run that was stopped. It ends as if nothing had happened.

    Example:

      cachectl -p prod invalidate resume last
    """
    from cachectl.actions.execution.run import Settings, resume
    from cachectl.actions.planning.guards import check_target
    from cachectl.actions.planning.registry import change_from_json
    from cachectl.storage.runs import Runs

    app = context(ctx)
    directory = Runs().find(run)
    facts = directory.load()
    with app.server() as server:
        check_target(server)
        settings = Settings(facts["archives"], facts["checks_guards"])
        tags = [one.encode() for one in facts.get("tags", ())]
        check_rights(server, change_from_json(facts["change"]), settings, tags)
        carry_out(app, server, directory, facts, trail_of(syslog, audit_stream), output, resume)


@app.command()
def runs(ctx: typer.Context, limit: options.Limit = 20, output: options.Output = None) -> None:
    """List the runs of this machine, newest first.

    Example:

      cachectl invalidate runs -o json
    """
    from itertools import islice

    from cachectl.errors import DamagedError
    from cachectl.storage.runs import Runs
    from cachectl.views.invalidate import runs_report

    app = context(ctx)
    found: list[tuple[dict[str, Any], int]] = []
    for run in islice(Runs().all(), limit):
        try:
            facts = run.load()
            found.append((facts | {"state": run.state(facts)}, run.size))
        except DamagedError:
            found.append(({"id": run.id, "state": "damaged"}, run.size))
    app.finish(runs_report(found), output)


@app.command()
def show(
    ctx: typer.Context,
    run: Annotated[str, typer.Argument(help="The run's name, the beginning of it, or last")],
    output: options.Output = None,
) -> None:
    """Show what is known of one run. Its archive is checked from beginning to end.

    Example:

      cachectl invalidate show last
    """
    from cachectl.actions.execution.run import standing_of
    from cachectl.actions.undoing.undo import survey
    from cachectl.storage.journal import read_journal
    from cachectl.storage.runs import Runs
    from cachectl.views.invalidate import run_facts_report

    app = context(ctx)
    directory = Runs().find(run)
    facts = directory.load()
    facts["state"] = directory.state(facts)
    archived = None
    if directory.archive.exists():
        standing = standing_of(read_journal(directory.journal))
        archived = survey(directory, standing).records - len(standing.voids)
    app.finish(run_facts_report(facts, directory.size, archived), output)


@app.command()
def prune(
    ctx: typer.Context,
    older_than: Annotated[
        str, typer.Option(metavar="DURATION", help="Runs that began longer ago and are over")
    ] = "30d",
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    output: options.Output = None,
) -> None:
    """Delete old runs with their archives: they can't be undone or resumed after that.

    Example:

      cachectl invalidate prune --older-than 7d --yes
    """
    from cachectl.errors import DamagedError
    from cachectl.output.confirm import confirm as confirmed
    from cachectl.storage.runs import Runs
    from cachectl.views.invalidate import runs_report

    app = context(ctx)
    before = app.terminal.now() - seconds_of("--older-than", older_than)
    old: list[tuple[RunDirectory, dict[str, Any]]] = []
    for run in Runs().all():
        try:
            facts = run.load()
        except DamagedError:
            continue
        facts["state"] = run.state(facts)
        if facts["state"] != "running" and facts.get("started_at", 0) < before:
            old.append((run, facts))
    report = runs_report([(facts, run.size) for run, facts in old])
    if old and not dry_run:
        size = sum(run.size for run, _ in old)
        confirmed(
            app.terminal, f"Delete {len(old)} runs with their archives ({size:,} bytes)?", yes=yes
        )
        for run, _ in old:
            run.remove()
    app.finish(report, output)


@app.command()
def flush(
    ctx: typer.Context,
    confirm: options.Confirm = None,
    syslog: Syslog = False,
    audit_stream: AuditStream = None,
    output: options.Output = None,
) -> None:
    """Empty the whole database. This can't be undone, and always asks for the server's name.

    To keep copies: cachectl invalidate --all --max-percent 100

    Example:

      cachectl -p staging invalidate flush --confirm staging
    """
    from cachectl.actions.execution.flush import flush as empty
    from cachectl.output.confirm import confirm_by_name
    from cachectl.views.invalidate import flush_report

    app = context(ctx)
    with app.server() as server:
        keys = sum(node.connection.call("DBSIZE") for node in server.primaries)
        confirm_by_name(
            app.terminal,
            f"This removes all {keys:,} keys of database {server.target.database} "
            f"of {server.target.name}, for good.",
            name=server.target.name,
            given=confirm,
        )
        result = empty(server, trail_of(syslog, audit_stream))
        app.finish(flush_report(result, server.facts), output)
