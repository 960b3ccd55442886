"""The report of `ttl audit`: which keys violate which rule, and the command that mends it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from cachectl.analysis.audits.ttl_audit import Audit, Kind, RuleTally, Violation
from cachectl.config.durations import format_duration
from cachectl.model.findings import Finding, Severity, Unavailable
from cachectl.model.keys import NO_TTL
from cachectl.model.servers import ServerFacts
from cachectl.output.report import Block, Column, Pairs, Report, Table
from cachectl.output.report import Kind as Shown
from cachectl.policy import Rule, TtlRule
from cachectl.views.audits.outlines import (
    NAMED,
    added,
    hidden,
    most_of,
    tables,
    text_of,
    without_rule,
)
from cachectl.views.keys.scan import ScanFacts, of_the_pass

SCHEMA = "cachectl.ttl-audit/1"
VIOLATIONS = (
    Column("rule"),
    Column("namespace", Shown.NAMESPACE),
    Column("kind", audience="machines"),
    Column("what", audience="people"),
    Column("keys", Shown.COUNT),
    Column("bytes", Shown.BYTES),
    Column("due", drop=1),
    Column("tiers", Shown.COUNTS, audience="machines"),
    Column("may_be_age", Shown.BOOL, audience="machines"),
    Column("examples", Shown.DATA, audience="machines"),
    Column("example", Shown.KEY, audience="people", drop=3),
    Column("owner", drop=4),
)
UNRULED = (
    Column("namespace", Shown.NAMESPACE),
    Column("keys", Shown.COUNT),
    Column("bytes", Shown.BYTES),
    Column("no_ttl", Shown.COUNT, title="no TTL"),
)
RULES = (
    Column("rule"),
    Column("keys", Shown.COUNT),
    Column("bytes", Shown.BYTES),
    Column("violating", Shown.COUNT),
    Column("due", drop=1),
)

_WORDS = {
    Kind.MISSING: "no TTL",
    Kind.TOO_LONG: "too long",
    Kind.TOO_SHORT: "too short",
    Kind.UNEXPECTED: "has a TTL",
    Kind.PARTLY: "some fields expire",
}
_SENTENCES = {
    Kind.MISSING: "never expire, and have to",
    Kind.TOO_LONG: "expire later than they may",
    Kind.TOO_SHORT: "expire sooner than they should",
    Kind.UNEXPECTED: "expire, and must not",
    Kind.PARTLY: "are hashes of which only some fields expire",
}
_OF_ONE = {
    Kind.MISSING: "never expires, and has to",
    Kind.TOO_LONG: "expires later than it may",
    Kind.TOO_SHORT: "expires sooner than it should",
    Kind.UNEXPECTED: "expires, and must not",
    Kind.PARTLY: "is a hash of which only some fields expire",
}


@dataclass(frozen=True, slots=True)
class Audited:
    """An audit and what is to be said of the pass.

    expired, stale_percent: see server.expired. sample: how it was drawn, None for all keys.
    doubtful: hashes that count as without TTL, though some of their fields may have one.
    """

    audit: Audit
    facts: ScanFacts
    expired: int | None = None
    stale_percent: float | None = None
    sample: Mapping[str, object] | None = None
    doubtful: int = 0
    notes: tuple[str, ...] = ()
    unavailable: tuple[Unavailable, ...] = ()
    interruption: KeyboardInterrupt | None = None


@dataclass(frozen=True, slots=True)
class Remedies:
    """Writes commands that mend. words: how the command line begins; policy: the file, if named."""

    words: Sequence[str] = ("cachectl",)
    policy: str | None = None

    def of(self, kind: Kind, rule: Rule, namespaces: Sequence[bytes]) -> str | None:
        """Return the command for violations of one kind in these namespaces."""
        names = [word for name in namespaces for word in ("--namespace", text_of(name))]
        own = ["--from-policy", *(["--policy", self.policy] if self.policy else [])]
        match kind:
            case Kind.MISSING:
                rest = ["--no-ttl", *own]
            case Kind.TOO_LONG if rule.ttl.most is not None:
                rest = ["--ttl-over", format_duration(rule.ttl.most), *own]
            case Kind.UNEXPECTED:
                rest = ["--persist"]
            case _:
                return None
        return shlex.join([*self.words, "ttl", "set", *names, *rest])


def audit_report(
    done: Audited, server: ServerFacts, remedies: Remedies, *, limit: int | None = None
) -> Report:
    """Return the report. limit: rows of each table."""
    audit = done.audit
    return Report(
        SCHEMA,
        [_head(done), *_violations(audit, limit), *_unruled(audit, limit), *_rules(audit)],
        server=server,
        main="violations",
        partial=not done.facts.complete,
        findings=[*findings(audit, remedies)],
        unavailable=done.unavailable,
        notes=[*_notes(done, limit)],
    )


def due(ttl: TtlRule) -> str:
    """Return what a rule asks of a TTL, in few words: `5m–1h`, `at most 1h`, `none`, `any`."""
    if ttl.presence == "forbidden":
        return "none"
    if ttl.least is not None and ttl.most is not None:
        asked = f"{format_duration(ttl.least)}–{format_duration(ttl.most)}"
    elif ttl.most is not None:
        asked = f"at most {format_duration(ttl.most)}"
    elif ttl.least is not None:
        asked = f"at least {format_duration(ttl.least)}"
    else:
        return "any" if ttl.presence == "required" else "any or none"
    return asked if ttl.presence == "required" else f"{asked}, or none"


def _head(done: Audited) -> Pairs:
    audit = done.audit
    return Pairs(
        [
            (Column("policy"), audit.policy.name),
            (Column("keys", Shown.COUNT), audit.keys),
            (Column("bytes", Shown.BYTES), audit.bytes),
            (Column("violating", Shown.COUNT), audit.violating),
            (Column("held_bytes", Shown.BYTES, title="held past their time"), audit.held_bytes),
            (Column("no_rule", Shown.COUNT, title="under no rule"), audit.no_rule),
            (
                Column("expired_counted", Shown.COUNT, title="expired, still counted"),
                done.expired,
            ),
            (Column("stale_percent", Shown.NUMBER, audience="machines"), done.stale_percent),
            (Column("doubtful", Shown.COUNT, audience="machines"), done.doubtful),
            (Column("sample", Shown.DATA, audience="machines"), done.sample),
            *of_the_pass(done.facts),
        ]
    )


def _violations(audit: Audit, limit: int | None) -> Iterator[Block]:
    rows = [_row(one) for one in audit.violations]
    empty = "Every key that a rule names has the TTL that it should have."
    return tables("violations", VIOLATIONS, rows, limit, title="Violations", empty=empty)


def _row(one: Violation) -> Sequence[Any]:
    ttl = one.rule.ttl
    examples = [
        {
            "key": example.key,
            "ttl": None if example.ttl_ms in (None, NO_TTL) else example.ttl_ms / 1000,
            "bytes": example.bytes,
        }
        for example in one.examples
    ]
    return (
        one.rule.name,
        one.namespace,
        str(one.kind),
        _what(one),
        one.keys,
        one.bytes,
        due(ttl) + (f" ({ttl.tier})" if ttl.tier else ""),
        dict(one.tiers) if ttl.tier else {},
        one.may_be_age,
        examples,
        one.examples[0].key if one.examples else None,
        one.rule.owner,
    )


def _what(one: Violation) -> str:
    """Return what is wrong, in few words; with the tier that most of the keys are in instead."""
    if one.may_be_age:
        return f"{_WORDS[one.kind]}, or old"
    if one.rule.ttl.tier and one.tiers:
        tier = max(one.tiers, key=lambda name: one.tiers[name])
        return f"{_WORDS[one.kind]}: tier {tier}"
    return _WORDS[one.kind]


def _unruled(audit: Audit, limit: int | None) -> Iterator[Block]:
    rows = [(one.namespace, one.keys, one.bytes, one.no_ttl) for one in audit.unruled]
    return tables("unruled", UNRULED, rows, limit, title="Namespaces that no rule names")


def _rules(audit: Audit) -> Iterator[Block]:
    def row(one: RuleTally) -> Sequence[Any]:
        return one.rule.name, one.keys, one.bytes, one.violating, due(one.rule.ttl)

    yield Table("rules", RULES, [row(one) for one in audit.rules], title="Rules")


def findings(audit: Audit, remedies: Remedies) -> Iterator[Finding]:
    """Yield a finding for each rule and kind, the worst first, and one for keys without a rule."""

    def order(one: Violation) -> tuple[int, str]:
        return list(Kind).index(one.kind), one.rule.name

    for (_, name), group in groupby(sorted(audit.violations, key=order), key=order):
        same = list(group)
        kind, rule = same[0].kind, same[0].rule
        keys = added([one.keys for one in same])
        mild = kind is Kind.PARTLY or all(one.may_be_age for one in same)
        yield Finding(
            id=f"ttl.{kind.replace('_', '-')}",
            severity=Severity.INFO if mild else Severity.WARNING,
            title=_title(keys, kind, near=kind is Kind.TOO_SHORT and mild),
            evidence=f"due: {due(rule.ttl)}; {most_of(same)}",
            remedy=remedies.of(kind, rule, [one.namespace for one in same[:NAMED]]),
            subject=name,
        )
    yield from without_rule("ttl.no-rule", audit.no_rule, audit.unruled)


def _title(keys: str, kind: Kind, *, near: bool) -> str:
    if keys == "1":
        return f"1 key {_OF_ONE[kind]}" + (", or is near its end" if near else "")
    return f"{keys} keys {_SENTENCES[kind]}" + (", or are near their end" if near else "")


def _notes(done: Audited, limit: int | None) -> Iterator[str]:
    audit = done.audit
    yield from hidden(limit, violations=len(audit.violations), namespaces=len(audit.unruled))
    if any(one.may_be_age for one in audit.violations):
        yield (
            "“too short, or old”: as many keys with little left could be there of old age; "
            "`expiry: sliding` in the rule says that each access renews the TTL"
        )
    if done.doubtful:
        yield f"{done.doubtful:,} hashes were not looked into: some of their fields may expire"
    yield from done.notes
