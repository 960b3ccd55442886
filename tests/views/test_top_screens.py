"""Whole screens of `top`, drawn from states: what changes in them is seen in a review.

`python tests/views/test_top_screens.py` writes the expected files anew.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from topscreens import NOW, live, look, screen, shown

from cachectl.analysis.health.live import Live
from cachectl.model.counters import OwnWork
from cachectl.views.stats.top import Choice, press

EXPECTED = Path(__file__).with_name("expected")


def lost() -> Live:
    return live().missed(NOW + 2, "cannot reach 10.0.0.1:6379: connection refused")


SCREENS = {
    "80x24": lambda: shown(screen(live(), Choice()), 80, 24),
    "120x40": lambda: shown(screen(live(3), Choice(), 3), 120, 40),
    "60x15": lambda: shown(screen(live(), Choice()), 60, 15),
    "80x24-commands": lambda: shown(screen(live(), Choice(panel=0)), 80, 24),
    "80x24-slow": lambda: shown(screen(live(), Choice(panel=2)), 80, 24),
    "80x24-nodes": lambda: shown(screen(live(3), Choice(panel=4), 3), 80, 24),
    "80x24-paused": lambda: shown(screen(live(), Choice(paused=True)), 80, 24),
    "80x24-lost": lambda: shown(screen(lost(), Choice(), now=NOW + 7), 80, 24),
    "80x24-first": lambda: shown(screen(Live(), Choice()), 80, 24),
    "80x24-own": lambda: shown(
        screen(Live().saw(look(own=OwnWork(700, 50, 750))), Choice()), 80, 24
    ),
    "80x24-latin1": lambda: shown(screen(live(), Choice()), 80, 24, "latin-1"),
}


@pytest.mark.parametrize("name", SCREENS)
def test_whole_screen(name: str) -> None:
    expected = EXPECTED / f"{name}.txt"
    assert SCREENS[name]() == expected.read_text(encoding="utf-8")


def test_every_expected_file_is_compared() -> None:
    assert {path.stem for path in EXPECTED.iterdir()} == set(SCREENS)


def pressed(*keys: str, choice: Choice | None = None) -> Choice:
    result = choice or Choice()
    for key in keys:
        result = press(result, key)
    return result


def test_panels_by_number_and_in_turn() -> None:
    assert pressed("3").panel == 2
    assert pressed("3", "0").panel is None
    assert pressed("tab").panel == 0
    assert pressed("tab", "shift-tab").panel is None
    assert pressed("left").panel == 4
    assert pressed("9").panel is None


def first_column(choice: Choice) -> list[object]:
    board = screen(live(), choice)
    assert board.chosen is not None
    return [row[0] for row in board.panels[board.chosen].table.rows]


def test_sorting_goes_through_the_columns() -> None:
    assert first_column(pressed("2")) == ["web", "worker", "checkout"]
    assert first_column(pressed("2", "r")) == ["checkout", "worker", "web"]
    # After `clients` comes `idle`, which only one of them has.
    assert first_column(pressed("2", "s"))[0] == "checkout"
    columns = len(screen(live(), Choice()).panels[1].table.columns)
    assert first_column(pressed("2", *["s"] * columns)) == ["web", "worker", "checkout"]


def test_what_has_no_figure_comes_last_either_way() -> None:
    at_p99 = pressed("1", "s", "s", "s")
    assert at_p99.orders["commands"].column == "p99"
    assert first_column(at_p99)[0] == "get"
    assert first_column(press(at_p99, "r"))[0] == "get"


def test_pause_quit_and_keys_that_mean_nothing() -> None:
    assert pressed("p").paused
    assert not pressed("p", " ").paused
    assert pressed("q").done
    assert pressed("end of input").done
    assert pressed("x", "escape", "é") == Choice()


def test_scrolling_stays_within_the_list() -> None:
    choice = pressed("1", "down", "down", "page down")
    assert choice.offset > 3
    lines = shown(screen(live(), choice), 80, 24)
    assert all(name in lines for name in ("get ", "set ", "mget "))
    assert pressed("1", "down", "up", "up").offset == 0
    assert pressed("1", "down", "home").offset == 0


def test_a_panel_keeps_its_order_and_another_panel_begins_at_the_top() -> None:
    choice = pressed("2", "r", "down", "1", "2")
    assert choice.offset == 0
    assert not choice.orders["clients"].descending


if __name__ == "__main__":
    EXPECTED.mkdir(exist_ok=True)
    for one, drawn in SCREENS.items():
        EXPECTED.joinpath(f"{one}.txt").write_text(drawn(), encoding="utf-8")
