"""MessagePack (github.com/msgpack/msgpack, spec.md), by a reader of our own.

Almost any bytes begin like MessagePack, so a value is only called that when it is read to its
last byte and holds something that chance does not write: text, or a container of some length.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from cachectl.values.hexdump import hexdump
from cachectl.values.plain import Pairs, Thing, plain, render
from cachectl.values.sample import Found, Limits, Sample, moment

_FIXED = {0xC0: None, 0xC2: False, 0xC3: True}
_NUMBERS = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
    0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
_LENGTHS = {1: ">B", 2: ">H", 4: ">I"}
_SIZED = {
    0xC4: ("bin", 1), 0xC5: ("bin", 2), 0xC6: ("bin", 4),
    0xC7: ("ext", 1), 0xC8: ("ext", 2), 0xC9: ("ext", 4),
    0xD9: ("str", 1), 0xDA: ("str", 2), 0xDB: ("str", 4),
    0xDC: ("array", 2), 0xDD: ("array", 4), 0xDE: ("map", 2), 0xDF: ("map", 4),
}  # fmt: skip
_TIMESTAMP = -1
_SHORTEST = 3
_UNLIKELY_BY_CHANCE = 16
_PREFIX_NODES = 16


class _OtherError(Exception):
    """The bytes are not MessagePack, or nest deeper than we read."""


class _EndError(Exception):
    """The bytes end inside an item."""


class _Reader:
    def __init__(self, data: bytes, depth: int, nodes: int) -> None:
        self.data = data
        self.position = 0
        self.depth = depth
        self.nodes = nodes
        self.items = 0
        self.texts = 0

    def take(self, size: int) -> bytes:
        end = self.position + size
        if end > len(self.data):
            raise _EndError
        piece = self.data[self.position : end]
        self.position = end
        return piece

    def unpack(self, layout: str) -> int | float:
        value: int | float = struct.unpack(layout, self.take(struct.calcsize(layout)))[0]
        return value

    def item(self, depth: int) -> object:
        self.items += 1
        if depth > self.depth or self.items > self.nodes:
            raise _OtherError
        mark = self.take(1)[0]
        if mark <= 0x7F:
            return mark
        if mark >= 0xE0:
            return mark - 0x100
        if mark in _FIXED:
            return _FIXED[mark]
        if mark in _NUMBERS:
            return self.unpack(_NUMBERS[mark])
        kind, length = self.sized(mark)
        return self.body(kind, length, depth)

    def sized(self, mark: int) -> tuple[str, int]:
        if mark <= 0x8F:
            return "map", mark & 0x0F
        if mark <= 0x9F:
            return "array", mark & 0x0F
        if mark <= 0xBF:
            return "str", mark & 0x1F
        if 0xD4 <= mark <= 0xD8:
            return "ext", 1 << mark - 0xD4
        if mark not in _SIZED:
            raise _OtherError
        kind, width = _SIZED[mark]
        return kind, int(self.unpack(_LENGTHS[width]))

    def body(self, kind: str, length: int, depth: int) -> object:
        if kind == "array":
            return [self.item(depth + 1) for _ in range(length)]
        if kind == "map":
            return Pairs((self.item(depth + 1), self.item(depth + 1)) for _ in range(length))
        if kind == "ext":
            code = struct.unpack(">b", self.take(1))[0]
            return _extension(code, self.take(length))
        piece = self.take(length)
        if kind == "bin":
            return piece
        try:
            text = piece.decode()
        except UnicodeDecodeError:
            return piece  # the old raw type, written before str and bin were told apart
        self.texts += bool(text)
        return text


def decode(sample: Sample) -> Found | None:
    """Recognise a whole MessagePack item that is a map, an array or a text."""
    data = sample.data
    if len(data) < _SHORTEST or not _container_or_text(data[0]):
        return None
    reader = _Reader(data, sample.limits.depth, sample.limits.nodes * 4)
    try:
        value = reader.item(0)
    except _OtherError:
        return None
    except _EndError:
        return _beginning(sample, reader)
    if reader.position != len(data) or not sample.complete:
        return None
    container = isinstance(value, list)
    if not reader.texts and not (container and len(data) >= _UNLIKELY_BY_CHANCE):
        return None
    tree, notes = plain(value, sample.limits)
    return Found("msgpack", "MessagePack", render(tree, sample.limits), tree, notes)


def parse(data: bytes, limits: Limits) -> object:
    """Return what a MessagePack item holds, made of JSON's types.

    Raises ValueError with the end of a sentence: `ends too early`.
    """
    reader = _Reader(data, limits.depth, limits.nodes * 4)
    try:
        value = reader.item(0)
    except _EndError:
        raise ValueError("ends too early") from None
    except _OtherError:
        raise ValueError("holds what MessagePack does not have, or too much of it") from None
    if reader.position != len(data):
        raise ValueError("goes on after its end")
    return plain(value, limits)[0]


def _container_or_text(mark: int) -> bool:
    return 0x80 <= mark <= 0xBF or 0xD9 <= mark <= 0xDF


def _beginning(sample: Sample, reader: _Reader) -> Found | None:
    if sample.complete or reader.items < _PREFIX_NODES or not reader.texts:
        return None
    dump = hexdump(sample.data, most=sample.limits.hexdump)
    return Found("msgpack", "MessagePack, its beginning", dump)


def _extension(code: int, body: bytes) -> object:
    layout: dict[int, Callable[[bytes], float]] = {
        4: lambda raw: float(struct.unpack(">I", raw)[0]),
        8: lambda raw: _packed_time(struct.unpack(">Q", raw)[0]),
        12: lambda raw: float(struct.unpack(">Iq", raw)[1]) + struct.unpack(">Iq", raw)[0] / 1e9,
    }
    if code == _TIMESTAMP and len(body) in layout:
        when = moment(layout[len(body)](body))
        return Thing("timestamp", Pairs([("value", when)]))
    return Thing(f"extension {code}", Pairs([("value", body)]))


def _packed_time(word: int) -> float:
    """Thirty bits of nanoseconds, thirty-four of seconds."""
    return (word & (1 << 34) - 1) + (word >> 34) / 1e9
