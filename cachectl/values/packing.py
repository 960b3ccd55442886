"""How small values become when they are compressed, with what is installed."""

from __future__ import annotations

import zlib
from collections.abc import Callable

_LEVEL = 6
_ZSTD_LEVEL = 3


def packers() -> dict[str, Callable[[bytes], int]]:
    """Return name → a function from bytes to their compressed length; zstd where installed."""
    found: dict[str, Callable[[bytes], int]] = {
        "zlib": lambda data: len(zlib.compress(data, _LEVEL))
    }
    try:
        import zstandard
    except ImportError:
        return found
    compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL)
    found["zstd"] = lambda data: len(compressor.compress(data))
    return found
