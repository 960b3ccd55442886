from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from cachectl.config.policies import load_policy, policy_of, policy_schema
from cachectl.config.policy_model import PolicyFile
from cachectl.errors import ConfigError
from cachectl.policy import (
    TIERS,
    NamingRule,
    Policy,
    Rule,
    Tier,
    TtlRule,
    ValueRule,
    allowed_bytes,
)

HEAD = "version: 1\nrules:\n"


def loaded(text: str) -> Policy:
    return policy_of(text.encode(), "policy.yaml")


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(text)
    error = caught.value
    assert error.target == "policy.yaml"
    return f"{error.message} | {error.hint}" if error.hint else error.message


# --- What a policy means ------------------------------------------------------------------------


def test_the_least_policy_has_all_defaults(tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text("version: 1\nrules: []\n")
    assert load_policy(path) == Policy("shop", source=path)
    path.write_text(HEAD + "  - {name: all, match: '*'}\n")
    assert load_policy(path).rules == (Rule("all", (b"*",), line=3),)


def test_everything_at_once(tmp_path: Path) -> None:
    (tmp_path / "profile.schema.json").write_text('{"type": "object"}')
    path = tmp_path / "shop.yaml"
    path.write_text(
        """\
version: 1
name: shop
description: all of it
tiers:
  hourly: {min: 30m, max: 2h}
  high: {min: 1s, max: 1m}
rules:
  - name: profiles
    match: ["user:{id}:profile", "u:*"]
    description: who they are
    owner: accounts
    layer: application
    ttl: {tier: hourly, presence: optional, jitter: 10%, expiry: sliding}
    types: [String, hash]
    max_bytes: 64kb
    max_elements: 100
    max_memory_share: 0.25
    value: {format: json, schema_file: profile.schema.json}
    naming: {max_length: 64, characters: "a-z:", hash_tag: required}
    protected: true
  - {name: quick, match: "q:*", ttl: {tier: high}}
  - {name: range, match: "r:*", ttl: {min: 5, max: 1h30m}, value: text}
  - {name: open, match: "o:*", ttl: {max: 1h}}
  - {name: never, match: "n:*", ttl: forbidden}
"""
    )
    policy = load_policy(path)
    assert (policy.name, policy.description, policy.source) == ("shop", "all of it", path)
    assert policy.tiers == (*(Tier("high", 1, 60), TIERS[1], TIERS[2], Tier("hourly", 1800, 7200)),)
    first, *others = policy.rules
    assert first == Rule(
        name="profiles",
        match=(b"user:{id}:profile", b"u:*"),
        layer="application",
        ttl=TtlRule("optional", 1800, 7200, "hourly", 0.1, "sliding"),
        types=("string", "hash"),
        max_bytes=65536,
        max_elements=100,
        value=ValueRule("json", {"type": "object"}),
        owner="accounts",
        protected=True,
        max_memory_share=0.25,
        naming=NamingRule(64, allowed_bytes("a-z:"), "a-z:", "required"),
        description="who they are",
        line=8,
    )
    assert [rule.ttl for rule in others] == [
        TtlRule("required", 1, 60, "high"),
        TtlRule("required", 5, 5400),
        TtlRule("required", None, 3600),
        TtlRule("forbidden"),
    ]
    assert others[1].value == ValueRule("text")


# --- What is wrong with one ---------------------------------------------------------------------


def rule(text: str) -> str:
    return HEAD + "  - name: a\n    match: a:*\n    " + text + "\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "line 1: the file is empty | is there a blank after each colon?"),
        ("rules: []", "line 1: `version` is missing"),
        ("version: 2\nrules: []", "line 1: `version` must be 1"),
        ("version: 1", "line 1: `rules` is missing"),
        (rule("ttl: requird"), "`rules[0].ttl` must be required, forbidden or optional, or have"),
        (rule("ttl: {mn: 1s}"), "`rules[0].ttl.mn` is not a known field; did you mean `min`?"),
        (rule("ttl: {min: 1h, max: 5m}"), "line 5: `rules[0].ttl.max` is less than `min`"),
        (rule("ttl: {tier: medum}"), "names no tier; did you mean medium? | there are high, "),
        (rule("ttl: {tier: low, max: 5m}"), "`rules[0].ttl.max` says again what `tier` says"),
        (rule("ttl: {presence: forbidden, jitter: 5%}"), "jitter` cannot be, where a TTL is forb"),
        (rule("ttl: {min: 0}"), "`rules[0].ttl.min` must be longer than 0"),
        (rule("ttl: {max: -1}"), "`rules[0].ttl.max` must be a duration"),
        (rule("ttl: {max: 1e18}"), "`rules[0].ttl.max` must be a duration"),
        (rule("layer: sesion"), "session, application or shared; did you mean session?"),
        (rule("layr: session"), "line 5: `rules[0].layr` is not a known field; did you mean `lay"),
        (rule("max_bytes: lots"), "`rules[0].max_bytes` must be a size"),
        (rule("max_elements: 0"), "`rules[0].max_elements` must be more than 0"),
        (rule("max_memory_share: 101%"), "`rules[0].max_memory_share` must be a percentage"),
        (rule("types: []"), "`rules[0].types` must have at least 1 items"),
        (rule("protected: yes"), "`rules[0].protected` must be true or false"),
        (rule("value: yaml"), "value` must be json, messagepack, text, integer or number, or"),
        (rule("value: {format: text, schema: {type: object}}"), "needs `format` json or messagep"),
        (rule("value: {format: json, schema_file: x}"), "needs a policy that is a file"),
        (rule("naming: {characters: 'a]'}"), "must be characters and ranges, like a-z0-9:_"),
        (HEAD + "  - {name: a, match: ''}", "`rules[0].match` must not be empty"),
        (HEAD + "  - {name: a, match: []}", "`rules[0].match` must have at least 1 items"),
        (HEAD + "  - {match: 'a:*'}", "line 3: `rules[0].name` is missing"),
        (HEAD + "  - {name: a, match: a}\n  - {name: a, match: b}", "is the name of rule 1 too"),
        ("version: 1\ntiers: {x: {min: 2h, max: 1h}}\nrules: []", "`tiers.x.max` is less than `mi"),
        ("version: 1\nrules: &a []", "line 2: holds an anchor"),
        ("version: 1\nversion: 1", "line 2: has the field `version` a second time"),
        ("version: !!python/object:os.system 1", "line 1: holds a tag"),
        ("version: 1\n\trules: []", "line 2: uses a tab"),
    ],
)
def test_every_mistake_has_its_sentence(text: str, sentence: str) -> None:
    assert sentence in refusal(text)


def test_all_mistakes_are_told_at_once() -> None:
    text = rule("layr: x\n    ttl: {tier: medum}\n    max_bytes: lots")
    assert refusal(text).startswith("policy.yaml has 2 problems:")
    text = rule("ttl: {tier: medum}\n    value: {format: text, schema: {a: 1}}")
    assert refusal(text).count("line ") == 2


def test_a_schema_file_must_hold_a_schema(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(rule("value: {format: json, schema_file: s.json, schema: {type: object}}"))
    for content, sentence in ((None, "cannot be read"), ("[1]", "is no JSON Schema"), ("{}", "")):
        if content is not None:
            (tmp_path / "s.json").write_text(content)
        with pytest.raises(ConfigError) as caught:
            load_policy(path)
        assert sentence in str(caught.value)
        assert "says again what `schema` says" in str(caught.value)


# --- The schema for editors ---------------------------------------------------------------------

VALID: list[dict[str, Any]] = [
    {"name": "a", "match": "a:*"},
    {"name": "a", "match": ["a:*"], "ttl": "required", "value": "json"},
    {"name": "a", "match": "a", "ttl": {"min": 5, "max": "1h"}, "value": {"format": "json"}},
]
INVALID: list[dict[str, Any]] = [
    {"name": "a"},
    {"name": "a", "match": "a", "ttl": "never"},
    {"name": "a", "match": "a", "ttl": {"least": 5}},
    {"name": "a", "match": "a", "value": "yaml"},
    {"name": "a", "match": "a", "layer": None},
]


@pytest.mark.parametrize("one", VALID)
def test_schema_and_model_accept(one: dict[str, Any]) -> None:
    data = {"version": 1, "rules": [one]}
    jsonschema.validate(data, policy_schema())
    loaded(json.dumps(data))


@pytest.mark.parametrize("one", INVALID)
def test_schema_and_model_refuse(one: dict[str, Any]) -> None:
    data = {"version": 1, "rules": [one]}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, policy_schema())
    with pytest.raises(ConfigError):
        loaded(json.dumps(data))


def test_the_schema_is_json_and_complete() -> None:
    schema = json.loads(json.dumps(policy_schema()))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert set(schema["properties"]) == set(PolicyFile.model_fields)
    assert "null" not in json.dumps(schema)
    rule_fields = schema["$defs"]["RuleSection"]["properties"].values()
    assert all("description" in field or "$ref" in field for field in rule_fields)
