"""The report of `policy audit`: which keys are not what their rule says, and what mends it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from cachectl.analysis.audits.policy_audit import Kind, PolicyAudit, RuleTally, Violation
from cachectl.analysis.audits.rule_tally import Example
from cachectl.model.figures import Estimate
from cachectl.model.findings import Finding, Severity, Unavailable
from cachectl.model.servers import ServerFacts
from cachectl.output.report import Block, Column, Pairs, Report, Table
from cachectl.output.report import Kind as Shown
from cachectl.policy import Rule
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

SCHEMA = "cachectl.policy-audit/1"
VIOLATIONS = (
    Column("rule"),
    Column("namespace", Shown.NAMESPACE, missing="all of them"),
    Column("kind", audience="machines"),
    Column("what", audience="people"),
    Column("keys", Shown.COUNT),
    Column("bytes", Shown.BYTES),
    Column("allowed", drop=1),
    Column("share", Shown.RATIO, audience="machines"),
    Column("examples", Shown.DATA, audience="machines"),
    Column("example", Shown.KEY, audience="people", drop=3),
    Column("owner", drop=4),
    Column("protected", Shown.BOOL, drop=5),
)
UNRULED = (
    Column("namespace", Shown.NAMESPACE),
    Column("keys", Shown.COUNT),
    Column("bytes", Shown.BYTES),
)
RULES = (
    Column("rule"),
    Column("keys", Shown.COUNT),
    Column("bytes", Shown.BYTES),
    Column("share", Shown.RATIO, drop=2),
    Column("violating", Shown.COUNT),
    Column("values_read", Shown.COUNT, title="values read", drop=3),
    Column("poisoned", Shown.COUNT),
    Column("protected", Shown.BOOL, drop=1),
)

_WORDS = {
    Kind.WRONG_TYPE: "wrong type",
    Kind.TOO_LARGE: "too large",
    Kind.TOO_MANY_ELEMENTS: "too many elements",
    Kind.BADLY_NAMED: "badly named",
    Kind.POISONED: "poisoned",
    Kind.SHARE_EXCEEDED: "share exceeded",
}
_SENTENCES = {
    Kind.WRONG_TYPE: "of a type that is not allowed",
    Kind.TOO_LARGE: "larger than allowed",
    Kind.TOO_MANY_ELEMENTS: "of more elements than allowed",
    Kind.BADLY_NAMED: "with a name that is not allowed",
    Kind.POISONED: "with a value that is not what the policy says",
}


@dataclass(frozen=True, slots=True)
class AuditedPolicy:
    """An audit and what is to be said of the pass.

    sample: how it was drawn, None for all keys. complete: nothing is missing that a rule is about.
    pattern: the glob that keys had to match, None for all.
    """

    audit: PolicyAudit
    facts: ScanFacts
    sample: Mapping[str, object] | None = None
    complete: bool = True
    pattern: str | None = None
    notes: tuple[str, ...] = ()
    unavailable: tuple[Unavailable, ...] = ()
    interruption: KeyboardInterrupt | None = None


@dataclass(frozen=True, slots=True)
class Remedies:
    """Writes commands. words: how the command line begins; policy: the file, if it was named.

    Keys that no run may change are listed rather than removed.
    """

    words: Sequence[str] = ("cachectl",)
    policy: str | None = None

    def of(self, kind: Kind, rule: Rule, same: Sequence[Violation]) -> str | None:
        """Return the command for violations of one kind."""
        match kind:
            case Kind.WRONG_TYPE:
                return self._keys(rule, same, *_repeated("--not", rule.types, "type={}"))
            case Kind.TOO_LARGE:
                return self._keys(rule, same, "--larger-than", str(rule.max_bytes))
            case Kind.TOO_MANY_ELEMENTS:
                most = ("--elements-over", str(rule.max_elements))
                return self._keys(rule, same, *most, "--not", "type=string")
            case Kind.BADLY_NAMED:
                return self._of_examples(same, "policy", "test", policy=True)
            case Kind.POISONED:
                return self._of_examples(same[:1], "keys", "show")
            case Kind.SHARE_EXCEEDED:
                return self._line("memory", "keys")

    def _keys(self, rule: Rule, same: Sequence[Violation], *rest: str) -> str:
        names = _repeated("--namespace", [text_of(one.namespace or b"") for one in same[:NAMED]])
        if rule.protected:
            return self._line("keys", "list", *names, *rest)
        return self._line("invalidate", *names, *rest, "--dry-run")

    def _of_examples(
        self, same: Sequence[Violation], *words: str, policy: bool = False
    ) -> str | None:
        keys = [one.examples[0].key for one in same[:NAMED] if one.examples]
        if not keys or not all(map(_is_plain, keys)):
            return None
        file = ["--policy", self.policy] if policy and self.policy else []
        return self._line(*words, *map(text_of, keys), *file)

    def _line(self, *words: str) -> str:
        return shlex.join([*self.words, *words])


def policy_audit_report(
    done: AuditedPolicy, server: ServerFacts, remedies: Remedies, *, limit: int | None = None
) -> Report:
    """Return the report. limit: rows of each table."""
    audit = done.audit
    return Report(
        SCHEMA,
        [_head(done), *_violations(audit, limit), *_unruled(audit, limit), _rules(audit)],
        server=server,
        main="violations",
        partial=not done.complete,
        findings=[*findings(audit, remedies)],
        unavailable=done.unavailable,
        notes=[*_notes(done, limit)],
    )


def findings(audit: PolicyAudit, remedies: Remedies) -> Iterator[Finding]:
    """Yield a finding for each rule and kind, by kind, and one for keys without a rule."""

    def order(one: Violation) -> tuple[int, str]:
        return list(Kind).index(one.kind), one.rule.name

    for (_, name), group in groupby(sorted(audit.violations, key=order), key=order):
        same = list(group)
        kind, rule = same[0].kind, same[0].rule
        keys = added([one.keys for one in same])
        doubtful = all(one.doubtful for one in same)
        yield Finding(
            id=f"policy.{kind.replace('_', '-')}",
            severity=Severity.INFO if doubtful else Severity.WARNING,
            title=_title(kind, keys, doubtful=doubtful),
            evidence=f"allowed: {_allowed(kind, rule)}; {_evidence(same)}",
            remedy=remedies.of(kind, rule, same),
            subject=name,
        )
    yield from without_rule("policy.no-rule", audit.no_rule, audit.unruled)


def _head(done: AuditedPolicy) -> Pairs:
    audit = done.audit
    return Pairs(
        [
            (Column("policy"), audit.policy.name),
            (Column("keys", Shown.COUNT), audit.keys),
            (Column("bytes", Shown.BYTES), audit.bytes),
            (Column("violating", Shown.COUNT), audit.violating),
            (Column("values_read", Shown.COUNT, title="values read"), audit.read),
            (Column("no_rule", Shown.COUNT, title="under no rule"), audit.no_rule),
            (Column("protected", Shown.COUNT), audit.protected),
            (Column("sample", Shown.DATA, audience="machines"), done.sample),
            *of_the_pass(done.facts),
        ]
    )


def _violations(audit: PolicyAudit, limit: int | None) -> Iterator[Block]:
    rows = [_row(one) for one in audit.violations]
    empty = "Every key that a rule names is what the rule says, as far as it was looked at."
    return tables("violations", VIOLATIONS, rows, limit, title="Violations", empty=empty)


def _row(one: Violation) -> Sequence[Any]:
    examples = [
        {
            "key": example.key,
            "bytes": example.bytes,
            "type": example.type or None,
            "problem": _problem(one, example),
        }
        for example in one.examples
    ]
    return (
        one.rule.name,
        one.namespace,
        str(one.kind),
        _WORDS[one.kind],
        one.keys,
        one.bytes,
        _allowed(one.kind, one.rule),
        one.share,
        examples,
        one.examples[0].key if one.examples else None,
        one.rule.owner,
        one.rule.protected,
    )


def _unruled(audit: PolicyAudit, limit: int | None) -> Iterator[Block]:
    rows = [(one.namespace, one.keys, one.bytes) for one in audit.unruled]
    return tables("unruled", UNRULED, rows, limit, title="Namespaces that no rule names")


def _rules(audit: PolicyAudit) -> Table:
    def row(one: RuleTally) -> Sequence[Any]:
        counts = (one.keys, one.bytes, one.share, one.violating)
        return one.rule.name, *counts, one.read, one.poisoned, one.rule.protected

    return Table("rules", RULES, [row(one) for one in audit.rules], title="Rules")


def _allowed(kind: Kind, rule: Rule) -> str:
    """Return what a rule allows, in few words."""
    match kind:
        case Kind.WRONG_TYPE:
            return ", ".join(rule.types)
        case Kind.TOO_LARGE:
            return f"{rule.max_bytes:,} bytes"
        case Kind.TOO_MANY_ELEMENTS:
            return f"{rule.max_elements:,} elements"
        case Kind.POISONED:
            assert rule.value is not None  # noqa: S101 - only such values are judged
            return rule.value.format + (" of a schema" if rule.value.schema is not None else "")
        case Kind.SHARE_EXCEEDED:
            return f"{rule.max_memory_share:.1%} of the bytes"
        case Kind.BADLY_NAMED:
            assert rule.naming is not None  # noqa: S101 - only such names are judged
            naming = rule.naming
            parts = [
                f"{naming.max_length:,} bytes" if naming.max_length is not None else "",
                f"[{naming.written}]" if naming.characters is not None else "",
                f"hash tag {naming.hash_tag}" if naming.hash_tag != "optional" else "",
            ]
            return ", ".join(filter(None, parts))


def _problem(one: Violation, example: Example) -> str:
    """Return what is wrong with one key, a sentence without its subject."""
    match one.kind:
        case Kind.WRONG_TYPE:
            return f"is of type {example.type}"
        case Kind.TOO_LARGE:
            return f"takes {example.bytes or 0:,} bytes"
        case Kind.TOO_MANY_ELEMENTS:
            return f"has {example.elements or 0:,} elements"
        case Kind.BADLY_NAMED:
            return "; ".join(one.rule.naming.problems(example.key)) if one.rule.naming else ""
    return example.problem or ""


def _title(kind: Kind, keys: str, *, doubtful: bool) -> str:
    if kind is Kind.SHARE_EXCEEDED:
        more = "may hold" if doubtful else "hold"
        return f"the keys of this rule {more} a larger share of the memory than allowed"
    return f"{keys} {'key' if keys == '1' else 'keys'} {_SENTENCES[kind]}"


def _evidence(same: Sequence[Violation]) -> str:
    first = same[0]
    if first.kind is Kind.SHARE_EXCEEDED:
        share = first.share
        if isinstance(share, Estimate):
            return f"about {share.value:.1%} ({share.low:.1%}–{share.high:.1%})"
        return f"{share:.1%}"
    found = most_of(same)
    if first.examples and first.kind is not Kind.WRONG_TYPE:
        example = first.examples[0]
        return f"{found}; such as {text_of(example.key)}, which {_problem(first, example)}"
    kinds = sorted({example.type for one in same for example in one.examples})
    return f"{found}; such as {', '.join(kinds)}" if kinds else found


def _notes(done: AuditedPolicy, limit: int | None) -> Iterator[str]:
    audit = done.audit
    yield from hidden(limit, violations=len(audit.violations), namespaces=len(audit.unruled))
    if done.pattern is not None and any(rule.max_memory_share for rule in audit.policy.rules):
        yield "shares of the memory are not judged: not all keys were looked at"
    if any(isinstance(one.poisoned, Estimate) for one in audit.rules):
        yield f"{audit.read:,} values were read; the poisoned among the others are estimated"
    yield "TTLs are compared by `cachectl ttl audit`"
    yield from done.notes


def _is_plain(key: bytes) -> bool:
    """Whether a name can be written on a command line as it is."""
    try:
        return key.decode().isprintable() and not key.startswith(b"-")
    except UnicodeDecodeError:
        return False


def _repeated(option: str, values: Sequence[str], form: str = "{}") -> list[str]:
    return [word for value in values for word in (option, form.format(value))]
