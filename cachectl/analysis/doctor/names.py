"""Names of keys, and what a sample of them says about their design."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cachectl.analysis.estimates.intervals import Stratum
from cachectl.analysis.naming.templates import SEPARATORS
from cachectl.model.keys import Page

LONG = 128
"""Bytes from which on a name is long: it is kept in memory, and sent with every command."""
SHORT = 8
"""Names below need no parts."""
_SEPARATOR = re.compile(rb"[" + re.escape(SEPARATORS + b".-_") + rb"]").search
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]").search


@dataclass(slots=True)
class Names:
    """Weighted counts of the names that were looked at. size: keys there are; drawn: looked at.

    long_bytes: bytes of the long ones' names. tags: hash tag → keys.
    """

    size: int = 0
    drawn: int = 0
    long: float = 0.0
    long_bytes: float = 0.0
    unseparated: float = 0.0
    binary: float = 0.0
    longest: bytes = b""
    examples: dict[str, bytes] = field(default_factory=dict)
    tags: dict[bytes, float] = field(default_factory=dict)

    @property
    def exact(self) -> bool:
        """Whether every key was looked at."""
        return self.drawn >= self.size


def names_of(pages: Sequence[Page], strata: Mapping[str, Stratum]) -> Names:
    """Return what the names of a sample say. strata: node → its keys, and how many were drawn."""
    found = Names(
        sum(one.size for one in strata.values()), sum(one.drawn for one in strata.values())
    )
    for page in pages:
        stratum = strata[page.node]
        weight = stratum.size / stratum.drawn if stratum.drawn else 1.0
        for key in page.keys:
            _look(found, key, weight)
    return found


def _look(found: Names, key: bytes, weight: float) -> None:
    length = len(key)
    if length > LONG:
        found.long += weight
        found.long_bytes += weight * length
        if length > len(found.longest):
            found.longest = key
    if length >= SHORT and not _SEPARATOR(key):
        found.unseparated += weight
        found.examples.setdefault("unseparated", key)
    if is_binary(key):
        found.binary += weight
        found.examples.setdefault("binary", key)
    if (tag := tag_of(key)) is not None:
        found.tags[tag] = found.tags.get(tag, 0.0) + weight


def is_binary(key: bytes) -> bool:
    """Whether a name is not text: not UTF-8, or with control characters."""
    if _CONTROL(key):
        return True
    if key.isascii():
        return False
    try:
        key.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False


def tag_of(key: bytes) -> bytes | None:
    """Return the part of a name that alone decides its slot; None when the whole does.

    Source: the cluster specification, "Hash tags".
    """
    start = key.find(b"{")
    if start < 0:
        return None
    end = key.find(b"}", start + 1)
    return key[start + 1 : end] if end > start + 1 else None
