"""Keys of another cache, of a run's archive and of a saved scan, as rows for a warming.

Sources know neither servers nor storage: they are handed this reader (sources.opening.KeyReader).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cachectl import glob
from cachectl.actions.execution.run import copies_of, standing_of
from cachectl.actions.gates import counted
from cachectl.actions.undoing.undo import survey
from cachectl.config.confined import confined
from cachectl.config.locate import resolve
from cachectl.config.manifest import Allowed, ArchiveSpec, CacheSpec, Manifest, SnapshotSpec
from cachectl.errors import (
    CachectlError,
    CannotConnectError,
    ConfigError,
    DamagedError,
    PartialError,
    RefusedError,
    UsageError,
)
from cachectl.model.changes import NEVER, KeyCopy
from cachectl.model.keys import NO_TTL, Page
from cachectl.model.values import LogicalValue
from cachectl.server.pace import Pace
from cachectl.server.scanning.columns import Field
from cachectl.server.scanning.scan import Scan
from cachectl.server.scanning.scan_types import ScanRequest
from cachectl.server.topology.connect import open_server
from cachectl.server.topology.handle import Server
from cachectl.server.values.bulk import Bulk
from cachectl.sources.interface import Row, SourceError
from cachectl.sources.opening import KeySpec
from cachectl.sources.paging import roots_of
from cachectl.storage.elements import unpack_value
from cachectl.storage.journal import read_journal
from cachectl.storage.latest import Latest
from cachectl.storage.runs import RunDirectory, Runs
from cachectl.storage.snapshots import Snapshot
from cachectl.values.payload import UndecodableError, decode_payload

Matches = Callable[[bytes], bool]

_FIELDS = frozenset({Field.TYPE, Field.TTL, Field.BYTES})
_NO_VALUE = {
    "ttl": "was archived without its value: the run changed its TTL alone",
    "renamed": "was archived without its value: the run moved it to another name",
}


@dataclass(frozen=True, slots=True)
class CopyReader:
    """Reads the keys that a manifest copies (a sources.opening.KeyReader).

    environ: where profiles and their secrets are looked for. now: Unix seconds.
    """

    manifest: Manifest
    environ: Mapping[str, str]
    allowed: Allowed = field(default_factory=Allowed)
    now: Callable[[], float] = time.time

    def rows(self, spec: KeySpec) -> Iterator[Row]:
        """Yield a row for each key that a source means. Raises SourceError, RefusedError."""
        match spec:
            case CacheSpec():
                rows = self._of_cache(spec)
            case ArchiveSpec():
                rows = self._of_archive(spec)
            case SnapshotSpec():
                rows = self._of_snapshot(spec)
        with _as_source_errors():
            yield from rows

    def count(self, spec: KeySpec) -> int | None:
        """Return about how many keys a source means; None: not known without reading them."""
        try:
            if isinstance(spec, SnapshotSpec):
                return Snapshot(self._file(spec)).info.keys if spec.patterns == ("*",) else None
            if isinstance(spec, CacheSpec) and spec.patterns == ("*",) and spec.type is None:
                with self._server(spec) as server:
                    counts = [node.facts.keys for node in server.primaries]
                    return sum(count for count in counts if count is not None)
        except CachectlError:
            return None
        return None

    # --- another cache ----------------------------------------------------------------------------

    @contextmanager
    def _server(self, spec: CacheSpec) -> Iterator[Server]:
        with open_server(resolve(profile=spec.profile, environ=self.environ)) as server:
            server.gates = counted
            yield server

    def _of_cache(self, spec: CacheSpec) -> Iterator[Row]:
        """Yield the keys of a scan with their values, at the pace of the cache's own profile."""
        patterns = [pattern.encode() for pattern in spec.patterns]
        sift = _sift(matcher(spec.patterns)) if len(patterns) > 1 else None
        request = ScanRequest(
            _FIELDS, match=patterns[0] if sift is None else None, type=spec.type, sift=sift
        )
        with self._server(spec) as server:
            pace = Pace.of(server.target.limits, server.target.pace)
            bulk = Bulk(server, pace, spec.limits.max_row)
            with closing(bulk), Scan(server, request) as scan:
                for item in scan:
                    # A node that is read again shows its keys again: they are written again.
                    if isinstance(item, Page):
                        yield from _rows_of(item, bulk.read(item))
            outcome = scan.outcome
            if not outcome.complete:
                reasons = [node.error for node in outcome.nodes if node.error]
                reason = next(iter(reasons), outcome.error or "a node is missing")
                raise SourceError(f"could not be read to its end: {reason}", retryable=True)

    # --- an archive -------------------------------------------------------------------------------

    def _of_archive(self, spec: ArchiveSpec) -> Iterator[Row]:
        run = Runs().find(spec.run)
        if not run.archive.exists():
            raise SourceError(f"is the run {run.id}, which has kept no copies")
        standing = standing_of(read_journal(run.journal))
        latest = survey(run, standing, decode=None).latest
        wanted = matcher(spec.patterns)
        for parts in _whole_copies(run, standing.voids, latest):
            copy = parts[-1]
            if wanted(copy.key):
                yield self._row_of_copy(copy, parts)

    def _row_of_copy(self, copy: KeyCopy, parts: Sequence[KeyCopy]) -> Row:
        row: dict[str, Any] = {"key": copy.key, "type": copy.type, "ttl_ms": self._left(copy)}
        if copy.how in _NO_VALUE:
            return row | {"value": None, "problem": _NO_VALUE[copy.how]}
        try:
            return row | {"value": _joined(copy.type, parts)}
        except UndecodableError as error:
            return row | {"value": None, "problem": f"cannot be copied: {error}"}

    def _left(self, copy: KeyCopy) -> int:
        """Return what is left of a copy's TTL in milliseconds, 0 when it has expired by now."""
        if copy.expires_at == NEVER:
            return NO_TTL
        return max(0, copy.expires_at - int(self.now() * 1000))

    # --- a saved scan -----------------------------------------------------------------------------

    def _file(self, spec: SnapshotSpec) -> Path:
        roots = roots_of(self.manifest, self.allowed.paths)
        return confined(roots[0] / spec.file, roots, f"the source {spec.name}")

    def _of_snapshot(self, spec: SnapshotSpec) -> Iterator[Row]:
        wanted = matcher(spec.patterns)
        for page in Snapshot(self._file(spec)).pages():
            ttls = page.ttls or [NO_TTL] * len(page)
            types = page.types or [""] * len(page)
            for key, kind, ttl in zip(page.keys, types, ttls, strict=True):
                if wanted(key):
                    yield {"key": key, "type": kind, "ttl_ms": ttl}


def matcher(patterns: Sequence[str]) -> Matches:
    """Return the function that says whether a name matches one of the globs."""
    tests = [glob.matcher(pattern.encode()) for pattern in patterns]
    return lambda key: any(test(key) for test in tests)


def _sift(wanted: Matches) -> Callable[[list[bytes]], list[bytes]]:
    return lambda keys: [key for key in keys if wanted(key)]


def _rows_of(page: Page, values: Sequence[LogicalValue | str | None]) -> Iterator[Row]:
    types, ttls = page.types or [], page.ttls or []
    for key, kind, ttl, value in zip(page.keys, types, ttls, values, strict=True):
        row: dict[str, Any] = {"key": key, "type": kind, "ttl_ms": ttl, "value": value}
        if isinstance(value, str):
            yield row | {"value": None, "problem": value}
        elif value is not None:  # None: it has gone since the scan saw it
            yield row


def _whole_copies(
    run: RunDirectory, voids: frozenset[int], latest: Latest
) -> Iterator[list[KeyCopy]]:
    """Yield the copies of each key, the pieces of a giant one together, the last version alone."""
    parts: list[KeyCopy] = []
    for record, copy in copies_of(run, voids):
        if copy.how == "members":
            continue
        if copy.extra.get("piece", 0) == 0:
            parts = []
        parts.append(copy)
        if copy.extra.get("more"):
            continue
        whole, parts = parts, []
        if latest.is_latest(record, copy.key):
            yield whole


def _joined(kind: str, parts: Sequence[KeyCopy]) -> LogicalValue:
    values = [
        decode_payload(part.data) if part.how == "payload" else unpack_value(part.data)
        for part in parts
    ]
    if len(values) == 1:
        return values[0]
    elements = [element for value in values for element in value.elements]
    return LogicalValue(kind, [b"".join(elements)] if kind == "string" else elements)


_FAILURES = (CannotConnectError, ConfigError, DamagedError, PartialError, UsageError)


@contextmanager
def _as_source_errors() -> Iterator[None]:
    """Let what goes wrong with one cache, archive or snapshot be the failure of that source."""
    try:
        yield
    except (SourceError, RefusedError):
        raise
    except _FAILURES as error:
        passing = isinstance(error, CannotConnectError | PartialError)
        raise SourceError(
            f"cannot be read: {error.message}", hint=error.hint, retryable=passing
        ) from error
