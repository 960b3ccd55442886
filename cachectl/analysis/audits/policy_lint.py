"""What is wrong with a policy as it stands: rules that never apply, or that contradict.

Whether a pattern is covered by others is told by witnesses: names that it fits, made of it with
everything in the places of its stars and placeholders that could make a difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

from cachectl import glob
from cachectl.analysis.naming.witnesses import witnesses
from cachectl.model.findings import Finding, Severity
from cachectl.policy import Policy, Rule, has_hash_tag

_TYPES = ("string", "list", "set", "zset", "hash", "stream")
_WITHOUT_ELEMENTS = ("string",)


def lint(policy: Policy) -> list[Finding]:
    """Return what is wrong, in the order of the rules."""
    found: list[Finding] = []
    if not policy.rules:
        found.append(_finding("empty", Severity.WARNING, "the policy has no rules", None))
    for number, rule in enumerate(policy.rules):
        found += _coverage(policy, number)
        found += _contradictions(rule)
        found += _names(rule)
    return found


@dataclass(frozen=True, slots=True)
class Explained:
    """Which rule a key falls under.

    pattern: the one that it fits. later: other rules that it would fit. closest: where it falls
    under none, the rule and pattern that begins most like it. problems: what its rule says against
    its name.
    """

    key: bytes
    rule: Rule | None
    pattern: bytes | None
    later: tuple[Rule, ...] = ()
    closest: tuple[Rule, bytes] | None = None
    problems: tuple[str, ...] = ()


def explain(policy: Policy, key: bytes) -> Explained:
    """Return which rule a key falls under, and why."""
    rule = policy.rule_for(key)
    if rule is None:
        return Explained(key, None, None, closest=_closest(policy, key))
    after = policy.rules[policy.rules.index(rule) + 1 :]
    return Explained(
        key,
        rule,
        rule.fits(key),
        later=tuple(one for one in after if one.fits(key) is not None),
        problems=rule.naming.problems(key) if rule.naming else (),
    )


def _closest(policy: Policy, key: bytes) -> tuple[Rule, bytes] | None:
    best: tuple[int, Rule, bytes] | None = None
    for rule in policy.rules:
        for pattern in rule.patterns:
            pairs = zip(pattern.prefix, key, strict=False)
            alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
            if alike and (best is None or alike > best[0]):
                best = alike, rule, pattern.text
    return best and best[1:]


def unused(policy: Policy, keys: Sequence[int]) -> list[Finding]:
    """Return the rules under which no key falls. keys: how many fall under each rule."""
    return [
        _finding(
            "unused",
            Severity.INFO,
            "no key falls under this rule",
            rule,
            remedy="is the pattern right? `cachectl policy test KEY` tells",
        )
        for rule, count in zip(policy.rules, keys, strict=True)
        if not count
    ]


def _coverage(policy: Policy, number: int) -> Iterator[Finding]:
    """Yield what earlier rules leave of this one: nothing, or less than it says."""
    rule, earlier = policy.rules[number], policy.rules[:number]
    written = [text for one in earlier for text in one.match]
    for at, text in enumerate(rule.match):
        if text in written or text in rule.match[:at]:
            who = next((one.name for one in earlier if text in one.match), rule.name)
            yield _finding(
                "duplicate",
                Severity.WARNING,
                f"the pattern {_shown(text)} stands in rule {who} already",
                rule,
                remedy="remove one of them",
            )
    takers: dict[str, None] = {}
    hidden = []
    for text, pattern in zip(rule.match, rule.patterns, strict=True):
        names = witnesses(pattern.text)
        owners = [next((one for one in earlier if one.fits(name)), None) for name in names]
        if names and all(owners):
            hidden.append(text)
            takers |= dict.fromkeys(one.name for one in owners if one)
    whom = ", ".join(takers)
    if hidden and len(hidden) == len(rule.match):
        yield _finding(
            "shadowed",
            Severity.WARNING,
            f"this rule never applies: earlier rules take all of its keys ({whom})",
            rule,
            remedy="put the particular before the general",
        )
    elif hidden and not all(text in written for text in hidden):
        shown = ", ".join(map(_shown, hidden))
        yield _finding(
            "shadowed",
            Severity.INFO,
            f"the pattern {shown} never applies: earlier rules take its keys ({whom})",
            rule,
            remedy="remove it, or move the rule up",
        )


def _contradictions(rule: Rule) -> Iterator[Finding]:
    ttl = rule.ttl
    if ttl.jitter and ttl.least and ttl.most and ttl.most * (1 - ttl.jitter) < ttl.least:
        yield _contradiction(
            rule,
            f"a jitter of {ttl.jitter:.0%} takes the longest TTL below the shortest",
            f"at most {1 - ttl.least / ttl.most:.0%} fits into the range",
        )
    if rule.layer == "session" and ttl.presence != "required":
        yield _contradiction(
            rule, "sessions have to end, and this rule lets them stay", "write `ttl: required`"
        )
    known = [name for name in rule.types if name in _TYPES]
    if rule.max_elements and known and all(name in _WITHOUT_ELEMENTS for name in rule.types):
        yield _contradiction(
            rule, "`max_elements` says nothing of strings", "`max_bytes` limits their size"
        )
    for name in rule.types:
        if name not in _TYPES and "-" not in name and name != "vectorset":
            yield _finding(
                "type",
                Severity.INFO,
                f"`{name}` is no type of Redis or Valkey",
                rule,
                remedy=f"there are {', '.join(_TYPES)}, and those of modules",
            )


def _names(rule: Rule) -> Iterator[Finding]:
    """Yield where the naming rule and the patterns can't both be fulfilled."""
    naming = rule.naming
    if naming is None:
        return
    for text in rule.match:
        names = witnesses(text)
        least = min(map(len, names), default=0)
        if naming.max_length is not None and least > naming.max_length:
            yield _contradiction(
                rule,
                f"no name that fits {_shown(text)} is as short as {naming.max_length} bytes",
                "raise `naming.max_length`",
            )
        prefix = glob.literal_prefix(text.partition(b"{")[0])
        if naming.characters is not None and not naming.characters.issuperset(prefix):
            yield _contradiction(
                rule,
                f"{_shown(text)} has characters that `naming.characters` does not allow",
                "add them",
            )
        tagged = [has_hash_tag(name) for name in names]
        if naming.hash_tag == "forbidden" and names and all(tagged):
            yield _contradiction(
                rule, f"every name that fits {_shown(text)} has a hash tag", "allow it"
            )
        free = b"*" in text or b"{" in text.replace(b"{id}", b"")
        if naming.hash_tag == "required" and names and not any(tagged) and not free:
            yield _contradiction(
                rule, f"no name that fits {_shown(text)} has a hash tag", "write {user:{id}}:…"
            )


def _contradiction(rule: Rule, title: str, remedy: str) -> Finding:
    return _finding("contradiction", Severity.WARNING, title, rule, remedy=remedy)


def _finding(
    what: str, severity: Severity, title: str, rule: Rule | None, *, remedy: str | None = None
) -> Finding:
    line = f"line {rule.line}" if rule and rule.line else ""
    return Finding(f"policy.{what}", severity, title, line, remedy, rule.name if rule else None)


def _shown(text: bytes) -> str:
    return f"`{text.decode('utf-8', 'backslashreplace')}`"
