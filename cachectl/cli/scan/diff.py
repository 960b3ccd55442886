"""`cachectl diff`: what changed between two saved scans."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cachectl.cli import options
from cachectl.cli.context import App, context

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cachectl.model.keys import Page
    from cachectl.storage.snapshots import Snapshot
    from cachectl.views.keys.diff import Scope

app = typer.Typer(rich_markup_mode=None)


class DiffBy(StrEnum):
    """What keys are grouped by."""

    TEMPLATE = "template"
    PREFIX = "prefix"
    TYPE = "type"
    NODE = "node"


class DiffSort(StrEnum):
    """What comes first."""

    BYTES = "bytes"
    KEYS = "keys"
    NAME = "name"
    NO_TTL = "no-ttl"


@app.command()
def diff(
    ctx: typer.Context,
    before: Annotated[Path, typer.Argument(metavar="A", help="The earlier snapshot")],
    after: Annotated[Path, typer.Argument(metavar="B", help="The later snapshot")],
    by: Annotated[DiffBy, typer.Option("--by", help="Group keys by")] = DiffBy.TEMPLATE,
    depth: Annotated[
        int | None,
        typer.Option("--depth", min=1, help="Levels of names to tell apart", show_default=False),
    ] = None,
    sort: Annotated[
        DiffSort, typer.Option("--sort", help="What comes first: the largest change of …")
    ] = DiffSort.BYTES,
    everything: Annotated[
        bool, typer.Option("--all", help="Also namespaces in which nothing changed")
    ] = False,
    limit: options.Limit = None,
    fail_on: options.Fail = options.FailOn.NONE,
    output: options.Output = None,
) -> None:
    """Compare two snapshots: which namespaces grew, shrank, appeared, went, or lost their TTL.

    A and B are files that `cachectl scan --save` wrote. A namespace whose keys lost their TTL is a
    finding of severity warning: `--fail-on warning` makes the exit code 1.

    Examples:

      cachectl diff monday.ndjson.gz tuesday.ndjson.gz

      cachectl diff before.ndjson after.ndjson --depth 1 --sort keys --limit 10

      cachectl diff main.ndjson.gz branch.ndjson.gz --fail-on warning -o json
    """
    app = context(ctx)
    from cachectl.analysis.keyspace.snapshots import diff_pages
    from cachectl.storage.snapshots import Snapshot
    from cachectl.views.keys.diff import diff_report

    old, new = Snapshot(before), Snapshot(after)
    found = diff_pages(_pages(app, old), _pages(app, new), by.value, depth=depth)
    report = diff_report(
        found,
        _scope(old),
        _scope(new),
        by=by.value,
        sort=sort.value,
        limit=limit,
        everything=everything,
    )
    app.finish(report, output, fail_on)


def _pages(app: App, snapshot: Snapshot) -> Iterator[Page]:
    with app.progress(f"reading {snapshot.path.name}") as progress:
        done = 0
        for page in snapshot.pages():
            yield page
            done += len(page)
            progress.update(done, snapshot.info.keys)


def _scope(snapshot: Snapshot) -> Scope:
    from cachectl.views.keys.diff import Scope

    info = snapshot.info
    return Scope(
        file=str(snapshot.path),
        server=info.server,
        database=info.database,
        scanned_at=info.begun_at or None,
        keys=info.keys,
        match=info.match,
        type=info.type,
        partial=info.partial,
    )
