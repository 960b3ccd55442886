"""What all sources have in common: rows are numbered, cut to size, and held to limits.

A source yields pages, which know nothing of numbers; `Paged` makes batches of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from cachectl.config.manifest import Manifest, Place, SourceSpec
from cachectl.errors import CachectlError
from cachectl.sources.interface import Row, RowBatch, RowProblem, SourceError

S = TypeVar("S", bound=SourceSpec)


@dataclass(slots=True)
class Page:
    """Some rows as they were read. bad: index (among good and bad rows) → what is wrong there."""

    rows: list[Row]
    texts: list[bytes] | None = None
    bad: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows) + len(self.bad)


class Pages(Protocol):
    """What a kind of source is: rows in pages of a bounded size."""

    def __iter__(self) -> Generator[Page]:
        """Yield the pages from the first row on. Raises SourceError, RefusedError."""
        ...

    def count(self) -> int | None:
        """Return how many rows there are, or about how many; None: not known."""
        ...


@dataclass(slots=True)
class Paged(Generic[S]):
    """A source (see interface.Source) made of pages. clock: seconds, for its timeout."""

    spec: S
    pages: Pages
    clock: Callable[[], float] = time.monotonic

    @property
    def name(self) -> str:
        """Its name in the manifest."""
        return self.spec.name

    @property
    def place(self) -> Place:
        """Where it stands in the manifest."""
        return self.spec.place

    def count(self) -> int | None:
        """Return how many rows there are where that is cheap to know. A hint."""
        known, most = self.pages.count(), self.spec.limits.max_rows
        return min(known, most) if known is not None and most is not None else known

    def batches(self, after: int = 0) -> Generator[RowBatch]:
        """Yield the rows whose number is above `after` (see interface.Source)."""
        most = self.spec.limits.max_rows
        seen = 0
        with closing(self._timely()) as pages:
            for page in pages:
                first, seen = seen, seen + len(page)
                if seen > after:
                    batch = self._batch(page, first)
                    yield batch if first >= after and not most else _cut(batch, after, most)
                if most is not None and seen >= most:
                    return

    def _timely(self) -> Generator[Page]:
        """Yield the pages, for as long as the source lets us wait no longer than its timeout."""
        limit = self.spec.limits.timeout
        waited = 0.0
        with closing(iter(self.pages)) as pages:
            while True:
                asked = self.clock()
                try:
                    page = next(pages, None)
                except SourceError as error:
                    raise located(error, self.spec) from None
                waited += self.clock() - asked
                if page is None:
                    return
                if waited > limit:
                    slow = SourceError(f"has kept us waiting for more than {limit:g} s")
                    raise located(slow, self.spec)
                yield page

    def _batch(self, page: Page, first: int) -> RowBatch:
        if not page.bad:
            return RowBatch(page.rows, range(first + 1, first + 1 + len(page)), page.texts)
        numbers = [first + 1 + i for i in range(len(page)) if i not in page.bad]
        problems = tuple(
            RowProblem(self.name, "", first + 1 + i, what, self.place)
            for i, what in page.bad.items()
        )
        return RowBatch(page.rows, numbers, page.texts, problems)


def _cut(batch: RowBatch, after: int, most: int | None) -> RowBatch:
    """Return the part of a batch above `after`, up to the row `most`."""

    def meant(number: int) -> bool:
        return number > after and (most is None or number <= most)

    chosen = [i for i, number in enumerate(batch.numbers) if meant(number)]
    texts = batch.texts
    return RowBatch(
        [batch.rows[i] for i in chosen],
        [batch.numbers[i] for i in chosen],
        [texts[i] for i in chosen] if texts is not None else None,
        tuple(problem for problem in batch.problems if meant(problem.row)),
    )


def located(error: SourceError, spec: SourceSpec) -> SourceError:
    """Return the error with the source's name before it and its place in the manifest as target.

    The message of a source's own error is a sentence without its subject.
    """
    return SourceError(
        f"the source {spec.name} {error.message}",
        hint=error.hint,
        target=str(spec.place),
        retryable=error.retryable,
        retry_after=error.retry_after,
    )


def missing_package(package: str, extra: str) -> CachectlError:
    """Return the error for a source whose package is not installed."""
    return SourceError(
        f"needs the package {package}", hint=f"pip install 'redis-cachectl[{extra}]'"
    )


def roots_of(manifest: Manifest, allowed: Sequence[Path]) -> tuple[Path, ...]:
    """Return the directories that a manifest's files may lie in."""
    return (manifest.directory, *allowed)
