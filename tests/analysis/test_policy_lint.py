"""What `policy lint` and `policy test` say, and the witnesses that they rely on."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachectl.analysis.audits.policy_lint import explain, lint, unused
from cachectl.analysis.naming.templates import template
from cachectl.analysis.naming.witnesses import MOST, witnesses
from cachectl.keypatterns import KINDS, PatternError, compiled, pattern_of
from cachectl.policy import NamingRule, Policy, Rule, TtlRule, allowed_bytes


def policy(*rules: Rule | tuple[bytes, ...]) -> Policy:
    return Policy(
        "p",
        tuple(
            rule if isinstance(rule, Rule) else Rule(f"r{number}", rule, line=number)
            for number, rule in enumerate(rules)
        ),
    )


def ids(found: Policy) -> list[tuple[str | None, str]]:
    return [(finding.subject, finding.id.removeprefix("policy.")) for finding in lint(found)]


@pytest.mark.parametrize(
    ("earlier", "later", "shadowed"),
    [
        (b"user:*", b"user:{id}:profile", True),
        (b"*", b"a", True),
        (b"user:{id}", b"user:{name}", False),
        (b"user:{name}", b"user:{id}", True),
        (b"user:{name}", b"user:{name}:x", False),
        (b"a:?*", b"a:*", False),
        (b"a:*", b"a:?*", True),
        (b"a:[0-9]*", b"a:{id}", True),
        (b"a:{id}", b"a:[0-9]*", False),
        (b"user:{id}:profile", b"user:*", False),
        (b"{uuid}", b"{hex}", False),
        (b"a*b*c", b"a*c", False),
    ],
)
def test_a_rule_that_never_applies(earlier: bytes, later: bytes, shadowed: bool) -> None:
    assert ids(policy((earlier,), (later,))) == ([("r1", "shadowed")] if shadowed else [])


def test_several_rules_together_take_all_keys_of_a_later_one() -> None:
    found = lint(policy((b"a:x",), (b"a:y",), (b"a:[xy]",)))
    assert [finding.title for finding in found] == [
        "this rule never applies: earlier rules take all of its keys (r0, r1)"
    ]


def test_one_pattern_of_several() -> None:
    (finding,) = lint(policy((b"a:*",), (b"a:1", b"b:*")))
    assert (finding.subject, str(finding.severity)) == ("r1", "info")
    assert finding.title == "the pattern `a:1` never applies: earlier rules take its keys (r0)"


def test_the_same_pattern_twice() -> None:
    assert ids(policy((b"a:*",), (b"b:*", b"a:*"))) == [("r1", "duplicate")]
    assert ids(policy((b"a:*", b"a:*"))) == [("r0", "duplicate")]
    assert ids(policy((b"a:*",), (b"a:*",))) == [("r1", "duplicate"), ("r1", "shadowed")]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"ttl": TtlRule("required", 300, 360, jitter=0.5)}, "a jitter of 50% takes the longest"),
        ({"layer": "session"}, "sessions have to end"),
        ({"layer": "session", "ttl": TtlRule("forbidden")}, "sessions have to end"),
        ({"types": ("string",), "max_elements": 5}, "`max_elements` says nothing of strings"),
        ({"naming": NamingRule(max_length=3)}, "no name that fits `Ab:{id}` is as short as 3"),
        (
            {"naming": NamingRule(characters=allowed_bytes("a-z:"))},
            "has characters that `naming.characters` does not allow",
        ),
        ({"naming": NamingRule(hash_tag="required")}, "no name that fits `Ab:{id}` has a hash tag"),
        ({"match": (b"{a:{id}}",), "naming": NamingRule(hash_tag="forbidden")}, "has a hash tag"),
        ({"types": ("strin",)}, "`strin` is no type of Redis or Valkey"),
    ],
)
def test_contradictions(fields: dict[str, Any], words: str) -> None:
    (finding,) = lint(policy(Rule(**({"name": "r", "match": (b"Ab:{id}",)} | fields))))
    assert words in finding.title
    assert finding.remedy


@pytest.mark.parametrize(
    "fields",
    [
        {"ttl": TtlRule("required", 300, 3600, jitter=0.1)},
        {"layer": "session", "ttl": TtlRule("required")},
        {"types": ("hash", "string", "ReJSON-RL", "vectorset"), "max_elements": 5},
        {"naming": NamingRule(4, allowed_bytes("A-Za-z0-9:{}"), hash_tag="optional")},
        {"match": (b"{customer}:x",), "naming": NamingRule(hash_tag="required")},
    ],
)
def test_what_is_fine(fields: dict[str, Any]) -> None:
    assert lint(policy(Rule(**({"name": "r", "match": (b"Ab:{id}",)} | fields)))) == []


def test_no_rules_at_all() -> None:
    assert [finding.id for finding in lint(policy())] == ["policy.empty"]


def test_rules_that_match_no_key() -> None:
    found = unused(policy((b"a:*",), (b"b:*",)), [5, 0])
    assert [(finding.id, finding.subject) for finding in found] == [("policy.unused", "r1")]


PIECES = st.sampled_from(
    [*(b"{%s}" % k for k in KINDS), b"{x}", b"{*}", b"*", b"?", b"[ab]", b":", b"k"]
)


@given(st.lists(PIECES, min_size=1, max_size=6))
def test_witnesses_fit_their_pattern(pieces: list[bytes]) -> None:
    pattern = b"".join(pieces)
    try:
        fits = compiled(pattern).fits
    except PatternError:
        return
    names = witnesses(pattern)
    assert len(names) <= MOST
    assert all(map(fits, names))


WORDS = st.sampled_from(
    [
        *(
            b"user",
            b"cart",
            b"42",
            b"1790000000",
            b"2026-11-25",
            b"deadbeef0123456789abcdef",
            b"v2",
        ),
        *(b"0b2f1c3e-9d8a-4c55-8f00-444455556666", b"a.b@example.com", b"10.0.0.1", b"a*b", b"[x]"),
        *(
            b"{42}",
            b"{cart}",
            b"caf\xc3\xa9",
            b"\xff\xfe",
            b"",
            b"q8Zk2LmN9xQr3TvW",
            b"1.2.3",
            b"\\",
        ),
    ]
)


@given(st.lists(WORDS, min_size=1, max_size=5), st.sampled_from([b":", b"/"]))
def test_the_pattern_of_a_namespace_fits_its_keys(words: list[bytes], separator: bytes) -> None:
    """What `policy init` writes for what `scan` shows."""
    key = separator.join(words)
    pattern = pattern_of(template(key))
    pattern.decode()
    if pattern:
        assert compiled(pattern).fits(key), pattern


# --- policy test ----------------------------------------------------------------------------------


def test_which_rule_and_why() -> None:
    rules = policy((b"user:{id}:profile",), (b"user:*",), (b"cart:{id}",))
    found = explain(rules, b"user:1:profile")
    assert found.rule is rules.rules[0]
    assert found.pattern == b"user:{id}:profile"
    assert found.later == (rules.rules[1],)
    nothing = explain(rules, b"cart:x")
    assert nothing.rule is None
    assert nothing.closest == (rules.rules[2], b"cart:{id}")
    assert explain(rules, b"zzz").closest is None


def test_a_name_that_its_rule_does_not_allow() -> None:
    rules = policy(Rule("r", (b"a:*",), naming=NamingRule(max_length=3)))
    assert explain(rules, b"a:12").problems == ("is 4 bytes long; at most 3 are allowed",)
