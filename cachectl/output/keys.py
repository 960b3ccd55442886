"""Bytes from a terminal → names of keys: pure, so that every sequence can be tested.

Source of the sequences: xterm's control sequences (cursor and function keys), which terminals of
today share.
"""

from __future__ import annotations

import math
import re

_NAMES = {
    b"\t": "tab",
    b"\r": "enter",
    b"\n": "enter",
    b"\x1b[Z": "shift-tab",
    b"\x1b[A": "up",
    b"\x1b[B": "down",
    b"\x1b[C": "right",
    b"\x1b[D": "left",
    b"\x1bOA": "up",
    b"\x1bOB": "down",
    b"\x1bOC": "right",
    b"\x1bOD": "left",
    b"\x1b[5~": "page up",
    b"\x1b[6~": "page down",
    b"\x1b[H": "home",
    b"\x1b[1~": "home",
    b"\x1bOH": "home",
    b"\x04": "end of input",
}
_SEQUENCE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|O[ -~])")
_BEGUN = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*|O)?\Z")
_PATIENCE = 0.05
"""Seconds that the rest of a sequence may take; an escape that stays alone is the key."""
_LONGEST = 32


class KeyReader:
    """Collects what comes in pieces: a sequence may be cut anywhere."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def patience(self) -> float:
        """Seconds to wait for more: a few while a sequence has begun, else for ever."""
        return _PATIENCE if self._rest else math.inf

    def feed(self, data: bytes) -> list[str]:
        """Return the keys that are complete. No data is the end of the input."""
        if not data:
            return ["end of input"]
        data, self._rest = self._rest + data, b""
        keys = []
        while data:
            begun = len(data) < _length(data[0]) or _BEGUN.match(data)
            if begun and len(data) < _LONGEST:
                self._rest = data
                break
            key, data = _first(data)
            if key:
                keys.append(key)
        return keys

    def flush(self) -> list[str]:
        """Return what a sequence that never ended was: the escape key, or nothing."""
        rest, self._rest = self._rest, b""
        return ["escape"] if rest[:1] == b"\x1b" else []


def _first(data: bytes) -> tuple[str, bytes]:
    """Return the first key ('' for a sequence that means nothing to us) and what follows it."""
    if match := _SEQUENCE.match(data):
        return _NAMES.get(match.group(), ""), data[match.end() :]
    length = _length(data[0])
    character, rest = data[:length], data[length:]
    if character in _NAMES:
        return _NAMES[character], rest
    text = character.decode("utf-8", "ignore")
    return (text if text.isprintable() else "escape" if text == "\x1b" else ""), rest


def _length(first: int) -> int:
    """Return how many bytes the UTF-8 character has that begins so; 1 for what begins none."""
    for length, lead in ((4, 0xF0), (3, 0xE0), (2, 0xC0)):
        if first >= lead:
            return length
    return 1
