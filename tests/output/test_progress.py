"""The progress bar: for a person who waits, on stderr, and gone at the end."""

from __future__ import annotations

import sys
import time

import programs
import pytest
from programs import cachectl, cachectl_tty
from reports import Tty, terminal, written

from cachectl.output.progress import Progress
from cachectl.output.terminal import Terminal

WORK = """
import sys, time
from cachectl.output.progress import Progress
from cachectl.output.terminal import Terminal

terminal = Terminal.of_process()
terminal.quiet = "quiet" in sys.argv
terminal.no_color = "no-color" in sys.argv
begin = time.monotonic()
with Progress(terminal, "scanning \\x1b[31m", unit="keys") as progress:
    while time.monotonic() - begin < float(sys.argv[1]):
        time.sleep(0.05)
        progress.update(1000 * (time.monotonic() - begin), 1_000_000, note="paused \\x1b]0;x\\x07")
        if "warn" in sys.argv and time.monotonic() - begin > 1.3:
            terminal.warn("one more thing")
            sys.argv.remove("warn")
    if "answer" in sys.argv:
        terminal.write("the answer\\n")
        time.sleep(0.3)
        progress.update(2000, 1_000_000)
print("end")
"""


@pytest.fixture(autouse=True)
def pretend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "PROGRAM", (sys.executable, "-c"))


def test_a_bar_with_rate_and_time_left_that_leaves_no_trace() -> None:
    figures = r"0 % of 1,000,000 keys, [\d,]+/s, 1\dm \d+s left paused"
    with cachectl_tty(WORK, "1.8", columns=100) as screen:
        screen.expect(rf"scanning \\x1b\[31m \S+ {figures} \\x1b")
        done = screen.finish()
        assert screen.sane()
    # Up by one line, once, at the end: more would be a bar of several lines.
    assert done.out.count(b"\x1b[1A") == 1
    # The last thing the bar does is to erase its line.
    assert done.out.rstrip().endswith(b"end")
    assert b"\x1b[2K" in done.out[done.out.rfind(b"left") :]


def test_a_bar_on_a_narrow_screen_is_still_one_line() -> None:
    with cachectl_tty(WORK, "1.4", columns=50) as screen:
        out = screen.finish().out
    assert b"keys" in out
    assert out.count(b"\x1b[1A") == 1


def test_no_bar_in_the_first_second() -> None:
    with cachectl_tty(WORK, "0.7") as screen:
        assert screen.finish().out == b"end\r\n"


@pytest.mark.parametrize("how", ["quiet", "dumb"])
def test_no_bar_when_nobody_wants_one(how: str) -> None:
    with cachectl_tty(WORK, "1.4", how, env={"TERM": how}) as screen:
        assert screen.finish().out == b"end\r\n"


def test_no_bar_on_a_pipe() -> None:
    done = cachectl(WORK, "1.4")
    assert (done.stdout, done.stderr) == ("end\n", "")


def test_a_bar_without_colours() -> None:
    with cachectl_tty(WORK, "1.5", "no-color") as screen:
        out = screen.finish().out
    assert b"scanning" in out
    assert b"\x1b[3" not in out.replace(b"\\x1b[31m", b"")


def test_a_message_stands_above_the_bar_and_the_bar_goes_on() -> None:
    with cachectl_tty(WORK, "1.8", "warn") as screen:
        text = screen.finish().out
    assert b"warning: one more thing\r\n" in text
    assert b"scanning" in text[text.index(b"one more thing") :]


def test_the_bar_goes_when_the_answer_begins() -> None:
    with cachectl_tty(WORK, "1.3", "answer") as screen:
        text = screen.finish().out
    answer = text.index(b"the answer")
    assert b"scanning" in text[:answer]
    assert b"scanning" not in text[answer:]


def test_a_log_line_now_and_then_on_a_pipe_with_v(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal()
    screen.verbose = 1
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with Progress(screen, "scanning") as progress:
        for now in (101.0, 131.0, 140.0, 162.0):
            progress.update(now, 1000)
    assert written(screen.stderr).splitlines() == [
        "scanning …",
        "scanning: 131 of 1,000 keys",
        "scanning: 162 of 1,000 keys",
    ]


def test_updates_are_cheap() -> None:
    """A scan calls it for every page: it must cost nothing beside a round trip."""
    progress = Progress(Terminal(Tty(), Tty(), Tty()), "scanning")
    begin = time.process_time()
    for number in range(10_000):
        progress.update(number, 10_000)
    assert time.process_time() - begin < 0.5
