"""`cachectl warm verify`: is all in the cache that the manifest says, as its source has it?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from cachectl.cli import options
from cachectl.cli.context import App, context
from cachectl.cli.invalidate.invalidating import seconds_of
from cachectl.cli.warm import manifests, warming

if TYPE_CHECKING:
    from cachectl.server.topology.handle import Server


def verify(
    ctx: typer.Context,
    manifest: manifests.File,
    set_: manifests.Set = None,
    policy: options.PolicyFile = None,
    allow_path: manifests.AllowPath = None,
    allow_network: manifests.AllowNetwork = None,
    sample: Annotated[
        int | None,
        typer.Option("--sample", min=1, help="Look at so many keys only, drawn at random"),
    ] = None,
    expiring: Annotated[
        str | None,
        typer.Option(
            "--expiring",
            metavar="DURATION",
            help="Less is left than this: the key expires too soon [default: a tenth of its TTL]",
            show_default=False,
        ),
    ] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Write what is wrong")] = False,
    max_time: warming.MaxTime = None,
    confirm: options.Confirm = None,
    pace: options.Pace = None,
    rate: options.Rate = None,
    fail_on: options.Fail = options.FailOn.WARNING,
    output: options.Output = None,
) -> None:
    """Compare a cache with the sources of its manifest: is it all there, and still true?

    Reads the sources again and looks for each key: its type, its TTL, and whether its value is what
    the source says now. Exit code 1 when something is missing, different, or expires soon.

    Examples:

      cachectl -p prod warm verify catalogue.yaml --sample 1000

      cachectl -p staging warm verify catalogue.yaml -o junit > warm.xml

      cachectl -p staging warm verify catalogue.yaml --repair
    """
    from cachectl.actions.warming.verify import Verification
    from cachectl.views.warm.verify import verify_report

    app = context(ctx)
    until = warming.deadline("--max-time", max_time)
    soon = None if expiring is None else round(1000 * seconds_of("--expiring", expiring))
    allowed = manifests.allowed(allow_path, allow_network)
    given = warming.inputs(app, manifest, set_, allowed, policy)
    with app.server() as server, _permission(app, server, given, confirm, repair=repair):
        with app.progress(f"verifying {given.manifest.name}", unit="rows") as progress:
            result = Verification(
                server=server,
                manifest=given.manifest,
                sources=given.sources,
                lifetimes=given.lifetimes,
                pace=warming.pace_of(server, pace, rate),
                sample=sample,
                expiring=soon,
                repairs=repair,
                until=until,
                on_progress=warming.by_source(progress, None),
            ).perform()
        app.finish(verify_report(result, server.facts), output, fail_on)


@contextmanager
def _permission(
    app: App, server: Server, given: warming.Inputs, confirm: str | None, *, repair: bool
) -> Iterator[None]:
    """Hold the manifest's lock while something may be written, after all guards have agreed."""
    if not repair:
        yield
        return
    from cachectl.actions.warming.job import held

    warming.check_guards(server, given.manifest)
    warming.confirm(app, server, given.manifest, confirm)
    with held(server, given.manifest, "warm verify --repair", 0.0, lambda _: None):
        yield
