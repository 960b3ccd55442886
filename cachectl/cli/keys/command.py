"""`cachectl keys`: find keys, look into one, get its value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cachectl.cli import options, selectors
from cachectl.cli.context import App, context
from cachectl.cli.keys.value import get_value, no_such_key
from cachectl.errors import EXIT_PARTIAL, UsageError

if TYPE_CHECKING:
    from cachectl.analysis.selecting.selection import Selection
    from cachectl.cli.keys.listing import Listing

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, add_completion=False)


@app.command("list")
@selectors.selecting
def list_keys(
    ctx: typer.Context,
    selection: Selection,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,…",
            help="type, ttl, bytes, idle, freq, encoding, elements, namespace, node "
            "[default: type,ttl,bytes and what was filtered by]",
            show_default=False,
        ),
    ] = None,
    print0: Annotated[
        bool, typer.Option("--print0", "-0", help="Only names, as they are, each ended by NUL")
    ] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="Only names, as they are, each ended by a newline")
    ] = False,
    limit: options.Limit = None,
    pace: options.Pace = None,
    rate: options.Rate = None,
    output: options.Output = None,
) -> None:
    """Find keys by name, type, TTL, size, idle time or value.

    All conditions must hold; several --match, --type or --namespace are alternatives. What is not
    known of a key fulfils no condition. Rows are printed while the scan runs, in its order. -0 and
    --raw print names byte by byte: in a terminal they may do whatever the names say.

    Examples:

      cachectl keys list 'session:*' --no-ttl

      cachectl keys list --type hash --larger-than 1mb --columns bytes,elements

      cachectl keys list --where 'json:$.state=done' --not 'match=audit:*'

      cachectl keys list 'tmp:*' -0 | xargs -0 -n 100 redis-cli unlink
    """
    app = context(ctx)
    if (print0 or raw) and (output or columns or print0 is raw):
        raise UsageError("--print0, --raw and --output or --columns exclude each other")
    shown = () if print0 or raw else _columns(columns, selection)
    with (
        app.server() as server,
        selectors.Chooser(server, selection, pace=pace, rate=rate) as chooser,
    ):
        from cachectl.cli.keys.listing import Listing
        from cachectl.server.scanning.columns import Field

        fields = frozenset(Field(name) for name in shown if name in list(Field))
        listing = Listing(app, server, chooser, fields, limit)
        if print0 or raw:
            _write_names(app, listing, b"\0" if print0 else b"\n")
        else:
            _stream(app, listing, shown, output)
    if listing.report is None or listing.report.partial:
        raise typer.Exit(EXIT_PARTIAL)


KeyName = Annotated[
    str, typer.Argument(metavar="KEY", help="The key's name; after -- when it begins with a dash")
]


@app.command()
def get(
    ctx: typer.Context,
    key: KeyName,
    field: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="One field of a hash; written as the key is"),
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Bytes as they are, in a terminal too; elements by line")
    ] = False,
    escaped: options.Escaped = False,
    b64: options.B64 = False,
    limit: Annotated[
        int, typer.Option(min=1, help="At most this many elements of a collection")
    ] = 1000,
    output: options.Output = None,
) -> None:
    """Get the value of a key, exact for a pipe, decoded for a person.

    Into a pipe or file goes the value and nothing else, not even a newline. In a terminal it is
    decompressed and decoded, never executed. Collections are listed element by element. Exit code
    1: no such key.

    Examples:

      cachectl keys get report:2026-01 > report.bin

      cachectl keys get user:42 --field email

      cachectl keys get leaderboard --limit 100000 -o ndjson
    """
    if raw and output:
        raise UsageError("--raw and --output exclude each other")
    name = selectors.name_of(key, escaped=escaped, b64=b64)
    member = None if field is None else selectors.name_of(field, escaped=escaped, b64=b64)
    app = context(ctx)
    with app.server() as server:
        get_value(app, server, name, field=member, raw=raw, limit=limit, output=output)


@app.command()
def show(
    ctx: typer.Context,
    key: KeyName,
    value: Annotated[
        bool, typer.Option("--value/--no-value", help="Read some of the value")
    ] = True,
    escaped: options.Escaped = False,
    b64: options.B64 = False,
    limit: Annotated[
        int, typer.Option(min=1, max=1000, help="At most this many elements of a collection")
    ] = 20,
    output: options.Output = None,
) -> None:
    """Show one key inside out, its value made readable.

    Type, encoding, memory, elements, TTL, idle time or frequency, node and slot, TTLs of a hash's
    fields, consumer groups of a stream, and what is inside: JSON, compression, pickle and more.

    Asks in a few bounded commands, whatever the size of the key, and leaves its idle time and
    frequency alone where the server has CLIENT NO-TOUCH (Redis 7.2, Valkey); elsewhere --no-value
    does. Exit code 1: no such key.

    Examples:

      cachectl keys show user:42

      cachectl keys show 'bin\\x00\\xff' --escaped

      cachectl keys show session:9 -o json | jq .decoded
    """
    from cachectl.analysis.naming.namespaces import TemplateGrouper
    from cachectl.server.values.details import key_details
    from cachectl.views.keys.key import show_report

    name = selectors.name_of(key, escaped=escaped, b64=b64)
    app = context(ctx)
    with app.server() as server:
        details = key_details(server, name, value=value, elements=limit)
        if details is None:
            raise no_such_key(name)
        now = app.terminal.now()
        namespace = TemplateGrouper().group(name)
        report = show_report(details, server.facts, namespace, value=value, now=now)
        app.finish(report, output)


def _columns(wanted: str | None, selection: Selection) -> tuple[str, ...]:
    from cachectl.views.keys.listing import COLUMNS, DEFAULT

    if wanted is None:
        return (*DEFAULT, *(c for c in COLUMNS if c in selection.columns and c not in DEFAULT))
    names = [name.strip() for name in wanted.split(",")]
    for name in names:
        if name not in (*COLUMNS, "key"):
            known = ", ".join(COLUMNS)
            raise UsageError(f"--columns: there is no column {name!r}; choose from {known}")
    return tuple(dict.fromkeys(name for name in names if name != "key"))


def _stream(
    app: App, listing: Listing, shown: tuple[str, ...], output: options.OutputFormat | None
) -> None:
    from cachectl.analysis.naming.namespaces import TemplateGrouper
    from cachectl.output.report import RowStream
    from cachectl.views.keys.listing import COLUMNS, KEY, SCHEMA, TABLE, row_maker

    rows = listing.rows(row_maker(shown, TemplateGrouper().group))
    columns = [KEY, *(COLUMNS[name] for name in shown)]
    app.stream(RowStream(SCHEMA, TABLE, columns, rows, listing.finish), output)


def _write_names(app: App, listing: Listing, end: bytes) -> None:
    from cachectl.output.formats.plain import say_rest

    try:
        for names in listing.names(end):
            app.terminal.write_bytes(names)
    finally:
        say_rest(listing.finish(), app.terminal)
