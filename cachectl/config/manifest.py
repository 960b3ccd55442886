"""What a manifest means: entries, and the sources that their rows come from.

Plain frozen dataclasses, as in config.target: whoever warms reads these and neither pydantic nor
YAML. Templates are still text here (`product:{id}`); sources.template compiles them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from cachectl.config.durations import format_duration
from cachectl.config.secrets import Secret
from cachectl.policy import DEFAULT_JITTER

VERSION = 1
"""The version of the format: what `manifest:` says."""

ValueType = Literal["string", "hash", "list", "set", "zset", "stream", "copy"]
Codec = Literal["raw", "json", "msgpack", "zlib", "gzip", "zstd"]
TtlKind = Literal["policy", "never", "range", "tier", "at", "column", "kept"]
ExistingRule = Literal["keep", "replace", "replace-if-different", "replace-if-expires-within"]
ValueKind = Literal["template", "row", "column", "columns", "fields", "elements", "members", "copy"]
FileFormat = Literal["csv", "tsv", "json", "ndjson", "parquet"]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in a manifest: file, line (from 1), and path (`entries[2].key`)."""

    file: Path
    line: int
    path: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}: `{self.path}`"


@dataclass(frozen=True, slots=True)
class Ttl:
    """How long a key is to live.

    kind: `range` (between low and high seconds: a fixed duration has both alike), `tier` (a name
    that the policy or the built-in tiers explain), `at` (Unix seconds in `at`), `column` (the row
    says how many seconds), `kept` (what the key had left where it was copied from), `policy` (what
    the policy says for its namespace), `never` (no TTL, on purpose). jitter: the share
    by which a TTL is shortened at most, 0–1: what was loaded together expires apart, and nothing
    lives longer than it was meant to.
    """

    kind: TtlKind = "policy"
    low: float = 0.0
    high: float = 0.0
    jitter: float = DEFAULT_JITTER
    tier: str = ""
    at: float = 0.0
    column: str = ""

    def __str__(self) -> str:
        match self.kind:
            case "never":
                return "never expires"
            case "policy":
                return "by policy"
            case "kept":
                return "as copied"
            case "tier":
                return f"tier {self.tier}"
            case "column":
                return f"column {self.column}"
            case "at":
                return f"until {datetime.fromtimestamp(self.at, UTC):%Y-%m-%d %H:%M} UTC"
        low, high = round(self.low * (1 - self.jitter), 3), self.high
        texts = dict.fromkeys((format_duration(low), format_duration(high)))
        return " to ".join(texts)


@dataclass(frozen=True, slots=True)
class Existing:
    """What happens to a key that is there already. within: seconds, for the last of the rules."""

    rule: ExistingRule = "keep"
    within: float = 0.0

    def __str__(self) -> str:
        words = self.rule.replace("-", " ")
        return f"{words} {format_duration(self.within)}" if self.within else words


@dataclass(frozen=True, slots=True)
class Tag:
    """A set or sorted set of the application that lists the keys with something in common.

    key, member: templates; the member is the entry's key when it is None. score: a template for
    a number, of sorted sets alone.
    """

    key: str
    kind: Literal["set", "zset"] = "set"
    member: str | None = None
    score: str | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """The queue through which a write-behind application writes to its database.

    kind: `stream` (of `group`, whose lag and pending entries count) or `list`. key_field: the
    field of a stream's entry, or of the JSON object in a list's item, that names the cache key
    which is not settled yet; None: nothing of the entry is settled while anything is queued.
    wait: seconds that `verify` may wait for it to settle.
    """

    kind: Literal["stream", "list"]
    key: bytes
    group: bytes = b""
    key_field: str | None = None
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class Value:
    """From which parts of a row a value is made.

    kind: `template` (text), `row` (all columns), `column` (one, in `column`), `columns` (an object
    of some: name → column), `fields` (name → template: a hash, or one entry of a stream),
    `elements` (templates: of a list or a set), `members` (member and score templates in
    `elements` and `scores`: of a sorted set), `copy` (the value that was read from a cache).
    id: a template for the id of a stream's entry; without one they are 0-1, 0-2, …
    """

    kind: ValueKind
    template: str = ""
    column: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    elements: tuple[str, ...] = ()
    scores: tuple[str, ...] = ()
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """Keys that are made alike from the rows of one source.

    key: the template. gather: consecutive rows with the same key make one collection together;
    without it one row makes one key. codec: applied from left to right, to every element.
    where: a row counts only when each of these columns has this text. max_bytes: a larger value
    is a row's problem and not written.
    """

    name: str
    source: str
    key: str
    type: ValueType
    value: Value
    place: Place
    codec: tuple[Codec, ...] = ("raw",)
    ttl: Ttl = Ttl()
    existing: Existing = Existing()
    tags: tuple[Tag, ...] = ()
    pending: Pending | None = None
    gather: bool = False
    where: Mapping[str, str] = field(default_factory=dict)
    max_bytes: int = 64 * 1024 * 1024


# --- where rows come from -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SourceLimits:
    """What one source may cost.

    max_rows: the rest is left, and said to be. max_bytes: of everything read, after decompression;
    max_row: of one row. timeout: seconds that the source may keep us waiting, all in all. retries:
    how often it is tried again after a failure that may pass.
    """

    max_rows: int | None = None
    max_bytes: int = 100 * 1024**3
    max_row: int = 16 * 1024 * 1024
    timeout: float = 3600.0
    retries: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec:
    """What all sources have. columns: those that rows are said to have, None: unknown."""

    name: str
    place: Place
    limits: SourceLimits = SourceLimits()
    columns: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InlineSpec(SourceSpec):
    """Rows that stand in the manifest, or the numbers of a range (column `n`)."""

    rows: tuple[Mapping[str, object], ...] = ()
    numbers: range | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSpec(SourceSpec):
    """Files, read one after the other.

    patterns: paths or globs, from the manifest's directory. format: None: by the name's ending.
    delimiter: of CSV. root: the path of the array in a JSON file (`data.items`).
    """

    patterns: tuple[str, ...]
    format: FileFormat | None = None
    delimiter: str | None = None
    root: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlSpec(SourceSpec):
    """One query. url: SQLAlchemy's, without the password. parameters are bound, never pasted."""

    url: str
    query: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    password: Secret | None = None
    fetch: int = 1000


@dataclass(frozen=True, slots=True)
class Paging:
    """How an HTTP source goes on after its first page.

    kind: `link` (the Link header with rel=next), `next` (a URL in the body, at `next_path`), `page`
    (the parameter `parameter` counts from `first`, until a page has no rows or `pages` are read).
    """

    kind: Literal["link", "next", "page"]
    next_path: str = ""
    parameter: str = "page"
    first: int = 1
    pages: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSpec(SourceSpec):
    """GET requests that answer with JSON or NDJSON.

    root: the path of the array in the body. headers may be secrets. concurrency: pages that are
    asked for at the same time (`page` alone). request_timeout: seconds for a whole answer, however
    slowly its bytes come. max_answer: bytes of one page, after decompression.
    """

    url: str
    format: Literal["json", "ndjson"] = "json"
    root: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str | Secret] = field(default_factory=dict)
    paging: Paging | None = None
    concurrency: int = 4
    request_timeout: float = 30.0
    max_answer: int = 64 * 1024 * 1024
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSpec(SourceSpec):
    """Keys of another cache, with their values and TTLs. profile: a name, or a file's path."""

    profile: str
    patterns: tuple[str, ...] = ("*",)
    type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveSpec(SourceSpec):
    """Keys that a run of ours has archived (`run`: its id or `last`)."""

    run: str
    patterns: tuple[str, ...] = ("*",)


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotSpec(SourceSpec):
    """The names, types and TTLs of a saved scan (it holds no values)."""

    file: str
    patterns: tuple[str, ...] = ("*",)


AnySource = InlineSpec | FileSpec | SqlSpec | HttpSpec | CacheSpec | ArchiveSpec | SnapshotSpec


@dataclass(frozen=True, slots=True)
class Allowed:
    """What the person who runs a manifest allows beyond the usual; the manifest itself cannot.

    paths: directories besides the manifest's that files may lie in. networks: loopback and
    link-local addresses that an HTTP source may talk to.
    """

    paths: tuple[Path, ...] = ()
    networks: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """A whole manifest, with what it includes.

    digest: hex, over everything that says what is loaded (variables filled in, secrets by where
    they come from): two machines that warm the same have the same. directory: where relative paths
    start, and what files are confined to. concurrency: sources that are read at the same time.
    """

    name: str
    version: int
    digest: str
    path: Path
    entries: tuple[Entry, ...]
    sources: Mapping[str, AnySource]
    description: str = ""
    concurrency: int = 4

    @property
    def directory(self) -> Path:
        """Where relative paths start."""
        return self.path.absolute().parent

    def entries_of(self, source: str) -> tuple[Entry, ...]:
        """Return the entries that take rows from one source, in the manifest's order."""
        return tuple(entry for entry in self.entries if entry.source == source)
