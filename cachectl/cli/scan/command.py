"""`cachectl scan`: what is in this cache, by namespace."""

from __future__ import annotations

from contextlib import closing, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cachectl.cli import options
from cachectl.cli.context import App, context
from cachectl.cli.options import OutputFormat
from cachectl.errors import EXIT_PARTIAL, CachectlError, UsageError

if TYPE_CHECKING:
    from cachectl.analysis.keyspace.keyspace import KeyspaceAccumulator
    from cachectl.cli.scan.scanning import FullScan
    from cachectl.output.report import Report
    from cachectl.server.scanning.scan_types import ScanRequest
    from cachectl.server.topology.handle import Server
    from cachectl.storage.snapshots import Snapshot
    from cachectl.views.keys.scan import Shape

app = typer.Typer(rich_markup_mode=None)

_MOST_SAMPLED = 200_000


class By(StrEnum):
    """What keys are grouped by."""

    TEMPLATE = "template"
    PREFIX = "prefix"
    TYPE = "type"
    NODE = "node"


class Sort(StrEnum):
    """What comes first."""

    BYTES = "bytes"
    KEYS = "keys"
    NAME = "name"
    NO_TTL = "no-ttl"
    TTL = "ttl"
    IDLE = "idle"


@app.command()
def scan(
    ctx: typer.Context,
    pattern: Annotated[
        str | None, typer.Argument(help="Only keys that match this glob", show_default=False)
    ] = None,
    match: Annotated[
        str | None, typer.Option("--match", help="The same as PATTERN", show_default=False)
    ] = None,
    type_: Annotated[
        str | None, typer.Option("--type", help="Only keys of this type", show_default=False)
    ] = None,
    by: Annotated[By, typer.Option("--by", help="Group keys by")] = By.TEMPLATE,
    depth: Annotated[
        int | None,
        typer.Option("--depth", min=1, help="Levels of the tree to tell apart", show_default=False),
    ] = None,
    sort: Annotated[Sort, typer.Option("--sort", help="What comes first")] = Sort.BYTES,
    limit: options.Limit = None,
    sample: Annotated[
        int | None,
        typer.Option(
            "--sample",
            min=1,
            max=_MOST_SAMPLED,
            metavar="N",
            help="Answer from N keys drawn at random, with 95 % intervals",
            show_default=False,
        ),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option("--save", metavar="FILE", help="Save a snapshot", show_default=False),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            "--resume",
            metavar="FILE",
            help="Go on with the scan that left this partial snapshot",
            show_default=False,
        ),
    ] = None,
    pace: options.Pace = None,
    rate: options.Rate = None,
    output: options.Output = None,
) -> None:
    """Show the namespaces of a cache: keys, bytes, types, TTLs, idle time.

    One pass over every primary, in parallel, that leaves LRU and LFU alone. Ctrl-C shows what was
    seen by then. A snapshot is NDJSON, one row a key (gzip when FILE ends in .gz), for `cachectl
    diff`, DuckDB and pandas; when the scan was stopped it is partial, and --resume goes on with it.

    Examples:

      cachectl scan

      cachectl -p prod scan 'user:*' --by prefix --depth 2

      cachectl -p prod scan --sample 20000

      cachectl scan -o json | jq '.namespaces[] | select(.no_ttl > 0)'

      cachectl scan --save monday.ndjson.gz

      duckdb -c "SELECT namespace, count(*), sum(bytes) FROM 'monday.ndjson.gz' GROUP BY 1"

      python -c "import pandas; print(pandas.read_json('monday.ndjson.gz', lines=True).describe())"
    """
    app = context(ctx)
    _check(pattern, match, type_, sample, save, resume)
    with app.server() as server:
        from cachectl.views.keys.scan import Shape

        shape = Shape(by.value, depth, sort.value, limit)
        earlier = _earlier(resume)
        request = _request(server, earlier, pattern or match, type_, pace, rate)
        if sample is not None:
            from cachectl.cli.scan.sampling import sampled

            app.finish(sampled(server, request, shape, sample), output)
            return
        full = _full_scan(app, server, request, shape, save or resume, earlier, output)
        report = _report(full, shape)
    app.show(report, output)
    full.say_what_was_saved()
    if full.interruption is not None:
        raise full.interruption
    if report.partial:
        raise typer.Exit(EXIT_PARTIAL)


def _check(
    pattern: str | None,
    match: str | None,
    type_: str | None,
    sample: int | None,
    save: Path | None,
    resume: Path | None,
) -> None:
    """Raise UsageError for words that do not go together."""
    if pattern and match:
        raise UsageError("PATTERN and --match are the same: give one of them")
    if sample and (save or resume):
        raise UsageError("a sample is no snapshot: --sample excludes --save and --resume")
    if resume and (pattern or match or type_):
        raise UsageError("--resume goes on with the pattern and type that the scan began with")


def _earlier(resume: Path | None) -> Snapshot | None:
    if resume is None:
        return None
    from cachectl.storage.snapshots import Snapshot

    return Snapshot(resume)


def _request(
    server: Server,
    earlier: Snapshot | None,
    pattern: str | None,
    type_: str | None,
    pace: options.PaceOption | None,
    rate: int | None,
) -> ScanRequest:
    from cachectl.cli.scan.saving import resume_points
    from cachectl.output.escape import unescape
    from cachectl.server.scanning.scan import ScanRequest

    match = pattern.encode("utf-8", "surrogateescape") if pattern else None
    if earlier is not None:
        match = None if earlier.info.match is None else unescape(earlier.info.match)
        type_ = earlier.info.type
    return ScanRequest(
        match=match,
        type=type_,
        pace=pace.value if pace else None,
        max_rate=rate,
        start=resume_points(server, earlier) if earlier else {},
    )


def _full_scan(
    app: App,
    server: Server,
    request: ScanRequest,
    shape: Shape,
    path: Path | None,
    earlier: Snapshot | None,
    output: OutputFormat | None,
) -> FullScan[KeyspaceAccumulator]:
    """Scan everything, and save it to `path`; a sample comes first when that takes long."""
    from cachectl.analysis.keyspace.keyspace import KeyspaceAccumulator
    from cachectl.cli.scan.saving import Saving
    from cachectl.cli.scan.scanning import FullScan

    accumulator = KeyspaceAccumulator(shape.by, depth=shape.depth or 1)
    begun = earlier.info if earlier else None
    saving = Saving(app, server, path, accumulator, begun) if path else None
    full = FullScan(app, server, request, accumulator, saving, earlier)
    with closing(saving) if saving else nullcontext():
        if earlier is None:
            _announce(full, shape, output)
        full.run()
        full.save()
    return full


def _announce(
    full: FullScan[KeyspaceAccumulator], shape: Shape, output: OutputFormat | None
) -> None:
    """Say that a scan will take long, and show a person what a sample says meanwhile."""
    from cachectl.cli.scan.sampling import FIRST_LOOK, sampled
    from cachectl.cli.scan.scanning import LONG, forecast

    full.forecast = forecast(full.app, full.server, full.request)
    people = output in (None, OutputFormat.TABLE, OutputFormat.PLAIN)
    if full.forecast is None or full.forecast.seconds <= LONG:
        return
    if people and full.app.terminal.is_interactive:
        rate = full.request.max_rate or full.server.target.limits.max_rate
        n = min(FIRST_LOOK, max(100, 2 * rate)) if rate else FIRST_LOOK
        try:
            first = sampled(full.server, full.request, shape, n)
        except CachectlError:
            return  # the scan itself will say what is wrong
        full.app.show(first, output)


def _report(full: FullScan[KeyspaceAccumulator], shape: Shape) -> Report:
    from cachectl.views.keys.scan import scan_report

    folded_to = shape.depth if shape.by == By.TEMPLATE else None
    summary = full.accumulator.result(depth=folded_to)
    return scan_report(summary, full.facts(), full.server.facts, shape)
