"""From a row to a value: the bytes of a string, or the elements of a collection.

Each maker is a function of one row that raises RowFault; entries.py goes over whole batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cachectl.config.manifest import Entry
from cachectl.model.values import StreamId
from cachectl.sources.encoding import Encoder, encoder
from cachectl.sources.interface import Row
from cachectl.sources.scalars import RowFault, as_bytes, as_number
from cachectl.sources.template import Template, about, lookup

Maker = Callable[[Row], Any]

UNNUMBERED: StreamId = (-1, -1)
"""The id of a stream's entry whose place in the stream gives it one."""


def maker(entry: Entry) -> Maker:
    """Return the function that makes an entry's value, or one row's part of it, from a row.

    Raises ConfigError for a codec whose package is missing.
    """
    encode = encoder(entry.codec)
    match entry.type:
        case "string":
            return _string(entry, encode)
        case "hash":
            return _hash(entry, encode)
        case "list" | "set":
            return _elements(entry, encode)
        case "zset":
            return _members(entry, encode)
        case "stream":
            return _stream(entry, encode)
    raise AssertionError(entry.type)  # a copy needs no maker


def _string(entry: Entry, encode: Encoder) -> Maker:
    value = entry.value
    if value.kind == "template":
        template = Template(value.template)
        if entry.codec == ("raw",):
            return template.one
        if entry.codec[0] in ("json", "msgpack"):
            return lambda row: encode(_decoded(template.one(row)))
        return lambda row: encode(template.one(row))
    return _encoding(_object(entry), encode, value.column)


def _decoded(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise RowFault("gives bytes that are not UTF-8, which this codec cannot hold") from None


def _encoding(make: Maker, encode: Encoder, column: str) -> Maker:
    def made(row: Row) -> bytes:
        value = make(row)
        try:
            return encode(value)
        except RowFault as fault:
            raise (
                about(column, fault) if column else RowFault(f"has a value that {fault}")
            ) from None

    return made


def _object(entry: Entry) -> Maker:
    """Return what takes the object out of a row: a column, some of them, or all."""
    value = entry.value
    if value.kind == "column":
        return lookup(value.column)
    if value.kind == "row":
        return lambda row: row
    looks = {name: lookup(column) for name, column in value.names.items()}
    return lambda row: {name: look(row) for name, look in looks.items()}


def _fields(entry: Entry, encode: Encoder) -> Callable[[Row], list[tuple[bytes, bytes]]]:
    """Return what makes fields and their values; those that are null are left out."""
    value = entry.value
    if value.kind == "fields":
        pairs = [(Template(name), Template(text)) for name, text in value.names.items()]

        def from_templates(row: Row) -> list[tuple[bytes, bytes]]:
            return [(name.one(row), encode(text.one(row))) for name, text in pairs]

        return from_templates
    make = _object(entry)

    def from_object(row: Row) -> list[tuple[bytes, bytes]]:
        found = make(row)
        if not isinstance(found, Mapping):
            raise RowFault(f"has a column `{value.column}` that is not an object of fields")
        return [
            (as_bytes(name), _of(str(name), encode, item))
            for name, item in found.items()
            if item is not None
        ]

    return from_object


def _of(column: str, encode: Encoder, value: Any) -> bytes:
    try:
        return encode(value)
    except RowFault as fault:
        raise about(column, fault) from None


def _hash(entry: Entry, encode: Encoder) -> Maker:
    fields = _fields(entry, encode)
    return lambda row: [(name, text, None) for name, text in fields(row)]


def _elements(entry: Entry, encode: Encoder) -> Maker:
    value = entry.value
    if value.kind == "elements":
        templates = [Template(text) for text in value.elements]
        return lambda row: [encode(template.one(row)) for template in templates]
    look = lookup(value.column)

    def from_column(row: Row) -> list[bytes]:
        found = look(row)
        if not isinstance(found, list | tuple):
            raise RowFault(f"has a column `{value.column}` that is not a list")
        return [_of(value.column, encode, item) for item in found]

    return from_column


def _members(entry: Entry, encode: Encoder) -> Maker:
    value = entry.value
    if value.kind == "members":
        pairs = list(zip(map(Template, value.elements), map(Template, value.scores), strict=True))
        return lambda row: [
            (encode(member.one(row)), score_of(score.one(row))) for member, score in pairs
        ]
    look = lookup(value.column)

    def from_column(row: Row) -> list[tuple[bytes, float]]:
        found = look(row)
        pairs = found.items() if isinstance(found, Mapping) else found
        try:
            return [(_of(value.column, encode, name), score_of(n)) for name, n in pairs]
        except (TypeError, ValueError) as error:
            if isinstance(error, RowFault):
                raise
            raise RowFault(
                f"has a column `{value.column}` that is neither an object of member and score "
                "nor a list of such pairs"
            ) from None

    return from_column


def score_of(value: Any) -> float:
    """Return a sorted set's score. Raises RowFault."""
    try:
        return as_number(value.decode() if isinstance(value, bytes) else value)
    except (RowFault, UnicodeDecodeError):
        raise RowFault("has a score that is not a number") from None


def _stream(entry: Entry, encode: Encoder) -> Maker:
    fields = _fields(entry, encode)
    ids = Template(entry.value.id) if entry.value.id is not None else None

    def make(row: Row) -> list[tuple[StreamId, tuple[tuple[bytes, bytes], ...]]]:
        pairs = tuple(fields(row))
        return [(_stream_id(ids.one(row)) if ids else UNNUMBERED, pairs)] if pairs else []

    return make


def _stream_id(text: bytes) -> StreamId:
    moment, _, sequence = text.partition(b"-")
    if not (moment.isdigit() and (sequence or b"0").isdigit()):
        raise RowFault("has no id like 1700000000000-0 for its entry")
    found = int(moment), int(sequence or b"0")
    if not (0, 0) < found < (2**64, 0) or found[1] >= 2**64:
        raise RowFault("has an id for its entry that is out of range")
    return found


def whole(kind: str, parts: Iterable[Any]) -> list[Any]:
    """Return the elements of a collection as a server would keep them.

    Of a field or member that comes twice the last counts, as if written one after the other; a
    stream's entries get the ids that they lack. Raises RowFault when nothing is left, or when the
    ids of a stream's entries do not rise.
    """
    elements = list(parts)
    if kind == "set":
        elements = list(dict.fromkeys(elements))
    elif kind == "hash":
        elements = list({name: (name, text, at) for name, text, at in elements}.values())
    elif kind == "zset":
        elements = list(dict(elements).items())
    elif kind == "stream":
        elements = _numbered(elements)
    if not elements:
        raise RowFault(f"makes an empty {kind}, which no server keeps")
    return elements


def _numbered(entries: list[Any]) -> list[Any]:
    last: StreamId = (0, 0)
    numbered = []
    for entry_id, pairs in entries:
        found = (0, last[1] + 1) if entry_id == UNNUMBERED else entry_id
        if found <= last:
            raise RowFault("has ids for its entries that do not rise")
        numbered.append((found, pairs))
        last = found
    return numbered
