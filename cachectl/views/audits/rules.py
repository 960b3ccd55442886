"""The reports of `policy`: the rules, what is wrong with them, and which one a key falls under."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cachectl.analysis.audits.policy_lint import Explained
from cachectl.analysis.audits.ttl_audit import Audit
from cachectl.model.findings import Finding, Severity
from cachectl.output.report import Column, Kind, Pairs, Report, Table
from cachectl.policy import Policy, Rule, Tier
from cachectl.views.audits.ttl_audit import due

SHOW_SCHEMA = "cachectl.policy/1"
LINT_SCHEMA = "cachectl.policy-lint/1"
TEST_SCHEMA = "cachectl.policy-test/1"

RULES = (
    Column("rule"),
    Column("match", Kind.DATA, audience="machines"),
    Column("patterns", audience="people", title="match"),
    Column("layer", drop=3),
    Column("due", title="TTL"),
    Column("presence", audience="machines"),
    Column("min", Kind.SECONDS, audience="machines"),
    Column("max", Kind.SECONDS, audience="machines"),
    Column("tier", audience="machines"),
    Column("jitter", Kind.RATIO, drop=5),
    Column("expiry", drop=6),
    Column("types", Kind.DATA, audience="machines"),
    Column("types_shown", audience="people", title="types", drop=4),
    Column("max_bytes", Kind.BYTES, title="at most", drop=7),
    Column("max_elements", Kind.COUNT, audience="machines"),
    Column("max_memory_share", Kind.RATIO, audience="machines"),
    Column("value", audience="machines"),
    Column("owner", drop=2),
    Column("protected", Kind.BOOL, drop=1),
    Column("line", Kind.NUMBER, audience="machines"),
)
TIERS = (Column("tier"), Column("min", Kind.SECONDS), Column("max", Kind.SECONDS))
LINTED = (Column("rule"), Column("line", Kind.NUMBER), Column("keys", Kind.COUNT))
TESTED = (
    Column("key", Kind.KEY),
    Column("rule", missing="none"),
    Column("pattern", missing="-"),
    Column("line", Kind.NUMBER, drop=3),
    Column("due", title="TTL"),
    Column("owner", drop=4),
    Column("protected", Kind.BOOL, drop=2),
    Column("later", Kind.DATA, audience="machines"),
    Column("closest", audience="machines"),
    Column("problems", Kind.DATA, audience="machines"),
)


@dataclass(frozen=True, slots=True)
class Linted:
    """What is wrong with a policy; and how many keys fall under its rules, where they were read."""

    findings: tuple[Finding, ...]
    audit: Audit | None = None
    source: str = ""
    partial: bool = False


def show_report(policy: Policy) -> Report:
    """Return the report of `policy show`."""

    def tier(one: Tier) -> Sequence[Any]:
        return one.name, one.least, one.most

    return Report(
        SHOW_SCHEMA,
        [
            Pairs(
                [
                    (Column("policy"), policy.name),
                    (Column("description"), policy.description or None),
                    (Column("file"), str(policy.source) if policy.source else None),
                ]
            ),
            Table("rules", RULES, [_rule(rule) for rule in policy.rules], title="Rules"),
            Table("tiers", TIERS, [tier(one) for one in policy.tiers], title="Tiers"),
        ],
        main="rules",
    )


def _rule(rule: Rule) -> Sequence[Any]:
    ttl = rule.ttl
    return (
        rule.name,
        [text.decode("utf-8", "surrogateescape") for text in rule.match],
        ", ".join(text.decode("utf-8", "surrogateescape") for text in rule.match),
        rule.layer,
        due(ttl) + (f" ({ttl.tier})" if ttl.tier else ""),
        ttl.presence,
        ttl.least,
        ttl.most,
        ttl.tier,
        ttl.jitter,
        ttl.expiry,
        list(rule.types),
        ", ".join(rule.types) or None,
        rule.max_bytes,
        rule.max_elements,
        rule.max_memory_share,
        rule.value.format if rule.value else None,
        rule.owner,
        rule.protected,
        rule.line,
    )


def lint_report(policy: Policy, linted: Linted) -> Report:
    """Return the report of `policy lint`."""
    audit = linted.audit
    keys = [one.keys for one in audit.rules] if audit else [None] * len(policy.rules)
    rows = [(rule.name, rule.line, count) for rule, count in zip(policy.rules, keys, strict=True)]
    worst = max((finding.severity for finding in linted.findings), default=None)
    return Report(
        LINT_SCHEMA,
        [
            Pairs(
                [
                    (Column("policy"), policy.name),
                    (Column("rules_read", Kind.COUNT, title="rules"), len(policy.rules)),
                    (Column("problems", Kind.COUNT), len(linted.findings)),
                    (Column("keys", Kind.COUNT), audit.keys if audit else None),
                    (Column("no_rule", Kind.COUNT, title="under no rule"), _no_rule(audit)),
                ]
            ),
            Table(
                "rules",
                LINTED,
                rows,
                title="Keys under each rule",
                audience="all" if audit else "machines",
            ),
        ],
        main="rules",
        findings=linted.findings,
        partial=linted.partial,
        notes=[
            *(["nothing is wrong with this policy"] if worst is None else []),
            *([f"from {linted.source}"] if linted.source else []),
        ],
    )


def _no_rule(audit: Audit | None) -> Any:
    return audit.no_rule if audit else None


def tested_report(policy: Policy, tests: Sequence[Explained]) -> Report:
    """Return the report of `policy test`."""
    return Report(
        TEST_SCHEMA,
        [
            Pairs([(Column("policy"), policy.name)]),
            Table("keys", TESTED, [_tested(one) for one in tests]),
        ],
        main="keys",
        findings=[finding for one in tests for finding in _findings(one)],
        notes=[note for one in tests for note in _why(one)],
    )


def _tested(one: Explained) -> Sequence[Any]:
    rule = one.rule
    closest = one.closest
    return (
        one.key,
        rule.name if rule else None,
        _text(one.pattern) if one.pattern is not None else None,
        rule.line if rule else None,
        due(rule.ttl) if rule else None,
        rule.owner if rule else None,
        rule.protected if rule else None,
        [other.name for other in one.later],
        f"{closest[0].name}: {_text(closest[1])}" if closest else None,
        list(one.problems),
    )


def _findings(one: Explained) -> Iterator[Finding]:
    key = _text(one.key)
    if one.rule is None:
        near = f"closest is {_text(one.closest[1])} of {one.closest[0].name}" if one.closest else ""
        yield Finding(
            "policy.no-rule",
            Severity.WARNING,
            "no rule names this key",
            near,
            "{id} takes digits alone, {*} any text between two separators" if near else None,
            key,
        )
    for problem in one.problems:
        yield Finding("policy.name", Severity.WARNING, f"the name {problem}", "", None, key)


def _why(one: Explained) -> Iterator[str]:
    if one.later:
        names = ", ".join(rule.name for rule in one.later)
        yield f"{_text(one.key)} would also fit {names}; the first rule wins"


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
