"""Tables on screens of every width: figures whole, names folded and complete."""

from __future__ import annotations

import time

import pytest
from hostile import NAMES
from reports import sample, shown, terminal, written
from rich.cells import cell_len

from cachectl.model.figures import Estimate
from cachectl.output.escape import escape
from cachectl.output.report import Column, Kind, Pairs, Report, Table
from cachectl.output.show import Format, show

FIGURES = ("1,234,567", "118 MiB", "12", "~1,200", "±200", "~977 KiB", "(781 KiB–1.81 MiB)")
WIDTHS = (20, 30, 40, 60, 80, 120, 200)


@pytest.mark.parametrize("columns", WIDTHS)
def test_no_line_is_wider_than_the_screen(columns: int) -> None:
    for line in shown(sample(), Format.TABLE, columns).splitlines():
        assert cell_len(line) <= columns


@pytest.mark.parametrize("columns", WIDTHS[1:])
def test_no_figure_is_cut(columns: int) -> None:
    text = shown(sample(), Format.TABLE, columns)
    for figure in FIGURES:
        assert figure in text


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("kind", [Kind.KEY, Kind.NAMESPACE])
def test_a_folded_name_is_complete(columns: int, kind: Kind) -> None:
    for name in [b"user profile " * 20, "名前".encode() * 50, *NAMES[1:]]:
        table = Table("names", [Column("name", kind)], [(name,)])
        _, *lines = shown(Report("x/1", [table]), Format.TABLE, columns).splitlines()
        # A space at the end of a line is not to be seen.
        assert "".join(lines).replace(" ", "") == escape(name).replace(" ", "")


def test_less_important_columns_go_first_and_are_named() -> None:
    text = shown(sample(), Format.TABLE, 80)
    assert "namespace" in text
    assert "not shown at this width: bar, types" in text
    assert "not shown" not in shown(sample(), Format.TABLE, 200)


def test_wide_and_combining_characters_stay_aligned() -> None:
    rows = [("日本".encode(), 1), ("e\u0301\u0301".encode(), 22), (b"abcd", 333)]
    table = Table("keys", [Column("key", Kind.KEY), Column("keys", Kind.COUNT)], rows)
    for chosen in (Format.TABLE, Format.PLAIN):
        lines = shown(Report("x/1", [table]), chosen).splitlines()
        assert {cell_len(line) for line in lines} == {10}


def test_a_table_that_fits_nowhere_becomes_a_list_of_its_rows() -> None:
    columns = [Column(f"figure_{i}", Kind.BYTES) for i in range(5)]
    text = shown(Report("x/1", [Table("t", columns, [(1, 2, 3, 4, 10**9)])]), Format.TABLE, 20)
    assert text.splitlines()[0] == "figure 0: 1 B"
    assert text.splitlines()[4] == "figure 4: 954 MiB"


def test_pairs_on_a_narrow_screen_stand_one_below_the_other() -> None:
    pairs = Pairs([(Column("a_rather_long_label", Kind.COUNT), 123_456_789)])
    text = shown(Report("x/1", [pairs]), Format.TABLE, 20)
    assert text.splitlines()[:2] == ["a rather long label:", "  123,456,789"]


def test_an_empty_table_says_so() -> None:
    table = Table("t", [Column("a")], [], empty="no keys match")
    for chosen in (Format.TABLE, Format.PLAIN, Format.MARKDOWN):
        assert shown(Report("x/1", [table]), chosen).strip() == "no keys match"


def test_columns_wins_over_the_terminal_and_rubbish_in_it_is_ignored() -> None:
    for given, width in (("33", 33), ("0", 80), ("x", 80), ("", 80), ("²", 80)):
        assert terminal(environ={"COLUMNS": given}).width == width


def test_a_long_table_is_drawn_in_time() -> None:
    rows = [(f"ns:{i}".encode(), i, Estimate(i, i, i + 1)) for i in range(2000)]
    columns = [Column("ns", Kind.NAMESPACE), Column("keys", Kind.COUNT), Column("b", Kind.BYTES)]
    screen = terminal(tty=True)
    begin = time.process_time()
    show(Report("x/1", [Table("t", columns, rows)]), Format.TABLE, screen)
    assert time.process_time() - begin < 5
    assert written(screen.stdout).count("\n") > 2000
