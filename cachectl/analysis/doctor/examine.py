"""Every rule asked: what is well, what was found in the order of harm, what can't be said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date

from cachectl.analysis.doctor import configuration, keydesign, security
from cachectl.analysis.doctor.facts import Covered, Facts, Part, Rule
from cachectl.analysis.doctor.suppress import EXPIRED, Suppressed, apart, unused
from cachectl.model.findings import Finding, Severity, State, Suppression, Verdict


@dataclass(frozen=True, slots=True)
class Looked:
    """One rule and what came of it.

    result: well, found, suppressed, covered (by another rule, or by none) or unknown; reason: why.
    """

    rule: Rule
    result: str
    findings: Sequence[Finding] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is wrong and what is not. findings: the worst first. unused: suppressions of nothing."""

    findings: Sequence[Finding]
    looked: Sequence[Looked]
    suppressed: Sequence[Suppressed] = ()
    unused: Sequence[Suppression] = ()

    @property
    def worst(self) -> Severity | None:
        """The severity of the worst finding, None for none."""
        return max((one.severity for one in self.findings), default=None)

    @property
    def verdicts(self) -> list[Verdict]:
        """What was looked at, for monitoring and CI; what could not be is left out."""
        looked = [_verdict(one) for one in self.looked if one.result not in ("unknown", "covered")]
        expired = [one for one in self.findings if one.id == EXPIRED]
        return looked + [Verdict(one.id, _STATES[one.severity], one.title) for one in expired]


def _reported(name: str, well: str, needs: tuple[Part, ...]) -> Rule:
    """Return a rule whose findings another analysis has made already."""
    return Rule(name, well, needs, lambda facts: facts.reported.get(name, ()))


def _against_the_policy(facts: Facts) -> Iterable[Finding] | Covered:
    return facts.reported.get("ttl", Covered("there is no policy; cachectl policy init writes one"))


def _poisoned(facts: Facts) -> Iterable[Finding] | Covered:
    return facts.reported.get("poisoned", Covered("no policy says what values have to be"))


RULES: tuple[Rule, ...] = (
    _reported("memory", "memory has a limit that fits the machine and the policy", (Part.INFO,)),
    *security.RULES,
    *configuration.RULES,
    _reported("evictions", "what may be evicted is enough", (Part.TRAFFIC,)),
    _reported("stats", "hits, evictions and errors are as they should be", (Part.TRAFFIC,)),
    _reported("commands", "no command fails often or blocks long", (Part.TRAFFIC,)),
    _reported("latency", "round trips are short", (Part.LATENCY,)),
    _reported("slow", "no slow command in the last hour", (Part.SLOW,)),
    _reported("clients", "clients behave", (Part.CLIENTS,)),
    _reported("giants", "no giant keys", (Part.SIZES,)),
    *keydesign.RULES,
    _reported("cold", "no namespace lies unused", (Part.IDLE, Part.SIZES)),
    _reported("storms", "no storm of expiry is ahead", (Part.TTLS,)),
    Rule("poisoned", "values are what the policy says", (Part.VALUES,), _poisoned),
    Rule("ttl", "TTLs are as the policy wants them", (Part.TTLS,), _against_the_policy),
)
"""In the order of the page; the order of findings is that of their severity."""


def examine(facts: Facts, suppressions: Sequence[Suppression] = (), *, today: date) -> Diagnosis:
    """Ask every rule."""
    found: dict[str, list[Finding]] = {}
    reasons: dict[str, str] = {}
    covered: dict[str, str] = {}
    for rule in RULES:
        gaps = [facts.missing[need] for need in rule.needs if need in facts.missing]
        if gaps:
            reasons[rule.id] = gaps[0].reason
            continue
        answer = rule.find(facts)
        if isinstance(answer, Covered):
            covered[rule.id] = answer.reason
        found[rule.id] = [] if isinstance(answer, Covered) else list(answer)
    everything = _once(finding for findings in found.values() for finding in findings)
    told, suppressed = apart(everything, suppressions, today)
    hidden = {id(one.finding) for one in suppressed}
    looked = [
        Looked(rule, "covered", reason=covered[rule.id])
        if rule.id in covered
        else _looked(rule, found.get(rule.id), reasons.get(rule.id, ""), hidden)
        for rule in RULES
    ]
    return Diagnosis(
        sorted(_together(told, facts), key=lambda one: -one.severity),
        looked,
        suppressed,
        unused(everything, suppressions),
    )


def _once(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings without those that two analyses have made of the same thing."""
    seen: dict[tuple[str, str | None], Finding] = {}
    for finding in findings:
        seen.setdefault((finding.id, finding.subject), finding)
    return [
        finding
        for finding in seen.values()
        if (_GRAVER.get(finding.id, ""), finding.subject) not in seen
    ]


_GRAVER = {"memory.volatile_without_ttl": "evictions.nothing_evictable"}
"""What is said already by a finding that knows more."""


def _together(findings: Iterable[Finding], facts: Facts) -> list[Finding]:
    """Return findings that say the same of several nodes as one of them all."""
    nodes = {node.node for node in facts.nodes}
    groups: dict[tuple[object, ...], list[Finding]] = {}
    for one in findings:
        about = "" if one.subject in nodes else one.subject
        groups.setdefault((one.id, one.severity, one.title, about), []).append(one)
    return [same[0] if len(same) == 1 else _of_nodes(same) for same in groups.values()]


def _of_nodes(same: Sequence[Finding]) -> Finding:
    first, rest = same[0], len(same) - 1
    if first.subject is None:
        return first
    evidence = f"{first.evidence}, on {first.subject}; and {rest} more" if first.evidence else ""
    subject = ", ".join(str(one.subject) for one in same)
    return replace(first, evidence=evidence, subject=subject)


def _looked(rule: Rule, findings: list[Finding] | None, reason: str, hidden: set[int]) -> Looked:
    if findings is None:
        return Looked(rule, "unknown", reason=reason)
    told = [one for one in findings if id(one) not in hidden]
    if told:
        return Looked(rule, "found", told)
    return Looked(rule, "suppressed" if findings else "well", findings)


_STATES = {
    Severity.INFO: State.OK,
    Severity.WARNING: State.WARNING,
    Severity.CRITICAL: State.CRITICAL,
}


def _verdict(one: Looked) -> Verdict:
    if one.result == "found":
        worst = max(one.findings, key=lambda finding: finding.severity)
        more = f", and {len(one.findings) - 1} more" if len(one.findings) > 1 else ""
        return Verdict(one.rule.id, _STATES[worst.severity], worst.title + more)
    return Verdict(one.rule.id, State.OK, one.rule.well if one.result == "well" else "suppressed")
