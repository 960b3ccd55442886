"""The rows of a snapshot: pages of keys → lines of NDJSON, and back.

A line is plain ASCII and has the same fields in the same order, so that DuckDB and pandas read a
file of them as it is: key (escaped when it is not UTF-8, with key_b64 besides), type, ttl in
seconds (null: never expires), bytes, idle, freq, node, namespace, scanned_at, server; and `scan`,
which is null in every row but the first.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, repeat
from json.encoder import encode_basestring_ascii as quoted
from operator import itemgetter
from typing import Any

from cachectl.model.keys import NO_TTL, Page

Escape = Callable[[bytes], str]
"""Bytes that are not UTF-8 → text that shows them."""

_FIELDS = ("key", "key_b64", "type", "ttl", "bytes", "idle", "freq", "node", "scanned_at")
_BEGINNING = b'{"key":"'
_LIKELY = b'","key_b64":'


def looks_like_rows(start: bytes) -> bool:
    """Say whether a file that begins so may be a snapshot (the first row's key may be long)."""
    return start.startswith(_BEGINNING) and (_LIKELY in start or b"\n" not in start)


def lines(
    page: Page,
    namespaces: Sequence[bytes],
    *,
    scanned_at: str,
    server: str,
    scan: str | None,
    escape: Escape,
) -> bytes:
    """Return the lines of a page. scan: text for the first of them; escape: how to show a name."""
    rest = f',"scanned_at":{quoted(scanned_at)},"server":{quoted(server)},"scan":'
    node = quoted(page.node)
    types = _Quoted(str)
    rows = zip(
        _keys(page.keys, escape),
        map(types.__getitem__, page.types) if page.types else repeat("null", len(page)),
        _ttls(page),
        _numbers(page.sizes, len(page)),
        _numbers(page.idles, len(page)),
        _numbers(page.freqs, len(page)),
        map(_Quoted(lambda name: _text(name, escape)).__getitem__, namespaces),
        strict=True,
    )
    end = f"{rest}null}}\n"
    texts = [
        f'{{"key":{key},"type":{kind},"ttl":{ttl},"bytes":{size},"idle":{idle},"freq":{freq}'
        f',"node":{node},"namespace":{namespace}{end}'
        for key, kind, ttl, size, idle, freq, namespace in rows
    ]
    if scan is not None:
        texts[0] = texts[0].removesuffix("null}\n") + f"{quoted(scan)}}}\n"
    return "".join(texts).encode("ascii")


class _Quoted(dict[Any, str]):
    """JSON strings of names that come again and again."""

    def __init__(self, text: Callable[[Any], str]) -> None:
        super().__init__()
        self._text = text

    def __missing__(self, name: Any) -> str:
        found = self[name] = quoted(self._text(name))
        return found


def _keys(keys: Sequence[bytes], escape: Escape) -> Iterable[str]:
    """Return `"name","key_b64":null` of each key."""
    try:
        return [f'{quoted(key)},"key_b64":null' for key in map(bytes.decode, keys)]
    except UnicodeDecodeError:
        return [_key(key, escape) for key in keys]


def _key(key: bytes, escape: Escape) -> str:
    try:
        return f'{quoted(key.decode())},"key_b64":null'
    except UnicodeDecodeError:
        exact = base64.b64encode(key).decode("ascii")
        return f'{quoted(escape(key))},"key_b64":"{exact}"'


def _text(name: bytes, escape: Escape) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return escape(name)


def _ttls(page: Page) -> Iterable[object]:
    if page.ttls is None:
        return repeat("null", len(page))
    return ["null" if ttl <= NO_TTL else ttl / 1000 for ttl in page.ttls]


def _numbers(column: Sequence[int | None] | None, size: int) -> Iterable[object]:
    if column is None:
        return repeat("null", size)
    return ["null" if value is None else value for value in column] if None in column else column


def parse(block: bytes) -> list[dict[str, Any]]:
    """Return the rows of whole lines. Raises ValueError."""
    rows = json.loads(b"[" + block.rstrip(b"\n").replace(b"\n", b",") + b"]")
    if not all(type(row) is dict for row in rows):
        raise ValueError("a line is not a row")
    return rows  # type: ignore[no-any-return]


def pages(
    rows: Sequence[dict[str, Any]], had: Mapping[str, frozenset[str]]
) -> Iterator[tuple[str, Page]]:
    """Yield rows as (scanned_at, page of one node). had: node → columns that it was asked for.

    Raises ValueError, KeyError or TypeError for rows that we did not write.
    """
    columns = {name: [*map(itemgetter(name), rows)] for name in _FIELDS}
    nodes, times = columns["node"], columns["scanned_at"]
    if {nodes[0]} == {*nodes} and {times[0]} == {*times}:
        yield times[0], _page(columns, had[nodes[0]])
        return
    at = 0
    for (node, scanned_at), group in groupby(zip(nodes, times, strict=True)):
        end = at + sum(1 for _ in group)
        part = {name: column[at:end] for name, column in columns.items()}
        yield scanned_at, _page(part, had[node])
        at = end


def _page(columns: dict[str, list[Any]], had: frozenset[str]) -> Page:
    keys = [*map(str.encode, columns["key"])]
    if any(columns["key_b64"]):
        for at, exact in enumerate(columns["key_b64"]):
            if exact is not None:
                keys[at] = base64.b64decode(exact, validate=True)
    ttls = None
    if "ttl" in had:
        ttls = [NO_TTL if ttl is None else round(ttl * 1000) for ttl in columns["ttl"]]
    return Page(
        node=columns["node"][0],
        keys=keys,
        types=columns["type"] if "type" in had else None,
        ttls=ttls,
        sizes=_checked(columns["bytes"]) if "bytes" in had else None,
        idles=_checked(columns["idle"]) if "idle" in had else None,
        freqs=_checked(columns["freq"]) if "freq" in had else None,
    )


def _checked(column: list[Any]) -> list[int | None]:
    if set(map(type, column)) - {int, type(None)}:
        raise ValueError("a figure is not a whole number")
    return column
