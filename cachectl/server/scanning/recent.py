"""Telling SCAN's duplicates from new keys with bounded memory.

SCAN repeats a key only when the hash table shrinks while it runs. The cursor walks the table in
the order of the reversed bits of the bucket's number, so the buckets that fold into one when the
table shrinks stand side by side in that order: what is repeated are the keys of the bucket at the
cursor, and those were returned a moment ago (source: dictScan in the servers' dict.c; Valkey's
hashtableScan keeps the order). A shrink by a factor of f repeats keys seen at most f buckets ago,
and a table that shrank by 65,536 has few keys left to repeat.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

GENERATION = 65_536


class RecentKeys:
    """The last 65,536 to 131,072 keys that one node returned."""

    def __init__(self, generation: int = GENERATION) -> None:
        self._generation = generation
        # Dictionaries keep the order of arrival, so what a page added stands at the end.
        self._new: dict[bytes, None] = {}
        self._old: dict[bytes, None] = {}

    def sift(self, keys: list[bytes]) -> list[bytes]:
        """Return the keys that were not returned lately, in order, and remember them."""
        new, before = self._new, len(self._new)
        new.update(dict.fromkeys(keys))
        added = len(new) - before
        if added < len(keys):
            keys = [*islice(reversed(new), added)][::-1]
        if not self._old.keys().isdisjoint(keys):
            keys = [key for key in keys if key not in self._old]
        if len(new) >= self._generation:
            self._old, self._new = new, {}
        return keys

    def forget(self, keys: Iterable[bytes]) -> None:
        """Forget keys that will be asked for again."""
        for key in keys:
            self._new.pop(key, None)
            self._old.pop(key, None)
