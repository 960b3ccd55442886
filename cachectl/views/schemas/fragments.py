"""The parts that schemas are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cachectl.output.report import Column, Kind

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_TYPES: dict[Kind, str] = {
    Kind.TEXT: "string",
    Kind.KEY: "string",
    Kind.NAMESPACE: "string",
    Kind.COUNT: "integer",
    Kind.BYTES: "integer",
    Kind.RATIO: "number",
    Kind.RATE: "number",
    Kind.SECONDS: "number",
    Kind.TTL: "number",
    Kind.TIME: "number",
    Kind.BOOL: "boolean",
    Kind.NUMBER: "number",
    Kind.COUNTS: "object",
    Kind.SPARK: "array",
    Kind.SEVERITY: "string",
    Kind.SIGNED_COUNT: "integer",
    Kind.SIGNED_BYTES: "integer",
}
_UNITS: dict[Kind, str] = {
    Kind.BYTES: "bytes",
    Kind.RATIO: "0 to 1",
    Kind.RATE: "a second",
    Kind.SECONDS: "seconds",
    Kind.TTL: "seconds; null: never expires, or not known",
    Kind.TIME: "Unix seconds",
    Kind.SIGNED_BYTES: "bytes, negative for less",
    Kind.SIGNED_COUNT: "negative for less",
}
_NAMES = (Kind.KEY, Kind.NAMESPACE)
_ESTIMATED = (Kind.COUNT, Kind.BYTES, Kind.RATIO, Kind.NUMBER, Kind.SECONDS)


def field(kind: Kind, text: str) -> Schema:
    """Return the schema of one value of a kind; it can be null, as a figure can be missing."""
    unit = f" ({_UNITS[kind]})" if kind in _UNITS else ""
    described: Schema = {"description": text + unit}
    if kind is Kind.DATA:
        return described
    described["type"] = [_TYPES[kind], "null"]
    if kind is Kind.COUNTS:
        described["additionalProperties"] = {"type": "integer"}
    return described


def fields(columns: Iterable[Column], texts: Mapping[str, str]) -> Schema:
    """Return the properties of a record with these columns; a test wants a text for each.


    An estimate has its bounds beside it, a name that is not UTF-8 its bytes in base64.
    """
    properties: Schema = {}
    for column in columns:
        if column.audience == "people":
            continue
        text = texts.get(column.name, "")
        properties[column.name] = field(column.kind, text)
        if column.kind in _NAMES:
            properties |= name(column.name, text)
        if column.kind in _ESTIMATED:
            properties |= bounds(column.name, column.kind)
    return properties


def bounds(field_name: str, kind: Kind) -> Schema:
    """Return the properties that an estimated figure has beside it."""
    text = f"bound of the 95 % interval of {field_name}, when it is estimated"
    return {f"{field_name}_{side}": field(kind, text) for side in ("low", "high")}


def name(field_name: str, text: str = "") -> Schema:
    """Return the properties of one name of bytes: the text, and beside it the bytes."""
    return {
        field_name: field(Kind.KEY, text),
        f"{field_name}_b64": {
            "type": "string",
            "contentEncoding": "base64",
            "description": f"the exact bytes of {field_name}, when it is not UTF-8",
        },
    }


def record(columns: Iterable[Column], texts: Mapping[str, str], text: str = "") -> Schema:
    """Return the schema of an object with these columns, all of which it must have."""
    shown = [column for column in columns if column.audience != "people"]
    described: Schema = {"description": text} if text else {}
    return described | {
        "type": "object",
        "properties": fields(shown, texts),
        "required": list(dict.fromkeys(column.name for column in shown)),
    }


def rows(
    columns: Iterable[Column],
    texts: Mapping[str, str],
    text: str,
    *,
    required: Iterable[str] | None = None,
) -> Schema:
    """Return the schema of an array of such objects. required: when not all columns are."""
    items = record(columns, texts)
    if required is not None:
        items["required"] = list(required)
    return {"description": text, "type": "array", "items": items}


def report(
    identifier: str, text: str, properties: Schema, *, optional: Iterable[str] = ()
) -> Schema:
    """Return the schema of a document: its head, and the report's own fields."""
    head = _head(identifier)
    left_out = set(optional) | {
        name for name in properties if name.endswith(("_b64", "_low", "_high"))
    }
    return {
        "$schema": DIALECT,
        "title": identifier,
        "description": text,
        "type": "object",
        "properties": head | properties,
        "required": [*head, *(name for name in properties if name not in left_out)],
    }


def _text(text: str, *, null: bool = False) -> Schema:
    return {"type": ["string", "null"] if null else "string", "description": text}


def _object(text: str, properties: Schema, *, null: bool = False) -> Schema:
    return {
        "type": ["object", "null"] if null else "object",
        "description": text,
        "properties": properties,
        "required": list(properties),
    }


def _list_of(item: Schema, text: str) -> Schema:
    return {"type": "array", "description": text, "items": item}


def _head(identifier: str) -> Schema:
    """Return the fields that every document begins with: those of output.document."""
    return {
        "schema": {"const": identifier, "description": "what this is, and its version"},
        "server": _object("who answered", _SERVER, null=True),
        "generated_at": {
            "type": "string",
            "format": "date-time",
            "description": "when, in UTC",
        },
        "partial": {
            "type": "boolean",
            "description": "whether something is missing that was asked for (exit code 3)",
        },
        "unavailable": _list_of(_object("", _UNAVAILABLE), "what could not be known, and why"),
        "findings": _list_of(_object("", _FINDING), "what was found"),
    }


_NODE: Schema = {
    "address": _text("host:port, or the path of a socket"),
    "role": _text("primary or replica"),
    "run_id": _text("changes with every start of the node"),
    "version": _text("the flavour's own version"),
    "flavour": _text("redis, valkey, dragonfly, keydb or unknown"),
    "replid": _text("identifies the data set among its replicas"),
    "keys": field(Kind.COUNT, "keys of the chosen database"),
    "used_memory": field(Kind.BYTES, "memory in use"),
    "maxmemory": field(Kind.BYTES, "most memory it may use, 0: no limit"),
    "policy": _text("maxmemory-policy", null=True),
    "slots": field(Kind.COUNT, "slots of a cluster's node"),
}
_SERVER: Schema = {
    "name": _text("the profile's name, or the address"),
    "topology": {"enum": ["standalone", "sentinel", "cluster"]},
    "flavour": _text("redis, valkey, dragonfly, keydb or unknown"),
    "version": _text("the flavour's own version"),
    "nodes": _list_of(_object("", _NODE), "all nodes that were asked"),
    "database": {"type": "integer", "description": "the chosen database"},
}
_UNAVAILABLE: Schema = {
    "what": _text("the figure or feature that is missing"),
    "reason": _text("why"),
    "remedy": _text("what would give it: an ACL rule, a setting, a version", null=True),
    "node": _text("the node that refused, null for all", null=True),
}
_FINDING: Schema = {
    "id": _text("stable: area.name"),
    "severity": {"enum": ["info", "warning", "critical"]},
    "title": _text("one sentence"),
    "evidence": _text("the figures"),
    "remedy": _text("a command or a setting that mends it", null=True),
    "subject": _text("the namespace, node or client that it is about", null=True),
}
