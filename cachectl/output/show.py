"""The table of formats, and the two ways in: `show` a report, `stream` rows."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from importlib import import_module
from typing import Any

from cachectl.output.report import Report, RowStream
from cachectl.output.terminal import Terminal


class Format(StrEnum):
    """What `--output` takes."""

    TABLE = "table"
    PLAIN = "plain"
    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"
    TSV = "tsv"
    YAML = "yaml"
    MARKDOWN = "markdown"
    NAGIOS = "nagios"
    PROMETHEUS = "prometheus"
    JUNIT = "junit"


# Format → (function for a report, function for a stream), each with the module that it is in: they
# are imported when they are used, since rich and tabulate cost more than most commands.
_WRITERS: dict[Format, tuple[str, str]] = {
    Format.TABLE: ("screen.show_table", "plain.stream_lines"),
    Format.PLAIN: ("plain.show_plain", "plain.stream_lines"),
    Format.MARKDOWN: ("markdown.show_markdown", "markdown.stream_markdown"),
    Format.JSON: ("machines.show_json", "machines.stream_json"),
    Format.NDJSON: ("machines.show_ndjson", "machines.stream_ndjson"),
    Format.YAML: ("machines.show_yaml", "machines.stream_yaml"),
    Format.CSV: ("separated.show_csv", "separated.stream_csv"),
    Format.TSV: ("separated.show_tsv", "separated.stream_tsv"),
    Format.NAGIOS: ("nagios.show_nagios", "nagios.stream_nagios"),
    Format.PROMETHEUS: ("prometheus.show_prometheus", "prometheus.stream_prometheus"),
    Format.JUNIT: ("junit.show_junit", "junit.stream_junit"),
}


def default_format(terminal: Terminal) -> Format:
    """Return the format when none was asked for: a table on a screen, plain text on a pipe."""
    return Format.TABLE if terminal.is_interactive else Format.PLAIN


def show(report: Report, chosen: Format | None, terminal: Terminal) -> None:
    """Write a report in the chosen format. Raises OutputClosedError, PartialError."""
    writer, _ = _WRITERS[chosen or default_format(terminal)]
    _function(writer)(report, terminal)


def stream(rows: RowStream, chosen: Format | None, terminal: Terminal) -> None:
    """Write rows while they come, in the chosen format. Raises OutputClosedError, PartialError."""
    _, writer = _WRITERS[chosen or default_format(terminal)]
    _function(writer)(rows, terminal)


def _function(path: str) -> Callable[[Any, Terminal], None]:
    module, name = path.split(".")
    function: Callable[[Any, Terminal], None] = getattr(
        import_module(f"cachectl.output.formats.{module}"), name
    )
    return function
