"""How our files say where a secret comes from, and what that means: never the secret itself."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from cachectl.config import secret_sources
from cachectl.config.fields import FieldError, Section, Text
from cachectl.config.secrets import Secret
from cachectl.errors import RefusedError

SOURCES_HINT = (
    "take it from {env: NAME}, {file: PATH}, {command: [PROGRAM, ARGUMENT]}, "
    "{keyring: {service: S, user: U}} or {prompt: true}"
)

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def env_name(value: str) -> str:
    """Return the name of an environment variable as it is. Raises FieldError for anything else."""
    if not _ENV_NAME.fullmatch(value):
        raise FieldError(
            "must be the name of an environment variable: letters, digits and _",
            "the secret itself does not belong into the file",
        )
    return value


def _no_plain_secret(value: Any) -> Any:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        raise FieldError("must not be a password in plain text", SOURCES_HINT)
    return value


class KeyringEntry(Section):
    """An entry of the system's keyring."""

    service: Text
    user: Text


class SecretSource(Section):
    """Where a secret comes from: exactly one of these."""

    env: Annotated[str, AfterValidator(env_name)] | None = Field(
        None, description="Name of an environment variable"
    )
    file: Text | None = Field(None, description="A file with the secret alone, mode 0600")
    command: Annotated[list[Text], Field(min_length=1)] | None = Field(
        None, description="A program that prints it, and its arguments; there is no shell"
    )
    keyring: KeyringEntry | None = Field(None, description="An entry of the system's keyring")
    prompt: Literal[True] | None = Field(None, description="Ask at the terminal")

    @model_validator(mode="after")
    def _exactly_one(self) -> SecretSource:
        given = [name for name in SecretSource.model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            has = f"has {' and '.join(given)}" if given else "says not where the secret is"
            raise FieldError(f"{has}; it takes exactly one source", SOURCES_HINT)
        return self


SecretField = Annotated[SecretSource, BeforeValidator(_no_plain_secret)]


def secret_of(
    source: SecretSource | None, file: Path, environ: Mapping[str, str], question: str
) -> Secret | None:
    """Return the secret, which is fetched when it is needed; None when there is no source.

    file: the file that says so, where relative paths start. question: what a prompt asks for.
    """
    if source is None:
        return None
    if source.env is not None:
        return secret_sources.from_environment(source.env, environ)
    if source.file is not None:
        return secret_sources.from_file(path_from(file, source.file))
    if source.command is not None:
        program, *arguments = source.command
        # A bare name is looked up on PATH; with a slash it is a path like every other.
        found = str(path_from(file, program)) if "/" in program else program
        return secret_sources.from_command([found, *arguments])
    if source.keyring is not None:
        return secret_sources.from_keyring(source.keyring.service, source.keyring.user)
    return secret_sources.from_prompt(question)


def path_from(file: Path, text: str) -> Path:
    """Return a path that stands in a file: `~` is the home, a relative one starts at the file."""
    return file.absolute().parent / os.path.expanduser(text)


def refuse_foreign_commands(file: Path, sources: Iterable[SecretSource]) -> None:
    """Raise RefusedError when somebody else could have written a command into the file."""
    if not any(source.command for source in sources):
        return
    facts = file.stat()
    if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise RefusedError(
            f"{file} runs a command, and others than its owner may write to it",
            hint=f"chmod go-w {file}",
            target=str(file),
        )
    if facts.st_uid not in (os.geteuid(), 0):
        raise RefusedError(
            f"{file} runs a command, and belongs to another user",
            hint="copy it to a file of your own after reading it",
            target=str(file),
        )
