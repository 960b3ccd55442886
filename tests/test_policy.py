"""Policies as records: which rule a key falls under, and how names are judged."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachectl.policy import (
    NO_RULE,
    NamingRule,
    Policy,
    Rule,
    allowed_bytes,
    has_hash_tag,
)


def policy(*patterns: bytes) -> Policy:
    return Policy("p", tuple(Rule(f"r{n}", (pattern,)) for n, pattern in enumerate(patterns)))


def name_of(found: Rule | None) -> str | None:
    return found and found.name


def test_the_first_rule_that_fits_wins() -> None:
    rules = policy(b"user:{id}:profile", b"user:*", b"user:9:x", b"*:x")
    assert name_of(rules.rule_for(b"user:1:profile")) == "r0"
    assert name_of(rules.rule_for(b"user:9:x")) == "r1"
    assert name_of(rules.rule_for(b"cart:x")) == "r3"
    assert rules.rule_for(b"cart:y") is None
    assert policy().rule_for(b"x") is None


@pytest.mark.parametrize(
    "patterns",
    [
        (b"a:{id}", b"b:{hex}", b"*"),
        (b"v2:{id}", b"v1:{id}", b"v[0-9]:*"),
        (b"a:{id}:v2", b"a:{id}:v3", b"a:*"),
        (b"{uuid}", b"?:{ts}", b"[5-7]*"),
    ],
)
@given(names=st.lists(st.lists(st.sampled_from([*b"av:1234567-"]), max_size=12).map(bytes)))
def test_what_is_remembered_is_what_the_patterns_say(
    patterns: tuple[bytes, ...], names: list[bytes]
) -> None:
    rules = policy(*patterns)
    expected = [
        next((n for n, rule in enumerate(rules.rules) if rule.fits(name) is not None), NO_RULE)
        for name in names
    ]
    assert rules.rule_numbers(names) == expected
    assert rules.rule_numbers(names) == expected


UUIDS = [
    b"4be0643f-1d98-573b-97cd-ca98a65347dd",
    b"a1e0643f-1d98-473b-87cd-ca98a65347da",
    b"20240102-1d98-473b-87cd-0a98a6534712",
]
DIGESTS = [b"deadbeefdeadbeef", b"0123456789abcdef" * 2, b"a123456789012345", b"f" * 128]
TAGS = [b"x{%b}" % one for one in (*UUIDS, *DIGESTS)]
VARYING = [*UUIDS, *DIGESTS, *TAGS]
HEADS = [b"a", b"f", b"v1", b"v2", b"sess", b"x", b"x_", b"ref.country", b"x-{", b"{"]
PARTS = [*VARYING, *HEADS, b"7", b"", b"{a}", b"12345678", b"y}"]


@pytest.mark.parametrize(
    "patterns",
    [
        (b"sess:{uuid}", b"sess:{hex}", b"sess:{token}", b"sess:{x}:v1", b"sess:*", b"*"),
        (b"sess:a*", b"sess:*a", b"sess:{*}:f", b"*"),
        (b"v1:{uuid}:v2", b"v2:{uuid}", b"v1:{x}:v1", b"{date}:*", b"*:a"),
        (b"sess:deadbeefdeadbeef", b"sess:{id}", b"sess:x_*", b"sess:x_{uuid}", b"*x*"),
        (b"a:{{uuid}}:f", b"a:\\{*\\}*", b"a:{date}{x}", b"a:{ts}", b"a:{ticker}", b"f:?*"),
        (b"x{a}{id}{b}", b"x{a}b", b"x{uuid}", b"x*a*", b"sess:x{id}", b"x-{a}-{id}-{b}-{c}-{d}"),
        (b"x{a}{id}{b}", b"x*"),
        (b"ref.country.{id}", b"sess.{a}.{hex}", b"{token}", b"a-{a}", b"f*", b"x_*"),
        (b"sess:{ts}", b"sess:{email}", b"sess:{version}", b"{x}-{y}", b"f:{*}/{num}"),
    ],
)
def test_names_with_uuids_and_digests_are_remembered_no_worse(
    patterns: tuple[bytes, ...],
) -> None:
    rules = policy(*patterns)
    joined = [
        separator.join(parts)
        for separator in (b":", b"/", b"-", b"_", b".", b"")
        for parts in (*product(PARTS, PARTS), *product(HEADS, VARYING, (b"v1", b"a", b"f")))
    ]
    keys = [*VARYING, *joined]
    expected = [
        next((n for n, rule in enumerate(rules.rules) if rule.fits(key) is not None), NO_RULE)
        for key in keys
    ]
    assert rules.rule_numbers(keys) == expected
    assert rules.rule_numbers(keys[::-1]) == expected[::-1]
    assert policy(*patterns).rule_numbers(keys[::-1]) == expected[::-1]


def test_names_that_masks_would_look_like_are_names_of_their_own() -> None:
    rules = policy(b"sess:{uuid}", b"sess:*")
    names = [b"sess:" + UUIDS[0], b"sess:\x01", b"sess:\x02", b"sess:" + DIGESTS[0]]
    for keys in (names, names[::-1]):
        found = dict(zip(keys, rules.rule_numbers(keys), strict=True))
        assert [found[name] for name in names] == [0, 1, 1, 1]
    assert [rules.rule_numbers([name])[0] for name in names] == [0, 1, 1, 1]


def test_a_long_name_fits_globs_alone() -> None:
    rules = policy(b"a:{x}", b"a:*")
    assert name_of(rules.rule_for(b"a:" + b"b" * 100)) == "r0"
    assert name_of(rules.rule_for(b"a:" + b"b" * 5000)) == "r1"


def test_protected_keys() -> None:
    rules = Policy("p", (Rule("mine", (b"a:*",), protected=True), Rule("rest", (b"*",))))
    assert rules.protected(b"a:1")
    assert not rules.protected(b"b:1")


def test_tiers() -> None:
    rules = policy()
    tiers = [tier.name if (tier := rules.tier_of(s)) else None for s in (1, 60, 300, 301, 9e4)]
    assert tiers == [None, "high", "high", "medium", None]
    assert rules.tier("low") is not None
    assert rules.tier("none") is None


def test_names() -> None:
    rule = NamingRule(12, allowed_bytes("a-z0-9:{}"), "a-z0-9:{}", "required")
    assert rule.problems(b"{a}:1") == ()
    assert rule.problems(b"User:123456789") == (
        "is 14 bytes long; at most 12 are allowed",
        "has characters other than [a-z0-9:{}]",
        "has no hash tag",
    )
    assert NamingRule(hash_tag="forbidden").problems(b"{a}") == ("has a hash tag",)


@pytest.mark.parametrize(
    ("key", "tagged"),
    [(b"{a}", True), (b"x{a}y{", True), (b"{}{a}", False), (b"}a{", False), (b"{a", False)],
)
def test_hash_tags_are_those_of_the_cluster(key: bytes, tagged: bool) -> None:
    assert has_hash_tag(key) is tagged
