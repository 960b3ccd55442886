"""The way back: objects to MessagePack, bytes to zlib, gzip and Zstandard, as applications write.

Only what warming writes. msgpack and zstandard are optional: ImportError when they are missing.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from typing import Any

_PIECE = 64 * 1024


def packer(default: Callable[[Any], Any]) -> Callable[[Any], bytes]:
    """Return the function that packs an object as MessagePack.

    default: makes of an object that the format does not know one that it does. The function raises
    ValueError for numbers beyond 64 bits, TypeError, or what `default` raises. Raises ImportError.
    """
    import msgpack

    def pack(value: Any) -> bytes:
        try:
            packed: bytes = msgpack.packb(value, use_bin_type=True, default=default)
        except OverflowError as error:
            raise ValueError(str(error)) from None
        return packed

    return pack


def compressor(name: str) -> Callable[[bytes], bytes]:
    """Return the function that compresses as `name`: zlib, gzip or zstd. Raises ImportError.

    The same bytes give the same bytes (gzip's header has no time), as long as the library is the
    same: to compare what another version has written, decompress it.
    """
    if name == "zlib":
        return zlib.compress
    if name == "gzip":
        return lambda data: gzip.compress(data, mtime=0)
    import zstandard

    return zstandard.ZstdCompressor().compress


def decompress(name: str, data: bytes, limit: int) -> bytes:
    """Return what was compressed as `name`, of at most `limit` bytes.

    Raises ValueError when it is something else, damaged or larger; ImportError.
    """
    if name == "zstd":
        return _decompress_zstd(data, limit)
    engine = zlib.decompressobj(wbits=31 if name == "gzip" else 15)
    try:
        plain = engine.decompress(data, limit + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(plain) > limit:
        raise ValueError("too large")
    if not engine.eof or engine.unused_data:
        raise ValueError("damaged")
    return plain


def _decompress_zstd(data: bytes, limit: int) -> bytes:
    import io

    import zstandard

    plain = bytearray()
    try:
        reader = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(io.BytesIO(data))
        while piece := reader.read(_PIECE):
            plain += piece
            if len(plain) > limit:
                raise ValueError("too large")
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from None
    return bytes(plain)
