"""Records → bytes and back, a frame at a time: keys of a plan, copies of an archive.

A frame is columns, little-endian: how many records, then a number of each in arrays, the lengths
of the byte strings among them, then the byte strings one after the other. Columns because a run
has millions of records, and a Python statement for each is what would take the time. Reading never
trusts a length: what does not fit its frame is DamagedError.
"""

from __future__ import annotations

import json
import struct
import sys
from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain, pairwise
from typing import Any

from cachectl.errors import DamagedError
from cachectl.model.changes import KeyCopy, PlannedKeys, tuples_of

_COUNT = struct.Struct("<II")
_HOWS = ("payload", "pieces", "ttl", "renamed", "members")
_HOW_NUMBERS = {how: number for number, how in enumerate(_HOWS)}


def pack_planned(pages: Sequence[PlannedKeys]) -> bytes:
    """Return planned keys as the bytes of one frame."""
    return b"".join(
        (
            _names(list(chain.from_iterable(page.types for page in pages))),
            *[_column("q", page.expiries) for page in pages],
            *[_column("Q", page.sizes) for page in pages],
            *[_column("q", page.idles) for page in pages],
            *_strings(list(chain.from_iterable(page.keys for page in pages))),
            *_strings(list(chain.from_iterable(page.guards for page in pages))),
        )
    )


def pack_copies(pages: Iterable[Iterable[KeyCopy]]) -> bytes:
    """Return copies as the bytes of one frame."""
    records = chain.from_iterable(pages)
    keys, types, hows, data, expiries, idles, freqs, extras = zip(*records, strict=True)
    return b"".join(
        (
            _names(types),
            _column("B", map(_HOW_NUMBERS.__getitem__, hows)),
            _column("q", expiries),
            _column("q", idles),
            _column("h", freqs),
            *_strings(keys),
            *_strings([_details(extra) if extra else b"" for extra in extras]),
            *_strings(data),
        )
    )


def unpack_planned(raw: bytes) -> PlannedKeys:
    """Return the planned keys of one frame. Raises DamagedError."""
    frame = _Frame(raw)
    types = frame.names()
    expiries, sizes, idles = frame.column("q"), frame.column("Q"), frame.column("q")
    keys, guards = frame.strings(), frame.strings()
    frame.end()
    return PlannedKeys(keys, types, expiries, sizes, idles, guards)


def unpack_copies(raw: bytes) -> list[KeyCopy]:
    """Return the copies of one frame. Raises DamagedError."""
    frame = _Frame(raw)
    types = frame.names()
    numbers, expiries, idles = frame.column("B"), frame.column("q"), frame.column("q")
    freqs = frame.column("h")
    keys, extras, data = frame.strings(), frame.strings(), frame.strings()
    try:
        hows = [_HOWS[number] for number in numbers]
    except IndexError:
        text = "an archive holds a kind of copy that this cachectl does not know"
        raise DamagedError(text) from None
    details = [json.loads(extra) if extra else {} for extra in extras]
    frame.end()
    columns = (keys, types, hows, data, expiries, idles, freqs, details)
    return tuples_of(KeyCopy, zip(*columns, strict=True))


def _details(extra: Any) -> bytes:
    return json.dumps(dict(extra), ensure_ascii=True).encode()


def _column(code: str, values: Iterable[int]) -> bytes:
    column = array(code, values)
    if sys.byteorder == "big":
        column.byteswap()
    return column.tobytes()


def _strings(values: Sequence[bytes]) -> tuple[bytes, bytes]:
    return _column("Q", map(len, values)), b"".join(values)


def _names(values: Sequence[str]) -> bytes:
    """Return a column of texts of which there are few different ones, with the head of the frame.

    The head: how many records, and how long the list of the different texts is.
    """
    numbers = {name: number for number, name in enumerate(dict.fromkeys(values))}
    listed = json.dumps(list(numbers)).encode()
    head = _COUNT.pack(len(values), len(listed))
    return head + listed + _column("H", map(numbers.__getitem__, values))


class _Frame:
    """Reads the columns of one frame, in their order."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0
        self._count, self._listed = _COUNT.unpack(self._take(_COUNT.size))

    def names(self) -> list[str]:
        """Return the column that `_names` wrote."""
        try:
            listed = json.loads(self._take(self._listed))
            return list(map(list(map(str, listed)).__getitem__, self.column("H")))
        except (ValueError, LookupError, TypeError) as error:
            raise DamagedError("a record is of a type that its frame does not list") from error

    def column(self, code: str) -> array[int]:
        """Return a column of numbers."""
        column: array[int] = array(code)
        column.frombytes(self._take(self._count * column.itemsize))
        if sys.byteorder == "big":
            column.byteswap()
        return column

    def strings(self) -> list[bytes]:
        """Return a column of byte strings."""
        ends = list(accumulate(self.column("Q"), initial=0))
        blob = self._take(ends[-1])
        if not blob:
            return [b""] * self._count
        return [blob[start:end] for start, end in pairwise(ends)]

    def end(self) -> None:
        """Note that every column is read. Raises DamagedError when something is left."""
        if self._at != len(self._raw):
            raise DamagedError("a frame is longer than its records")

    def _take(self, size: int) -> bytes:
        data = self._raw[self._at : self._at + size]
        if len(data) != size:
            raise DamagedError("a record is longer than the frame that holds it")
        self._at += size
        return data
