"""What can be said of a manifest without a server: its sources' first rows, and the keys they give.

Sources of this machine are looked at always, databases and services when that is asked for, caches
never. What a source cannot give is in the result, so that one does not hide the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from cachectl.config.locate import resolve
from cachectl.config.manifest import (
    Allowed,
    AnySource,
    CacheSpec,
    Entry,
    FileSpec,
    InlineSpec,
    Manifest,
)
from cachectl.errors import CachectlError, ConfigError
from cachectl.model.findings import Finding, Severity
from cachectl.sources.entries import Renderer
from cachectl.sources.interface import RowBatch, RowProblem, Source, SourceError
from cachectl.sources.opening import open_source

KINDS = {
    "InlineSpec": "inline",
    "FileSpec": "file",
    "SqlSpec": "sql",
    "HttpSpec": "http",
    "CacheSpec": "cache",
    "ArchiveSpec": "archive",
    "SnapshotSpec": "snapshot",
}


@dataclass(frozen=True, slots=True)
class CheckedSource:
    """One source. looked: whether its first rows were read. rows: about how many there are."""

    spec: AnySource
    kind: str
    looked: bool
    rows: int | None = None
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckedEntry:
    """One entry. example: the first key that it gives, None when no row was looked at."""

    entry: Entry
    example: bytes | None = None


@dataclass(frozen=True, slots=True)
class ManifestCheck:
    """What a manifest says, and what was found out about it."""

    manifest: Manifest
    sources: tuple[CheckedSource, ...]
    entries: tuple[CheckedEntry, ...]
    findings: tuple[Finding, ...]


def check_manifest(
    manifest: Manifest,
    *,
    allowed: Allowed,
    services: bool = False,
    environ: Mapping[str, str] | None = None,
) -> ManifestCheck:
    """Look at the first rows of a manifest's sources.

    environ: where profiles are looked for. services: databases and HTTP services too. Raises
    RefusedError for a file that the manifest may not read, ConfigError when a package is missing.
    """
    sources: list[CheckedSource] = []
    findings: list[Finding] = []
    examples: dict[str, bytes] = {}
    for spec in manifest.sources.values():
        kind = KINDS[type(spec).__name__]
        findings += _unknown_profile(spec, environ)
        near = isinstance(spec, FileSpec | InlineSpec)
        if not near and not (services and kind in ("sql", "http")):
            sources.append(CheckedSource(spec, kind, looked=False, columns=spec.columns or ()))
            continue
        entries = manifest.entries_of(spec.name)
        source = open_source(spec, manifest, allowed=allowed)
        try:
            batch = _first(source)
        except SourceError as error:
            findings.append(_unreadable(error, spec))
            sources.append(CheckedSource(spec, kind, looked=False, columns=spec.columns or ()))
            continue
        sources.append(CheckedSource(spec, kind, True, source.count(), _columns(spec, batch)))
        findings += _about_rows(spec, batch)
        for entry in entries:
            found, problems = _rendered(entry, batch)
            findings += _about_entry(entry, batch, problems)
            if found is not None:
                examples[entry.name] = found
    return ManifestCheck(
        manifest,
        tuple(sources),
        tuple(CheckedEntry(entry, examples.get(entry.name)) for entry in manifest.entries),
        tuple(findings),
    )


def _first(source: Source) -> RowBatch:
    with closing(source.batches()) as batches:
        return next(batches, RowBatch([], []))


def _columns(spec: AnySource, batch: RowBatch) -> tuple[str, ...]:
    """Return the columns that the rows have, else those that they are said to have."""
    found = dict.fromkeys(name for row in batch.rows for name in row)
    return tuple(found) or spec.columns or ()


def _rendered(entry: Entry, batch: RowBatch) -> tuple[bytes | None, list[RowProblem]]:
    renderer = Renderer(entry)
    parts = [renderer.render(batch), renderer.finish()]
    first = next((part.keys[0] for part in parts if part.keys), None)
    return first, [problem for part in parts for problem in part.problems]


def _unknown_profile(spec: AnySource, environ: Mapping[str, str] | None) -> Iterator[Finding]:
    """Yield a finding when the profile of a cache is not there or not valid; connect to nothing."""
    if isinstance(spec, CacheSpec):
        try:
            resolve(profile=spec.profile, environ=environ)
        except ConfigError as error:
            yield _unreadable(error, spec)


def _unreadable(error: CachectlError, spec: AnySource) -> Finding:
    return Finding(
        "manifest.source",
        Severity.CRITICAL,
        error.message,
        evidence=str(spec.place),
        remedy=error.hint,
        subject=spec.name,
    )


def _about_rows(spec: AnySource, batch: RowBatch) -> Iterator[Finding]:
    if not batch.rows and not batch.problems:
        yield Finding(
            "manifest.empty",
            Severity.WARNING,
            f"the source {spec.name} has no rows",
            evidence=str(spec.place),
            subject=spec.name,
        )
    yield from _of_problems("manifest.row", spec.name, batch.problems, len(batch))


def _about_entry(
    entry: Entry, batch: RowBatch, problems: Sequence[RowProblem]
) -> Iterator[Finding]:
    yield from _of_problems("manifest.entry", entry.name, problems, len(batch))


def _of_problems(
    name: str, subject: str, problems: Sequence[RowProblem], rows: int
) -> Iterator[Finding]:
    """Yield one finding for each thing that is wrong, with the first row that has it."""
    counts = Counter(problem.what for problem in problems)
    for what, times in counts.most_common(5):
        first = next(problem for problem in problems if problem.what == what)
        looked = rows + (len(problems) if name == "manifest.row" else 0)
        yield Finding(
            name,
            Severity.CRITICAL if times >= looked else Severity.WARNING,
            f"row {first.row} of {first.source} {what}",
            evidence=f"{times:,} of the first {looked:,} rows; {first.place}",
            subject=subject,
        )
