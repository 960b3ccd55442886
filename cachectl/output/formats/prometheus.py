"""prometheus: the text format that node_exporter's textfile collector reads.

A report's own metrics where it has them (with the names of redis_exporter where those mean the
same), else its figures as gauges; and the states of what was tested. Without times, which the
collector refuses. Source: Prometheus, "Exposition formats".
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from cachectl.output.escape import escape_text
from cachectl.output.formats.collected import show_at_end
from cachectl.output.formats.plain import say_rest
from cachectl.output.report import (
    Column,
    Kind,
    Metric,
    Pairs,
    Report,
    RowStream,
    Table,
    estimate_parts,
)
from cachectl.output.terminal import Terminal
from cachectl.output.verdicts import verdicts_of

_NAMES = frozenset({Kind.TEXT, Kind.KEY, Kind.NAMESPACE})
_SUFFIXES = {
    Kind.COUNT: "",
    Kind.NUMBER: "",
    Kind.SIGNED_COUNT: "",
    Kind.BYTES: "_bytes",
    Kind.SIGNED_BYTES: "_bytes",
    Kind.RATIO: "_ratio",
    Kind.RATE: "_per_second",
    Kind.SECONDS: "_seconds",
    Kind.TTL: "_seconds",
    Kind.TIME: "_timestamp_seconds",
    Kind.BOOL: "",
}
_ODD = re.compile(r"[^a-zA-Z0-9_]")


def show_prometheus(report: Report, terminal: Terminal) -> None:
    """Write a report's metrics; what it lacks is said on stderr."""
    terminal.write(prometheus_text(report))
    say_rest(report, terminal, notes=False)


def stream_prometheus(stream: RowStream, terminal: Terminal) -> None:
    """Write what a stream comes to in the end."""
    show_at_end(stream, show_prometheus, terminal)


def prometheus_text(report: Report) -> str:
    """Return a report's metrics as text; in ASCII, like JSON."""
    metrics = report.metrics or [*_figures(report), *_states(report)]
    return "".join(_written(metric) for metric in _merged(metrics))


def _merged(metrics: Iterable[Metric]) -> Iterator[Metric]:
    """Yield each name once, with no two samples of the same labels: a reader would refuse both."""
    found: dict[str, list[Metric]] = {}
    for metric in metrics:
        found.setdefault(metric.name, []).append(metric)
    for name, same in found.items():
        samples: dict[tuple[tuple[str, str], ...], tuple[Mapping[str, str], float]] = {}
        for labels, value in (sample for one in same for sample in one.samples):
            samples.setdefault(tuple(sorted(labels.items())), (labels, value))
        if samples:
            yield Metric(name, same[0].help, [*samples.values()], same[0].type)


def _written(metric: Metric) -> str:
    help_text = metric.help.replace("\\", "\\\\").replace("\n", " ")
    lines = [f"# HELP {metric.name} {_ascii(help_text)}", f"# TYPE {metric.name} {metric.type}"]
    for labels, value in metric.samples:
        named = ",".join(f'{name}="{_label(text)}"' for name, text in labels.items())
        lines.append(f"{metric.name}{{{named}}} {_value(value)}" if named else
                     f"{metric.name} {_value(value)}")  # fmt: skip
    return "\n".join(lines) + "\n"


def _label(text: str) -> str:
    return _ascii(escape_text(text)).replace("\\", "\\\\").replace('"', '\\"')


def _ascii(text: str) -> str:
    return text if text.isascii() else text.encode("ascii", "backslashreplace").decode()


def _value(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) else repr(float(value))


def _states(report: Report) -> list[Metric]:
    samples = [({"check": one.name}, float(one.state)) for one in verdicts_of(report)]
    return [Metric("cachectl_check_state", CHECK_STATE, samples)]


CHECK_STATE = "How a check ended: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN."


def _figures(report: Report) -> Iterator[Metric]:
    """Yield a report's pairs and tables as gauges: cachectl_stats_hits, …_nodes_hits{node="…"}."""
    prefix = _ODD.sub("_", report.schema.partition("/")[0].replace(".", "_"))
    for block in report.blocks:
        match block:
            case Pairs():
                name = f"{prefix}_{block.name}" if block.name else prefix
                for column, value in block.rows:
                    yield from _gauge(name, column, {}, value)
            case Table() if block.audience != "people":
                yield from _rows(f"{prefix}_{block.name}", block.columns, block.rows)


def _rows(
    prefix: str, columns: Sequence[Column], rows: Iterable[Sequence[Any]]
) -> Iterator[Metric]:
    for row in rows:
        cells = list(zip(columns, row, strict=True))
        labels = {
            _ODD.sub("_", column.name): _text(value)
            for column, value in cells
            if column.kind in _NAMES and value is not None and column.audience != "people"
        }
        for column, value in cells:
            yield from _gauge(prefix, column, labels, value)


def _text(value: Any) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def _gauge(prefix: str, column: Column, labels: Mapping[str, str], value: Any) -> Iterator[Metric]:
    suffix = _SUFFIXES.get(column.kind)
    number, _, _ = estimate_parts(value)
    if suffix is None or column.audience == "people" or not isinstance(number, int | float):
        return
    name = _ODD.sub("_", column.name)
    whole = f"{prefix}_{name}"
    if not whole.endswith(suffix):
        whole += suffix
    yield Metric(whole, f"{column.heading} (cachectl).", [(labels, float(number))])
