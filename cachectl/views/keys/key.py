"""The reports of `keys show` and `keys get`: one key, and its value as a person can read it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from cachectl.model.findings import Finding, Severity
from cachectl.model.keys import KeyDetails
from cachectl.model.servers import ServerFacts
from cachectl.model.values import LogicalValue, StreamId
from cachectl.output.report import (
    Audience,
    Block,
    Column,
    Kind,
    Pairs,
    Report,
    RowStream,
    Table,
    Text,
)
from cachectl.values.description import Described, describe, preview
from cachectl.views.keys.listing import ttl_seconds

SCHEMA = "cachectl.key/1"
VALUE_SCHEMA = "cachectl.value/1"

_LINES, _CHARACTERS = 100, 8000
"""How much of a text people get to see in `show`."""
_PREVIEW = 160
_WHAT = {
    "hash": "fields",
    "list": "elements",
    "set": "members",
    "zset": "members",
    "stream": "entries",
    "string": "bytes",
}
_COLUMNS: dict[str, tuple[Column, ...]] = {
    "hash": (
        Column("field", Kind.KEY),
        Column("value", Kind.KEY),
        Column("ttl", Kind.TTL, title="TTL", drop=1),
    ),
    "list": (Column("index", Kind.NUMBER), Column("value", Kind.KEY)),
    "set": (Column("member", Kind.KEY),),
    # Scores and the like are exact: no digit is rounded away, nothing is grouped.
    "zset": (Column("member", Kind.KEY), Column("score", Kind.DATA)),
    "stream": (Column("id"), Column("fields", Kind.DATA)),
}
_GROUPS = (
    Column("name", Kind.KEY, title="consumer group"),
    Column("consumers", Kind.COUNT, drop=1),
    Column("pending", Kind.COUNT),
    Column("lag", Kind.COUNT),
    Column("last_id", Kind.KEY, title="last delivered", drop=2),
)


def element_columns(kind: str) -> tuple[Column, ...]:
    """Return the columns of a collection's elements."""
    return _COLUMNS[kind]


def element_rows(value: LogicalValue, now: int | None, start: int = 0) -> Iterator[tuple[Any, ...]]:
    """Yield one row for each element. now: Unix milliseconds; start: index of a list's first."""
    for i, element in enumerate(value.elements, start):
        match value.type:
            case "hash":
                name, content, expires_at = element
                yield name, content, _time_left(expires_at, now)
            case "list":
                yield i, element
            case "set":
                yield (element,)
            case "zset":
                yield element[0], _score(element[1])
            case "stream":
                fields = [{"field": name, "value": content} for name, content in element[1]]
                yield _stream_id(element[0]), fields


def show_report(
    details: KeyDetails, server: ServerFacts, namespace: bytes, *, value: bool, now: float
) -> Report:
    """Return everything about one key. now: Unix seconds, to judge times in the value by."""
    record, sample = details.record, details.sample
    head = sample.elements[0] if sample is not None and sample.type == "string" else None
    found = None if head is None else describe(head, total=record.elements, now=now)
    left_out = _left_out(details)
    blocks: list[Block] = [_facts(details, namespace), *_stream_blocks(details)]
    if found is not None:
        blocks += _string_blocks(head, found)
    elif sample is not None:
        blocks += _collection_blocks(sample, details)
    if value:
        blocks.append(
            Pairs([(Column("left_out", Kind.COUNT, audience="machines"), left_out)]),
        )
    return Report(
        SCHEMA,
        blocks,
        server=server,
        findings=_findings(found),
        unavailable=details.unavailable,
        notes=[*_notes(details, left_out), *(found.notes if found else ())],
    )


def string_report(
    key: bytes, content: bytes, server: ServerFacts, *, total: int | None = None, now: float
) -> Report:
    """Return a string (or a field of a hash): exact for machines, decoded for people.

    total: its length in bytes, when `content` may be only its beginning.
    """
    found = describe(content, total=total, now=now)
    machines = [
        (Column("key", Kind.KEY, audience="machines"), key),
        (Column("type", audience="machines"), "string"),
    ]
    blocks = [Pairs(machines), *_string_blocks(content, found, whole=True)]
    notes = [*_format_note(found), *found.notes]
    return Report(VALUE_SCHEMA, blocks, server=server, findings=_findings(found), notes=notes)


def elements_stream(
    key: bytes,
    kind: str,
    rows: Iterable[tuple[Any, ...]],
    server: ServerFacts,
    total: int,
    shown: Callable[[], int],
) -> RowStream:
    """Return a collection's elements as they come. shown: how many came, called at the end."""

    def finish() -> Report:
        left_out = max(0, total - shown())
        pairs = [
            (Column("key", Kind.KEY, audience="machines"), key),
            (Column("type", audience="machines"), kind),
            (Column("left_out", Kind.COUNT, audience="machines"), left_out),
        ]
        notes = [_left_out_note(kind, left_out, total, "--limit shows more")] if left_out else []
        return Report(VALUE_SCHEMA, [Pairs(pairs)], server=server, notes=notes)

    return RowStream(VALUE_SCHEMA, "value", element_columns(kind), rows, finish)


# --- parts ------------------------------------------------------------------------------------


def _facts(details: KeyDetails, namespace: bytes) -> Pairs:
    record, expiries = details.record, details.expiries
    ttl = ttl_seconds(record.ttl_ms)
    own_ttls = expiries is not None and expiries.expiring > 0
    none = "none for the key, but fields of it expire"
    ttl_row: tuple[Column, Any] = (Column("ttl", Kind.TTL, title="TTL"), ttl)
    if own_ttls and ttl is None:
        ttl_row = (Column("ttl", Kind.TTL, title="TTL", audience="machines"), ttl)
    expires_at = None
    if details.now is not None and record.ttl_ms is not None and record.ttl_ms >= 0:
        expires_at = (details.now + record.ttl_ms) / 1000
    rows: list[tuple[Column, Any]] = [
        (Column("key", Kind.KEY), record.key),
        (Column("type"), record.type or None),
        (Column("encoding"), record.encoding),
        (Column("bytes", Kind.BYTES, title="memory"), record.bytes),
        (Column("elements", Kind.COUNT, title=_WHAT.get(record.type, "elements")), record.elements),
        ttl_row,
    ]
    if own_ttls and ttl is None:
        rows.append((Column("ttl_text", title="TTL", audience="people"), none))
    rows += [
        (_if_known("expires_at", Kind.TIME, expires_at), expires_at),
        (_if_known("idle", Kind.SECONDS, record.idle), record.idle),
        (_if_known("freq", Kind.NUMBER, record.freq, title="LFU counter"), record.freq),
        (Column("namespace", Kind.NAMESPACE), namespace),
        (Column("node"), record.node),
        (_if_known("slot", Kind.DATA, details.slot), details.slot),
    ]
    if expiries is not None:
        first = None if expiries.first is None else expiries.first / 1000
        shown: Audience = "all" if own_ttls else "machines"
        rows += [
            (Column("fields_looked_at", Kind.COUNT, audience=shown), expiries.looked),
            (Column("fields_expiring", Kind.COUNT, title="of these expire", audience=shown),
             expiries.expiring),
            (Column("first_field_ttl", Kind.SECONDS, title="the first in", audience=shown), first),
        ]  # fmt: skip
    return Pairs(rows)


def _if_known(name: str, kind: Kind, value: Any, title: str = "") -> Column:
    """A figure that this server or key does not have is not worth a line to people."""
    return Column(name, kind, title, "machines" if value is None else "all")


def _string_blocks(content: bytes | None, found: Described, *, whole: bool = False) -> list[Block]:
    text = found.text or ""
    excerpt = text if whole else _excerpt(text)
    title = " > ".join(layer.title for layer in found.layers)
    rows: list[tuple[Column, Any]] = [
        (Column("value", Kind.KEY, audience="machines"), content),
        (Column("format", audience="machines"), found.path),
        (Column("decoded", Kind.DATA, audience="machines"), _decoded(found)),
        (Column("damaged", audience="machines"), found.damaged),
    ]
    blocks: list[Block] = [Pairs(rows)]
    if text:
        blocks.append(Text(excerpt, title="" if whole else f"Value: {title}"))
    elif not whole:
        blocks.append(Pairs([(Column("value_text", title="value", audience="people"), title)]))
    return blocks


def _decoded(found: Described) -> object:
    """What stands inside, when that is not the value as it is."""
    if found.data is not None:
        return found.data
    return found.text if len(found.layers) > 1 else None


def _collection_blocks(sample: LogicalValue, details: KeyDetails) -> list[Block]:
    columns = element_columns(sample.type)
    rows = list(element_rows(sample, details.now))
    names = [column.name for column in columns]
    exact = [dict(zip(names, row, strict=True)) for row in rows]
    people = [_for_people(column) for column in columns]
    if sample.type == "hash" and all(row[2] is None for row in rows):
        people[2] = Column("ttl", Kind.TTL, audience="machines")
    return [
        Pairs([(Column("value", Kind.DATA, audience="machines"), exact)]),
        Table(
            "elements",
            people,
            [tuple(map(_glance, row)) for row in rows],
            title="Value",
            empty=f"No {_WHAT[sample.type]}.",
            audience="people",
        ),
    ]


def _for_people(column: Column) -> Column:
    text = column.kind is Kind.KEY or column.name == "fields"
    return Column(column.name, Kind.TEXT if text else column.kind, column.title, drop=column.drop)


def _glance(cell: Any) -> Any:
    """Return a cell that is short enough for a table."""
    match cell:
        case bytes():
            return preview(cell, _PREVIEW) if len(cell) > _PREVIEW else _readable(cell)
        case list():
            pairs = (f"{_readable(one['field'])}={_glance(one['value'])}" for one in cell)
            text = "  ".join(pairs)
            return text if len(text) <= 2 * _PREVIEW else text[: 2 * _PREVIEW] + "…"
    return cell


def _readable(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape") or "(empty)"


def _stream_blocks(details: KeyDetails) -> list[Block]:
    stream = details.stream
    if stream is None:
        return []
    names = [column.name for column in _GROUPS]
    rows = [(g.name, g.consumers, g.pending, g.lag, g.last_id) for g in stream.groups]
    exact = [dict(zip(names, row, strict=True)) for row in rows]
    return [
        Pairs(
            [
                (Column("first_id", Kind.KEY, title="first entry"), stream.first_id),
                (Column("last_id", Kind.KEY, title="last entry"), stream.last_id),
                (Column("groups", Kind.DATA, audience="machines"), exact),
            ]
        ),
        Table("group_rows", _GROUPS, rows, empty="No consumer groups.", audience="people"),
    ]


def _findings(found: Described | None) -> list[Finding]:
    if found is None or not found.damaged:
        return []
    return [Finding("value.damaged", Severity.WARNING, f"the value {found.damaged}")]


def _notes(details: KeyDetails, left_out: int | None) -> Iterator[str]:
    record = details.record
    if left_out and details.sample is not None and record.elements:
        remedy = "keys get has all" if record.type == "string" else "--limit shows more"
        yield _left_out_note(record.type, left_out, record.elements, remedy)
    if details.touched:
        yield (
            "reading the value has reset its idle time (the server has no CLIENT NO-TOUCH); "
            "--no-value leaves it alone"
        )


def _format_note(found: Described) -> list[str]:
    if len(found.layers) == 1 and found.format == "utf8":
        return []
    return ["format: " + " > ".join(layer.title for layer in found.layers)]


def _left_out(details: KeyDetails) -> int | None:
    """Return how many elements, or bytes of a string, are not in the sample; None: not known."""
    total, sample = details.record.elements, details.sample
    if total is None or sample is None:
        return total
    shown = len(sample.elements[0]) if sample.type == "string" else len(sample.elements)
    return max(0, total - shown)


def _left_out_note(kind: str, left_out: int, total: int, remedy: str) -> str:
    return f"{left_out:,} of {total:,} {_WHAT[kind]} are not shown; {remedy}"


def _excerpt(text: str) -> str:
    lines = text.split("\n")
    excerpt = "\n".join(lines[:_LINES])[:_CHARACTERS]
    if len(excerpt) == len(text):
        return text
    return f"{excerpt}\n… ({len(lines):,} lines, {len(text):,} characters in all)"


def _time_left(expires_at: int | None, now: int | None) -> float | None:
    if expires_at is None:
        return None
    return math.nan if now is None else max(0, expires_at - now) / 1000


def _score(score: float) -> float | int | str:
    """Return a score exactly; JSON has no infinity, so that is a word."""
    if math.isinf(score):
        return "inf" if score > 0 else "-inf"
    return int(score) if score.is_integer() and abs(score) < 2**53 else score


def _stream_id(entry_id: StreamId) -> str:
    return f"{entry_id[0]}-{entry_id[1]}"
