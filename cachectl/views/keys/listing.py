"""The rows of `keys list`: what each column of a key is called and holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from typing import Any

from cachectl.model.findings import Unavailable
from cachectl.model.keys import NO_TTL, Page
from cachectl.model.servers import ServerFacts
from cachectl.output.report import Column, Kind, Pairs, Report

SCHEMA = "cachectl.keys/1"
TABLE = "keys"

COLUMNS: dict[str, Column] = {
    "type": Column("type"),
    "ttl": Column("ttl", Kind.TTL, title="TTL"),
    "bytes": Column("bytes", Kind.BYTES),
    "idle": Column("idle", Kind.SECONDS),
    "freq": Column("freq", Kind.NUMBER),
    "encoding": Column("encoding"),
    "elements": Column("elements", Kind.COUNT),
    "namespace": Column("namespace", Kind.NAMESPACE),
    "node": Column("node"),
}
"""What `--columns` takes; `key` always comes first."""
DEFAULT = ("type", "ttl", "bytes")
KEY = Column("key", Kind.KEY)
_IN_PAGE = {
    "type": "types",
    "bytes": "sizes",
    "idle": "idles",
    "freq": "freqs",
    "encoding": "encodings",
    "elements": "elements",
}


def ttl_seconds(ttl_ms: int | None) -> float | None:
    """Return PTTL as a cell of Kind.TTL: None never expires, NaN is not known."""
    if ttl_ms is None:
        return math.nan
    return None if ttl_ms == NO_TTL else ttl_ms / 1000


def row_maker(
    columns: Sequence[str], namespace_of: Callable[[bytes], bytes]
) -> Callable[[Page], Iterator[Sequence[Any]]]:
    """Return what turns a page into rows of the key and these columns."""

    def column(page: Page, name: str) -> Iterable[Any]:
        match name:
            case "ttl":
                return map(ttl_seconds, page.ttls or repeat(None))
            case "namespace":
                return map(namespace_of, page.keys)
            case "node":
                return repeat(page.node)
        return getattr(page, _IN_PAGE[name]) or repeat(None)

    def rows(page: Page) -> Iterator[Sequence[Any]]:
        # Columns that repeat one value have no end of their own.
        return zip(page.keys, *(column(page, name) for name in columns), strict=False)

    return rows


def list_end(
    server: ServerFacts,
    *,
    listed: int,
    more: bool,
    may_repeat: bool,
    partial: bool,
    unavailable: Sequence[Unavailable],
    notes: Sequence[str],
) -> Report:
    """Return what follows the rows. more: the limit ended the listing."""
    pairs = [
        (Column("listed", Kind.COUNT), listed),
        (Column("more", Kind.BOOL), more),
        (Column("may_repeat", Kind.BOOL), may_repeat),
    ]
    return Report(
        SCHEMA,
        [Pairs([(Column(c.name, c.kind, audience="machines"), v) for c, v in pairs])],
        server=server,
        partial=partial,
        unavailable=unavailable,
        notes=notes,
    )
