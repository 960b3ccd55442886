"""A report as one document of plain data: what JSON and YAML print, and the schemas describe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from cachectl.model.findings import Finding, Unavailable
from cachectl.model.servers import ServerFacts
from cachectl.output.cells import for_machines, plain_data
from cachectl.output.report import Block, Column, Histogram, Pairs, Report, Table, Text
from cachectl.output.units import show_time


def document(report: Report, now: float) -> dict[str, Any]:
    """Return the document: head first, then the report's own fields in reading order."""
    own, common = body(report), head(report, now)
    if clash := own.keys() & common.keys():
        raise ValueError(f"a report may not have fields of every document's head: {sorted(clash)}")
    return common | own


def head(report: Report, now: float) -> dict[str, Any]:
    """Return the fields that every document begins with."""
    return {
        "schema": report.schema,
        "server": server(report.server) if report.server else None,
        "generated_at": show_time(report.generated_at or now),
        "partial": report.partial,
        "unavailable": [unavailable(item) for item in report.unavailable],
        "findings": [finding(item) for item in report.findings],
    }


def body(report: Report) -> dict[str, Any]:
    """Return the report's own fields."""
    fields: dict[str, Any] = {}
    for block in report.blocks:
        fields |= _block(block)
    return fields


def _block(block: Block) -> dict[str, Any]:
    match block:
        case Pairs():
            values: dict[str, Any] = {}
            for column, value in block.rows:
                values |= record([column], [value])
            return {block.name: values} if block.name else values
        case Table() if block.audience != "people":
            return {block.name: [record(block.columns, row) for row in block.rows]}
        case Histogram() if block.audience != "people":
            rows = [{"label": label, "value": value} for label, value in block.rows]
            return {block.name: plain_data(rows)}
        case Text() if block.name:
            return {block.name: plain_data(block.text)}
    return {}


def record(columns: Sequence[Column], row: Sequence[Any]) -> dict[str, Any]:
    """Return one row as an object, without the columns that only people see."""
    fields: dict[str, Any] = {}
    for column, value in zip(columns, row, strict=True):
        if column.audience == "people":
            continue
        if type(value) in _PLAIN:  # nearly every cell of a long list
            fields[column.name] = value
        else:
            fields.update(for_machines(column, value))
    return fields


_PLAIN = frozenset({int, bool, type(None)})


def field_names(columns: Iterable[Column]) -> list[str]:
    """Return the headings of flat machine formats, when no row says more."""
    return [column.name for column in columns if column.audience != "people"]


def server(facts: ServerFacts) -> dict[str, Any]:
    """Return who answered."""
    return _fields(facts)


def finding(item: Finding) -> dict[str, Any]:
    """Return one finding with its severity as a word."""
    return _fields(item) | {"severity": str(item.severity)}


def unavailable(item: Unavailable) -> dict[str, Any]:
    """Return what could not be known."""
    return _fields(item)


def _fields(item: ServerFacts | Finding | Unavailable) -> dict[str, Any]:
    fields: dict[str, Any] = plain_data(asdict(item))
    return fields
