"""Copies on their way to the disk: a thread makes them durable while the server is worked with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Self

from cachectl.actions.execution.ledger import Ledger
from cachectl.errors import PartialError
from cachectl.model.changes import KeyCopy
from cachectl.storage.files import StorageError
from cachectl.storage.spool import Copies, SpoolWriter


class Keeper:
    """Writes the copies of a run to its archive, as a context that the thread ends with.

    archive: None when no copies are kept. limit: the bytes that it may have. What was begun is
    under way until `finish`, and nobody else may touch the archive before.
    """

    def __init__(
        self, archive: SpoolWriter[Copies] | None, ledger: Ledger, limit: int | None
    ) -> None:
        self.archive = archive
        self._ledger = ledger
        self._limit = limit
        self._under_way: Future[None] | None = None

    def __enter__(self) -> Self:
        self._thread = ThreadPoolExecutor(1)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._thread.shutdown()

    def begin(self, copies: Sequence[KeyCopy]) -> range:
        """Begin to make copies durable; return the records that they become.

        Raises PartialError when the archive is too large already.
        """
        if self.archive is None:
            return range(0)
        self.check_size()
        first = self.archive.count
        if copies:
            self._under_way = self._thread.submit(self._keep, self.archive, copies)
        return range(first, first + len(copies))

    @staticmethod
    def _keep(archive: SpoolWriter[Copies], copies: Sequence[KeyCopy]) -> None:
        archive.add(copies)
        archive.sync()

    @property
    def is_done(self) -> bool:
        """Whether `finish` would return at once."""
        return self._under_way is None or self._under_way.done()

    def finish(self) -> None:
        """Return when what was begun is durable. Raises StorageError."""
        if self._under_way is None:
            return
        try:
            self._under_way.result()
        finally:
            if self._under_way.done():
                self._under_way = None

    def sync(self) -> None:
        """Make durable what is in the archive. Raises StorageError, PartialError."""
        self.finish()
        if self.archive is not None and self.archive.is_pending:
            self.check_size()
            self.archive.sync()

    def take_back(self, records: Iterable[range]) -> None:
        """Void copies that no change will follow.

        Their records are made durable before: what the journal says of records that a crash takes
        away would be said of those that are written in their place.
        """
        if self.archive is None:
            return
        with suppress(StorageError):
            self.finish()
            if self.archive.is_broken:
                return
            self.archive.sync()
            for some in records:
                self._ledger.void(some)

    def check_size(self) -> None:
        """Raise PartialError when the archive is larger than it may be."""
        if self._limit and self.archive and self.archive.bytes_written > self._limit:
            raise PartialError(
                f"the archive has reached its limit of {self._limit:,} bytes",
                hint="raise `limits.max_archive` in the profile, then resume",
            )
