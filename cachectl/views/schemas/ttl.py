"""The schemas of `ttl`."""

from __future__ import annotations

from cachectl.output.report import Kind
from cachectl.views.audits import histogram, storms, ttl_audit
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

_STORMS = {
    "at": "when it begins",
    "until": "when it is over",
    "in": "time until it begins",
    "lasts": "time until it is over from then on",
    "keys": "keys that expire in it",
    "expected": "keys that would at the rate around it",
    "factor": "keys to expected; null: none were",
    "rate": "keys a second in its worst bin: the load behind the cache if all are wanted again",
    "namespace": "the namespace with the most of its keys",
    "namespaces": "the namespaces with the most of them: namespace, keys",
    "jitter": "time over which to spread them",
    "flattened": "keys a second at most, when they are",
    "chance": "of the like without a cause, in one bin",
}
_TIMES = {
    "at": "when the bin begins",
    "keys": "keys that expire in it (of a sample: scaled up)",
    "storm": "whether it is part of a storm",
}


def estimated(name: str, kind: Kind, text: str) -> Schema:
    """Return the properties of a figure that a sample estimates."""
    return {name: field(kind, text), **bounds(name, kind)}


SCHEMAS = [
    report(
        ttl_audit.SCHEMA,
        "TTLs against the policy (`cachectl ttl audit`)",
        {
            "policy": field(Kind.TEXT, "name of the policy"),
            **estimated("keys", Kind.COUNT, "keys that were looked at"),
            **estimated("bytes", Kind.BYTES, "their memory"),
            **estimated("violating", Kind.COUNT, "keys that violate a rule"),
            **estimated(
                "held_bytes",
                Kind.BYTES,
                "memory of keys without a TTL that is due, or with too long a one",
            ),
            **estimated("no_rule", Kind.COUNT, "keys that no rule names"),
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
        histogram.SCHEMA,
        "how long keys have left (`cachectl ttl histogram`)",
        {
            **estimated("keys", Kind.COUNT, "keys that were looked at"),
            **estimated("no_ttl", Kind.COUNT, "those that never expire"),
            "by": field(Kind.TEXT, "what keys are grouped by"),
            "sample": SAMPLE,
            **OF_THE_PASS,
            "namespaces": rows(histogram.NAMESPACES, _SPACES, "the most keys first"),
            "bins": rows(histogram.BINS, _BINS, "those that hold keys, by namespace"),
        },
    ),
    report(
        storms.SCHEMA,
        "when keys expire together (`cachectl ttl storms`)",
        {
            **estimated("within", Kind.COUNT, "keys that expire within the horizon"),
            **estimated("later", Kind.COUNT, "keys that expire after it"),
            **estimated("never", Kind.COUNT, "keys that never expire"),
            "begins": field(Kind.TIME, "when the horizon begins, by the server's clock"),
            "horizon": field(Kind.SECONDS, "how far it looks ahead"),
            "bin": field(Kind.SECONDS, "width of a bin"),
            "alpha": field(
                Kind.NUMBER, "chance of any storm where keys expire at an even rate, at most"
            ),
            "sample": SAMPLE,
            **OF_THE_PASS,
            "storms": rows(storms.STORMS, _STORMS, "in the order of time"),
            "bins": rows(storms.BINS, _TIMES, "those in which keys expire"),
        },
    ),
]
