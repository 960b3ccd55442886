"""The places that a secret can come from: environment, file, command, keyring, prompt.

Each function returns a Secret that reads its place when it is revealed, not before: to list or to
show a profile touches no secret. No error repeats what was read, or what a command said.
"""

from __future__ import annotations

import os
import select
import stat
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cachectl.config.regular import open_regular
from cachectl.config.secrets import Secret
from cachectl.errors import ConfigError, RefusedError

if TYPE_CHECKING:
    import subprocess

MAX_SECRET = 64 * 1024
"""Bytes: room for any token; a longer answer is not a password."""

COMMAND_TIMEOUT = 10.0
"""Seconds that a command may take to print the secret."""


def from_environment(name: str, environ: Mapping[str, str]) -> Secret:
    """Return the secret that the environment variable `name` holds."""

    def fetch() -> str:
        text = environ.get(name)
        if not text:
            state = "empty" if text == "" else "not set"
            raise ConfigError(
                f"the environment variable {name}, which should hold a secret, is {state}",
                hint=f"export {name} before you run cachectl",
            )
        return text

    return Secret(f"environment variable {name}", fetch)


def from_file(path: Path) -> Secret:
    """Return the secret in the first and only line of a file that nobody else may read."""
    return Secret(
        f"file {path}", lambda: _only_line(_read_private(path), f"the secret file {path}")
    )


def _read_private(path: Path) -> bytes:
    with open_regular(path, f"the secret file {path}") as file:
        _refuse_shared(path, os.fstat(file.fileno()))
        return file.read(MAX_SECRET + 1)


def _refuse_shared(path: Path, facts: os.stat_result) -> None:
    mode = stat.S_IMODE(facts.st_mode)
    if mode & 0o077:
        raise RefusedError(
            f"the secret file {path} can be read by others (mode {mode:04o})",
            hint=f"chmod 600 {path}",
            target=str(path),
        )
    if facts.st_uid not in (os.geteuid(), 0) and os.geteuid() != 0:
        raise RefusedError(
            f"the secret file {path} belongs to another user",
            hint="it must belong to the user that runs cachectl: chown it, then chmod 600",
            target=str(path),
        )


def from_command(argv: Sequence[str], *, timeout: float = COMMAND_TIMEOUT) -> Secret:
    """Return the secret that a program prints. argv: program and arguments; there is no shell.

    The program gets no standard input, and its standard error is dropped: it might repeat the
    secret, and what it says was not written for our users.
    """
    program = argv[0]
    return Secret(
        f"command {program}",
        lambda: _only_line(_run(argv, timeout), f"the output of the command {program}"),
    )


def _run(argv: Sequence[str], timeout: float) -> bytes:
    import subprocess

    program = argv[0]
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError as error:
        raise ConfigError(
            f"cannot run the command {program} for a secret: "
            f"{(error.strerror or str(error)).lower()}",
            hint="write the program and each argument as one item of the list `command`",
        ) from error
    with process:
        try:
            output = _read_until_end(process, timeout)
            # Whoever prints this much would wait for us to read on, and for ever.
            status = process.wait(timeout) if len(output) <= MAX_SECRET else 0
        except (TimeoutError, subprocess.TimeoutExpired):
            raise ConfigError(
                f"the command {program} printed no secret within {timeout:g} s",
                hint="run it by hand: does it wait for an answer?",
            ) from None
        finally:
            process.kill()
    if status != 0:
        raise ConfigError(
            f"the command {program} failed (exit code {status}) and gave no secret",
            hint="run it by hand to see why; its messages are not repeated here",
        )
    return output


def _read_until_end(process: subprocess.Popen[bytes], timeout: float) -> bytes:
    """Return what the process prints, at most MAX_SECRET + 1 bytes; raise TimeoutError."""
    deadline = time.monotonic() + timeout
    assert process.stdout is not None  # noqa: S101 - it was asked for
    descriptor = process.stdout.fileno()
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    output = b""
    while len(output) <= MAX_SECRET:
        if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise TimeoutError
        piece = os.read(descriptor, MAX_SECRET + 1 - len(output))
        if not piece:
            break
        output += piece
    return output


def from_keyring(service: str, user: str) -> Secret:
    """Return the secret that the system's keyring keeps for `user` of `service`."""

    def fetch() -> str:
        try:
            import keyring
        except ImportError:
            raise ConfigError(
                "the profile takes a secret from the keyring, and the package keyring is missing",
                hint="pip install 'redis-cachectl[keyring]'",
            ) from None
        try:
            text = keyring.get_password(service, user)
        except Exception as error:  # every backend raises its own, and none may show the secret
            raise ConfigError(
                f"the keyring did not answer for {service} ({type(error).__name__})",
                hint="is the keyring unlocked, and does this session have one?",
            ) from None
        if not text:
            raise ConfigError(
                f"the keyring has no secret for user {user} of service {service}",
                hint=f"keyring set {service} {user}",
            )
        return str(text)

    return Secret(f"keyring, service {service}", fetch)


def from_prompt(question: str) -> Secret:
    """Return a secret that the person at the terminal types, unseen."""

    def fetch() -> str:
        if not sys.stdin.isatty():
            raise ConfigError(
                "the profile asks for a secret, and there is no terminal to ask at",
                hint="take it from `env`, `file` or `command` where nobody is there to type",
            )
        import getpass

        text = getpass.getpass(f"{question}: ")
        if not text:
            raise ConfigError("no secret was typed")
        return text

    return Secret("a prompt", fetch)


def _only_line(data: bytes, what: str) -> str:
    """Return the one line that `data` is, without its line break."""
    if len(data) > MAX_SECRET:
        raise ConfigError(f"{what} is longer than {MAX_SECRET // 1024} KiB: not a secret")
    try:
        text = data.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise ConfigError(f"{what} is not UTF-8 text") from None
    if not text:
        raise ConfigError(f"{what} is empty")
    if "\n" in text:
        raise ConfigError(f"{what} has more than one line", hint="keep one secret in it")
    return text
