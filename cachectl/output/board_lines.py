"""Board × size → lines of a screen: pure, so that whole screens can be compared in tests.

What has no room goes in this order: figures at the end of a line, findings after the first ones,
gauges after the first ones, rows of panels, panels at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cachectl.model.findings import Severity
from cachectl.output.board import Board, Gauge, Panel
from cachectl.output.cells import RIGHT_ALIGNED, sparkline
from cachectl.output.escape import escape_lines, escape_unencodable
from cachectl.output.formats.layout import GAP, Layout, lay_out
from cachectl.output.formats.lines import cell, cell_width, cells, drawn
from cachectl.output.report import Column

Span = tuple[str, str]
"""(text, style): one of STYLES."""

Line = tuple[Span, ...]

STYLES = ("", "bold", "dim", "head", "bar", "red", "yellow", "cyan")

_ALL = "all"
_LABEL, _MAIN = 9, 10
_LEAST_GAUGES = 3
_LEAST_PANEL = 5
"""Lines that the panels are to have before gauges and findings get theirs."""
_LAID_OUT = 200
_SEVERITY = {Severity.CRITICAL: "red", Severity.WARNING: "yellow", Severity.INFO: ""}
_ROWS_AT_FIRST = 2


@dataclass(frozen=True, slots=True)
class Size:
    """Of a screen, in cells."""

    columns: int
    rows: int


def draw(board: Board, size: Size, encoding: str = "utf-8") -> list[Line]:
    """Return the screen: `size.rows` lines, none of them wider than `size.columns`."""
    pen = _Pen(size.columns, encoding)
    top = [pen.head(board)]
    if board.alarm:
        top.append(pen.alarm(board.alarm))
    room = size.rows - len(top) - 2  # the names of the panels, and the keys
    gauges = board.gauges[: max(_LEAST_GAUGES, min(len(board.gauges), room - _LEAST_PANEL))]
    findings = _findings(pen, board, room - len(gauges) - _LEAST_PANEL)
    top += [pen.gauge(gauge) for gauge in gauges] + findings
    lines = [*top, pen.tabs(board)]
    lines += pen.panels(board, size.rows - len(lines) - 1)
    lines = lines[: max(0, size.rows - 1)]
    lines += [()] * (size.rows - 1 - len(lines))
    return [*lines, pen.keys(board.keys)][: size.rows]


def text_of(line: Line) -> str:
    """Return a line without its looks."""
    return "".join(text for text, _ in line)


def line_width(line: Line) -> int:
    """Return how many cells a line takes."""
    return sum(cell_width(text) for text, _ in line)


def _findings(pen: _Pen, board: Board, room: int) -> list[Line]:
    most = max(1, min(3, room)) if board.findings else 0
    shown = list(board.findings[:most])
    more = len(board.findings) - len(shown)
    lines = []
    for index, finding in enumerate(shown):
        rest = f" (+{more} more)" if more and index == len(shown) - 1 else ""
        where = f" [{finding.subject}]" if finding.subject else ""
        text = f"{str(finding.severity).upper()} {finding.title}{where}"
        lines.append(pen.sentence(text, _SEVERITY[finding.severity], rest))
    return lines


class _Pen:
    """Knows how wide a line is, and what the screen can show."""

    def __init__(self, columns: int, encoding: str) -> None:
        self._columns = columns
        self._encoding = encoding

    def head(self, board: Board) -> Line:
        """Whose figures on the left, the state on the right."""
        state = self._cut(self._harmless(board.state), self._columns)
        left = self._cut(self._harmless(board.title), self._columns - cell_width(state) - 1)
        space = max(0, self._columns - cell_width(left) - cell_width(state))
        return ((left + " " * space + state, "bar"),)

    def alarm(self, text: str) -> Line:
        """What is wrong with the figures themselves."""
        return self.sentence(text, "red")

    def sentence(self, text: str, style: str = "", rest: str = "") -> Line:
        """One line, cut where the screen ends; rest: what is kept at the end of it."""
        room = self._columns - cell_width(rest)
        return self._fitted([(self._cut(self._harmless(text), room) + rest, style)])

    def gauge(self, gauge: Gauge) -> Line:
        """Name, main figure, trend, and as many others as there is room for."""
        column, value = gauge.main
        spans: list[Span] = [
            (f"{column.heading:<{_LABEL}} ", "dim"),
            (f"{self._figure(column, value):>{_MAIN}}", "bold"),
        ]
        wide = max(6, min(30, (self._columns - 59) // 3))
        trend = drawn(sparkline(list(gauge.trend)[-wide:]), self._encoding)
        spans.append((f" {trend:>{wide}}", "cyan"))
        used = sum(cell_width(text) for text, _ in spans)
        for other, figure in gauge.others:
            label, text = f"  {other.heading} ", self._figure(other, figure)
            used += cell_width(label) + cell_width(text)
            if used > self._columns:
                break
            spans += [(label, "dim"), (text, "")]
        return self._fitted(spans)

    def tabs(self, board: Board) -> Line:
        """The panels by number; the chosen one stands in brackets, for screens without colours."""
        spans: list[Span] = []
        for index, title in enumerate([_ALL, *(panel.title for panel in board.panels)]):
            chosen = index == (0 if board.chosen is None else board.chosen + 1)
            mark = f"[{index} {title}]" if chosen else f" {index} {title} "
            spans.append((mark, "bold" if chosen else "dim"))
        return self._fitted(spans)

    def keys(self, keys: Sequence[tuple[str, str]]) -> Line:
        """What can be pressed."""
        spans: list[Span] = []
        for key, words in keys:
            spans += [(drawn(key, self._encoding), "bold"), (f" {words}  ", "dim")]
        return self._fitted(spans)

    def panels(self, board: Board, room: int) -> list[Line]:
        """The chosen panel, or all that fit."""
        if board.chosen is not None:
            return self._panel(board.panels[board.chosen], room, board.offset)
        parts = [
            self._panel(panel, share, 0)
            for panel, share in _shared([one for one in board.panels if not one.minor], room)
        ]
        airy = sum(map(len, parts)) + len(parts) - 1 <= room
        lines = [line for part in parts for line in ([*part, ()] if airy else part)]
        return lines[:-1] if airy else lines

    def _panel(self, panel: Panel, room: int, offset: int) -> list[Line]:
        if room <= 0:
            return []
        table = panel.table
        texts = [
            cells(table.columns, row, self._encoding)
            for row in table.rows[: max(_LAID_OUT, offset + room)]
        ]
        columns = [_marked(column, panel, self._encoding) for column in table.columns]
        layout = lay_out(columns, texts, self._columns) or _narrow(columns, texts, self._columns)
        headings = [column.heading for column in columns]
        lines = [self._row(headings, columns, layout, "head")]
        # The last page stays full, whatever was scrolled to before the list grew shorter.
        offset = max(0, min(offset, len(texts) - (room - 1)))
        lines += [self._row(row, columns, layout, "") for row in texts[offset : offset + room - 1]]
        if not texts and room > 1:
            lines.append(self.sentence(panel.note or table.empty, "dim"))
        return lines

    def _row(
        self, texts: Sequence[str], columns: Sequence[Column], layout: Layout, style: str
    ) -> Line:
        parts = []
        for index, width in zip(layout.kept, layout.widths, strict=True):
            text = self._cut(texts[index], width)
            space = " " * (width - cell_width(text))
            right = columns[index].kind in RIGHT_ALIGNED
            parts.append(space + text if right else text + space)
        return self._fitted([((" " * GAP).join(parts).rstrip(), style)])

    def _figure(self, column: Column, value: Any) -> str:
        return cell(column, value, self._encoding)

    def _harmless(self, text: str) -> str:
        """One line of harmless text that the screen can carry."""
        line = drawn(" ".join(escape_lines(text).split()), self._encoding)
        return escape_unencodable(line, self._encoding)

    def _cut(self, text: str, width: int) -> str:
        """The text, or its beginning and a mark that there was more."""
        if cell_width(text) <= width:
            return text
        mark = drawn("…", self._encoding)
        kept = ""
        for character in text:
            if cell_width(kept + character + mark) > width:
                break
            kept += character
        return (kept + mark)[: max(0, width)] if width > 0 else ""

    def _fitted(self, spans: Sequence[Span]) -> Line:
        """The spans up to the edge of the screen."""
        kept: list[Span] = []
        room = self._columns
        for text, style in spans:
            shown = text if cell_width(text) <= room else self._cut(text.rstrip(), room)
            kept.append((shown, style))
            room -= cell_width(shown)
            if room <= 0:
                break
        return tuple(kept)


def _marked(column: Column, panel: Panel, encoding: str) -> Column:
    if column.name != panel.sort:
        return column
    mark = drawn("▼" if panel.descending else "▲", encoding)
    return replace(column, title=f"{column.heading}{mark}", drop=0)


def _narrow(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> Layout:
    """The first columns, cut, where no table fits."""
    widths: list[int] = []
    for index, column in enumerate(columns):
        left = width - sum(widths) - GAP * len(widths)
        if left < 1:
            break
        texts = [column.heading, *(row[index] for row in rows)]
        widths.append(min(left, max(map(cell_width, texts))))
    return Layout(tuple(range(len(widths))), tuple(widths))


def _shared(panels: Sequence[Panel], room: int) -> list[tuple[Panel, int]]:
    """Return the panels that fit with the lines of each: a heading, and its rows.

    First each gets two rows, and what is left goes round until everything is shown.
    """
    wanted = [1 + max(1, len(panel.table.rows)) for panel in panels]
    shares = [0] * len(panels)
    for index, most in enumerate(wanted):
        least = min(most, 1 + _ROWS_AT_FIRST)
        if sum(shares) + least > room:
            break
        shares[index] = least
    growing = True
    while growing and sum(shares) < room:
        growing = False
        for index, most in enumerate(wanted):
            if 0 < shares[index] < most and sum(shares) < room:
                shares[index] += 1
                growing = True
    return [(panel, share) for panel, share in zip(panels, shares, strict=True) if share]
