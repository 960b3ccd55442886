"""The one switch from errors to messages and exit codes, on the real program."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from programs import cachectl, environment

from cachectl import __version__, errors

# The program, with a body of the test's own in place of its commands.
PROGRAM = textwrap.dedent("""
    import sys, time, typer
    from cachectl import errors, main
    from cachectl.main import Terminated

    def body(arguments):
        {body}
        return 0

    main._invoke = body
    main.main()
""")


def run(
    body: str, *words: str, number: int | None = None, stdout: int = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    """Run a body as a command; with a number, send this signal once it says `ready`."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(body=body), *words],
        env=environment(None, 80),
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )
    if number is not None:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
    out, err = process.communicate(timeout=20)
    return subprocess.CompletedProcess(body, process.returncode, out, err)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("pass", 0),
        ("raise typer.Exit(3)", 3),
        ("raise typer.Exit()", 0),
        ("raise typer.Abort()", 130),
        ("raise EOFError", 130),
        ("raise KeyboardInterrupt", 130),
        ("raise Terminated", 143),
        ("raise errors.OutputClosedError", 0),
        ("raise BrokenPipeError", 0),
        ("return 1", 1),
    ],
)
def test_how_a_command_ends(body: str, code: int) -> None:
    done = run(body)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]
)
def test_signals(number: int, code: int) -> None:
    done = run("print('ready', flush=True); time.sleep(20)", number=number)
    assert (done.returncode, done.stderr) == (code, "")


def test_ctrl_c_while_the_program_is_still_starting() -> None:
    script = textwrap.dedent("""
        import builtins, os, signal, cachectl.main
        real = builtins.__import__
        def interrupted(name, *args, **kwargs):
            if name == "typer":
                os.kill(os.getpid(), signal.SIGINT)
            return real(name, *args, **kwargs)
        builtins.__import__ = interrupted
        cachectl.main.main(["scan"])
    """)
    ended = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(None, 80),
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (130, b"")


ERROR = "raise errors.CannotConnectError('nobody answers', hint='start it', target='h:1')"


def test_an_error_is_a_sentence_a_hint_and_a_code() -> None:
    done = run(ERROR)
    assert done.returncode == 4
    assert done.stderr == "error: nobody answers (h:1)\nhint: start it\n"


@pytest.mark.parametrize(
    "words", [("-o", "json"), ("--output", "json"), ("--output=json",), ("-ojson",), ("-ondjson",)]
)
def test_an_error_is_an_object_for_programs(words: tuple[str, ...]) -> None:
    done = run(ERROR, *words)
    assert done.returncode == 4
    assert json.loads(done.stderr) == {
        "error": {
            "code": "cannot-connect",
            "message": "nobody answers",
            "hint": "start it",
            "target": "h:1",
        }
    }


def test_the_target_is_not_said_twice() -> None:
    done = run("raise errors.CannotConnectError('h:1 refused', target='h:1')")
    assert done.stderr == "error: h:1 refused\n"


def test_an_error_of_a_server_is_harmless() -> None:
    done = run(r"raise errors.ServerReplyError('ERR \x1b[2J\u202e \xff')")
    assert (done.returncode, done.stderr) == (3, "error: ERR \\x1b[2J\\u202e \xff\n")


def test_a_defect_names_its_place_and_keeps_what_it_says() -> None:
    done = run("raise ValueError('secret')")
    assert done.returncode == 70
    first, second = done.stderr.splitlines()
    assert first == f"error: a defect of cachectl {__version__}: ValueError at __main__:7"
    assert second.startswith("hint: please report it")
    assert "secret" not in done.stderr.replace("secrets included", "")


def test_a_full_disk_is_not_a_defect() -> None:
    with open("/dev/full", "wb") as full:
        done = run("print('x')", stdout=full.fileno())
        assert done.returncode == 3
        for words in (("--help",), ("--version",)):
            ended = subprocess.run(
                [sys.executable, "-m", "cachectl", *words],
                env=environment(None, 80),
                stdout=full,
                stderr=subprocess.PIPE,
                timeout=20,
                check=False,
            )
            assert ended.returncode == 3
            assert b"Traceback" not in ended.stderr
            assert b"Exception ignored" not in ended.stderr


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("scna",)])
def test_nobody_listens(words: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    for stream in ("stdout", "stderr"):
        ended = subprocess.run(
            [sys.executable, "-m", "cachectl", *words],
            env=environment(None, 80),
            timeout=20,
            check=False,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: writer},
        )
        assert ended.returncode == (2 if words == ("scna",) else 0)
        assert b"Traceback" not in (ended.stderr or b"")
        assert b"ignored" not in (ended.stderr or b"")
    os.close(writer)


# --- the command line -------------------------------------------------------------------------


def test_version() -> None:
    for words in (("--version",), ("-v", "--version")):
        assert cachectl(*words).check().stdout == f"cachectl {__version__}\n"


def test_no_words_print_the_help() -> None:
    assert cachectl().check(2).stderr == cachectl("--help").check().stdout


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (("scna",), "No such command 'scna'. Did you mean 'scan'?", "cachectl --help"),
        (("--nonsense",), "No such option: --nonsense", "cachectl --help"),
        (
            ("completion", "show", "tcsh"),
            "Invalid value for 'SHELL': 'tcsh' is not one of 'bash', 'zsh', 'fish'",
            "cachectl completion show --help",
        ),
        (
            ("completion", "show", "bash", "--force"),
            "No such option: --force",
            "cachectl completion show --help",
        ),
        (
            ("completion", "show"),
            "Missing argument 'SHELL'. Choose from: bash, zsh, fish",
            "cachectl completion show --help",
        ),
        (
            ("completion", "sho", "bash"),
            "No such command 'sho'. Did you mean 'show'?",
            "cachectl completion --help",
        ),
        (("help", "\x1b[2J"), "no help on '\\x1b[2J'", "`cachectl help` lists the topics"),
    ],
)
def test_a_usage_error_names_the_command_that_explains(
    words: tuple[str, ...], message: str, hint: str
) -> None:
    done = cachectl(*words).check(2)
    assert done.stdout == ""
    assert done.stderr == f"error: {message}\nhint: {hint}\n"


def test_a_usage_error_is_an_object_for_programs() -> None:
    done = cachectl("scan", "--nonsense", "-o", "json").check(2)
    assert done.error == {
        "code": "usage",
        "message": "No such option: --nonsense",
        "hint": "cachectl scan --help",
        "target": None,
    }


def test_every_exit_code_is_explained_once() -> None:
    codes = [code for code, _ in errors.exit_codes()]
    assert codes == sorted(set(codes))
    declared = {cls.exit_code for cls in errors.CachectlError.__subclasses__()}
    assert declared <= set(codes)


# --- What a monitor reads ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "state"),
    [
        ("CannotConnectError", 2, "CRITICAL"),
        ("AuthenticationError", 3, "UNKNOWN"),
        ("UsageError", 3, "UNKNOWN"),
        ("ConfigError", 3, "UNKNOWN"),
        ("RefusedError", 3, "UNKNOWN"),
        ("InternalError", 3, "UNKNOWN"),
    ],
)
@pytest.mark.parametrize(
    "words",
    [("check",), ("-p", "prod", "-v", "check", "latency"), ("stats", "-o", "nagios")],
    ids=lambda words: words[-1],
)
def test_an_error_is_the_line_of_a_plugin(
    words: tuple[str, ...], error: str, code: int, state: str
) -> None:
    done = run(f"raise errors.{error}('no | way\\n', hint='do', target='h:1')", *words)
    assert (done.returncode, done.stderr) == (code, "")
    assert done.stdout == f"CACHE {state} - no \\x7c way  (h:1); do\n"


@pytest.mark.parametrize("words", [("-p", "check", "stats"), ("stats", "check"), ("--url=check",)])
def test_only_check_is_a_plugin(words: tuple[str, ...]) -> None:
    done = run("raise errors.UsageError('no')", *words)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "error: no\n")


def test_a_plugin_that_prints_something_else_keeps_its_errors_apart() -> None:
    done = run("raise errors.UsageError('no')", "check", "-o", "junit")
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "error: no\n")
    done = run("raise errors.CannotConnectError('no')", "check", "-o", "json")
    assert (done.returncode, done.stdout) == (2, "")
    assert json.loads(done.stderr)["error"]["code"] == "cannot-connect"


def test_a_defect_in_check_is_unknown() -> None:
    done = run("raise ValueError('x')", "check")
    assert done.returncode == 3
    assert done.stdout.startswith("CACHE UNKNOWN - a defect of cachectl ")


def test_an_interrupt_while_text_is_compiled_has_our_exit_code(tmp_path: Path) -> None:
    """Python's own end would be by the signal: dataclasses compile text while a module loads."""
    (tmp_path / "interrupted.py").write_text(
        "from cachectl import main\n"
        "main.run = lambda words: exec('raise KeyboardInterrupt')\n"
        "main.main(['x'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "interrupted"],
        cwd=tmp_path,
        env=environment(None, None),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 130, done.stderr.decode()
