"""table: for a terminal, as wide as it is, drawn with rich. Forced on a pipe it has no codes."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich.cells import chop_cells
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text as RichText

from cachectl.model.findings import Severity
from cachectl.output.cells import RIGHT_ALIGNED
from cachectl.output.escape import escape_lines, escape_text
from cachectl.output.formats.layout import GAP, NAMES, Layout, lay_out
from cachectl.output.formats.lines import (
    breakable,
    cell_width,
    finding_line,
    gaps,
    histogram_lines,
    pair_cells,
    table_cells,
    visible,
    visible_columns,
)
from cachectl.output.report import Block, Column, Histogram, Kind, Pairs, Report, Table, Text
from cachectl.output.terminal import Terminal

_SEVERITY_STYLE = {Severity.CRITICAL: "bold red", Severity.WARNING: "yellow", Severity.INFO: ""}
_KIND_STYLE = {Kind.BAR: "cyan", Kind.SPARK: "cyan", Kind.NAMESPACE: "bold"}
_LEAST_FOR_VALUES = 20
_INDENT = "  "


def show_table(report: Report, terminal: Terminal) -> None:
    """Write a report for a screen: everything it has to say, in one piece."""
    screen = _Screen(terminal)
    for block in visible(report.blocks):
        screen.block(block)
    screen.closing(report)
    terminal.write(screen.text)


class _Screen:
    """Draws into text: what is written, and how, is the Terminal's business."""

    def __init__(self, terminal: Terminal) -> None:
        self.width = terminal.width
        self.encoding = terminal.encoding
        self._buffer = io.StringIO()
        # Data is never markup, emoji or something to highlight: rich would rewrite key names.
        self._console = Console(
            file=self._buffer,
            width=self.width,
            height=25,
            markup=False,
            emoji=False,
            highlight=False,
            force_terminal=terminal.color,
            color_system="auto" if terminal.color else None,
            no_color=not terminal.color,
            legacy_windows=False,
            _environ=terminal.environ,
        )

    @property
    def text(self) -> str:
        """Everything drawn; without the spaces with which rich fills lines to the edge."""
        lines = self._buffer.getvalue().rstrip("\n").split("\n")
        return "\n".join(line.rstrip(" ") for line in lines) + "\n"

    def line(self, text: str, style: str = "") -> None:
        """Draw one paragraph, wrapped at words."""
        self._console.print(RichText(text, style=style, overflow="fold"))

    def block(self, block: Block) -> None:
        """Draw one block and an empty line."""
        if block.title:
            self.line(escape_text(block.title), "bold underline")
        match block:
            case Pairs():
                self._pairs(block)
            case Table():
                self._table(block)
            case Histogram():
                for line, marked in histogram_lines(block, self.width, self.encoding):
                    self.line(line, "bold red" if marked else "")
            case Text():
                self.line(escape_lines(block.text))
        self._console.print()

    def closing(self, report: Report) -> None:
        """Draw findings, gaps and notes."""
        for finding in report.findings:
            self.line(finding_line(finding), _SEVERITY_STYLE[finding.severity])
        for gap in gaps(report):
            self.line(gap, "dim")
        for note in report.notes:
            self.line(escape_lines(note))

    def _pairs(self, pairs: Pairs) -> None:
        shown = pair_cells(pairs, self.encoding)
        labels = max((cell_width(heading) for heading, _ in shown), default=0)
        room = self.width - labels - GAP
        if room < _LEAST_FOR_VALUES and any(cell_width(text) > room for _, text in shown):
            self._stacked(shown)
            return
        grid = RichTable.grid(padding=(0, GAP, 0, 0))
        grid.add_column(no_wrap=True, style="dim", width=labels)
        grid.add_column(overflow="fold")
        for heading, text in shown:
            grid.add_row(heading, RichText(text))
        self._console.print(grid)

    def _stacked(self, pairs: Sequence[tuple[str, str]]) -> None:
        """One pair a line, the value below its heading where both do not fit on one."""
        for heading, text in pairs:
            if cell_width(f"{heading}: {text}") <= self.width:
                self.line(f"{heading}: {text}")
                continue
            self.line(f"{heading}:")
            for piece in _folded(text, self.width - len(_INDENT)):
                self.line(_INDENT + piece)

    def _table(self, table: Table) -> None:
        if not table.rows and table.empty:
            self.line(escape_lines(table.empty))
            return
        columns = visible_columns(table.columns)
        rows = table_cells(table, self.encoding)
        layout = lay_out(columns, rows, self.width)
        if layout is None:
            self._records(columns, rows)
            return
        self._grid(columns, rows, layout, total=bool(table.total))
        # By their names: headings such as `p95` say something only beside their neighbours.
        dropped = [column.name for i, column in enumerate(columns) if i not in layout.kept]
        if dropped:
            names = ", ".join(dropped)
            self.line(f"(not shown at this width: {names}; -o json has all)", "dim")

    def _records(self, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
        """Rows as small lists, where the screen is too narrow for a table."""
        for number, row in enumerate(rows):
            if number:
                self._console.print()
            self._stacked(
                [
                    (column.heading, text)
                    for column, text in zip(columns, row, strict=True)
                    if column.kind not in (Kind.BAR, Kind.SPARK)
                ]
            )

    def _grid(
        self,
        columns: Sequence[Column],
        rows: Sequence[Sequence[str]],
        layout: Layout,
        *,
        total: bool,
    ) -> None:
        grid = RichTable(box=None, padding=(0, GAP, 0, 0), pad_edge=False, show_edge=False)
        for i, width in zip(layout.kept, layout.widths, strict=True):
            column = columns[i]
            grid.add_column(
                RichText(column.heading, style="dim"),
                justify="right" if column.kind in RIGHT_ALIGNED else "left",
                width=width,
                overflow="fold",
                style=_KIND_STYLE.get(column.kind, ""),
            )
        for number, row in enumerate(rows):
            texts = (
                _wrapped(columns[i], row[i], width)
                for i, width in zip(layout.kept, layout.widths, strict=True)
            )
            style = "bold" if total and number == len(rows) - 1 else ""
            grid.add_row(*(RichText(text) for text in texts), style=style)
        self._console.print(grid)


def _wrapped(column: Column, text: str, width: int) -> str:
    """Fold a name wherever the line ends (at a space nobody would know that there was one), and a
    figure before its interval; text is left to rich, which wraps at words."""
    if cell_width(text) <= width:
        return text
    if column.kind in NAMES:
        return "\n".join(_folded(text, width))
    return "\n".join(breakable(column, text))


def _folded(text: str, width: int) -> list[str]:
    return chop_cells(text, max(1, width)) if cell_width(text) > width else [text]
