"""How applications write values into a cache: JSON, MessagePack, gzip, pickle, JWT. Writing only.

Everything is deterministic: the same object gives the same bytes.
"""

from __future__ import annotations

import base64
import gzip
import json

# Written, never read: a cache of a Python service is full of these.
import pickle
import struct
from random import Random
from typing import Any


def as_json(value: Any) -> bytes:
    """Return compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


def as_gzip(data: bytes) -> bytes:
    """Return data compressed by gzip, without a time in the header."""
    return gzip.compress(data, 6, mtime=0)


def as_pickle(value: Any) -> bytes:
    """Return a pickle of plain objects."""
    return pickle.dumps(value, protocol=4)


def as_jwt(claims: dict[str, Any], random: Random) -> bytes:
    """Return a JSON Web Token (RFC 7519) with a signature that nobody made."""
    header = _base64url(as_json({"alg": "HS256", "typ": "JWT"}))
    return b".".join((header, _base64url(as_json(claims)), _base64url(random.randbytes(32))))


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def as_msgpack(value: Any) -> bytes:
    """Return MessagePack of None, bool, int, float, str, bytes, list and dict.

    Source: the MessagePack specification; integers take the shortest form. Raises TypeError.
    """
    match value:
        case None:
            return b"\xc0"
        case bool():
            return b"\xc3" if value else b"\xc2"
        case int():
            return _msgpack_integer(value)
        case float():
            return b"\xcb" + struct.pack(">d", value)
        case str():
            data = value.encode()
            return _head(len(data), (0xA0, 32), 0xD9, 0xDA, 0xDB) + data
        case bytes():
            return _head(len(value), None, 0xC4, 0xC5, 0xC6) + value
        case list() | tuple():
            items = b"".join(map(as_msgpack, value))
            return _head(len(value), (0x90, 16), None, 0xDC, 0xDD) + items
        case dict():
            pairs = b"".join(as_msgpack(k) + as_msgpack(v) for k, v in value.items())
            return _head(len(value), (0x80, 16), None, 0xDE, 0xDF) + pairs
    raise TypeError(type(value).__name__)


def _msgpack_integer(value: int) -> bytes:
    if -32 <= value < 128:
        return struct.pack("b", value) if value < 0 else bytes((value,))
    for code, form in zip(b"\xcc\xcd\xce\xcf" if value > 0 else b"\xd0\xd1\xd2\xd3",
                          ("B", "H", "I", "Q") if value > 0 else ("b", "h", "i", "q"),
                          strict=True):  # fmt: skip
        try:
            return bytes((code,)) + struct.pack(">" + form, value)
        except struct.error:
            continue
    raise TypeError("an integer of more than 64 bits")


def _head(
    length: int, fixed: tuple[int, int] | None, one: int | None, two: int, four: int
) -> bytes:
    """Return type and length: in one byte below the limit of `fixed`, else in 8, 16 or 32 bits."""
    if fixed is not None and length < fixed[1]:
        return bytes((fixed[0] | length,))
    if one is not None and length < 256:
        return bytes((one, length))
    if length < 65_536:
        return bytes((two,)) + length.to_bytes(2)
    return bytes((four,)) + length.to_bytes(4)
