"""The schema of `diff`."""

from __future__ import annotations

from cachectl.analysis.keyspace.snapshots import Change
from cachectl.output.report import Column, Kind
from cachectl.views.keys import diff
from cachectl.views.schemas.fragments import field, report, rows

_SNAPSHOTS = {
    "which": "before or after",
    "file": "the snapshot",
    "server": "the server that it is of",
    "scanned_at": "when the scan began",
    "keys": "keys in it",
    "database": "number of the database",
    "match": "the pattern that its keys match, null for all",
    "type": "the type of its keys, null for all",
    "partial": "whether the scan was partial",
}
_NAMESPACES = {
    "namespace": "what the names of its keys have in common",
    "change": "grew, shrank, appeared, went or same",
    "keys": "change of its keys",
    "bytes": "change of their memory",
    "no_ttl": "change of the keys that never expire",
    "lost_ttl": "whether keys that had a TTL never expire now",
    "keys_before": "its keys then",
    "keys_after": "its keys now",
    "bytes_before": "their memory then",
    "bytes_after": "their memory now",
    "no_ttl_before": "keys that never expired then",
    "no_ttl_after": "keys that never expire now",
}
_SCOPES = (
    *(Column(name) for name in ("which", "file", "server", "match", "type")),
    Column("database", Kind.NUMBER),
    Column("scanned_at", Kind.TIME),
    Column("keys", Kind.COUNT),
    Column("partial", Kind.BOOL),
)

SCHEMAS = [
    report(
        diff.SCHEMA,
        "what changed between two snapshots (`cachectl diff`)",
        {
            "snapshots": rows(_SCOPES, _SNAPSHOTS, "the two snapshots"),
            "keys": field(Kind.SIGNED_COUNT, "change of the keys"),
            "bytes": field(Kind.SIGNED_BYTES, "change of their memory"),
            "no_ttl": field(Kind.SIGNED_COUNT, "change of the keys that never expire"),
            "by": field(Kind.TEXT, "what keys are grouped by"),
            **{str(change): field(Kind.COUNT, f"namespaces: {change}") for change in Change},
            "lost_ttl": field(Kind.COUNT, "namespaces whose keys lost their TTL"),
            "namespaces": rows(diff._COLUMNS, _NAMESPACES, "in the order of --sort"),
        },
    )
]
