"""The schemas of the group `warm`."""

from __future__ import annotations

from cachectl.views.schemas.fragments import fields, report, rows
from cachectl.views.warm import check

_HEAD = {
    "manifest": "its name",
    "file": "its file",
    "description": "its own words",
    "digest": "over everything that says what is loaded, variables filled in",
}
_SOURCES = {
    "source": "its name",
    "kind": "inline, file, sql, http, cache, archive or snapshot",
    "rows": "rows, or about how many; null: not known",
    "looked": "whether its first rows were read",
    "columns": "the columns of these rows, or those that were declared",
    "line": "where it stands in the manifest",
}
_ENTRIES = {
    "entry": "its name",
    "source": "where its rows come from",
    "type": "the type of its keys",
    "key": "the template of their names",
    "example": "the first name that it gives, null when no row was looked at",
    "ttl": "how long they live, in words",
    "existing": "what happens to a key that is there, in words",
    "codec": "how values are encoded",
    "line": "where it stands in the manifest",
}

SCHEMAS = [
    report(
        check.SCHEMA,
        "a manifest, looked at without a server (`cachectl warm check`)",
        fields(check._HEAD, _HEAD)
        | {
            "entries": rows(check._ENTRIES, _ENTRIES, "in the manifest's order"),
            "sources": rows(check._SOURCES, _SOURCES, "in the manifest's order"),
        },
    ),
]
