"""Codecs: what of a row becomes the bytes of one string, element or field."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cachectl.config.manifest import Codec
from cachectl.errors import ConfigError
from cachectl.sources.scalars import RowFault, as_bytes, as_json, encoded, simple
from cachectl.values.encode import compressor, packer

Encoder = Callable[[Any], bytes]
"""From a value to bytes; raises RowFault."""


def encoder(codecs: Sequence[Codec]) -> Encoder:
    """Return what the codecs do, one after the other. Raises ConfigError for a missing package."""
    try:
        first, *rest = [_codec(name) for name in codecs]
    except ImportError as error:
        raise ConfigError(
            f"the codecs {', '.join(codecs)} need the package {error.name}",
            hint="pip install 'redis-cachectl[values]'",
        ) from None
    if codecs[0] in ("zlib", "gzip", "zstd"):
        rest, first = [first, *rest], as_bytes
    if not rest:
        return first

    def encode(value: Any) -> bytes:
        data = first(value)
        for one in rest:
            data = one(data)
        return data

    return encode


def _codec(name: Codec) -> Encoder:
    match name:
        case "raw":
            return as_bytes
        case "json":
            return lambda value: encoded(as_json(value))
        case "msgpack":
            return _packing(packer(_packable))
    return compressor(name)


def _packable(value: Any) -> Any:
    if isinstance(value, int):  # one of more than 64 bits: as text it would be something else
        raise RowFault("cannot be packed as MessagePack")
    return simple(value)


def _packing(pack: Callable[[Any], bytes]) -> Encoder:
    def encode(value: Any) -> bytes:
        try:
            return pack(value)
        except RowFault:
            raise
        except (ValueError, TypeError, RecursionError):
            raise RowFault("cannot be packed as MessagePack") from None

    return encode
