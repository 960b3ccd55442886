"""markdown: GitHub's tables, for tickets and post-mortems."""

from __future__ import annotations

import re
from collections.abc import Sequence

import tabulate

from cachectl.model.findings import Finding
from cachectl.output.cells import RIGHT_ALIGNED
from cachectl.output.escape import escape_lines, escape_text
from cachectl.output.formats.collected import show_at_end
from cachectl.output.formats.lines import (
    cell,
    gaps,
    pair_cells,
    table_cells,
    visible,
    visible_columns,
)
from cachectl.output.report import (
    Block,
    Column,
    Histogram,
    Kind,
    Pairs,
    Report,
    RowStream,
    Table,
    Text,
)
from cachectl.output.terminal import Terminal

_SPECIAL = re.compile(r"[\\`*_\[\]<>|~&@#!]|:\w+:|https?:|www\.")
_BACKTICKS = re.compile("`+")
_NAMES = frozenset({Kind.KEY, Kind.NAMESPACE})
_WORDS = frozenset({Kind.TEXT, Kind.DATA, Kind.COUNTS})
# Else what is written depends on whether wcwidth happens to be installed.
tabulate.WIDE_CHARS_MODE = False
_FIELD = Column("field")
_VALUE = Column("value")


def show_markdown(report: Report, terminal: Terminal) -> None:
    """Write a report."""
    parts: list[str] = []
    for block in visible(report.blocks):
        if block.title:
            parts.append(f"### {_text(escape_text(block.title))}")
        parts.append(_block(block, terminal.encoding))
    if report.findings:
        parts.append("\n".join(_finding(finding) for finding in report.findings))
    closing = [*gaps(report), *(escape_lines(note) for note in report.notes)]
    if closing:
        parts.append("\n".join(f"- {_sentence(line)}" for line in closing))
    terminal.write("\n\n".join(part for part in parts if part) + "\n")


def stream_markdown(stream: RowStream, terminal: Terminal) -> None:
    """Write one table when all rows are there, or when they were interrupted."""
    show_at_end(stream, show_markdown, terminal)


def _block(block: Block, encoding: str) -> str:
    match block:
        case Pairs():
            pairs = [[heading, _text(text)] for heading, text in pair_cells(block, encoding)]
            return _table((_FIELD, _VALUE), pairs)
        case Table():
            if not block.rows and block.empty:
                return _sentence(escape_lines(block.empty))
            columns = visible_columns(block.columns)
            rows = [_cells(columns, texts) for texts in table_cells(block, encoding)]
            return _table(columns, rows)
        case Histogram():
            value = Column("value", block.kind)
            labels = [
                [_text(escape_text(label)), cell(value, figure, encoding)]
                for label, figure in block.rows
            ]
            return _table((Column("label"), value), labels)
        case Text():
            fence = "`" * max(3, _longest_run(block.text) + 1)
            return f"{fence}\n{escape_lines(block.text)}\n{fence}"


def _table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    alignment = ["right" if column.kind in RIGHT_ALIGNED else "left" for column in columns]
    return tabulate.tabulate(
        rows,
        headers=[column.heading for column in columns],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=alignment if rows else None,
    )


def _cells(columns: Sequence[Column], texts: Sequence[str]) -> list[str]:
    return [_cell(column, text) for column, text in zip(columns, texts, strict=True)]


def _cell(column: Column, text: str) -> str:
    if column.kind in _NAMES:
        return _code(text)
    return _text(text) if column.kind in _WORDS else text


def _finding(finding: Finding) -> str:
    parts = [f"**{str(finding.severity).upper()}** `{finding.id}`: {_sentence(finding.title)}"]
    if finding.subject:
        parts.append(_code(escape_text(finding.subject)))
    if finding.evidence:
        parts.append(f"({_sentence(finding.evidence)})")
    line = "- " + " ".join(parts)
    if finding.remedy:
        line += f"\n  mend: {_code(escape_text(finding.remedy))}"
    return line


def _text(text: str) -> str:
    """Return a cell: as it is, or as code when Markdown would make something of it."""
    return _code(text) if _SPECIAL.search(text) else text


def _code(text: str) -> str:
    """Return a code span: in it nothing is markup but the pipe, which ends a cell even there."""
    if not text:
        return ""
    fence = "`" * (_longest_run(text) + 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{text}{space}{fence}".replace("|", "\\|")


def _sentence(text: str) -> str:
    """Return prose on one line with what could be markup made literal."""
    return re.sub(r"([\\`*_\[\]<>|~#&@])", r"\\\1", escape_lines(text).replace("\n", " "))


def _longest_run(text: str) -> int:
    return max((len(run) for run in _BACKTICKS.findall(text)), default=0)
