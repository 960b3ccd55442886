"""Files that somebody else's text names: only below certain directories, and never a device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from cachectl.config.regular import IrregularFileError, open_regular
from cachectl.errors import ConfigError, RefusedError


def confined(path: Path, roots: Sequence[Path], who: str) -> Path:
    """Return where `path` really leads, when that is below one of the directories.

    roots: the first is the one that messages name. who: what names the path, for messages. Raises
    RefusedError when `..`, an absolute path or a symbolic link lead elsewhere, ConfigError when the
    path leads nowhere at all.
    """
    try:
        real = path.resolve(strict=False)
        allowed = any(real.is_relative_to(root.resolve()) for root in roots)
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(f"{who} names a path that leads nowhere: {path}") from error
    if not allowed:
        raise RefusedError(
            f"{who} names a file outside of {roots[0]}: {path}",
            hint="copy it there, or allow its directory with --allow-path",
            target=str(path),
        )
    return real


def open_confined(path: Path, roots: Sequence[Path], who: str) -> BinaryIO:
    """Open a regular file for reading, where `confined` allows it.

    Raises RefusedError also for what is no regular file, ConfigError when it cannot be read.
    """
    real = confined(path, roots, who)
    try:
        file = open_regular(real, str(path))
    except IrregularFileError as error:
        raise RefusedError(
            f"{who} names {path}, which is not a regular file",
            hint="a directory, a pipe or a device is not read",
            target=str(path),
        ) from error
    return file
