"""The schemas of `policy`."""

from __future__ import annotations

from cachectl.output.report import Kind
from cachectl.views import policy
from cachectl.views.schemas.fragments import field, report, rows

_RULES = {
    "rule": "its name",
    "match": "its patterns",
    "layer": "session, application or shared",
    "due": "what it asks of a TTL, in words",
    "presence": "whether a TTL is required, forbidden or optional",
    "min": "the shortest TTL",
    "max": "the longest TTL",
    "tier": "the tier that gives both",
    "jitter": "share by which TTLs are expected to vary",
    "expiry": "sliding or absolute",
    "types": "types that the keys may have, empty for all",
    "max_bytes": "memory of one key at most",
    "max_elements": "members, fields or entries of one key at most",
    "max_memory_share": "share of the memory of all keys at most",
    "value": "format of the values",
    "owner": "whom to ask",
    "protected": "whether no run may change these keys",
    "line": "where it stands in the file",
}
_TIERS = {"tier": "its name", "min": "the shortest TTL", "max": "the longest TTL"}
_LINTED = {
    "rule": "its name",
    "line": "where it stands in the file",
    "keys": "keys that fall under it; null: none were read",
}
_TESTED = {
    "key": "the key",
    "rule": "the rule that it falls under",
    "pattern": "the pattern of the rule that it fits",
    "line": "where the rule stands in the file",
    "due": "what the rule asks of a TTL, in words",
    "owner": "whom the rule names",
    "protected": "whether no run may change this key",
    "later": "rules further down that it would fit",
    "closest": "where there is no rule: the rule and pattern that begins most like the key",
    "problems": "what the rule says against the name",
}

SCHEMAS = [
    report(
        policy.SHOW_SCHEMA,
        "the rules of a policy (`cachectl policy show`)",
        {
            "policy": field(Kind.TEXT, "its name"),
            "description": field(Kind.TEXT, "what it says of itself"),
            "file": field(Kind.TEXT, "where it was read"),
            "rules": rows(policy.RULES, _RULES, "in the order in which they are asked"),
            "tiers": rows(policy.TIERS, _TIERS, "the tiers that rules can name"),
        },
    ),
    report(
        policy.LINT_SCHEMA,
        "what is wrong with a policy (`cachectl policy lint`)",
        {
            "policy": field(Kind.TEXT, "its name"),
            "rules_read": field(Kind.COUNT, "its rules"),
            "problems": field(Kind.COUNT, "what is wrong: see findings"),
            "keys": field(Kind.COUNT, "keys that were read; null: none"),
            "no_rule": field(Kind.COUNT, "those of them that no rule names"),
            "rules": rows(policy.LINTED, _LINTED, "in the order in which they are asked"),
        },
    ),
    report(
        policy.TEST_SCHEMA,
        "which rule keys fall under (`cachectl policy test`)",
        {
            "policy": field(Kind.TEXT, "its name"),
            "keys": rows(policy.TESTED, _TESTED, "in the order in which they were given"),
        },
    ),
]
