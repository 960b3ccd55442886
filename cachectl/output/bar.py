"""The looks of the progress bar; imported only when one is drawn."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from cachectl.output.terminal import Terminal
from cachectl.output.units import show_count, show_duration, show_rate

_BAR_WIDTH = 12


def rich_bar(terminal: Terminal, title: str, unit: str) -> tuple[Progress, TaskID]:
    """Return a bar that has not started, and its one task."""
    console = Console(
        file=terminal.stderr,
        markup=False,
        emoji=False,
        highlight=False,
        no_color=not terminal.allows_color,
    )
    bar = Progress(
        # One line, whatever the width: what stands at its end is what may be cut.
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
        BarColumn(bar_width=_BAR_WIDTH),
        _Figures(unit),
        TextColumn("{task.fields[note]}", markup=False, table_column=Column(no_wrap=True)),
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    return bar, bar.add_task(title, total=None, note="")


class _Figures(ProgressColumn):
    """`12 % of 10,000,000 keys, 512,000/s, 17s left`."""

    def __init__(self, unit: str) -> None:
        super().__init__(table_column=Column(no_wrap=True))
        self._unit = unit

    def render(self, task: Task) -> Text:
        """Return the figures of the task."""
        if self._unit == "%":
            return Text(f"{task.completed:.0f} %")
        if task.total:
            parts = [f"{task.percentage:.0f} % of {show_count(task.total)} {self._unit}"]
        else:
            parts = [f"{show_count(task.completed)} {self._unit}"]
        if task.speed:
            parts.append(show_rate(task.speed))
        if task.time_remaining is not None and task.total:
            parts.append(f"{show_duration(round(task.time_remaining))} left")
        return Text(", ".join(parts))
