"""What does not fit together in a manifest: sources that are not there, columns that rows do not
have, values that a type cannot hold, times that have passed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from cachectl.config.manifest import (
    AnySource,
    ArchiveSpec,
    CacheSpec,
    Entry,
    SnapshotSpec,
    SqlSpec,
)
from cachectl.config.manifest_entries import OBJECT_CODECS, type_of
from cachectl.config.manifest_model import EntrySection, ManifestFile, TtlSection
from cachectl.config.placeholders import Placeholder, columns_of, parse_template
from cachectl.config.problems import Problem, nearest
from cachectl.config.yamlfile import NodePath

_BOUND = re.compile(r"(?<![:\w\\]):(\w+)(?!:)")
"""SQLAlchemy's own notion of a bound parameter in text()."""

# Type → the kinds of value that it can be made of. The whole row is what is meant without value:.
_FITS: dict[str, tuple[str, ...]] = {
    "string": ("template", "row", "column", "columns"),
    "hash": ("row", "column", "columns", "fields"),
    "list": ("column", "elements"),
    "set": ("column", "elements"),
    "zset": ("column", "members"),
    "stream": ("row", "column", "columns", "fields"),
    "copy": (),
}


def whole_problems(root: ManifestFile, entries: Sequence[Entry]) -> Iterator[Problem]:
    """Yield what is wrong with the manifest as a whole, told of the file that includes the rest."""
    if not entries:
        yield Problem((), "has no entries", "write at least one below `entries:`")
    used = {entry.source for entry in entries}
    for name in root.sources:
        if name not in used:
            yield Problem(("sources", name), "is used by no entry", "remove it, or name it in one")


def source_problems(name: str, source: AnySource) -> Iterator[Problem]:
    """Yield what is wrong with one source."""
    if not isinstance(source, SqlSpec):
        return
    bound = set(_BOUND.findall(source.query))
    path = ("sources", name, "sql")
    for missing in sorted(bound - set(source.parameters)):
        hint = f"write it below `parameters:`, or \\:{missing} when it is none"
        yield Problem((*path, "query"), f"has the parameter :{missing} without a value", hint)
    for unused in sorted(set(source.parameters) - bound):
        yield Problem((*path, "parameters", unused), "does not stand in the query")


def entry_problems(
    section: EntrySection, path: NodePath, sources: Mapping[str, AnySource], now: float
) -> Iterator[Problem]:
    """Yield what is wrong with one entry. now: Unix seconds."""
    source = sources.get(section.source)
    if source is None:
        close = nearest(section.source, sources)
        hint = f"did you mean {close}?" if close else "write it below `sources:`"
        yield Problem((*path, "source"), "names a source that there is not", hint)
        return
    copying = type_of(section, source) == "copy"
    if section.key is None and not copying:
        yield Problem((*path, "key"), "is missing")
    yield from _copy_problems(section, path, source) if copying else _value_problems(section, path)
    yield from _gather_problems(section, path, copying=copying)
    yield from _ttl_problems(section, path, source, now)
    if source.columns is not None:
        yield from _column_problems(section, path, source.columns)


def _copy_problems(section: EntrySection, path: NodePath, source: AnySource) -> Iterator[Problem]:
    if not isinstance(source, CacheSpec | ArchiveSpec):
        yield Problem((*path, "type"), "is copy, and the source is neither a cache nor an archive")
    for name in ("value", "codec"):
        if getattr(section, name) is not None:
            yield Problem(
                (*path, name), "cannot stand beside the type copy: values stay as they are"
            )


def _value_problems(section: EntrySection, path: NodePath) -> Iterator[Problem]:
    kind = type_of(section, None)
    fits = _FITS[kind]
    value = section.value
    written = value.kinds()[0] if value else "row"
    if written not in fits:
        what = f"makes no {kind} of `{written}`" if value else f"is missing for the type {kind}"
        yield Problem((*path, "value"), what, f"write one of {', '.join(fits)}")
    if value and value.id is not None and kind != "stream":
        yield Problem((*path, "value", "id"), "is for streams alone")
    codec = section.codec or []
    for number, name in enumerate(codec):
        if number and name in ("raw", *OBJECT_CODECS):
            yield Problem((*path, "codec"), f"has {name} after another codec; it must come first")
    if codec[:1] == ["raw"] and kind == "string" and written in ("row", "columns"):
        yield Problem((*path, "codec"), "is raw, which cannot hold several columns", "write json")
    if len(set(codec)) != len(codec):
        yield Problem((*path, "codec"), "names a codec twice")


def _gather_problems(section: EntrySection, path: NodePath, *, copying: bool) -> Iterator[Problem]:
    if section.gather and (copying or type_of(section, None) == "string"):
        yield Problem((*path, "gather"), "is for collections: a string has one row")
    constant = section.key is not None and not any(
        isinstance(part, Placeholder) for part in parse_template(section.key)
    )
    if constant and not section.gather and not copying:
        hint = "write {column} in it; or `gather: true`, for one collection of all rows"
        yield Problem((*path, "key"), "is the same for every row", hint)


def _ttl_problems(
    section: EntrySection, path: NodePath, source: AnySource, now: float
) -> Iterator[Problem]:
    ttl = section.ttl
    if ttl == "kept" and not isinstance(source, CacheSpec | ArchiveSpec | SnapshotSpec):
        hint = "it is for keys of another cache, an archive or a saved scan"
        yield Problem((*path, "ttl"), "is kept, and rows of this source have no TTL", hint)
    at = ttl.at if isinstance(ttl, TtlSection) else None
    if at is not None and datetime.fromisoformat(at).timestamp() <= now:
        yield Problem((*path, "ttl", "at"), "is a time that has passed")
    expires = getattr(section.existing, "replace_if_expires_within", 0.0)
    most = isinstance(ttl, TtlSection) and (ttl.duration or ttl.max)
    if most and expires >= most:
        yield Problem(
            (*path, "existing", "replace-if-expires-within"),
            "is no less than the TTL, so that every run replaces every key",
        )


def _column_problems(
    section: EntrySection, path: NodePath, columns: Sequence[str]
) -> Iterator[Problem]:
    for place, column in _columns(section, path):
        if column in columns or column.partition(".")[0] in columns:
            continue
        close = nearest(column, columns)
        hint = f"did you mean {close}?" if close else f"it has {', '.join(columns[:20])}"
        yield Problem(
            place, f"needs the column {column}, which rows of {section.source} lack", hint
        )


def _columns(section: EntrySection, path: NodePath) -> Iterator[tuple[NodePath, str]]:
    """Yield where a column is named, and its name."""
    for place, text in _templates(section, path):
        for column in columns_of(text):
            yield place, column
    for column in section.where:
        yield (*path, "where", column), column
    if isinstance(section.ttl, TtlSection) and section.ttl.column is not None:
        yield (*path, "ttl", "column"), section.ttl.column
    value = section.value
    if value is None:
        return
    if value.column is not None:
        yield (*path, "value", "column"), value.column
    for column in (value.columns or {}).values():
        yield (*path, "value", "columns"), column


def _templates(section: EntrySection, path: NodePath) -> Iterator[tuple[NodePath, str]]:
    if section.key is not None:
        yield (*path, "key"), section.key
    for number, tag in enumerate(section.tags or ()):
        for name in ("set", "zset", "score", "member"):
            if (text := getattr(tag, name)) is not None:
                yield (*path, "tags", number, name), text
    value = section.value
    if value is None:
        return
    for name in ("template", "id"):
        if (text := getattr(value, name)) is not None:
            yield (*path, "value", name), text
    for field, text in (value.fields or {}).items():
        yield (*path, "value", "fields", field), field
        yield (*path, "value", "fields", field), text
    for number, text in enumerate(value.elements or ()):
        yield (*path, "value", "elements", number), text
    for number, member in enumerate(value.members or ()):
        yield (*path, "value", "members", number, "member"), member.member
        yield (*path, "value", "members", number, "score"), member.score
