"""From what the parsers build to a bounded tree that `json.dumps` takes.

Parsers may hand over cycles, a container shared a million times, and keys of any type: the tree
is walked with a budget of nodes and characters, so that none of this can explode.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from cachectl.values.sample import Limits

MORE = "…"
_LONGEST_KEY = 200
_LONGEST_HEX = 256
# Python refuses to print longer integers, because that takes quadratic time.
_MOST_BITS = 14_000


class Pairs(list[tuple[object, object]]):
    """A mapping as the pairs that were read: any key, duplicates kept, in order."""


@dataclass(slots=True, eq=False)
class Thing:
    """An object that only its own program could build: the name of its class and its parts."""

    name: str
    parts: Pairs = field(default_factory=Pairs)


@dataclass(slots=True)
class _Walk:
    limits: Limits
    nodes: int = 0
    characters: int = 0
    cut: bool = False
    collided: list[str] = field(default_factory=list)

    @property
    def spent(self) -> bool:
        return self.nodes >= self.limits.nodes or self.characters >= self.limits.text


def plain(value: object, limits: Limits) -> tuple[object, tuple[str, ...]]:
    """Return the value as a tree of JSON's types, and notes on what the tree could not hold.

    Bytes become text where they are UTF-8, else `{"$hex": …}`; objects become `{"$class": …}`;
    NaN and the infinities become text; keys become text.
    """
    walk = _Walk(limits)
    tree = _plain(value, walk, 0)
    notes = []
    if walk.cut:
        notes.append("Shortened: parts beyond the limits of depth and size are shown as “…”")
    if walk.collided:
        some = ", ".join(walk.collided[:5])
        notes.append(f"Duplicate keys: {some}; the last of each is shown")
    return tree, tuple(notes)


def render(tree: object, limits: Limits) -> str:
    """Return the tree as indented JSON text, at most `limits.text` characters."""
    return shorten(json.dumps(tree, indent=2, ensure_ascii=False), limits.text)


def shorten(text: str, most: int) -> str:
    """Return the text, cut to `most` characters with an ellipsis."""
    return text if len(text) <= most else (text[: most - 1] + MORE)[: max(most, 0)]


def clean(text: str) -> str:
    r"""Return the text without lone surrogates, which no output can encode (shown as `\udc80`)."""
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode()


def number(value: float) -> object:
    """Return a number that JSON and every printer can take, or else a text that says it."""
    if isinstance(value, int):
        bits = value.bit_length()
        return value if bits <= _MOST_BITS else f"integer of {bits:,} bits"
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def _plain(value: object, walk: _Walk, depth: int) -> object:
    walk.nodes += 1
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        walk.characters += 8
        return number(value)
    if isinstance(value, str):
        return _text(value, walk)
    if isinstance(value, bytes | bytearray):
        return _bytes(bytes(value), walk)
    if depth >= walk.limits.depth or walk.spent:
        walk.cut = True
        return MORE
    if isinstance(value, Thing):
        return _mapping([("$class", value.name), *value.parts], walk, depth)
    if isinstance(value, Pairs):
        return _mapping(value, walk, depth)
    if isinstance(value, dict):
        return _mapping(value.items(), walk, depth)
    if isinstance(value, list | tuple):
        return _sequence(value, walk, depth)
    return _text(type(value).__name__, walk)


def _text(text: str, walk: _Walk) -> str:
    room = max(walk.limits.text - walk.characters, 0)
    walk.characters += len(text)
    if len(text) > room:
        walk.cut = True
        text = text[:room] + MORE
    return clean(text)


def _bytes(value: bytes, walk: _Walk) -> object:
    try:
        return _text(value.decode(), walk)
    except UnicodeDecodeError:
        walk.characters += min(len(value), _LONGEST_HEX) * 2
        more = MORE if len(value) > _LONGEST_HEX else ""
        return {"$hex": value[:_LONGEST_HEX].hex() + more}


def _sequence(values: list[object] | tuple[object, ...], walk: _Walk, depth: int) -> list[object]:
    items: list[object] = []
    for item in values:
        if walk.spent:
            walk.cut = True
            items.append(MORE)
            break
        items.append(_plain(item, walk, depth + 1))
    return items


def _mapping(pairs: Iterable[tuple[object, object]], walk: _Walk, depth: int) -> dict[str, object]:
    mapping: dict[str, object] = {}
    for key, value in pairs:
        if walk.spent:
            walk.cut = True
            mapping[MORE] = MORE
            break
        name = _key(key, walk, depth)
        if name in mapping:
            walk.collided.append(shorten(name, 40))
        mapping[name] = _plain(value, walk, depth + 1)
    return mapping


def _key(key: object, walk: _Walk, depth: int) -> str:
    tree = _bytes(key, walk) if isinstance(key, bytes) else _plain(key, walk, depth + 1)
    if isinstance(tree, str):
        return tree
    return shorten(json.dumps(tree, ensure_ascii=False), _LONGEST_KEY)
