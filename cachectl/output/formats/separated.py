"""csv and tsv: one table under one heading, raw values, each name exact and no formula."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from cachectl.output.cells import for_machines
from cachectl.output.document import body, field_names
from cachectl.output.escape import escape, escape_formula, escape_text
from cachectl.output.formats.plain import say_rest
from cachectl.output.report import Column, Report, RowStream
from cachectl.output.terminal import Terminal


def show_csv(report: Report, terminal: Terminal) -> None:
    """Write the main table with a heading; a report without tables becomes field,value."""
    _show(report, terminal, _csv_line)


def show_tsv(report: Report, terminal: Terminal) -> None:
    """Write the main table, tab-separated, with a heading."""
    _show(report, terminal, _tsv_line)


def stream_csv(stream: RowStream, terminal: Terminal) -> None:
    """Write rows under a heading as they come."""
    _stream(stream, terminal, _csv_line)


def stream_tsv(stream: RowStream, terminal: Terminal) -> None:
    """Write rows under a heading, tab-separated, as they come."""
    _stream(stream, terminal, _tsv_line)


def _show(report: Report, terminal: Terminal, line: Any) -> None:
    tables = report.tables
    if tables:
        records = [_record(tables[0].columns, row) for row in tables[0].rows]
        # An estimate brings two more fields with it, and not every row has one.
        fields = list(dict.fromkeys(name for record in records for name in record))
        fields = _in_order(fields, tables[0].columns)
    else:
        values = body(report).items()
        records = [{"field": name, "value": _flat(value)} for name, value in values]
        fields = ["field", "value"]
    lines = [line(fields), *(line([record.get(name, "") for name in fields]) for record in records)]
    terminal.write("".join(lines))
    say_rest(report, terminal, notes=False)


def _stream(stream: RowStream, terminal: Terminal, line: Any) -> None:
    fields = field_names(stream.columns)
    try:
        terminal.write(line(fields))
        for record in _records(stream):
            terminal.write(line([record.get(name, "") for name in fields]))
    finally:
        say_rest(stream.finish(), terminal, notes=False)


def _records(stream: RowStream) -> Iterator[dict[str, str]]:
    return (_record(stream.columns, row) for row in stream.rows)


def _record(columns: Sequence[Column], row: Sequence[Any]) -> dict[str, str]:
    """Return a row as text. A key is one field, escaped and so exact, UTF-8 or not."""
    fields: dict[str, str] = {}
    for column, value in zip(columns, row, strict=True):
        if column.audience == "people":
            continue
        if type(value) is int:
            fields[column.name] = str(value)
        elif isinstance(value, bytes):
            fields[column.name] = escape_formula(escape(value))
        else:
            fields |= {name: _flat(plain) for name, plain in for_machines(column, value)}
    return fields


def _in_order(found: Sequence[str], columns: Iterable[Column]) -> list[str]:
    """Return the fields in the order of the columns, each estimate's bounds after it."""
    ordered: list[str] = []
    for name in field_names(columns):
        ordered += [name, *(f for f in (f"{name}_low", f"{name}_high") if f in found)]
    return list(dict.fromkeys([*ordered, *found]))


def _flat(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case str():
            return escape_formula(escape_text(value))
        case int() | float():
            return repr(value)
    return json.dumps(value, ensure_ascii=True)


def _tsv_line(cells: Sequence[str]) -> str:
    return "\t".join(cells) + "\n"


def _csv_line(cells: Sequence[str]) -> str:
    _CSV.writerow(cells)
    return _LINE.text


class _Line:
    """What csv writes its one line to."""

    text = ""

    def write(self, text: str) -> None:
        self.text = text


_LINE = _Line()
_CSV = csv.writer(_LINE, lineterminator="\n")
