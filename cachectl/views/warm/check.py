"""The report of `warm check`: what a manifest says, and what its sources' first rows give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cachectl.output.report import Column, Kind, Pairs, Report, Table

if TYPE_CHECKING:
    from cachectl.actions.warming.manifest_check import CheckedEntry, CheckedSource, ManifestCheck

SCHEMA = "cachectl.warm-check/1"

_HEAD = (
    Column("manifest"),
    Column("file", drop=1),
    Column("description", missing="none"),
    Column("digest", audience="machines"),
)
_SOURCES = (
    Column("source"),
    Column("kind"),
    Column("rows", Kind.COUNT, missing="not known"),
    Column("looked", Kind.BOOL, title="looked at", drop=2),
    Column("columns", audience="people", drop=1),
    Column("columns", Kind.DATA, audience="machines"),
    Column("line", Kind.NUMBER, audience="machines"),
)
_ENTRIES = (
    Column("entry"),
    Column("source", drop=5),
    Column("type"),
    Column("key", drop=1),
    Column("example", Kind.KEY, missing="no row was looked at"),
    Column("ttl", title="TTL", drop=3),
    Column("existing", drop=4),
    Column("codec", drop=6),
    Column("line", Kind.NUMBER, audience="machines"),
)


def check_report(check: ManifestCheck) -> Report:
    """Return the report of a manifest that is valid."""
    manifest = check.manifest
    head = (manifest.name, str(manifest.path), manifest.description or None, manifest.digest)
    skipped = [source.spec.name for source in check.sources if not source.looked]
    notes = []
    if skipped:
        notes.append(f"not looked at: {', '.join(skipped)}")
    return Report(
        schema=SCHEMA,
        blocks=[
            Pairs(list(zip(_HEAD, head, strict=True))),
            Table("entries", _ENTRIES, [_entry(entry) for entry in check.entries], "Entries"),
            Table("sources", _SOURCES, [_source(source) for source in check.sources], "Sources"),
        ],
        main="entries",
        findings=check.findings,
        notes=notes,
    )


def _source(checked: CheckedSource) -> list[Any]:
    columns = list(checked.columns)
    return [
        checked.spec.name,
        checked.kind,
        checked.rows,
        checked.looked,
        ", ".join(columns) or None,
        columns,
        checked.spec.place.line,
    ]


def _entry(checked: CheckedEntry) -> list[Any]:
    entry = checked.entry
    return [
        entry.name,
        entry.source,
        "as copied" if entry.type == "copy" else entry.type,
        entry.key,
        checked.example,
        str(entry.ttl),
        str(entry.existing),
        ", ".join(entry.codec),
        entry.place.line,
    ]
