"""From what a manifest says of a source to the source. A new kind of source is one line here."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from cachectl.config.manifest import (
    Allowed,
    AnySource,
    ArchiveSpec,
    CacheSpec,
    FileSpec,
    HttpSpec,
    InlineSpec,
    Manifest,
    SnapshotSpec,
    SqlSpec,
)
from cachectl.errors import UsageError
from cachectl.sources.interface import BATCH_ROWS, Source
from cachectl.sources.paging import Page, Paged, Pages, roots_of

KeySpec = CacheSpec | ArchiveSpec | SnapshotSpec


class KeyReader(Protocol):
    """Whoever can read keys out of a cache or an archive: rooms that sources know nothing of.

    A row has `key` (bytes), `type`, `ttl_ms` (what is left, -1 for no TTL) and, of a cache or an
    archive, `value` (LogicalValue; None with a `problem` when it cannot be had).
    """

    def rows(self, spec: KeySpec) -> Iterator[Mapping[str, Any]]:
        """Yield a row for each key that a source means. Raises SourceError."""
        ...

    def count(self, spec: KeySpec) -> int | None:
        """Return about how many keys a source means; None: not known."""
        ...


@dataclass(frozen=True, slots=True)
class _KeyPages:
    spec: KeySpec
    reader: KeyReader

    def __iter__(self) -> Generator[Page]:
        page = Page([])
        index = 0
        for row in self.reader.rows(self.spec):
            if row.get("problem"):
                page.bad[index] = str(row["problem"])
            else:
                page.rows.append(row)
            index += 1
            if index == BATCH_ROWS:
                yield page
                page, index = Page([]), 0
        if index:
            yield page

    def count(self) -> int | None:
        return self.reader.count(self.spec)


def open_source(
    spec: AnySource,
    manifest: Manifest,
    *,
    allowed: Allowed = Allowed(),  # noqa: B008 - frozen
    reader: KeyReader | None = None,
) -> Source:
    """Return the source that a spec describes; nothing is read before its batches are.

    reader: for caches, archives and snapshots. Raises UsageError when one of these is asked for
    without it.
    """
    return Paged(spec, _pages_of(spec, manifest, allowed, reader))


def _pages_of(
    spec: AnySource, manifest: Manifest, allowed: Allowed, reader: KeyReader | None
) -> Pages:
    match spec:
        case InlineSpec():
            from cachectl.sources.inline import InlinePages

            return InlinePages(spec)
        case FileSpec():
            from cachectl.sources.files import FilePages

            return FilePages(spec, roots_of(manifest, allowed.paths))
        case SqlSpec():
            from cachectl.sources.sql import SqlPages

            return SqlPages(spec, roots_of(manifest, allowed.paths))
        case HttpSpec():
            from cachectl.sources.http import HttpPages

            return HttpPages(spec, allowed.networks)
    if reader is None:
        raise UsageError(f"the source {spec.name} can only be read with a connection to its cache")
    return _KeyPages(spec, reader)
