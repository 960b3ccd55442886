"""Boards on screens of every size: as many lines as there are, none too wide, nothing harmful."""

from __future__ import annotations

import pytest
from hostile import NAMES
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from cachectl.model.findings import Finding, Severity
from cachectl.output.board import Board, Gauge, Panel
from cachectl.output.board_lines import STYLES, Size, draw, text_of
from cachectl.output.formats.lines import _STAND_INS, cell_width
from cachectl.output.fullscreen import _STYLES
from cachectl.output.report import Column, Kind, Table

COLUMNS = (
    Column("name", Kind.KEY),
    Column("text"),
    Column("calls", Kind.RATE),
    Column("types", Kind.COUNTS, drop=1),
)


def hostile(chosen: int | None = None) -> Board:
    """A board in which names and texts of a server stand wherever they can."""
    texts = [name.decode("utf-8", "surrogateescape") for name in NAMES]
    rows = [(n, t, 12.0, {t: 1}) for n, t in zip(NAMES, texts, strict=True)]
    return Board(
        title=texts[1],
        state=texts[-1],
        gauges=[
            Gauge((Column("hit_ratio", Kind.RATIO), 0.9), [1.0, None, 3.0], [(Column("a"), t)])
            for t in texts
        ],
        panels=[Panel("names", Table("names", COLUMNS, rows), "calls"), panel_of([])],
        keys=[("q", "quit"), ("↑↓", "scroll")],
        chosen=chosen,
        alarm=texts[2],
        findings=[Finding("a.b", Severity.CRITICAL, t, subject=t) for t in texts],
    )


def panel_of(rows: list[tuple[object, ...]], note: str = "nothing") -> Panel:
    return Panel("empty", Table("empty", COLUMNS, rows), note=note)


@given(columns=st.integers(1, 220), rows=st.integers(1, 70), chosen=st.sampled_from([None, 0, 1]))
def test_every_size(columns: int, rows: int, chosen: int | None) -> None:
    lines = draw(hostile(chosen), Size(columns, rows))
    assert len(lines) == rows
    for line in lines:
        assert cell_len(text_of(line)) <= columns
        assert {style for _, style in line} <= set(STYLES)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_what_a_server_sent_is_harmless(encoding: str) -> None:
    for chosen in (None, 0):
        for line in draw(hostile(chosen), Size(120, 60), encoding):
            text = text_of(line)
            text.encode(encoding)
            assert text.isprintable(), repr(text)


def test_the_most_important_stays_on_a_small_screen() -> None:
    lines = [text_of(line) for line in draw(hostile(), Size(80, 8))]
    assert "hit ratio" in lines[2]
    assert any(line.startswith("[0 all]") for line in lines)
    assert lines[-1].startswith("q quit")


def test_panels_share_the_room() -> None:
    rows = [(b"k%d" % number, "t", 1.0, {}) for number in range(50)]
    names = ("one", "two", "three")
    board = Board(
        "t", "s", (), [Panel(name, Table(name, COLUMNS, rows)) for name in names], [("q", "quit")]
    )
    lines = [text_of(line) for line in draw(board, Size(80, 3 + 3 * 8))]
    assert sum("calls" in line for line in lines) == 3
    assert sum(line.startswith("k0 ") for line in lines) == 3
    # Where three of them do not fit, the first ones do.
    lines = [text_of(line) for line in draw(board, Size(80, 3 + 7))]
    assert sum("calls" in line for line in lines) == 2


def test_a_scrolled_list_ends_with_its_last_row() -> None:
    rows = [(b"k%02d" % number, "t", 1.0, {}) for number in range(50)]
    board = Board("t", "s", (), [Panel("one", Table("one", COLUMNS, rows))], [], 0, offset=999)
    lines = [text_of(line) for line in draw(board, Size(80, 14))]
    assert lines[-2].startswith("k49")
    assert lines[3].startswith("k40")


def test_each_style_has_its_looks() -> None:
    assert set(STYLES) == set(_STYLES)


def test_what_we_draw_with_is_one_cell_wide() -> None:
    """So that rich need not be asked, which keeps every answer."""
    for character in _STAND_INS:
        assert cell_len(character) == 1 == cell_width(character)
    assert cell_width("日本▁") == 5
