"""The schemas of `keys list`, `keys show` and `keys get`."""

from __future__ import annotations

from cachectl.output.report import Kind
from cachectl.views.keys import key, listing
from cachectl.views.schemas.fragments import Schema, field, name, report, rows

_KEY = {
    "key": "name of the key",
    "type": "its type",
    "ttl": "until it expires",
    "bytes": "its memory, as MEMORY USAGE has it",
    "idle": "since it was last used (LRU policies)",
    "freq": "the LFU counter, 0 to 255 (LFU policies)",
    "encoding": "how the server stores it",
    "elements": "members, fields or entries; of a string, bytes",
    "namespace": "the namespace of its name",
    "node": "the node that holds it",
}

_GROUP = {
    "name": "name of the group",
    "consumers": "its consumers",
    "pending": "entries that were delivered and not acknowledged",
    "lag": "entries that were not delivered yet",
    "last_id": "the last entry that was delivered",
}

_LIST = report(
    listing.SCHEMA,
    "keys that match (`cachectl keys list`)",
    {
        "keys": rows(
            [listing.KEY, *listing.COLUMNS.values()],
            _KEY,
            "in the order of the scan; with the fields that --columns names",
            required=["key"],
        ),
        "listed": field(Kind.COUNT, "keys that are listed"),
        "more": field(Kind.BOOL, "whether --limit ended the list"),
        "may_repeat": field(Kind.BOOL, "whether a key may be listed twice"),
    },
)

_ELEMENTS = (
    "of a hash: field, value, ttl; of a list: index, value; of a set: member; of a sorted set: "
    "member, score; of a stream: id, fields. A name or value that is not UTF-8 has its bytes in "
    "base64 beside it (value_b64)"
)
_VALUE: Schema = {
    "value": {
        "description": "a string as text, or the elements of a collection: " + _ELEMENTS,
        "type": ["string", "array", "null"],
    },
    "value_b64": name("value")["value_b64"],
    "format": field(Kind.TEXT, "of a string: what it was recognised as"),
    "decoded": field(Kind.DATA, "of a string: what stands inside, when that is not the text"),
    "damaged": field(Kind.TEXT, "of a string: what is wrong with it"),
    "left_out": field(Kind.COUNT, "elements, or bytes of a string, that are not in value"),
}

_SHOW = report(
    key.SCHEMA,
    "one key inside out (`cachectl keys show`)",
    {
        **name("key", "name of the key"),
        **{
            field_name: field(listing.COLUMNS[field_name].kind, _KEY[field_name])
            for field_name in ("type", "encoding", "bytes", "elements", "ttl", "idle", "freq")
        },
        "expires_at": field(Kind.TIME, "when it expires"),
        **name("namespace", "the namespace of its name"),
        "node": field(Kind.TEXT, "the node that holds it"),
        "slot": {"type": ["integer", "null"], "description": "its slot in a cluster"},
        "fields_looked_at": field(Kind.COUNT, "of a hash: fields whose TTL was asked for"),
        "fields_expiring": field(Kind.COUNT, "of these, fields that expire by themselves"),
        "first_field_ttl": field(Kind.SECONDS, "until the first of them expires"),
        **name("first_id", "of a stream: id of the first entry"),
        **name("last_id", "of a stream: id of the last entry"),
        "groups": {
            "description": "of a stream: its consumer groups",
            "type": "array",
            "items": rows(key._GROUPS, _GROUP, "")["items"],
        },
        **_VALUE,
    },
    optional=(
        *("fields_looked_at", "fields_expiring", "first_field_ttl"),
        *("first_id", "last_id", "groups", *_VALUE),
    ),
)

_GET = report(
    key.VALUE_SCHEMA,
    "the value of one key (`cachectl keys get`)",
    {**name("key", "name of the key"), "type": field(Kind.TEXT, "its type"), **_VALUE},
    optional=_VALUE,
)

SCHEMAS = [_LIST, _SHOW, _GET]
