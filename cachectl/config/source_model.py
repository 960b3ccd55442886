"""What may stand below `sources:` in a manifest. Each source is exactly one of the kinds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from cachectl.config.fields import (
    Count,
    FieldError,
    PositiveCount,
    PositiveDuration,
    Section,
    Size,
    Text,
)
from cachectl.config.secret_model import SecretField, SecretSource

KINDS = ("rows", "range", "file", "sql", "http", "cache", "archive", "snapshot")
_SECRETS_HINT = "take it from {env: NAME}, {file: PATH}, {keyring: …} or {prompt: true}"
MOST_INLINE_ROWS = 10_000
MOST_NUMBERS = 10_000_000_000

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]{0,8192}")
_SECRET_HEADERS = re.compile(r"auth|cookie|token|secret|api-?key|password", re.IGNORECASE)
_QUERY_WORDS = ("select", "with", "values", "table")


def shape(value: Any) -> str:
    """Return which branch of a union a written value is meant for."""
    return "fields" if isinstance(value, dict | BaseModel) else "plain"


def _no_command(source: SecretSource) -> SecretSource:
    """Refuse a command: a manifest comes with a checkout, and reading it must run nothing."""
    if source.command is not None:
        raise FieldError(
            "must not come from a command: a manifest runs no program",
            _SECRETS_HINT,
        )
    return source


_Secret = Annotated[SecretField, AfterValidator(_no_command)]
_Header = Annotated[
    Annotated[str, Tag("plain")]
    | Annotated[SecretSource, AfterValidator(_no_command), Tag("fields")],
    Discriminator(shape),
]


def _names(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Texts = Annotated[
    list[Text],
    Field(min_length=1, max_length=1000),
    BeforeValidator(_names, json_schema_input_type=str | list[str]),
]
Scalar = str | int | float | bool


def _file(value: Any) -> Any:
    return {"path": value} if isinstance(value, str | list) else value


def _range(value: list[int]) -> list[int]:
    first, last = value[:2]
    step = value[2] if len(value) > 2 else 1
    if step < 1 or last < first:
        raise FieldError("must rise: [first, last] or [first, last, step]")
    if (last - first) // step >= MOST_NUMBERS:
        raise FieldError(f"has more than {MOST_NUMBERS:,} numbers")
    return value


class FileSection(Section):
    """Files below the manifest's directory."""

    path: Texts = Field(description="A path or a glob, or several; from the manifest's directory")
    format: Literal["csv", "tsv", "json", "ndjson", "parquet"] | None = Field(
        None, description="By the name's ending unless given (a .gz after it is allowed)"
    )
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = Field(
        None, description="Between the columns of a CSV file: a comma"
    )
    root: Text | None = Field(None, description="Path of the array in a JSON file: data.items")


def _sql_url(value: str) -> str:
    scheme, colon, rest = value.partition("://")
    if not colon or not re.fullmatch(r"[a-z0-9]+(\+[a-z0-9_]+)?", scheme):
        raise FieldError("must be a URL like postgresql+psycopg://user@host/database")
    if ":" in rest.partition("@")[0] and "@" in rest:
        raise FieldError(
            "must not contain a password", "remove it, and say in `password:` where it comes from"
        )
    return value


def _first_word(query: str) -> str:
    """Return the first word that is not in a comment, in lower case."""
    rest = query.lstrip()
    while rest.startswith(("--", "/*")):
        rest = rest.partition("\n" if rest.startswith("--") else "*/")[2].lstrip()
    word = re.match(r"\w*", rest)
    return word.group().lower() if word else ""


def _query(value: str) -> str:
    if _first_word(value) not in _QUERY_WORDS:
        raise FieldError("must be a query: it begins with SELECT, WITH, VALUES or TABLE")
    if ";" in value.rstrip().removesuffix(";"):
        raise FieldError(
            "holds a `;`, and must be one statement", "bind a text that has one as a parameter"
        )
    if "${" in value:
        raise FieldError(
            "holds a variable, which would be pasted into the query",
            "write :name in the query and `parameters: {name: ${variable}}` beside it",
        )
    return value.rstrip().removesuffix(";")


class SqlSection(Section):
    """One query of a database, read in a read-only transaction."""

    url: Annotated[Text, AfterValidator(_sql_url)] = Field(
        description="SQLAlchemy's URL, without the password"
    )
    query: Annotated[str, Field(min_length=1, max_length=65_536), AfterValidator(_query)] = Field(
        description="SELECT …; values stand in it as :name"
    )
    parameters: dict[str, Scalar] = Field(
        default_factory=dict, description="What :name in the query stands for"
    )
    password: _Secret | None = Field(None, description="Where the password comes from")
    fetch: Annotated[int, Field(ge=1, le=100_000)] = Field(
        1000, description="Rows that are fetched at once"
    )


class PagingSection(Section):
    """How to go on after the first page: exactly one of the first three."""

    link: Literal[True] | None = Field(None, description="The Link header with rel=next")
    next: Text | None = Field(None, description="Path of the next page's URL in the body")
    page: Text | None = Field(None, description="Name of the parameter that counts the pages")
    first: Count = Field(1, description="Number of the first page")
    pages: Annotated[int, Field(ge=1, le=1_000_000)] = Field(10_000, description="Pages, at most")

    @model_validator(mode="after")
    def _exactly_one(self) -> PagingSection:
        if sum(getattr(self, name) is not None for name in ("link", "next", "page")) != 1:
            raise FieldError("takes exactly one of `link`, `next` and `page`")
        return self


def _http_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise FieldError("is not a URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise FieldError("must be a URL that begins with http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise FieldError(
            "must not contain a login", "send it in `headers:` or `bearer:`, from {env: NAME}"
        )
    if not value.isprintable() or " " in value:
        raise FieldError("must not hold blanks or control characters", "write a blank as %20")
    return value


def _headers(value: dict[str, Any]) -> dict[str, Any]:
    for name, held in value.items():
        if not _HEADER_NAME.fullmatch(name):
            raise FieldError("has a name that no HTTP header has")
        if isinstance(held, str) and not _HEADER_VALUE.fullmatch(held):
            raise FieldError("has a value that no HTTP header has")
        if isinstance(held, str) and _SECRET_HEADERS.search(name):
            raise FieldError("must not hold a secret in plain text", _SECRETS_HINT)
    return value


class HttpSection(Section):
    """An HTTP service that answers GET with JSON or NDJSON."""

    url: Annotated[Text, AfterValidator(_http_url)] = Field(description="http:// or https://")
    format: Literal["json", "ndjson"] = Field("json", description="Of the answers")
    root: Text | None = Field(None, description="Path of the array in the answer: data.items")
    parameters: dict[str, Scalar] = Field(default_factory=dict, description="Of the URL's query")
    headers: Annotated[dict[str, _Header], AfterValidator(_headers)] = Field(
        default_factory=dict, description="Text, or where a secret comes from: {env: NAME}"
    )
    bearer: _Secret | None = Field(None, description="Token for `Authorization: Bearer`")
    paging: PagingSection | None = None
    concurrency: Annotated[int, Field(ge=1, le=32)] = Field(
        4, description="Pages that are asked for at the same time (with `page`)"
    )
    request_timeout: PositiveDuration = Field(30.0, description="For one whole answer")
    max_answer: Size = Field(64 * 1024 * 1024, description="Bytes of one answer")
    ca_file: Text | None = Field(None, description="PEM file of the CAs to trust")


class CacheSection(Section):
    """Another cache, reached through its profile."""

    profile: Text = Field(description="A profile's name or file")
    match: Texts = Field(default_factory=lambda: ["*"], description="Globs of the keys to copy")
    type: Literal["string", "hash", "list", "set", "zset", "stream"] | None = Field(
        None, description="Only keys of this type"
    )


class ArchiveSection(Section):
    """What a run of cachectl has archived."""

    run: Text = Field(description="The run's id, a beginning of it, or last")
    match: Texts = Field(default_factory=lambda: ["*"], description="Globs of the keys to take")


class SnapshotSection(Section):
    """The names of a saved scan; it holds no values."""

    file: Text = Field(description="A file of `scan --save`, from the manifest's directory")
    match: Texts = Field(default_factory=lambda: ["*"], description="Globs of the keys to take")


class SourceSection(Section):
    """Where rows come from: exactly one of the first eight."""

    rows: Annotated[list[dict[str, Any]], Field(max_length=MOST_INLINE_ROWS)] | None = Field(
        None, description="The rows themselves"
    )
    range: (
        Annotated[list[int], Field(min_length=2, max_length=3), AfterValidator(_range)] | None
    ) = Field(None, description="[first, last] or [first, last, step]: the column n")
    file: Annotated[
        FileSection | None,
        BeforeValidator(_file, json_schema_input_type=str | list[str] | FileSection),
    ] = None
    sql: SqlSection | None = None
    http: HttpSection | None = None
    cache: CacheSection | None = None
    archive: ArchiveSection | None = None
    snapshot: SnapshotSection | None = None
    columns: list[Text] | None = Field(
        None, description="The columns that rows have, for `warm check` to compare with"
    )
    max_rows: PositiveCount | None = Field(None, description="Rows beyond these are left")
    max_bytes: Size | None = Field(None, description="Bytes that may be read in all: 100gb")
    max_row: Size | None = Field(None, description="Bytes of one row: 16mb")
    timeout: PositiveDuration | None = Field(
        None, description="How long the source may keep us waiting, all in all: 1h"
    )
    retries: Annotated[int, Field(ge=0, le=20)] | None = Field(
        None, description="After failures that may pass: 3"
    )

    @model_validator(mode="after")
    def _one_kind(self) -> SourceSection:
        kinds = list(self.kinds())
        if len(kinds) != 1:
            has = f"has {' and '.join(kinds)}" if kinds else "says not where its rows are"
            raise FieldError(f"{has}; it takes exactly one of {', '.join(KINDS)}")
        return self

    def kinds(self) -> Iterator[str]:
        """Yield the kinds that were written; a valid section has one."""
        yield from (name for name in KINDS if getattr(self, name) is not None)
