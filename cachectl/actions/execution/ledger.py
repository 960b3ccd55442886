"""What became of each key: counted, and written to the journal batch by batch."""

from __future__ import annotations

import base64
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from cachectl.actions.planning.changes import Outcome
from cachectl.storage.journal import Journal

_TOLD = (Outcome.CHANGED, Outcome.REFUSED, Outcome.UNKNOWN)
"""Outcomes whose keys the journal names: those that are not simply done or gone."""

DIGEST = 16
"""Hex digits of the archive's digest that the journal keeps."""
_DURABLE_EVERY = 1.0


@dataclass(slots=True)
class Tally:
    """How many keys ended how. bytes: of those that were changed."""

    counts: dict[str, int] = field(default_factory=dict)
    bytes: int = 0

    def add(self, outcome: str, count: int = 1) -> None:
        """Count keys."""
        self.counts[outcome] = self.counts.get(outcome, 0) + count

    def of(self, outcome: Outcome) -> int:
        """Return how many keys ended so."""
        return self.counts.get(outcome.value, 0)

    def take(self, counts: dict[str, int], size: int) -> None:
        """Add what a batch has come to."""
        for outcome, count in counts.items():
            self.add(outcome, count)
        self.bytes += size


class Ledger:
    """Counts keys. The memory that it takes is that of one batch."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.tally = Tally()
        self.again = Tally()
        self._recorded = 0.0
        self._batch = Tally()
        self._seen: set[bytes] = set()
        self._told: dict[str, list[list[str]]] = {}

    def begin(self) -> None:
        """Begin a batch."""
        self._batch, self._seen, self._told = Tally(), set(), {}

    def count(self, outcome: Outcome, key: bytes, size: int = 0, reason: str = "") -> None:
        """Note what became of a key. size: its bytes; reason: why it was refused."""
        self._seen.add(key)
        self._batch.add(outcome.value)
        if outcome is Outcome.DONE:
            self._batch.bytes += size
        if outcome in _TOLD:
            self._told.setdefault(outcome.value, []).append([_shown(key), reason])

    def count_all(self, outcome: Outcome, keys: Collection[bytes], size: int = 0) -> None:
        """Note the same of several keys. size: their bytes together."""
        self._seen.update(keys)
        self._batch.add(outcome.value, len(keys))
        if outcome is Outcome.DONE:
            self._batch.bytes += size
        if outcome in _TOLD:
            self._told.setdefault(outcome.value, []).extend([_shown(key), ""] for key in keys)

    def has(self, key: bytes) -> bool:
        """Return whether this batch knows what became of a key."""
        return key in self._seen

    def void(self, records: Iterable[int]) -> None:
        """Note that no change followed these records of the archive: undo must not use them."""
        listed = list(records)
        if listed:
            self.journal.note("void", records=listed)

    def end(
        self, *, upto: int, copies: int, digest: str = "", kind: str = "done", tag: str = ""
    ) -> None:
        """End the batch. upto: the next record of the plan; copies: records of the archive.

        digest: of the archive so far. Made durable about once a second: a batch that a crash of
        the machine takes back is settled by looking. kind: `again` for a second look after a
        failover, whose keys have been counted before; tag: the tag set that was trimmed.
        """
        done: dict[str, Any] = {"counts": self._batch.counts, "bytes": self._batch.bytes}
        if digest:
            done["digest"] = digest[:DIGEST]
        if tag:
            done["tag"] = tag
        write = self.journal.note
        if time.monotonic() - self._recorded >= _DURABLE_EVERY:
            write = self.journal.record
            self._recorded = time.monotonic()
        write(kind, upto=upto, copies=copies, **done, told=self._told)
        if kind == "done":
            self.tally.take(self._batch.counts, self._batch.bytes)
        else:
            self.again.take(self._batch.counts, self._batch.bytes)


def _shown(key: bytes) -> str:
    return base64.b64encode(key).decode()
