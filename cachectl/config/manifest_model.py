"""What may stand in a manifest file. The meaning of it all together is in config.manifests."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from cachectl.config.durations import EXAMPLES, LONGEST, parse_duration
from cachectl.config.fields import (
    Duration,
    FieldError,
    PositiveDuration,
    Ratio,
    Section,
    Size,
    Text,
)
from cachectl.config.json_schema import file_schema
from cachectl.config.manifest import VERSION
from cachectl.config.placeholders import parse_template
from cachectl.config.secret_model import env_name
from cachectl.config.source_model import Scalar, SourceSection, shape

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")
SHORTEST_TTL = 1.0
"""Seconds: less is a slip of the pen, and 0 would delete what was just written."""
_NEVER_HINT = "write `never` for keys that are to stay"


def _template(value: str) -> str:
    parse_template(value)
    return value


def _name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise FieldError("must be a name: letters, digits, `.`, `_` and `-`, a letter first")
    return value


Template = Annotated[str, AfterValidator(_template), Field(max_length=65_536)]
Name = Annotated[str, AfterValidator(_name)]


class VariableSection(Section):
    """A variable that the environment sets."""

    env: Annotated[str, AfterValidator(env_name)] = Field(
        description="Name of the environment variable"
    )
    default: Scalar | None = Field(None, description="What it is when the environment has none")


def _ttl_duration(value: float) -> float:
    if value < SHORTEST_TTL:
        raise FieldError("must be at least 1s", _NEVER_HINT)
    return value


def _moment(value: str) -> str:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise FieldError("must be a time like 2030-12-31T04:00:00Z") from None
    if moment.tzinfo is None:
        raise FieldError("must say its time zone", "end it with Z for UTC, or +02:00")
    return value


TtlDuration = Annotated[PositiveDuration, AfterValidator(_ttl_duration)]


class TtlSection(Section):
    """How long keys live: one of duration, min and max, tier, at, column."""

    duration: TtlDuration | None = Field(None, description="Like 10m; jitter spreads it")
    min: TtlDuration | None = Field(None, description="At least; with max")
    max: TtlDuration | None = Field(None, description="At most; with min")
    tier: Text | None = Field(None, description="high, medium, low, or a tier of the policy")
    at: Annotated[str, AfterValidator(_moment)] | None = Field(
        None, description="A time: 2030-12-31T04:00:00Z"
    )
    column: Text | None = Field(None, description="A column with seconds")
    jitter: Annotated[Ratio, Field(le=0.9)] | None = Field(
        None, description="Share by which a TTL is shortened at random: 10%"
    )

    @model_validator(mode="after")
    def _one_kind(self) -> TtlSection:
        kinds = [name for name in ("duration", "tier", "at", "column") if getattr(self, name)]
        if self.min is not None or self.max is not None:
            if self.min is None or self.max is None:
                raise FieldError("needs both `min` and `max`")
            if self.min > self.max:
                raise FieldError("has a `min` that is more than its `max`")
            kinds.append("min and max")
        if len(kinds) != 1:
            raise FieldError(
                "takes exactly one of `duration`, `min` and `max`, `tier`, `at`, `column`"
            )
        return self


def _ttl(value: Any) -> Any:
    if isinstance(value, dict | TtlSection):
        return value
    if value in ("policy", "never", "kept"):
        return value
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise FieldError(f"must be a duration, `policy`, `never` or `kept`: {EXAMPLES}")
    if isinstance(value, int | float) and value > LONGEST:
        raise FieldError("must be shorter than 100 years", _NEVER_HINT)
    try:
        seconds = parse_duration(value if isinstance(value, str) else f"{value:.9f}")
    except ValueError as error:
        hint = _NEVER_HINT if isinstance(value, int | float) and value <= 0 else None
        raise FieldError(f"{error} (or `policy`, `never`, `kept`)", hint) from None
    if seconds < SHORTEST_TTL:
        raise FieldError("must be at least 1s", _NEVER_HINT)
    return {"duration": value}


class ReplaceWithin(Section):
    """Replace a key that expires soon, keep it otherwise."""

    replace_if_expires_within: PositiveDuration = Field(
        alias="replace-if-expires-within", description="Keys with less than this left"
    )


class MemberSection(Section):
    """A member of a sorted set."""

    member: Template = Field(description="A template")
    score: Template = Field(description="A template that gives a number")


_Word = Literal["keep", "replace", "replace-if-different"]
_Existing = Annotated[
    Annotated[_Word, Tag("plain")] | Annotated[ReplaceWithin, Tag("fields")], Discriminator(shape)
]
_Ttl = Annotated[
    Annotated[Literal["policy", "never", "kept"], Tag("plain")]
    | Annotated[TtlSection, Tag("fields")],
    Discriminator(shape),
    BeforeValidator(_ttl, json_schema_input_type=str | float | TtlSection),
]
_Variable = Annotated[
    Annotated[Scalar, Tag("plain")] | Annotated[VariableSection, Tag("fields")],
    Discriminator(shape),
]


def _value(value: Any) -> Any:
    if isinstance(value, bool):
        return {"template": str(value).lower()}
    if isinstance(value, int | float):
        return {"template": repr(value)}
    return {"template": value} if isinstance(value, str) else value


def _named(value: Any) -> Any:
    return {name: name for name in value} if isinstance(value, list) and _texts(value) else value


def _texts(value: list[Any]) -> bool:
    return all(isinstance(item, str) for item in value)


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, str | dict) else value


class ValueSection(Section):
    """From which parts of a row a value is made: exactly one of these (and `id`, of a stream)."""

    template: Template | None = Field(None, description="A text with {column}s")
    row: Literal[True] | None = Field(None, description="All columns; what is meant without value:")
    column: Text | None = Field(None, description="One column, whatever it holds")
    columns: Annotated[
        Annotated[dict[Text, Text], Field(min_length=1)] | None,
        BeforeValidator(_named, json_schema_input_type=list[str] | dict[str, str]),
    ] = Field(None, description="Some columns: [id, name], or {name: column}")
    fields: Annotated[dict[Template, Template], Field(min_length=1)] | None = Field(
        None, description="Fields of a hash or stream entry: {name: template}"
    )
    elements: Annotated[
        list[Template] | None,
        BeforeValidator(_one_or_more, json_schema_input_type=str | list[str]),
    ] = Field(None, description="Elements of a list or set: templates")
    members: Annotated[
        list[MemberSection] | None,
        BeforeValidator(_one_or_more, json_schema_input_type=MemberSection | list[MemberSection]),
    ] = Field(None, description="Members of a sorted set: {member, score}")
    id: Template | None = Field(None, description="Id of a stream's entry; else 0-1, 0-2, …")

    @model_validator(mode="after")
    def _one_kind(self) -> ValueSection:
        if len(self.kinds()) != 1:
            raise FieldError(f"takes exactly one of {', '.join(VALUE_KINDS)}")
        return self

    def kinds(self) -> list[str]:
        """Return the kinds that were written; a valid section has one."""
        return [name for name in VALUE_KINDS if getattr(self, name) is not None]


VALUE_KINDS = ("template", "row", "column", "columns", "fields", "elements", "members")


class TagSection(Section):
    """A set or sorted set of the application that names the key."""

    set: Template | None = Field(None, description="Key of a set")
    zset: Template | None = Field(None, description="Key of a sorted set; with score")
    score: Template | None = Field(None, description="A template that gives a number")
    member: Template | None = Field(None, description="What is added; the entry's key unless given")

    @model_validator(mode="after")
    def _one_kind(self) -> TagSection:
        if (self.set is None) == (self.zset is None):
            raise FieldError("takes exactly one of `set` and `zset`")
        if (self.zset is None) != (self.score is None):
            raise FieldError("needs `score` with `zset`, and only there")
        return self


def _tag(value: Any) -> Any:
    return {"set": value} if isinstance(value, str) else value


_Tag = Annotated[TagSection, BeforeValidator(_tag, json_schema_input_type=str | TagSection)]


class PendingSection(Section):
    """The queue of a write-behind application: what is in it is not settled yet."""

    stream: Text | None = Field(None, description="Key of a stream; with group")
    group: Text | None = Field(None, description="The consumer group that writes to the database")
    list: Text | None = Field(None, description="Key of a list")
    key_field: Text | None = Field(None, description="Field of an item that names the cache key")
    wait: Duration = Field(0.0, description="How long verify waits for the queue to empty")

    @model_validator(mode="after")
    def _one_kind(self) -> PendingSection:
        if (self.stream is None) == (self.list is None):
            raise FieldError("takes exactly one of `stream` and `list`")
        if (self.stream is None) != (self.group is None):
            raise FieldError("needs `group` with `stream`, and only there")
        return self


_Codec = Literal["raw", "json", "msgpack", "zlib", "gzip", "zstd"]


class EntrySection(Section):
    """Keys that are made alike from the rows of a source."""

    name: Name | None = Field(None, description="For reports; the source's name unless given")
    source: Text = Field(description="A name below sources:")
    key: Annotated[Template, Field(min_length=1)] | None = Field(
        None, description="A template: product:{id}"
    )
    type: (
        Literal["string", "hash", "list", "set", "zset", "sorted set", "stream", "copy"] | None
    ) = Field(None, description="string; copy for keys of another cache or an archive")
    value: Annotated[
        ValueSection | None, BeforeValidator(_value, json_schema_input_type=str | ValueSection)
    ] = Field(
        None, description="A template, or what the value is made of; the whole row unless given"
    )
    codec: Annotated[
        Annotated[list[_Codec], Field(min_length=1, max_length=3)] | None,
        BeforeValidator(_one_or_more, json_schema_input_type=_Codec | list[_Codec]),
    ] = Field(None, description="One, or several from left to right: [json, zstd]")
    ttl: _Ttl | None = Field(
        None, description="A duration, its parts, policy, never or kept: policy"
    )
    existing: _Existing | None = Field(
        None, description="What happens to a key that is there: keep"
    )
    tags: Annotated[
        Annotated[list[_Tag], Field(max_length=20)] | None,
        BeforeValidator(_one_or_more, json_schema_input_type=_Tag | list[_Tag]),
    ] = Field(None, description="Sets and sorted sets of the application that name the key")
    gather: bool = Field(False, description="Consecutive rows with one key make one collection")
    where: dict[Text, Scalar] = Field(
        default_factory=dict, description="Only rows that have these texts in these columns"
    )
    pending: PendingSection | None = Field(None, description="The queue of a write-behind cache")
    max_bytes: Size | None = Field(None, description="Larger values are not written: 64mb")


def _version(value: int) -> int:
    if value != VERSION:
        raise FieldError("is a version that this cachectl does not know", f"it knows {VERSION}")
    return value


class ManifestFile(Section):
    """A manifest: what a warming loads, and where from."""

    manifest: Annotated[int, AfterValidator(_version)] = Field(
        description=f"Version of the format: {VERSION}"
    )
    name: Name | None = Field(None, description="The file's name unless given")
    description: Annotated[str, Field(max_length=200)] | None = None
    variables: dict[Name, _Variable] = Field(
        default_factory=dict, description="${name} stands for them; --set changes them"
    )
    include: Annotated[
        list[Text],
        Field(max_length=100),
        BeforeValidator(_one_or_more, json_schema_input_type=str | list[str]),
    ] = Field(
        default_factory=list, description="Manifests whose sources and entries come before ours"
    )
    concurrency: Annotated[int, Field(ge=1, le=32)] | None = Field(
        None, description="Sources that are read at the same time: 4"
    )
    sources: dict[Name, SourceSection] = Field(default_factory=dict)
    entries: list[EntrySection] = Field(default_factory=list)


def manifest_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a manifest, for editors and other tools."""
    return file_schema(ManifestFile, "cachectl.manifest-file/1", "Manifest of cachectl")
