"""What may stand in a policy file. The meaning of it all together is in config.policies.

No default is set here: the records of cachectl.policy have them all.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field

from cachectl.config.fields import (
    FieldError,
    PositiveDuration,
    RangesSection,
    Ratio,
    Section,
    Size,
    Text,
)
from cachectl.config.json_schema import file_schema
from cachectl.keypatterns import PatternError, compiled
from cachectl.policy import Expiry, HashTag, Layer, Presence, ValueFormat, allowed_bytes

PRESENCES: tuple[str, ...] = get_args(Presence)
FORMATS: tuple[str, ...] = get_args(ValueFormat)

Name = Annotated[str, Field(min_length=1, max_length=100)]
PositiveCount = Annotated[int, Field(gt=0)]


def _pattern(value: str) -> str:
    try:
        compiled(value.encode())
    except PatternError as error:
        raise FieldError(str(error), "`cachectl help policies` explains patterns") from None
    return value


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _ttl_word(value: Any) -> Any:
    if isinstance(value, str):
        if value not in PRESENCES:
            raise FieldError(
                f"must be {', '.join(PRESENCES[:-1])} or {PRESENCES[-1]}, or have fields",
                "like {min: 5m, max: 1h} or {tier: medium}",
            )
        return {"presence": value}
    return value


def _format_word(value: Any) -> Any:
    if isinstance(value, str):
        if value not in FORMATS:
            raise FieldError(f"must be {', '.join(FORMATS[:-1])} or {FORMATS[-1]}, or have fields")
        return {"format": value}
    return value


def _characters(value: str) -> str:
    try:
        allowed_bytes(value)
    except ValueError:
        raise FieldError("must be characters and ranges, like a-z0-9:_", "write ] as \\]") from None
    return value


Pattern = Annotated[str, AfterValidator(_pattern)]


class TierSection(Section):
    """A range of TTLs with a name."""

    min: PositiveDuration = Field(description="The shortest TTL")
    max: PositiveDuration = Field(description="The longest TTL")


class TtlSection(Section):
    """What the TTL of a key has to be when the key is written."""

    presence: Presence | None = Field(
        None, description="Whether a key has to have one; required when a range or tier is given"
    )
    tier: Name | None = Field(None, description="high, medium, low, or one of the policy's tiers")
    min: PositiveDuration | None = Field(None, description="The shortest, counted from the write")
    max: PositiveDuration | None = Field(None, description="The longest")
    jitter: Ratio | None = Field(
        None, description="Share by which TTLs are expected to vary, so that keys expire apart"
    )
    expiry: Expiry | None = Field(
        None, description="sliding: each access renews it; absolute: it counts from the write"
    )


class ValueSection(Section):
    """What the value has to be: of a string the whole, of other types each element."""

    format: ValueFormat = Field(description="What it is, below any compression")
    json_schema: dict[str, Any] | None = Field(
        None, alias="schema", description="JSON Schema (draft 2020-12) of what the value holds"
    )
    schema_file: Text | None = Field(None, description="A file with that schema, JSON or YAML")


class NamingSection(Section):
    """How a key may be called."""

    max_length: PositiveCount | None = Field(None, description="Bytes")
    characters: Annotated[Text, AfterValidator(_characters)] | None = Field(
        None, description="Characters and ranges that may stand in a name: a-z0-9:_"
    )
    hash_tag: HashTag | None = Field(
        None, description="Whether a {…} that decides about the cluster slot has to be there"
    )


class RuleSection(Section):
    """What is meant to be true of the keys that a pattern fits; the first rule wins."""

    name: Name = Field(description="How reports call the rule")
    match: Annotated[
        list[Pattern], BeforeValidator(_one_or_more), Field(min_length=1, max_length=100)
    ] = Field(description="Templates or globs: user:{id}:profile, cart:*")
    description: Annotated[str, Field(max_length=500)] | None = Field(
        None, description="For people"
    )
    owner: Name | None = Field(None, description="Whom to ask about these keys")
    layer: Layer | None = Field(None, description="Level of the cache")
    ttl: Annotated[TtlSection, BeforeValidator(_ttl_word)] | None = Field(
        None, description="required, forbidden or optional, or its range"
    )
    types: Annotated[list[Name], Field(min_length=1)] | None = Field(
        None, description="Types that the keys may have"
    )
    max_bytes: Size | None = Field(None, description="Of one key in memory")
    max_elements: PositiveCount | None = Field(None, description="Members, fields or entries")
    max_memory_share: Ratio | None = Field(None, description="Of the bytes of all keys")
    value: Annotated[ValueSection, BeforeValidator(_format_word)] | None = Field(
        None, description="What the values have to be"
    )
    naming: NamingSection | None = None
    protected: bool | None = Field(None, description="true: no run may change these keys")


class PolicyFile(Section):
    """A policy: what is meant to be true of each namespace of a cache."""

    version: Literal[1] = Field(description="Version of this format")
    name: Name | None = Field(None, description="The file's name unless given")
    description: Annotated[str, Field(max_length=500)] | None = Field(
        None, description="For people"
    )
    tiers: dict[Name, TierSection] | None = Field(
        None, description="Further ranges of TTLs, or other limits for high, medium and low"
    )
    thresholds: dict[Name, RangesSection] | None = Field(
        None, description="Ranges of checks of `cachectl check`"
    )
    rules: list[RuleSection] = Field(description="The first rule that a key fits wins")


def policy_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a policy file, for editors and other tools."""
    schema = file_schema(PolicyFile, "cachectl.policy-file/1", "Policy of cachectl")
    rule = schema["$defs"]["RuleSection"]["properties"]
    _also(rule["match"], {"type": "string"})
    _also(rule["ttl"], {"enum": list(PRESENCES)})
    _also(rule["value"], {"enum": list(FORMATS)})
    return schema


def _also(field: dict[str, Any], short: dict[str, Any]) -> None:
    """Let a field be written in its short form too."""
    about = {name: field.pop(name) for name in ("description",) if name in field}
    long = dict(field)
    field.clear()
    field.update({"anyOf": [short, long], **about})
