"""Rows that stand in the manifest itself, and ranges of numbers."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from cachectl.config.manifest import InlineSpec
from cachectl.sources.interface import BATCH_ROWS
from cachectl.sources.paging import Page


@dataclass(frozen=True, slots=True)
class InlinePages:
    """The rows of an InlineSpec; a range has the column n."""

    spec: InlineSpec

    def __iter__(self) -> Generator[Page]:
        numbers = self.spec.numbers
        if numbers is None:
            rows = self.spec.rows
            for at in range(0, len(rows), BATCH_ROWS):
                yield Page(list(rows[at : at + BATCH_ROWS]))
            return
        for at in range(0, len(numbers), BATCH_ROWS):
            yield Page([{"n": n} for n in numbers[at : at + BATCH_ROWS]])

    def count(self) -> int:
        """Return the number of rows."""
        return len(self.spec.rows if self.spec.numbers is None else self.spec.numbers)
