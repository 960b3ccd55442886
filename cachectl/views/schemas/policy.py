"""The schemas of `policy`."""

from __future__ import annotations

from cachectl.output.report import Kind
from cachectl.views.audits import policy_audit, rules
from cachectl.views.schemas.fragments import field, report, rows
from cachectl.views.schemas.scan import OF_THE_PASS
from cachectl.views.schemas.ttl import SAMPLE, estimated

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
_VIOLATIONS = {
    "rule": "name of the rule",
    "namespace": "what the names of these keys have in common; null: all keys of the rule",
    "kind": (
        "wrong_type, too_large, too_many_elements, badly_named, poisoned (the value is not what "
        "the rule says) or share_exceeded (of all bytes)"
    ),
    "keys": "keys that violate the rule so; a key may do so in several ways",
    "bytes": "their memory",
    "allowed": "what the rule allows, in words",
    "share": "share_exceeded: the share of all bytes",
    "examples": "some of the keys: key, bytes, type, problem (what is wrong with it, in words)",
    "owner": "whom the policy names",
    "protected": "whether no run may change these keys",
}
_UNRULED = {
    "namespace": "what the names of these keys have in common",
    "keys": "keys that no rule names",
    "bytes": "their memory",
}
_AUDITED = {
    "rule": "name of the rule",
    "keys": "keys that fall under it",
    "bytes": "their memory",
    "share": "of all bytes; null: not known, or not all keys were looked at",
    "violating": "those that violate it, values aside",
    "values_read": "values that were read",
    "poisoned": "keys whose values are not what it says; null: none were read",
    "protected": "whether no run may change these keys",
}

SCHEMAS = [
    report(
        rules.SHOW_SCHEMA,
        "the rules of a policy (`cachectl policy show`)",
        {
            "policy": field(Kind.TEXT, "its name"),
            "description": field(Kind.TEXT, "what it says of itself"),
            "file": field(Kind.TEXT, "where it was read"),
            "rules": rows(rules.RULES, _RULES, "in the order in which they are asked"),
            "tiers": rows(rules.TIERS, _TIERS, "the tiers that rules can name"),
        },
    ),
    report(
        rules.LINT_SCHEMA,
        "what is wrong with a policy (`cachectl policy lint`)",
        {
            "policy": field(Kind.TEXT, "its name"),
            "rules_read": field(Kind.COUNT, "its rules"),
            "problems": field(Kind.COUNT, "what is wrong: see findings"),
            "keys": field(Kind.COUNT, "keys that were read; null: none"),
            "no_rule": field(Kind.COUNT, "those of them that no rule names"),
            "rules": rows(rules.LINTED, _LINTED, "in the order in which they are asked"),
        },
    ),
    report(
        rules.TEST_SCHEMA,
        "which rule keys fall under (`cachectl policy test`)",
        {
            "policy": field(Kind.TEXT, "its name"),
            "keys": rows(rules.TESTED, _TESTED, "in the order in which they were given"),
        },
    ),
    report(
        policy_audit.SCHEMA,
        "keys against the policy (`cachectl policy audit`)",
        {
            "policy": field(Kind.TEXT, "name of the policy"),
            **estimated("keys", Kind.COUNT, "keys that were looked at"),
            **estimated("bytes", Kind.BYTES, "their memory"),
            **estimated("violating", Kind.COUNT, "keys that violate a rule, values aside"),
            "values_read": field(Kind.COUNT, "values that were read"),
            **estimated("no_rule", Kind.COUNT, "keys that no rule names"),
            **estimated("protected", Kind.COUNT, "keys that no run may change"),
            "sample": SAMPLE,
            **OF_THE_PASS,
            "violations": rows(policy_audit.VIOLATIONS, _VIOLATIONS, "the most keys first"),
            "unruled": rows(policy_audit.UNRULED, _UNRULED, "the most keys first"),
            "rules": rows(policy_audit.RULES, _AUDITED, "in the order of the policy"),
        },
    ),
]
