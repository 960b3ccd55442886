"""The schema of `scan`."""

from __future__ import annotations

from cachectl.output.report import Kind
from cachectl.views.keys import sample, scan
from cachectl.views.schemas.fragments import Schema, bounds, field, report, rows

_NAMESPACE = {
    "namespace": "what the names of its keys have in common",
    "keys": "keys",
    "bytes": "memory of its keys, as MEMORY USAGE has it",
    "share": "share of the memory, of the keys where sizes are not known",
    "types": "keys of each type",
    "no_ttl": "keys that never expire",
    "ttl_p50": "half of the keys that expire do so within",
    "ttl_p95": "95 % of them within",
    "idle_p50": "half of the keys were used within (LRU policies)",
    "idle_p95": "95 % of them within",
    "freq_p50": "median of the LFU counter (LFU policies)",
    "freq_p95": "its 95th percentile",
    "largest_key": "the largest of its keys",
    "largest_bytes": "memory of that key",
    "unsized": "keys whose size could not be had",
    "folded": "names that were folded into one, to stay within memory",
}
_LARGEST = {
    "key": "name of the key",
    "type": "its type",
    "bytes": "its memory",
    "node": "the node that holds it",
}

_SAMPLED = _NAMESPACE | {
    "types_low": "bounds of the 95 % intervals of types",
    "types_high": "bounds of the 95 % intervals of types",
    "sample_keys": "keys of it that were drawn",
    "heavy_tail": "whether a few keys are so large that bytes may lie above its interval",
}

_SAMPLE: Schema = {
    "description": "null for a full pass; else how the sample was drawn",
    "type": ["object", "null"],
    "properties": {
        "size": {"type": "integer", "description": "keys that were drawn"},
        "confidence": {"type": "number", "description": "of every interval (0 to 1)"},
        "keyspace": {"type": "integer", "description": "keys to draw from"},
        "coverage": {"type": "number", "description": "share of the keyspace that was drawn"},
        "blind_spot": {
            "type": "number",
            "description": "namespaces of fewer keys may be missing",
        },
    },
}

OF_THE_PASS: Schema = {
    "duplicates": field(Kind.COUNT, "keys that SCAN returned twice; they count once"),
    "vanished": field(Kind.COUNT, "keys that were gone before they were looked at"),
    "unreadable": field(Kind.COUNT, "keys that this login may not read"),
    "arrived": field(Kind.COUNT, "about so many keys came while it ran"),
    "own_lookups": field(Kind.COUNT, "hits that the scan added to keyspace_hits"),
    "own_misses": field(Kind.COUNT, "misses that it added to keyspace_misses"),
    "seconds": field(Kind.SECONDS, "how long it took"),
    "errors": {
        "description": "why it is partial",
        "type": "array",
        "items": {"type": "string"},
    },
}
"""What every pass over the keys says of itself."""


def _namespaces() -> Schema:
    """Return the rows of both kinds of scan: a sample has a few fields more."""
    full = rows(scan._COLUMNS, _NAMESPACE, "in the order of --sort")
    sampled = rows(sample._COLUMNS, _SAMPLED, "")
    full["items"]["properties"] |= sampled["items"]["properties"]
    return full


SCHEMAS = [
    report(
        scan.SCHEMA,
        "namespaces of a cache (`cachectl scan`)",
        {
            "keys": field(Kind.COUNT, "keys that were read"),
            **bounds("keys", Kind.COUNT),
            "bytes": field(Kind.BYTES, "their memory"),
            **bounds("bytes", Kind.BYTES),
            "no_ttl": field(Kind.COUNT, "keys that never expire"),
            **bounds("no_ttl", Kind.COUNT),
            "types": field(Kind.COUNTS, "keys of each type"),
            **bounds("types", Kind.COUNTS),
            "sample": _SAMPLE,
            "by": field(Kind.TEXT, "what keys are grouped by"),
            **OF_THE_PASS,
            "namespaces": _namespaces(),
            "largest": rows(scan.LARGEST, _LARGEST, "the largest keys"),
        },
    )
]
