"""json, ndjson and yaml: raw values, no units, no colours, nothing cut."""

from __future__ import annotations

import json
from typing import Any, Literal

from cachectl.output.document import body, document, head, record
from cachectl.output.formats.plain import say_rest
from cachectl.output.report import Report, RowStream
from cachectl.output.terminal import Terminal

_ENCODERS = {
    indent: json.JSONEncoder(ensure_ascii=True, allow_nan=False, indent=indent)
    for indent in (None, 2)
}


def dumps(value: Any, indent: Literal[2] | None = None) -> str:
    """Return JSON in ASCII: exact in every encoding, harmless to every terminal."""
    return _ENCODERS[indent].encode(value)


def show_json(report: Report, terminal: Terminal) -> None:
    """Write one document."""
    terminal.write(dumps(document(report, terminal.now()), indent=2) + "\n")


def show_yaml(report: Report, terminal: Terminal) -> None:
    """Write one document as YAML."""
    terminal.write(_yaml(document(report, terminal.now())))


def show_ndjson(report: Report, terminal: Terminal) -> None:
    """Write the rows of the main table, one object a line; a report without rows is one object."""
    tables = report.tables
    if not tables:
        terminal.write(dumps(document(report, terminal.now())) + "\n")
        return
    lines = (dumps(record(tables[0].columns, row)) + "\n" for row in tables[0].rows)
    terminal.write("".join(lines))
    say_rest(report, terminal, notes=False)


def stream_json(stream: RowStream, terminal: Terminal) -> None:
    """Write one document whose array grows while the rows come.

    It is a whole document however the rows end: an interruption or an error makes it partial.
    """
    opening = dumps({"schema": stream.schema}, indent=2).rstrip("}\n ")
    terminal.write(f'{opening},\n  "{stream.table}": [')
    separator = "\n    "
    complete = False
    try:
        for row in stream.rows:
            terminal.write(separator + dumps(record(stream.columns, row)))
            separator = ",\n    "
        complete = True
    finally:
        end = stream.finish()
        rest = head(end, terminal.now()) | body(end)
        rest.pop("schema")
        rest["partial"] = end.partial or not complete
        tail = dumps(rest, indent=2).lstrip("{").lstrip("\n")
        terminal.write(f"\n  ],\n{tail}\n")


def stream_yaml(stream: RowStream, terminal: Terminal) -> None:
    """Write one YAML document a row."""
    try:
        for row in stream.rows:
            terminal.write("---\n" + _yaml(record(stream.columns, row)))
    finally:
        say_rest(stream.finish(), terminal, notes=False)


def stream_ndjson(stream: RowStream, terminal: Terminal) -> None:
    """Write one object a line, each as soon as it is known."""
    try:
        for row in stream.rows:
            terminal.write(dumps(record(stream.columns, row)) + "\n")
    finally:
        say_rest(stream.finish(), terminal, notes=False)


def _yaml(value: Any) -> str:
    import yaml

    # The C emitter writes the same some twenty times as fast.
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(
        value, Dumper=dumper, sort_keys=False, allow_unicode=False, width=1_000_000
    )
    return text
