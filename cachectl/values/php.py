"""PHP: serialize(), the session format around it, and igbinary's header.

The reader is our own and builds names and parts only: no class, no callback. Grammar: PHP's
ext/standard/var_unserializer.re.
"""

from __future__ import annotations

import re

from cachectl.values.hexdump import hexdump, printable_runs
from cachectl.values.plain import Pairs, Thing, plain, render
from cachectl.values.sample import Found, Sample

_BEGINS = re.compile(
    rb'(?:N;|b:[01];|i:[+-]?\d|d:[+\-0-9.INe]|s:\d+:"|a:\d+:\{|[OC]:\d+:"|E:\d+:")'
)
_SESSION = re.compile(rb"[A-Za-z_][A-Za-z0-9_.:-]{0,255}\|(?=N;|[bidsaOCErR]:)")
_SCALAR = re.compile(rb"(N);|([bidrR]):([^;]{1,4000});")
_LENGTH = re.compile(rb"(\d{1,10}):")
_IGBINARY = (b"\x00\x00\x00\x02", b"\x00\x00\x00\x01")
_IGBINARY_TYPES = 0x25


class _BrokenError(Exception):
    """Not PHP's serialisation from this offset on."""


class _DeepError(Exception):
    """Nested deeper, or with more parts, than we read."""


class _Reader:
    def __init__(self, data: bytes, depth: int, nodes: int) -> None:
        self.data = data
        self.position = 0
        self.depth = depth
        self.nodes = nodes

    def value(self, depth: int) -> object:
        self.nodes -= 1
        if depth > self.depth or self.nodes < 0:
            raise _DeepError
        if scalar := _SCALAR.match(self.data, self.position):
            result = self.scalar(scalar)
            self.position = scalar.end()
            return result
        kind = self.data[self.position : self.position + 2]
        if kind in (b"s:", b"S:", b"a:", b"O:", b"C:", b"E:"):
            self.position += 2
            return self.sized(kind[:1], depth)
        raise _BrokenError

    def scalar(self, match: re.Match[bytes]) -> object:
        kind, raw = match.group(2), match.group(3)
        try:
            if kind is None:
                return None
            if kind == b"b":
                return raw == b"1"
            if kind == b"d":
                return float({b"INF": b"inf", b"-INF": b"-inf", b"NAN": b"nan"}.get(raw, raw))
            number = int(raw)
        except ValueError:
            raise _BrokenError from None
        return number if kind == b"i" else Thing("reference", Pairs([("to", number)]))

    def sized(self, kind: bytes, depth: int) -> object:
        if kind == b"a":
            length = self.length()
            return _listed(self.parts(length, depth))
        text = self.quoted(self.length())
        if kind in (b"s", b"S"):
            self.expect(b";")
            return text
        name = text.decode("utf-8", "replace")
        if kind == b"E":
            self.expect(b";")
            return Thing("enum " + name)
        self.expect(b":")
        length = self.length()
        if kind == b"O":
            return Thing(name, Pairs((_member(k), v) for k, v in self.parts(length, depth)))
        self.expect(b"{")
        body = self.take(length)
        self.expect(b"}")
        return Thing(name, Pairs([("serialized", body)]))

    def parts(self, length: int, depth: int) -> Pairs:
        self.expect(b"{")
        pairs = Pairs((self.value(depth + 1), self.value(depth + 1)) for _ in range(length))
        self.expect(b"}")
        return pairs

    def length(self) -> int:
        match = _LENGTH.match(self.data, self.position)
        if match is None:
            raise _BrokenError
        self.position = match.end()
        return int(match.group(1))

    def quoted(self, length: int) -> bytes:
        self.expect(b'"')
        text = self.take(length)
        self.expect(b'"')
        return text

    def take(self, length: int) -> bytes:
        if self.position + length > len(self.data):
            self.position = len(self.data)
            raise _BrokenError
        piece = self.data[self.position : self.position + length]
        self.position += length
        return piece

    def expect(self, mark: bytes) -> None:
        if self.data[self.position : self.position + 1] != mark:
            raise _BrokenError
        self.position += 1


def decode(sample: Sample) -> Found | None:
    """Recognise serialize(), PHP sessions and igbinary."""
    if _BEGINS.match(sample.data):
        return _serialized(sample)
    if _SESSION.match(sample.data):
        return _session(sample)
    if sample.data[:4] in _IGBINARY and len(sample.data) > 4:
        return _igbinary(sample)
    return None


def _serialized(sample: Sample) -> Found | None:
    reader = _reader(sample)
    try:
        value = reader.value(0)
    except _BrokenError:
        return _broken(sample, reader)
    except _DeepError:
        note = "Nested too deeply, or with too many parts, to decode"
        return Found("php", "PHP serialize", _raw(sample), notes=(note,))
    left = len(sample.data) - reader.position
    if left and reader.position < 4:
        return None
    tree, notes = plain(value, sample.limits)
    if left:
        notes += (f"{left:,} bytes follow the serialised value",)
    return Found("php", "PHP serialize", render(tree, sample.limits), tree, notes)


def _broken(sample: Sample, reader: _Reader) -> Found | None:
    """An array, object or text whose header is unmistakable but whose body is not right."""
    if not re.match(rb'a:\d+:\{[isb}]|[OCE]:\d+:"[A-Za-z_\\]|s:\d+:"', sample.data):
        return None
    if not sample.complete:
        return Found("php", "PHP serialize, its beginning", _raw(sample))
    damaged = f"looks like PHP serialize but does not parse at offset {reader.position:,}"
    return Found("php", "PHP serialize", _raw(sample), damaged=damaged)


def _session(sample: Sample) -> Found | None:
    """`name|value` again and again, as session.serialize_handler=php writes it."""
    reader = _reader(sample)
    members = Pairs()
    try:
        while reader.position < len(sample.data):
            name = _SESSION.match(sample.data, reader.position)
            if name is None:
                return None
            reader.position = name.end()
            members.append((name.group()[:-1], reader.value(0)))
    except _DeepError:
        return None
    except _BrokenError:
        if sample.complete or not members:
            return None
    tree, notes = plain(members, sample.limits)
    return Found("php-session", "PHP session", render(tree, sample.limits), tree, notes)


def _igbinary(sample: Sample) -> Found | None:
    if sample.data[4] > _IGBINARY_TYPES:
        return None
    runs = printable_runs(sample.data[4:], shortest=3)
    dump = hexdump(sample.data, most=sample.limits.hexdump)
    text = "\n".join(["Texts found:", *(f"  {run}" for run in runs), "", dump]) if runs else dump
    note = f"igbinary version {sample.data[3]}: PHP's compact serialisation, not decoded"
    return Found("igbinary", "igbinary", text, notes=(note,))


def _reader(sample: Sample) -> _Reader:
    return _Reader(sample.data, sample.limits.depth, sample.limits.nodes * 4)


def _raw(sample: Sample) -> str:
    return sample.data.decode("utf-8", "replace")


def _listed(pairs: Pairs) -> object:
    in_order = all(key == i and type(key) is int for i, (key, _) in enumerate(pairs))
    return [value for _, value in pairs] if in_order else pairs


def _member(key: object) -> object:
    r"""`\0*\0name` is protected and `\0Class\0name` private; people know them as `name`."""
    if not isinstance(key, bytes) or not key.startswith(b"\0"):
        return key
    owner, _, name = key[1:].partition(b"\0")
    return name + (b" (protected)" if owner == b"*" else b" (private to " + owner + b")")
