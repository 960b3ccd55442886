"""Writing profiles: readable by their owner alone, complete or not there at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from cachectl.config.locate import runtime_profiles_dir
from cachectl.errors import ConfigError, RefusedError


def write_private(path: Path, text: str, *, overwrite: bool = False) -> None:
    """Write a file of mode 0600, creating its directory (0700) when it is missing.

    Raises RefusedError when the file exists and may not be overwritten, ConfigError when it cannot
    be written. Whoever reads at the same time sees the old content or the new.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(draft, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            draft.replace(path)
        else:
            _link_new(draft, path)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"cannot write {path}: {reason}", target=str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()


def _link_new(draft: Path, path: Path) -> None:
    try:
        path.hardlink_to(draft)  # looks and takes the name in the same instant
    except FileExistsError:
        raise RefusedError(
            f"{path} exists already", hint="--force overwrites it", target=str(path)
        ) from None


@contextlib.contextmanager
def published_profile(
    name: str, text: str, environ: Mapping[str, str] | None = None
) -> Iterator[Path]:
    """Publish a profile for this user's other terminals, for as long as the block runs.

    text: the YAML. At the end the file goes, and the directories that are empty then. Yields the
    file's path. Raises RefusedError when the directory belongs to somebody else.
    """
    path = runtime_profiles_dir(environ, create=True) / f"{name}.yaml"
    write_private(path, text, overwrite=True)
    try:
        yield path
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
            path.parent.rmdir()
            path.parent.parent.rmdir()
