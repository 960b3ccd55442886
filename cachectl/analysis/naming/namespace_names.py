"""A namespace's name, as a scan shows it, turned into a test of keys' templates.

A template is made from one name alone, a scan's namespaces from all names together: there `AAPL`
has become `{ticker}`, `user7` `user{id}`, and a number that looked like a time an id like those
beside it (folding.py). So each placeholder stands for everything that folds into it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from cachectl.analysis.naming.labeltree import PLACEHOLDERS
from cachectl.analysis.naming.templates import SEPARATORS

_PLACEHOLDER = re.compile(b"(" + b"|".join(map(re.escape, sorted(PLACEHOLDERS))) + b")")
_FOLDED = {
    b"{id}": rb"(?:\{(?:id|ts|date)\}|[0-9]+)",
    b"{hex}": rb"(?:\{(?:hex|id|ts|date)\}|[0-9a-f]{8,}|[0-9A-F]{8,})",
    b"{token}": rb"(?:\{(?:token|hex|id)\}|(?=[A-Za-z_+\-]*[0-9])[A-Za-z0-9_+\-]{10,}={0,2})",
    b"{ticker}": rb"(?:\{ticker\}|[A-Z^][A-Z0-9]{0,11}(?:[.\-_=][A-Z0-9]{1,6})?)",
}


def names(namespace: bytes) -> Callable[[bytes], bool]:
    """Return a test that says whether a key with this template belongs to `namespace`.

    `{*}` stands for any text between two separators.
    """
    if not _PLACEHOLDER.search(namespace):
        return namespace.__eq__
    any_text = b"[^" + re.escape(_separators(namespace)) + b"]*"
    pieces = [
        _FOLDED.get(piece, any_text if piece == b"{*}" else re.escape(piece))
        for piece in _PLACEHOLDER.split(namespace)
    ]
    matches = re.compile(b"".join(pieces), re.DOTALL).fullmatch
    return lambda template: template == namespace or matches(template) is not None


def _separators(namespace: bytes) -> bytes:
    """Return what parts the segments of this name: weak separators count where no other stands."""
    if any(separator in namespace for separator in SEPARATORS):
        return SEPARATORS
    return b"." if b"." in namespace else b"-_"
