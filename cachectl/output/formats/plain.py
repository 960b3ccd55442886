"""plain: aligned columns for a pipe, nothing cut and no escape code. Notes go to stderr."""

from __future__ import annotations

from collections.abc import Sequence

from cachectl.output.escape import escape_lines, escape_text
from cachectl.output.formats.lines import (
    cell_width,
    cells,
    finding_line,
    gaps,
    histogram_lines,
    padded,
    pair_cells,
    table_cells,
    visible,
    visible_columns,
)
from cachectl.output.report import Block, Column, Histogram, Pairs, Report, RowStream, Table, Text
from cachectl.output.terminal import PLAIN_WIDTH, Terminal

_LOOKAHEAD = 50
_TEXT = Column("text")


def show_plain(report: Report, terminal: Terminal) -> None:
    """Write a report; what it lacks and its notes are said on stderr."""
    parts = [_block(block, terminal.encoding) for block in visible(report.blocks)]
    parts += [finding_line(finding) for finding in report.findings]
    terminal.write("\n\n".join(part for part in parts if part) + "\n")
    say_rest(report, terminal)


def say_rest(report: Report, terminal: Terminal, *, notes: bool = True) -> None:
    """Say on stderr what a format without a place for it leaves out."""
    if terminal.reader_gone:
        return
    for line in gaps(report):
        terminal.say(line)
    for note in report.notes if notes else ():
        terminal.say(note)


def stream_lines(stream: RowStream, terminal: Terminal) -> None:
    """Write rows as they come; widths are those of the first rows, longer cells stand out."""
    lines = _Lines(stream, terminal)
    try:
        for row in stream.rows:
            lines.add(cells(stream.columns, row, terminal.encoding))
    finally:
        lines.print_held()
        end = stream.finish()
        for block in visible(end.blocks):
            terminal.say(_block(block, "utf-8"))
        say_rest(end, terminal)


class _Lines:
    """Holds the first rows back until it is known how wide the columns are."""

    def __init__(self, stream: RowStream, terminal: Terminal) -> None:
        self._terminal = terminal
        self._columns = visible_columns(stream.columns)
        self._patience = 1 if stream.live else _LOOKAHEAD
        self._held: list[list[str]] = []
        self._widths: list[int] = []

    def add(self, row: list[str]) -> None:
        """Take one row; print it when the widths are known."""
        if self._widths:
            self._print(row)
            return
        self._held.append(row)
        if len(self._held) >= self._patience:
            self.print_held()

    def print_held(self) -> None:
        """Print the heading and the rows that were held back, if there are any."""
        if not self._held:
            return
        headings = [column.heading for column in self._columns]
        self._widths = _widths([headings, *self._held])
        held, self._held = self._held, []
        for row in [headings, *held]:
            self._print(row)

    def _print(self, row: Sequence[str]) -> None:
        self._terminal.write(padded(row, self._columns, self._widths) + "\n")


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(cell_width, column)) for column in zip(*rows, strict=True)]


def _block(block: Block, encoding: str) -> str:
    match block:
        case Pairs():
            pairs = [(f"{heading}:", text) for heading, text in pair_cells(block, encoding)]
            text = _aligned((_TEXT, _TEXT), pairs)
        case Table():
            text = _table(block, encoding)
        case Histogram():
            lines = histogram_lines(block, PLAIN_WIDTH, encoding)
            text = "\n".join(line for line, _ in lines)
        case Text():
            text = escape_lines(block.text)
    return f"{escape_text(block.title)}\n{text}" if block.title else text


def _table(table: Table, encoding: str) -> str:
    if not table.rows and table.empty:
        return escape_lines(table.empty)
    columns = visible_columns(table.columns)
    headings = [column.heading for column in columns]
    return _aligned(columns, [headings, *table_cells(table, encoding)])


def _aligned(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    widths = _widths(rows)
    return "\n".join(padded(row, columns, widths) for row in rows)
