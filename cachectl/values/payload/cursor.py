"""Reading an RDB value: lengths, strings, LZF. No length is trusted."""

from __future__ import annotations

import struct

MAX_STRING = 1 << 32


class UndecodableError(ValueError):
    """The payload is damaged, or of a kind that is not known here; the message says which."""


class Cursor:
    """Walks through the bytes of one payload."""

    __slots__ = ("_at", "_data", "_end")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._end = len(data)

    @property
    def left(self) -> int:
        """Bytes that were not read yet."""
        return self._end - self._at

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        end = self._at + count
        if count < 0 or end > self._end:
            raise UndecodableError("it ends too early")
        data = self._data[self._at : end]
        self._at = end
        return data

    def byte(self) -> int:
        """Return the next byte."""
        return self.take(1)[0]

    def int64(self) -> int:
        """Return a signed 64-bit number, little-endian: a time in milliseconds."""
        return int.from_bytes(self.take(8), "little", signed=True)

    def double(self) -> float:
        """Return a 64-bit float, little-endian."""
        value: float = struct.unpack("<d", self.take(8))[0]
        return value

    def length(self) -> int:
        """Return a length (or any unsigned number that RDB writes like one)."""
        value, special = self._length()
        if special:
            raise UndecodableError("a length is encoded as something else")
        return value

    def count(self) -> int:
        """Return a number of elements, each of which takes a byte at least."""
        value = self.length()
        if value > self.left:
            raise UndecodableError("it claims more elements than it has bytes")
        return value

    def _length(self) -> tuple[int, bool]:
        first = self.byte()
        match first >> 6:
            case 0:
                return first & 0x3F, False
            case 1:
                return (first & 0x3F) << 8 | self.byte(), False
            case 2 if first == 0x80:
                return int.from_bytes(self.take(4), "big"), False
            case 2 if first == 0x81:
                return int.from_bytes(self.take(8), "big"), False
            case 3:
                return first & 0x3F, True
        raise UndecodableError("a length has an unknown encoding")

    def string(self) -> bytes:
        """Return a string: raw, an integer in its decimal form, or LZF."""
        value, special = self._length()
        if not special:
            return self.take(value)
        match value:
            case 0 | 1 | 2:
                return b"%d" % int.from_bytes(self.take(1 << value), "little", signed=True)
            case 3:
                compressed, size = self.length(), self.length()
                if size > MAX_STRING:
                    raise UndecodableError("a compressed string claims more than 4 GiB")
                return lzf_decompress(self.take(compressed), size)
        raise UndecodableError("a string has an unknown encoding")


def lzf_decompress(data: bytes, size: int) -> bytes:
    """Return the original of LZF-compressed data, which must have exactly `size` bytes."""
    out = bytearray()
    at, end = 0, len(data)
    try:
        while at < end:
            control = data[at]
            at += 1
            if control < 32:
                out += data[at : at + control + 1]
                at += control + 1
                continue
            length = control >> 5
            if length == 7:
                length += data[at]
                at += 1
            start = len(out) - ((control & 0x1F) << 8 | data[at]) - 1
            at += 1
            if start < 0:
                raise UndecodableError("LZF refers to before its beginning")
            _repeat(out, start, length + 2)
            if len(out) > size:
                raise UndecodableError("LZF gives more than it says")
    except IndexError as error:
        raise UndecodableError("LZF ends too early") from error
    if len(out) != size:
        raise UndecodableError("LZF gives another size than it says")
    return bytes(out)


def _repeat(out: bytearray, start: int, length: int) -> None:
    """Append `length` bytes from `start` on; the source may run into what is being appended."""
    distance = len(out) - start
    piece = bytes(out[start : start + min(length, distance)])
    repeats = -(-length // len(piece))
    out += (piece * repeats)[:length]
