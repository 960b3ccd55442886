"""Run the program: the one place where an error becomes a message and an exit code."""

from __future__ import annotations

import os
import sys

from cachectl import __version__

# Nothing else is imported up here: `--version` takes no longer than Python's own start, and a
# Ctrl-C that comes while typer is imported is met by `main` already.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, NoReturn, TextIO

    from cachectl.errors import CachectlError


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP: handled wherever Ctrl-C is, but with an exit code of its own."""


def main(argv: list[str] | None = None) -> NoReturn:
    """Run the command line in `argv` (default: the process's) and exit."""
    arguments = sys.argv[1:] if argv is None else argv
    try:
        code = _version() if arguments == ["--version"] else run(arguments)
    except Terminated:
        code = 143
    except KeyboardInterrupt:
        # It may have come while a module compiled text (dataclasses do): `python -m` would then
        # end by the signal, whatever code we give, unless something is compiled after it.
        code = eval("130")  # noqa: S307
    except BrokenPipeError:
        code = 0
    if not _flushed() and code == 0:
        code = 3
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run the command line and return the exit code; errors are printed to stderr.

    KeyboardInterrupt and Terminated pass through.
    """
    import errno
    import gc
    import signal

    # A scan or a plan makes millions of small tuples, none of them in a circle: looking for circles
    # every 700 of them takes as long as making them.
    gc.set_threshold(200_000, 50, 100)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminate)

    import typer

    from cachectl import errors

    try:
        return _invoke(arguments)
    except typer.Exit as end:
        return end.exit_code
    except (errors.OutputClosedError, BrokenPipeError):
        return errors.EXIT_FINE
    except errors.CachectlError as error:
        return _fail(error, arguments)
    except typer.TyperException as error:
        return _usage_error(error, arguments)
    except (typer.Abort, EOFError):
        return errors.EXIT_INTERRUPTED
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            return _defect(error, arguments)
        return _fail(errors.PartialError(f"cannot write: {error.strerror}"), arguments)
    except Exception as error:
        return _defect(error, arguments)


def _version() -> int:
    try:
        print(f"cachectl {__version__}", flush=True)  # noqa: T201
    except OSError as error:
        return 0 if isinstance(error, BrokenPipeError) else 3
    return 0


def _invoke(arguments: list[str]) -> int:
    """Parse and run. Not `app()`: that ends a broken pipe and SIGTERM with codes of its own."""
    from typer.main import get_command

    from cachectl.cli.app import app
    from cachectl.cli.light import lighten

    command = lighten(get_command(app))
    if os.environ.get("_CACHECTL_COMPLETE"):
        # Typer's own protocol, for other shells; the scripts in completions/ start no program.
        # Typer registers its shells when it builds a program that has the completion options.
        get_command(_any_app())
        command.main(arguments, prog_name="cachectl", standalone_mode=False)
        return 0
    with command.make_context("cachectl", list(arguments)) as ctx:
        result = command.invoke(ctx)
    return result if isinstance(result, int) else 0


def _any_app() -> Any:
    import typer

    any_app = typer.Typer(add_completion=True)
    any_app.command()(lambda: None)
    return any_app


def _terminate(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise Terminated


def _flushed() -> bool:
    """Flush what was printed. False when it could not be written, other than for want of a reader.

    The interpreter would flush once more at its end, and complain: it gets somewhere to write to.
    """
    written = True
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError as error:
            written = written and isinstance(error, BrokenPipeError)
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return written


_ROOT_OPTIONS = ("-p", "--profile", "--url", "--timeout")
"""Those that take the next word as their value."""


def _formats(arguments: list[str]) -> set[str]:
    """Return what the command line asks for with -o; looked at here since it may not parse."""
    found = set()
    for word, value in zip(arguments, [*arguments, ""][1:], strict=True):
        if word in ("-o", "--output"):
            found.add(value)
        elif word.startswith("--output="):
            found.add(word.removeprefix("--output="))
        elif word.startswith("-o"):
            found.add(word.removeprefix("-o"))
    return found


def _wants_json(arguments: list[str]) -> bool:
    return bool({"json", "ndjson"} & _formats(arguments))


def _is_plugin(arguments: list[str]) -> bool:
    """Whether a monitor waits for the answer: `check`, and whatever prints nagios."""
    words = iter(arguments)
    for word in words:
        if word in _ROOT_OPTIONS:
            next(words, None)
        elif not word.startswith("-"):
            return word == "check" or "nagios" in _formats(arguments)
    return False


def _code_for_monitors(error: CachectlError) -> int:
    """Return CRITICAL when the server can't be reached, UNKNOWN when we could not even try.

    Source: the Monitoring Plugins Development Guidelines, "Plugin Return Codes".
    """
    from cachectl.errors import AuthenticationError, CannotConnectError

    down = isinstance(error, CannotConnectError) and not isinstance(error, AuthenticationError)
    return 2 if down else 3


def _fail(error: CachectlError, arguments: list[str]) -> int:
    """Print the error for a person, a program or a monitor; return its exit code."""
    plugin = _is_plugin(arguments)
    code = _code_for_monitors(error) if plugin else error.exit_code
    formats = _formats(arguments)
    if _wants_json(arguments):
        import json

        _say(json.dumps({"error": error.as_json()}))
        return code
    sentence = error.message
    if error.target and error.target not in error.message:
        sentence += f" ({error.target})"
    if plugin and ("nagios" in formats or not (formats or sys.stdout.isatty())):
        # Monitors read standard output alone.
        from cachectl.output.formats.nagios import plugin_line

        _print(plugin_line(code, f"{sentence}; {error.hint}" if error.hint else sentence))
        return code
    _say(f"error: {sentence}\nhint: {error.hint}" if error.hint else f"error: {sentence}")
    return code


def _usage_error(error: Any, arguments: list[str]) -> int:
    from cachectl.errors import UsageError

    if type(error).__name__ == "NoArgsIsHelpError":
        _say(error.format_message())
        return UsageError.exit_code
    ctx = getattr(error, "ctx", None)
    path = ctx.command_path if ctx is not None else "cachectl"
    message = " ".join(error.format_message().split()).rstrip(".")
    return _fail(UsageError(message, hint=f"{path} --help"), arguments)


def _defect(error: BaseException, arguments: list[str]) -> int:
    """A defect of ours: say so in one sentence; the traceback, without values, only on demand."""
    from cachectl.errors import InternalError

    if os.environ.get("CACHECTL_TRACEBACK"):
        raise error
    where = ""
    trace = error.__traceback__
    while trace is not None:
        where = f"{trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}"
        trace = trace.tb_next
    # Not the text of the exception: it may hold a value or a secret.
    defect = InternalError(
        f"a defect of cachectl {__version__}: {type(error).__name__} at {where}",
        hint="please report it; CACHECTL_TRACEBACK=1 shows the traceback, secrets included",
    )
    return _fail(defect, arguments)


def _say(text: str) -> None:
    """Print to stderr, harmless; a stderr that is closed cannot be told anything."""
    from cachectl.output.escape import escape_lines

    _print(escape_lines(text), sys.stderr)


def _print(text: str, stream: TextIO | None = None) -> None:
    try:
        print(text, file=stream or sys.stdout)
    except (OSError, ValueError):
        return
