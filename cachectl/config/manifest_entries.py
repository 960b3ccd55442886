"""From the sections below `entries:` to Entry records."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from cachectl.config.manifest import (
    AnySource,
    ArchiveSpec,
    CacheSpec,
    Codec,
    Entry,
    Existing,
    Pending,
    Tag,
    Ttl,
    Value,
    ValueType,
)
from cachectl.config.manifest_model import (
    EntrySection,
    PendingSection,
    ReplaceWithin,
    TagSection,
    TtlSection,
    ValueSection,
)
from cachectl.config.manifest_sources import place_of
from cachectl.config.yamlfile import YamlDocument
from cachectl.policy import DEFAULT_JITTER

OBJECT_CODECS = ("json", "msgpack")
"""Codecs that can hold more than text."""


def entry_of(
    section: EntrySection,
    number: int,
    file: Path,
    document: YamlDocument,
    sources: Mapping[str, AnySource],
) -> Entry:
    """Return what a section means, its defaults filled in. number: its index in the file."""
    source = sources.get(section.source)
    kind = type_of(section, source)
    value = Value("copy") if kind == "copy" else _value(section.value)
    optional: dict[str, Any] = {}
    if section.max_bytes is not None:
        optional["max_bytes"] = section.max_bytes
    return Entry(
        name=section.name or section.source,
        source=section.source,
        key="{key}" if section.key is None else section.key,
        type=kind,
        value=value,
        place=place_of(("entries", number), file, document),
        codec=codec_of(section, kind, value),
        ttl=_ttl(section.ttl, "kept" if kind == "copy" else "policy"),
        existing=_existing(section.existing),
        tags=tuple(_tag(tag) for tag in section.tags or ()),
        pending=_pending(section.pending) if section.pending else None,
        gather=section.gather,
        where={column: _text(value) for column, value in section.where.items()},
        **optional,
    )


def type_of(section: EntrySection, source: AnySource | None) -> ValueType:
    """Return the entry's type: keys of a cache are copied as they are unless it says otherwise."""
    if section.type is None:
        copies = isinstance(source, CacheSpec | ArchiveSpec) and section.value is None
        return "copy" if copies else "string"
    return "zset" if section.type == "sorted set" else section.type


def codec_of(section: EntrySection, kind: ValueType, value: Value) -> tuple[Codec, ...]:
    """Return the codecs; an object becomes JSON where none is named that can hold it."""
    written: tuple[Codec, ...] = tuple(section.codec or ())
    if kind == "string" and value.kind in ("row", "columns"):
        if not written or written[0] not in OBJECT_CODECS:
            return ("json", *written)
        return written
    return written or ("raw",)


def _value(section: ValueSection | None) -> Value:
    if section is None or section.row:
        return Value("row", id=section.id if section else None)
    if section.template is not None:
        return Value("template", template=section.template)
    if section.column is not None:
        return Value("column", column=section.column, id=section.id)
    if section.columns is not None:
        return Value("columns", names=section.columns, id=section.id)
    if section.fields is not None:
        return Value("fields", names=section.fields, id=section.id)
    if section.elements is not None:
        return Value("elements", elements=tuple(section.elements))
    members = section.members or []
    return Value(
        "members",
        elements=tuple(one.member for one in members),
        scores=tuple(one.score for one in members),
    )


def _ttl(
    section: TtlSection | Literal["policy", "never", "kept"] | None,
    default: Literal["policy", "kept"],
) -> Ttl:
    if section is None or isinstance(section, str):
        kind = section or default
        return Ttl(kind, jitter=DEFAULT_JITTER if kind == "policy" else 0.0)
    jitter = DEFAULT_JITTER if section.jitter is None else section.jitter
    if section.duration is not None:
        return Ttl("range", section.duration, section.duration, jitter)
    if section.min is not None and section.max is not None:
        # A range spreads by itself.
        return Ttl("range", section.min, section.max, section.jitter or 0.0)
    if section.tier is not None:
        return Ttl("tier", jitter=section.jitter or 0.0, tier=section.tier)
    if section.at is not None:
        return Ttl("at", jitter=jitter, at=datetime.fromisoformat(section.at).timestamp())
    return Ttl("column", jitter=jitter, column=section.column or "")


def _existing(section: Any) -> Existing:
    if isinstance(section, ReplaceWithin):
        return Existing("replace-if-expires-within", section.replace_if_expires_within)
    return Existing(section or "keep")


def _tag(section: TagSection) -> Tag:
    if section.zset is not None:
        return Tag(section.zset, "zset", section.member, section.score)
    return Tag(section.set or "", "set", section.member)


def _pending(section: PendingSection) -> Pending:
    if section.stream is not None:
        return Pending(
            "stream",
            section.stream.encode(),
            (section.group or "").encode(),
            section.key_field,
            section.wait,
        )
    return Pending("list", (section.list or "").encode(), b"", section.key_field, section.wait)


def _text(value: str | int | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
