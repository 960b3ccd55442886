"""The schemas of `ttl`."""

from __future__ import annotations

from cachectl.output.report import Kind
from cachectl.views import ttl_audit, ttl_histogram
from cachectl.views.schemas.fragments import Schema, bounds, field, report, rows
from cachectl.views.schemas.scan import OF_THE_PASS

SAMPLE: Schema = {
    "description": "null for a full pass; else how the sample was drawn",
    "type": ["object", "null"],
    "properties": {
        "size": {"type": "integer", "description": "keys that were drawn"},
        "confidence": {"type": "number", "description": "of every interval (0 to 1)"},
        "keyspace": {"type": "integer", "description": "keys to draw from"},
        "coverage": {"type": "number", "description": "share of the keyspace that was drawn"},
    },
}
_VIOLATIONS = {
    "rule": "name of the rule",
    "namespace": "what the names of these keys have in common",
    "kind": "missing, too_long, too_short, unexpected, or partly (some fields of a hash expire)",
    "keys": "keys that violate the rule so",
    "bytes": "their memory",
    "due": "what the rule asks of a TTL, in words",
    "tiers": "where the rule names a tier: another tier → keys whose TTL lies in it",
    "may_be_age": "too short, but keys that were written with enough could look the same",
    "examples": "some of the keys: key, ttl (seconds, null for none), bytes",
    "owner": "whom the policy names",
}
_UNRULED = {
    "namespace": "what the names of these keys have in common",
    "keys": "keys that no rule names",
    "bytes": "their memory",
    "no_ttl": "those that never expire",
}
_RULES = {
    "rule": "name of the rule",
    "keys": "keys that fall under it",
    "bytes": "their memory",
    "violating": "those that violate it",
    "due": "what it asks of a TTL, in words",
}

_SPACES = {
    "namespace": "what the names of its keys have in common",
    "keys": "keys",
    "no_ttl": "those that never expire",
}
_BINS = {
    "namespace": "what the names of its keys have in common",
    "from": "the least that keys in this bin have left",
    "to": "they have less than this; null: no end",
    "keys": "keys in this bin",
}


def _estimated(name: str, kind: Kind, text: str) -> Schema:
    return {name: field(kind, text), **bounds(name, kind)}


SCHEMAS = [
    report(
        ttl_audit.SCHEMA,
        "TTLs against the policy (`cachectl ttl audit`)",
        {
            "policy": field(Kind.TEXT, "name of the policy"),
            **_estimated("keys", Kind.COUNT, "keys that were looked at"),
            **_estimated("bytes", Kind.BYTES, "their memory"),
            **_estimated("violating", Kind.COUNT, "keys that violate a rule"),
            **_estimated(
                "held_bytes",
                Kind.BYTES,
                "memory of keys without a TTL that is due, or with too long a one",
            ),
            **_estimated("no_rule", Kind.COUNT, "keys that no rule names"),
            "expired_counted": field(
                Kind.COUNT, "keys that had expired, and that the server still counted"
            ),
            "stale_percent": field(
                Kind.NUMBER, "the server's own estimate of such keys among those with a TTL"
            ),
            "doubtful": field(Kind.COUNT, "hashes that were not looked into for TTLs of fields"),
            "sample": SAMPLE,
            **OF_THE_PASS,
            "violations": rows(ttl_audit.VIOLATIONS, _VIOLATIONS, "the most keys first"),
            "unruled": rows(ttl_audit.UNRULED, _UNRULED, "the most keys first"),
            "rules": rows(ttl_audit.RULES, _RULES, "in the order of the policy"),
        },
    ),
    report(
        ttl_histogram.SCHEMA,
        "how long keys have left (`cachectl ttl histogram`)",
        {
            **_estimated("keys", Kind.COUNT, "keys that were looked at"),
            **_estimated("no_ttl", Kind.COUNT, "those that never expire"),
            "by": field(Kind.TEXT, "what keys are grouped by"),
            "sample": SAMPLE,
            **OF_THE_PASS,
            "namespaces": rows(ttl_histogram.NAMESPACES, _SPACES, "the most keys first"),
            "bins": rows(ttl_histogram.BINS, _BINS, "those that hold keys, by namespace"),
        },
    ),
]
