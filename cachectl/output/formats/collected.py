"""Rows that come one by one, for formats that are written in one piece."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cachectl.output.report import Report, RowStream, Table
from cachectl.output.terminal import Terminal


def show_at_end(
    stream: RowStream, show: Callable[[Report, Terminal], None], terminal: Terminal
) -> None:
    """Write a report when all rows are there, or when they were interrupted."""
    rows: list[Sequence[object]] = []
    try:
        rows.extend(stream.rows)
    finally:
        end = stream.finish()
        report = Report(
            stream.schema,
            [Table(stream.table, stream.columns, rows), *end.blocks],
            partial=end.partial,
            findings=end.findings,
            unavailable=end.unavailable,
            notes=end.notes,
            verdicts=end.verdicts,
            metrics=end.metrics,
        )
        show(report, terminal)
