"""What a source of rows is, to everybody who warms.

    for batch in source.batches():
        for renderer in renderers:          # sources.entries, one for each entry of this source
            rendered = renderer.render(batch)

A source is opened by sources.opening.open_source. It holds a batch of rows in memory and no more.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cachectl.config.manifest import Place
from cachectl.errors import PartialError

BATCH_ROWS = 1000
"""Rows in a batch, at most."""
BATCH_BYTES = 1024 * 1024
"""Bytes of text after which a batch is closed, whatever its rows."""

Row = Mapping[str, Any]
"""Column → value: str, bytes, int, float, bool, None, list, dict; of SQL also dates and Decimal."""


class SourceError(PartialError):
    """A source could not be read, or not to its end; the other sources can go on.

    retryable: whether the same may work in a moment (a lost connection, a busy service).
    retry_after: seconds that the service asked us to wait, None when it said nothing.
    """

    slug = "source"

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        target: str | None = None,
        retryable: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, hint=hint, target=target)
        self.retryable = retryable
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class RowProblem:
    """One row that gives no key, or a part of a source that was left out.

    source: its name; entry: the entry's name, empty when the row could not even be read; row: its
    number, from 1; what: a sentence without its subject; place: in the manifest.
    """

    source: str
    entry: str
    row: int
    what: str
    place: Place

    def __str__(self) -> str:
        who = f"entry {self.entry}, row" if self.entry else "row"
        return f"{self.source}: {who} {self.row} {self.what}"


@dataclass(frozen=True, slots=True)
class RowBatch:
    """Some consecutive rows.

    numbers: the number of each row, from 1, counted over the whole source. texts: the JSON text
    that each row was read from, where it was (then the whole row need not be encoded again).
    problems: rows between these that could not be read.
    """

    rows: Sequence[Row]
    numbers: Sequence[int]
    texts: Sequence[bytes] | None = None
    problems: tuple[RowProblem, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)


class Source(Protocol):
    """Where rows come from. Every reading of it gives the same rows while nobody changes them."""

    @property
    def name(self) -> str:
        """Its name in the manifest."""
        ...

    @property
    def place(self) -> Place:
        """Where it stands in the manifest."""
        ...

    def batches(self, after: int = 0) -> Generator[RowBatch]:
        """Yield the rows whose number is above `after`, in batches of BATCH_ROWS at most.

        Raises SourceError at any point, after which the same rows can be asked for again with the
        number of the last row that came; RefusedError for what its manifest may not read. Close
        the iterator to let go of files and connections.
        """
        ...

    def count(self) -> int | None:
        """Return how many rows there are where that is cheap to know, else None. A hint."""
        ...
