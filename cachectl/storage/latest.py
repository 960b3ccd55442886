"""Which copies of an archive are the latest of their key, without remembering every key.

An archive has one copy of nearly every key; a second one follows when a key came back (with a
failover, or because a scan had shown it twice) and was removed again. A Bloom filter of 16 bits a
key finds those that may have several (1 of about 400 wrongly), and only these are remembered.
Source: B. Bloom, Space/time trade-offs in hash coding with allowable errors, CACM 13 (1970).
"""

from __future__ import annotations

import hashlib

_BITS_PER_KEY = 16
_HASHES = 4
_LEAST_BITS = 1 << 16


class Latest:
    """Fed with (record, key) twice: `look` at all of them first, then `place` them."""

    def __init__(self, records: int) -> None:
        self._bits = max(_LEAST_BITS, records * _BITS_PER_KEY)
        self._seen = bytearray(self._bits // 8 + 1)
        self._last: dict[bytes, int] = {}

    def look(self, key: bytes) -> None:
        """First reading: notice keys that may have been met before."""
        known = True
        for at, bit in self._places(key):
            if not self._seen[at] & bit:
                known = False
                self._seen[at] |= bit
        if known:
            self._last[key] = -1

    @property
    def is_simple(self) -> bool:
        """Whether no key can have more than one copy, so that there is nothing to place."""
        return not self._last

    def place(self, record: int, key: bytes) -> None:
        """Second reading: remember the last record of keys that may have several."""
        if key in self._last:
            self._last[key] = record

    def is_latest(self, record: int, key: bytes) -> bool:
        """Return whether no later record has a copy of this key."""
        return self._last.get(key, record) <= record

    def _places(self, key: bytes) -> list[tuple[int, int]]:
        digest = hashlib.blake2b(key, digest_size=4 * _HASHES).digest()
        numbers = [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 4 * _HASHES, 4)]
        return [(n % self._bits >> 3, 1 << (n % self._bits & 7)) for n in numbers]
