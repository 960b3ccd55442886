"""What the formats for people share: cells as text, lines of plots, findings and gaps."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from cachectl.model.findings import Finding, Unavailable
from cachectl.output.cells import RIGHT_ALIGNED, bar, for_people
from cachectl.output.escape import escape_lines, escape_text, escape_unencodable
from cachectl.output.report import Block, Column, Histogram, Kind, Pairs, Report, Table

# What we draw with, for a stdout that can't carry it (LC_ALL=en_US.ISO-8859-1).
_STAND_INS = dict(zip("▏▎▍▌▋▊▉█▁▂▃▄▅▆▇", "...:###" + "#" + "_..::##", strict=True)) | {
    "…": "...",
    "–": "-",
    "±": "+/-",
    "µ": "u",
    "·": "-",
    "↑": "^",
    "↓": "v",
    "▲": "^",
    "▼": "v",
}
_DRAWN = str.maketrans("", "", "".join(_STAND_INS))
_DATA = frozenset({Kind.TEXT, Kind.KEY, Kind.NAMESPACE, Kind.DATA})
_INTERVAL = re.compile(r" (?=[(±+])")
_MARK = "  <--"
PARTIAL = "partial: not everything that was asked for could be read"


def cell_width(text: str) -> int:
    """Return how many cells of a screen this takes: 2 for a wide character, 0 for a mark."""
    # What we draw with is one cell wide. rich remembers every text that it was asked about, and
    # a live screen has new sparklines every second.
    if text.isascii() or text.translate(_DRAWN).isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def visible(blocks: Iterable[Block]) -> Iterator[Block]:
    """Yield the blocks that people see; pairs that are all for machines are none."""
    for block in blocks:
        if (
            isinstance(block, Pairs)
            and block.rows
            and not visible_columns(c for c, _ in block.rows)
        ):
            continue
        if getattr(block, "audience", "all") != "machines":
            yield block


def visible_columns(columns: Iterable[Column]) -> list[Column]:
    """Return the columns that people see."""
    return [column for column in columns if column.audience != "machines"]


def cell(column: Column, value: Any, encoding: str) -> str:
    """Return one cell as harmless text that a stdout of this encoding can carry."""
    text = for_people(column, value)
    if text.isascii():
        return text
    if column.kind in _DATA:
        return escape_unencodable(text, encoding)
    return escape_unencodable(drawn(text, encoding), encoding)


def drawn(text: str, encoding: str) -> str:
    """Return text of ours, drawn with what the encoding has."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return "".join(_STAND_INS.get(c, c) for c in text)
    return text


def cells(columns: Sequence[Column], row: Sequence[Any], encoding: str) -> list[str]:
    """Return one row for people."""
    return [
        cell(column, value, encoding)
        for column, value in zip(columns, row, strict=True)
        if column.audience != "machines"
    ]


def table_cells(table: Table, encoding: str) -> list[list[str]]:
    """Return all rows of a table for people, the total last."""
    rows = [cells(table.columns, row, encoding) for row in table.rows]
    if table.total:
        rows.append(cells(table.columns, table.total, encoding))
    return rows


def pair_cells(pairs: Pairs, encoding: str) -> list[tuple[str, str]]:
    """Return (heading, text) of each pair that people see."""
    return [
        (column.heading, cell(column, value, encoding))
        for column, value in pairs.rows
        if column.audience != "machines"
    ]


def breakable(column: Column, text: str) -> list[str]:
    """Return the parts of a figure between which a line may end: an estimate and its interval."""
    return _INTERVAL.split(text) if column.kind in RIGHT_ALIGNED else [text]


def padded(texts: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> str:
    """Return one line of aligned columns, two spaces apart; a longer cell stands out."""
    parts = []
    for text, column, width in zip(texts, columns, widths, strict=True):
        space = " " * (width - cell_width(text))
        parts.append(space + text if column.kind in RIGHT_ALIGNED else text + space)
    return "  ".join(parts).rstrip()


def histogram_lines(histogram: Histogram, width: int, encoding: str) -> Iterator[tuple[str, bool]]:
    """Yield (line, marked): label, bar, figure; a marked bar also says so without colour."""
    column = Column("value", histogram.kind)
    labels = [escape_unencodable(escape_text(label), encoding) for label, _ in histogram.rows]
    figures = [cell(column, value, encoding) for _, value in histogram.rows]
    wide = max((cell_width(label) for label in labels), default=0)
    figure_wide = max((cell_width(figure) for figure in figures), default=0)
    room = width - wide - figure_wide - len(_MARK) - 3
    room = room if room >= 4 else 0
    top = max((value for _, value in histogram.rows), default=0) or 1
    for label, figure, (name, value) in zip(labels, figures, histogram.rows, strict=True):
        mark = _MARK if name in histogram.marks else ""
        strip = f"  {drawn(bar(value / top, room), encoding):<{room}}" if room else " "
        yield (
            f"{' ' * (wide - cell_width(label))}{label}{strip} {figure}{mark}".rstrip(),
            bool(mark),
        )


def finding_line(finding: Finding) -> str:
    """Return a finding as one line, and one more for what mends it."""
    text = f"{str(finding.severity).upper()} {finding.id}: {finding.title}"
    if finding.subject:
        text += f" [{escape_text(finding.subject)}]"
    if finding.evidence:
        text += f" ({finding.evidence})"
    if finding.remedy:
        text += f"\n    mend: {finding.remedy}"
    return escape_lines(text)


def unavailable_text(item: Unavailable) -> str:
    """Return what could not be known, why, and what would help; not made harmless yet."""
    where = f" on {item.node}" if item.node else ""
    remedy = f"; {item.remedy}" if item.remedy else ""
    return f"not available: {item.what}{where}: {item.reason}{remedy}"


def gaps(report: Report) -> list[str]:
    """Return the lines that say what the answer lacks."""
    lines = [escape_lines(unavailable_text(item)) for item in report.unavailable]
    return [PARTIAL, *lines] if report.partial else lines
