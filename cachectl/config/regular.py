"""Opening what must be a regular file, without hanging at a FIFO or reading a device."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from cachectl.errors import ConfigError


class IrregularFileError(ConfigError):
    """A directory, a FIFO or a device where a file was expected."""


def open_regular(path: Path, what: str) -> BinaryIO:
    """Open a file for reading; symbolic links are followed. what: how messages call it.

    Raises ConfigError when it cannot be opened, or is a directory, a FIFO or a device. Check the
    mode of what was opened (os.fstat), not of the name, which can change hands in between.
    """
    try:
        # Not blocking: a FIFO without a writer would hang here.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"cannot read {what}: {reason.lower()}", target=str(path)) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise IrregularFileError(f"{what} is not a regular file", target=str(path))
    return open(descriptor, "rb")
