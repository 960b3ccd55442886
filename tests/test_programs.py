"""The runners of the program, tried on small programs of known behaviour."""

from __future__ import annotations

import signal
import sys
import textwrap

import programs
import pytest
from programs import cachectl, cachectl_started, cachectl_tty


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Let the runners run `python -c ARGUMENT` in place of cachectl."""
    monkeypatch.setattr(programs, "PROGRAM", (sys.executable, "-c"))
    return monkeypatch


@pytest.mark.usefixtures("pretend")
def test_outcome_carries_streams_code_and_json() -> None:
    done = cachectl("import sys; print('{\"a\": 1}'); print('note', file=sys.stderr); sys.exit(3)")
    assert (done.exit_code, done.json, done.stderr) == (3, {"a": 1}, "note\n")
    with pytest.raises(AssertionError, match="exit code 3"):
        done.check()


def test_environment_is_isolated(pretend: pytest.MonkeyPatch) -> None:
    pretend.setenv("CACHECTL_URL", "redis://production")
    pretend.setenv("NO_COLOR", "1")
    script = "import os, sys; print(*sorted(os.environ), os.environ['COLUMNS'], sys.stdin.read())"
    words = cachectl(
        script, env={"CACHECTL_PROFILE": "x"}, columns=40, input="typed"
    ).stdout.split()
    assert "CACHECTL_PROFILE" in words
    assert words[-2:] == ["40", "typed"]
    assert not {"CACHECTL_URL", "NO_COLOR"} & set(words)


@pytest.mark.usefixtures("pretend")
def test_traceback_and_secret_fail_the_test() -> None:
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        cachectl("1/0")
    with pytest.raises(AssertionError, match="was printed"):
        cachectl("print('hunter2')", secrets=["hunter2"])


@pytest.mark.usefixtures("pretend")
def test_started_program_can_be_watched_and_stopped() -> None:
    with cachectl_started("import time; print('ready', flush=True); time.sleep(60)") as running:
        running.wait_for("ready")
        running.signal(signal.SIGTERM)
        assert running.finish().exit_code == -signal.SIGTERM
    with (
        pytest.raises(AssertionError, match="ended before it printed 'never'"),
        cachectl_started("print('other')") as running,
    ):
        running.wait_for("never")


@pytest.mark.usefixtures("pretend")
def test_terminal_has_a_size_takes_keys_and_turns_ctrl_c_into_sigint() -> None:
    script = textwrap.dedent("""
        import os, sys, time
        assert all(os.isatty(stream) for stream in (0, 1, 2))
        print("\\x1b[31msize", *os.get_terminal_size())
        words = input()
        try:
            print("got", words)
            time.sleep(60)
        except KeyboardInterrupt:
            print("interrupted", *os.get_terminal_size(), "\\x1b[?25l")
            sys.exit(130)
    """)
    with cachectl_tty(script, columns=60, rows=20) as terminal:
        terminal.expect("size 60 20")
        terminal.send("words\r")
        terminal.expect("got words")
        terminal.resize(100, 30)
        terminal.ctrl_c()
        done = terminal.finish()
        assert done.exit_code == 130
        assert "interrupted 100 30" in terminal.text
        assert b"\x1b[31m" in done.out
        assert not terminal.sane(), "the cursor was left hidden"
