"""From the sections below `sources:` to the records that sources are opened by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cachectl.config.manifest import (
    AnySource,
    ArchiveSpec,
    CacheSpec,
    FileSpec,
    HttpSpec,
    InlineSpec,
    Paging,
    Place,
    SnapshotSpec,
    SourceLimits,
    SqlSpec,
)
from cachectl.config.problems import path_text
from cachectl.config.secret_model import path_from, secret_of
from cachectl.config.secrets import Secret
from cachectl.config.source_model import HttpSection, PagingSection, SourceSection
from cachectl.config.yamlfile import NodePath, YamlDocument

KEY_COLUMNS = ("key", "type", "ttl_ms")
"""What rows of a snapshot have; those of a cache and an archive have `value` besides."""


def place_of(path: NodePath, file: Path, document: YamlDocument) -> Place:
    """Return where a node of the file stands."""
    return Place(file, document.position(path).line, path_text(path))


def source_of(
    name: str,
    section: SourceSection,
    file: Path,
    document: YamlDocument,
    environ: Mapping[str, str],
) -> AnySource:
    """Return what a section means. file: where it stands, and where its relative paths start."""
    common: dict[str, Any] = {
        "name": name,
        "place": place_of(("sources", name), file, document),
        "limits": _limits(section),
    }
    if section.columns is not None:
        common["columns"] = tuple(section.columns)
    if section.rows is not None:
        return _inline(section.rows, common)
    if section.range is not None:
        first, last, step = (*section.range, 1)[:3]
        common["columns"] = ("n",)
        return InlineSpec(**common, numbers=range(first, last + 1, step))
    if section.file is not None:
        return FileSpec(
            **common,
            patterns=tuple(section.file.path),
            format=section.file.format,
            delimiter=section.file.delimiter,
            root=section.file.root,
        )
    if section.sql is not None:
        sql = section.sql
        password = secret_of(sql.password, file, environ, f"Password of the database of {name}")
        return SqlSpec(
            **common,
            url=sql.url,
            query=sql.query,
            parameters=dict(sql.parameters),
            password=password,
            fetch=sql.fetch,
        )
    if section.http is not None:
        return _http(section.http, common, file, environ)
    if section.cache is not None:
        common["columns"] = (*KEY_COLUMNS, "value")
        profile = section.cache.profile
        if "/" in profile or profile.endswith((".yaml", ".yml")):
            profile = str(path_from(file, profile))
        return CacheSpec(
            **common,
            profile=profile,
            patterns=tuple(section.cache.match),
            type=section.cache.type,
        )
    if section.archive is not None:
        common["columns"] = (*KEY_COLUMNS, "value")
        return ArchiveSpec(**common, run=section.archive.run, patterns=tuple(section.archive.match))
    assert section.snapshot is not None  # noqa: S101 - the model has seen to it that one is given
    common["columns"] = KEY_COLUMNS
    return SnapshotSpec(
        **common, file=section.snapshot.file, patterns=tuple(section.snapshot.match)
    )


def _limits(section: SourceSection) -> SourceLimits:
    names = ("max_rows", "max_bytes", "max_row", "timeout", "retries")
    written = {name: getattr(section, name) for name in names}
    return SourceLimits(**{name: value for name, value in written.items() if value is not None})


def _inline(rows: list[dict[str, Any]], common: dict[str, Any]) -> InlineSpec:
    """Return inline rows; columns that only some of them have are no promise of the source."""
    if rows and "columns" not in common:
        shared = set(rows[0]).intersection(*rows)
        common["columns"] = tuple(name for name in rows[0] if name in shared)
    return InlineSpec(**common, rows=tuple(rows))


def _http(
    http: HttpSection, common: dict[str, Any], file: Path, environ: Mapping[str, str]
) -> HttpSpec:
    headers: dict[str, str | Secret] = {}
    for name, held in http.headers.items():
        if isinstance(held, str):
            headers[name] = held
            continue
        secret = secret_of(held, file, environ, f"Header {name}")
        if secret is not None:
            headers[name] = secret
    token = secret_of(http.bearer, file, environ, "Token")
    if token is not None:
        headers["Authorization"] = Secret(token.origin, lambda: f"Bearer {token.reveal()}")
    return HttpSpec(
        **common,
        url=http.url,
        format=http.format,
        root=http.root,
        parameters={name: _parameter(value) for name, value in http.parameters.items()},
        headers=headers,
        paging=_paging(http.paging) if http.paging else None,
        concurrency=http.concurrency,
        request_timeout=http.request_timeout,
        max_answer=http.max_answer,
        ca_file=path_from(file, http.ca_file) if http.ca_file else None,
    )


def _parameter(value: str | int | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _paging(section: PagingSection) -> Paging:
    if section.link:
        return Paging("link", pages=section.pages)
    if section.next is not None:
        return Paging("next", next_path=section.next, pages=section.pages)
    return Paging("page", parameter=section.page or "", first=section.first, pages=section.pages)
