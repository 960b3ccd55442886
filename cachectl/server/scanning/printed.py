"""Which keys have left the program already, for a scan that has to start a node over.

What was printed cannot be taken back; so the names are remembered (8 bytes of hash each, up to a
bound) and left out when a node is read again.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence

from cachectl.model.keys import Page

MAX_REMEMBERED = 1_000_000


class Printed:
    """The names that were printed so far.

    may_repeat: more were printed than are remembered before a node was read again, so that some
    may have been printed twice.
    """

    def __init__(self, limit: int = MAX_REMEMBERED) -> None:
        self.may_repeat = False
        self._limit = limit
        self._forgot = False
        self._noted: array[int] = array("q")
        self._before: array[int] = array("q")

    def note(self, keys: Sequence[bytes]) -> None:
        """Remember names that are printed now."""
        room = self._limit - len(self._noted)
        if len(keys) > room:
            self._forgot = True
        self._noted.extend(map(hash, keys[:room]))

    def node_starts_over(self) -> None:
        """From now on leave out what was printed before."""
        self.may_repeat = self._forgot
        self._before = array("q", sorted(self._noted))

    def sift(self, page: Page) -> Page:
        """Return the page without the keys that were printed before a node was read again."""
        if not self._before:
            return page
        return page.take([i for i, key in enumerate(page.keys) if not self._has(hash(key))])

    def _has(self, value: int) -> bool:
        at = bisect_left(self._before, value)
        return at < len(self._before) and self._before[at] == value
