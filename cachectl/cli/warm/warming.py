"""What the commands of `warm` share that talk to a server: from manifest to job, and its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cachectl.cli.context import App
from cachectl.cli.invalidate.invalidating import new_run, seconds_of
from cachectl.cli.warm import manifests

if TYPE_CHECKING:
    from cachectl.actions.trail import Trail
    from cachectl.actions.warming.estimate import WarmEstimate
    from cachectl.actions.warming.job import Job
    from cachectl.actions.warming.lifetimes import Lifetimes
    from cachectl.actions.warming.warming import WarmResult
    from cachectl.cli.options import OutputFormat, PaceOption
    from cachectl.config.manifest import Allowed, Manifest
    from cachectl.output.progress import Progress
    from cachectl.server.pace import Pace
    from cachectl.server.topology.handle import Server
    from cachectl.sources.interface import Source
    from cachectl.storage.runs import RunDirectory

MaxTime = Annotated[
    str | None,
    typer.Option(
        "--max-time", metavar="DURATION", help="Stop after this time; --resume goes on later"
    ),
]
AllowEvictions = Annotated[
    bool,
    typer.Option("--allow-evictions", help="Write even if the server has to throw keys away"),
]


@dataclass(frozen=True, slots=True)
class Inputs:
    """A manifest with everything that is needed to make keys of it."""

    manifest: Manifest
    sources: Mapping[str, Source]
    lifetimes: Mapping[str, Lifetimes]


def inputs(
    app: App,
    file: Path,
    set_: Sequence[str] | None,
    allowed: Allowed,
    policy: Path | None,
) -> Inputs:
    """Read the manifest and open its sources. Raises ConfigError, RefusedError, UsageError."""
    from cachectl.actions.warming.copying import CopyReader
    from cachectl.actions.warming.lifetimes import lifetimes_of
    from cachectl.sources.opening import open_source

    manifest = manifests.load(app, file, set_, allowed)
    reader = CopyReader(manifest, app.terminal.environ, allowed)
    return Inputs(
        manifest,
        {
            name: open_source(spec, manifest, allowed=allowed, reader=reader)
            for name, spec in manifest.sources.items()
        },
        lifetimes_of(manifest, app.policy(policy)),
    )


def pace_of(server: Server, pace: PaceOption | None, rate: int | None) -> Pace:
    """Return the pace that the options or the profile ask for."""
    from cachectl.server.pace import Pace, RateCap

    target = server.target
    cap = RateCap(rate or target.limits.max_rate)
    return Pace.of(target.limits, pace.value if pace else target.pace, cap)


def deadline(option: str, text: str | None) -> float | None:
    """Return when the time that an option gives is over, of time.monotonic()."""
    return None if text is None else time.monotonic() + seconds_of(option, text)


def look_ahead(
    app: App, server: Server, given: Inputs, pace: Pace, *, writes: bool
) -> WarmEstimate:
    """Return what warming would take."""
    from cachectl.actions.warming.estimate import estimate

    with app.progress("looking at the sources", unit="rows"):
        return estimate(server, given.manifest, given.sources, pace, writes=writes)


def announce(app: App, estimate: WarmEstimate, pace: str) -> None:
    """Say on stderr what is about to happen."""
    from cachectl.output.units import show_bytes, show_duration

    keys = "keys" if estimate.keys is None else f"about {estimate.keys:,} keys"
    parts = [f"{keys} to warm"]
    if estimate.bytes is not None:
        parts.append(f"{show_bytes(round(estimate.bytes.value))} of memory")
    if estimate.seconds is not None:
        parts.append(f"{show_duration(round(estimate.seconds, 1))} at pace {pace}")
    if estimate.evictions:
        parts.append(f"about {estimate.evictions:,} keys will be evicted")
    app.terminal.say(", ".join(parts))


def confirm(app: App, server: Server, manifest: Manifest, given: str | None) -> None:
    """Let the user type the server's name before anything is written to production."""
    from cachectl.output.confirm import confirm_by_name

    target = server.target
    if target.environment == "production" or given is not None:
        question = f"The keys of manifest {manifest.name} will be written to {target.name}."
        confirm_by_name(app.terminal, question, name=target.name, given=given)


def check_guards(server: Server, manifest: Manifest) -> None:
    """Refuse what may not be written to. Raises RefusedError, PermissionDeniedError."""
    from cachectl.actions.planning.guards import check_permissions, check_target
    from cachectl.actions.warming.job import needs

    check_target(server)
    check_permissions(server, needs(manifest.entries))


def perform(
    app: App,
    job: Job,
    *,
    rows: int | None,
    resume: bool,
    trail: Trail,
    output: OutputFormat | None,
) -> None:
    """Begin a run, or go on with the last one, and report. rows: of all sources, None: unknown."""
    from cachectl.actions.warming.job import forget_old, unfinished, warmings
    from cachectl.views.warm.run import run_report

    last = unfinished(job.manifest, job.server)
    if resume and last is None:
        app.terminal.say("there is nothing to resume: this begins anew")
    if last is not None and not resume:
        app.terminal.say(
            f"run {last.id} of this manifest was stopped; --resume would go on with it"
        )
    forget_old()
    if resume and last is not None:
        result = _carry_out(app, job, last, rows, trail)
    else:
        with new_run(warmings()) as run:
            result = _carry_out(app, job, run, rows, trail)
            if result.found_done:
                run.remove()
    app.finish(run_report(result, job.server.facts), output)


def _carry_out(app: App, job: Job, run: RunDirectory, rows: int | None, trail: Trail) -> WarmResult:
    """Do it, and write the audit line whatever becomes of it."""
    from cachectl.actions.warming.job import counts_of

    target = job.server.target
    facts = {
        "id": run.id,
        "server": target.name,
        "environment": target.environment,
        "database": target.database,
        "selection": [f"manifest {job.manifest.path}"],
        "plan_digest": job.manifest.digest,
    }
    try:
        with app.progress(f"warming {job.manifest.name}", unit="rows") as progress:
            result = job.perform(run, on_progress=by_source(progress, rows), on_wait=_waiting(app))
    except KeyboardInterrupt:
        trail.record(job.server, "interrupted", facts, {})
        app.terminal.warn("interrupted: what was written stays; --resume goes on from here")
        raise
    if not result.found_done:
        event = "stopped" if result.stopped else "warm"
        for problem in trail.record(job.server, event, facts, counts_of(result)):
            app.terminal.warn(problem)
    return result


def by_source(progress: Progress, total: int | None) -> Callable[[str, int, str], None]:
    """Return what moves a bar over the rows of all sources, and names the one that moved last."""
    rows: dict[str, int] = {}

    def update(source: str, done: int, note: str) -> None:
        if done >= 0:
            rows[source] = done
        said = note or f"{source}: {rows.get(source, 0):,}"
        progress.update(sum(rows.values()), total, said)

    return update


def _waiting(app: App) -> Callable[[str], None]:
    said: set[str] = set()

    def say(message: str) -> None:
        if message not in said:
            said.add(message)
            app.terminal.say(f"{message}: waiting")

    return say
