"""Asking: only an answer from a person, or the flag, lets anything happen."""

from __future__ import annotations

import io
import sys

import programs
import pytest
from programs import cachectl_tty
from reports import Tty, written

from cachectl.errors import RefusedError
from cachectl.output.confirm import confirm, confirm_by_name
from cachectl.output.terminal import Terminal


def person(answer: str) -> Terminal:
    return Terminal(Tty(answer), io.StringIO(), Tty())


@pytest.mark.parametrize("answer", ["y\n", "Y\n", "yes\n", " YES \n"])
def test_yes_goes_on(answer: str) -> None:
    confirm(person(answer), "Remove 5 keys?", yes=False)


@pytest.mark.parametrize("answer", ["", "\n", "n\n", "no\n", "yy\n", "yes please\n"])
def test_everything_else_is_no(answer: str) -> None:
    with pytest.raises(RefusedError, match="nothing was changed"):
        confirm(person(answer), "Remove 5 keys?", yes=False)


def test_the_flag_answers_without_a_question() -> None:
    nobody = Terminal(io.StringIO("n\n"), io.StringIO(), io.StringIO())
    confirm(nobody, "Remove 5 keys?", yes=True)
    assert written(nobody.stderr) == ""


@pytest.mark.parametrize("tty", ["stdin", "stderr", "none"])
def test_no_terminal_no_answer(tty: str) -> None:
    """`yes | cachectl …` is not a person."""
    stdin = Tty("y\n") if tty == "stdin" else io.StringIO("y\n")
    stderr = Tty() if tty == "stderr" else io.StringIO()
    with pytest.raises(RefusedError, match="no terminal to ask at") as caught:
        confirm(Terminal(stdin, Tty(), stderr), "Remove 5 keys?", yes=False)
    assert caught.value.hint == "give --yes"
    assert caught.value.exit_code == 5


def test_the_question_is_harmless_and_on_stderr() -> None:
    screen = person("y\n")
    confirm(screen, "Remove \x1b[2J?", yes=False)
    assert written(screen.stderr) == "Remove \\x1b[2J? [y/N] "
    assert written(screen.stdout) == ""


def test_the_name_of_the_server_must_be_typed() -> None:
    confirm_by_name(person("shop-eu\n"), "This is production.", name="shop-eu", given=None)
    for answer in ("", "\n", "y\n", "shop\n", "SHOP-EU\n"):
        with pytest.raises(RefusedError, match="does not name this server"):
            confirm_by_name(person(answer), "Production.", name="shop-eu", given=None)


def test_the_name_of_the_server_can_be_given() -> None:
    nobody = Terminal(io.StringIO(), io.StringIO(), io.StringIO())
    confirm_by_name(nobody, "Production.", name="shop-eu", given="shop-eu")
    with pytest.raises(RefusedError, match="does not name this server"):
        confirm_by_name(nobody, "Production.", name="shop-eu", given="shop-us")
    with pytest.raises(RefusedError, match="no terminal") as caught:
        confirm_by_name(nobody, "Production.", name="shop-eu", given=None)
    assert caught.value.hint == "give --yes --confirm shop-eu"


def test_ctrl_c_at_the_question_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "PROGRAM", (sys.executable, "-c"))
    script = """
import cachectl.main as main
from cachectl.output.confirm import confirm
from cachectl.output.terminal import Terminal
main._invoke = lambda _: (confirm(Terminal.of_process(), "Remove 5 keys?", yes=False), print("did"))
main.main()
"""
    with cachectl_tty(script) as screen:
        screen.expect(r"Remove 5 keys\? \[y/N\] ")
        screen.ctrl_c()
        done = screen.finish()
        assert screen.sane()
    assert done.exit_code == 130
    assert b"did" not in done.out
    with cachectl_tty(script) as screen:
        screen.expect("Remove 5 keys")
        screen.send("yes\r")
        assert b"did" in screen.finish().out
