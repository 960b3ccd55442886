"""`stats --watch` for people: what changed is marked, in the eighty columns of a terminal."""

from __future__ import annotations

from dataclasses import replace

from reports import terminal, written
from topscreens import KINDS, NOW, sample

from cachectl.analysis.traffic.counters import window
from cachectl.analysis.traffic.traffic import Traffic, traffic
from cachectl.analysis.traffic.watching import Usual
from cachectl.model.counters import NodeSample
from cachectl.output.formats.plain import stream_lines
from cachectl.output.report import RowStream
from cachectl.views.stats import watch


def one_window(**fields: int) -> Traffic:
    """A window of a usual second, with some counters otherwise."""
    before, after = sample("n", 0.0, 1), sample("n", 1.0, 2)
    result = window(before, _with(after, fields))
    assert result is not None
    return traffic([result], KINDS)


def _with(one: NodeSample, fields: dict[str, int]) -> NodeSample:
    return replace(one, info={**one.info, **{name: str(value) for name, value in fields.items()}})


def test_changes_are_marked_within_eighty_columns() -> None:
    usual = Usual()
    windows = [
        *[one_window()] * 5,
        one_window(keyspace_misses=20_000, total_commands_processed=60_000),
        one_window(total_commands_processed=10_500),
        one_window(evicted_keys=1234),
    ]
    rows = []
    for number, now in enumerate(windows):
        changes = usual.take(now)
        rows.append(watch.row(now, NOW + number, usual.rates, changes))
    screen = terminal(columns=80)
    stream_lines(RowStream("x/1", "windows", watch.COLUMNS, rows, live=True), screen)
    heading, *lines = written(screen.stdout).splitlines()
    assert max(map(len, [heading, *lines])) <= 80
    assert [line[heading.index("changed") :].strip() for line in lines] == [
        *[""] * 5,
        "ratio -58 busy",
        "quiet",
        "evicts 1,234/s",
    ]
    assert "▂▂▂▂▂█" in lines[5]
