"""`keys get` at work: a string byte by byte, a collection element by element."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cachectl.cli.context import App
from cachectl.errors import NotFoundError, RefusedError, UsageError

if TYPE_CHECKING:
    from cachectl.cli.options import OutputFormat
    from cachectl.server.topology.connect import Server
    from cachectl.server.values.reading import Value


def no_such_key(key: bytes) -> NotFoundError:
    """Return the error for a key that does not exist."""
    from cachectl.output.escape import escape

    return NotFoundError(f"no such key: {escape(key) or '(the empty name)'}")


def get_value(
    app: App,
    server: Server,
    key: bytes,
    *,
    field: bytes | None,
    raw: bool,
    limit: int,
    output: OutputFormat | None,
) -> None:
    """Write the value, or one field of it. Raises NotFoundError, RefusedError, UsageError."""
    from cachectl.server.values.reading import Value

    with Value(server, key) as value:
        if value.kind == "none":
            raise no_such_key(key)
        _say_touched(app, value)
        if field is not None:
            _write_string(app, server, value, _field(value, field), raw=raw, output=output)
        elif value.kind == "string":
            _get_string(app, server, value, raw=raw, output=output)
        elif value.is_readable:
            _write_elements(app, server, value, limit, raw=raw, output=output)
        else:
            raise RefusedError(
                f"cannot get a value of the type {value.kind}: it is opaque to cachectl",
                hint="cachectl keys show tells what is known of it",
            )


def _say_touched(app: App, value: Value) -> None:
    if not value.no_touch:
        app.terminal.say("reading resets the key's idle time: the server has no CLIENT NO-TOUCH")


def _field(value: Value, name: bytes) -> bytes:
    if value.kind != "hash":
        raise UsageError(f"--field: this key is a {value.kind}, not a hash")
    content = value.field(name)
    if content is None:
        from cachectl.output.escape import escape

        raise NotFoundError(f"no such field: {escape(name) or '(the empty name)'}")
    return content


def _get_string(
    app: App, server: Server, value: Value, *, raw: bool, output: OutputFormat | None
) -> None:
    from cachectl.server.values.details import LOOK

    if output is not None:
        content = value.whole()
    elif raw or not app.terminal.is_interactive:
        for piece in value.pieces():
            app.terminal.write_bytes(piece)
        return
    else:
        content = value.head(LOOK)
    _write_string(app, server, value, content, raw=raw, output=output, total=value.total)


def _write_string(
    app: App,
    server: Server,
    value: Value,
    content: bytes,
    *,
    raw: bool,
    output: OutputFormat | None,
    total: int | None = None,
) -> None:
    if output is None and (raw or not app.terminal.is_interactive):
        app.terminal.write_bytes(content)
        return
    from cachectl.views.keys.key import string_report

    now = app.terminal.now()
    app.show(string_report(value.key, content, server.facts, total=total, now=now), output)


def _write_elements(
    app: App,
    server: Server,
    value: Value,
    limit: int,
    *,
    raw: bool,
    output: OutputFormat | None,
) -> None:
    from cachectl.views.keys.key import element_rows, elements_stream

    shown = 0

    def rows() -> Iterator[tuple[Any, ...]]:
        nonlocal shown
        for piece in value.elements(limit):
            start = shown
            for row in element_rows(piece, value.now, start):
                shown += 1
                yield row

    if raw:
        for piece in value.elements(limit):
            shown += len(piece.elements)
            app.terminal.write_bytes(b"".join(part + b"\n" for part in value.flat(piece)))
        if value.total > shown:
            app.terminal.say(f"{value.total - shown:,} of {value.total:,} elements are left out")
        return
    app.stream(
        elements_stream(value.key, value.kind, rows(), server.facts, value.total, lambda: shown),
        output,
    )
