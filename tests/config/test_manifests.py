from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cachectl.config.manifest import (
    Allowed,
    ArchiveSpec,
    CacheSpec,
    Existing,
    FileSpec,
    HttpSpec,
    InlineSpec,
    Manifest,
    Paging,
    Pending,
    SnapshotSpec,
    SourceLimits,
    SqlSpec,
    Tag,
    Ttl,
    Value,
)
from cachectl.config.manifest_model import manifest_schema
from cachectl.config.manifests import load_manifest
from cachectl.config.placeholders import Placeholder, columns_of, parse_template
from cachectl.config.secrets import Secret
from cachectl.errors import CachectlError, ConfigError, RefusedError, UsageError

CANARY = "s3cr3t-canary"
NOW = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
LEAST = """
manifest: 1
sources: {rows: {rows: [{id: 1}]}}
entries: [{source: rows, key: "k:{id}"}]
"""


@pytest.fixture
def manifest(tmp_path: Path) -> Any:
    """Return a function that loads the text of a manifest."""

    def load(text: str, *, name: str = "m.yaml", **options: Any) -> Manifest:
        path = tmp_path / name
        path.write_text(text)
        options.setdefault("environ", {})
        return load_manifest(path, now=NOW, **options)

    return load


@pytest.fixture
def refusal(manifest: Any, tmp_path: Path) -> Any:
    """Return a function that loads a bad manifest and returns its message and hint."""

    def load(text: str, **options: Any) -> str:
        with pytest.raises(CachectlError) as caught:
            manifest(text, **options)
        error = caught.value
        assert isinstance(error, ConfigError | UsageError | RefusedError)
        whole = f"{error} {error.hint} {error.__cause__!r} {error.__context__!r}"
        assert CANARY not in whole
        return f"{error} | {error.hint}".replace(f"{tmp_path}/", "")

    return load


def with_entry(fields: str, source: str = "rows: [{id: 1, tags: [a], n: 2}]") -> str:
    return f"""
manifest: 1
sources:
  s: {{{source}}}
entries:
  - source: s
    key: "k:{{id}}"
    {fields}
"""


def with_source(text: str) -> str:
    return f"""
manifest: 1
sources:
  s:
    {text}
entries:
  - source: s
    key: "k:{{id}}"
"""


# --- What a manifest means ----------------------------------------------------------------------


def test_the_least_manifest_has_all_defaults(manifest: Any, tmp_path: Path) -> None:
    found = manifest(LEAST)
    (entry,) = found.entries
    assert (found.name, found.version, found.concurrency) == ("m", 1, 4)
    assert found.directory == tmp_path
    assert (entry.name, entry.type, entry.codec) == ("rows", "string", ("json",))
    assert entry.value == Value("row")
    assert entry.ttl == Ttl("policy", jitter=0.1)
    assert entry.existing == Existing("keep")
    assert str(entry.place) == f"{tmp_path}/m.yaml, line 4: `entries[0]`"


def test_every_field_of_an_entry(manifest: Any) -> None:
    found = manifest(
        with_entry(
            """name: e
    type: sorted set
    value: {members: {member: "{id}", score: "{n}"}}
    codec: [msgpack, zstd]
    ttl: {duration: 10m, jitter: 50%}
    existing: {replace-if-expires-within: 1m}
    tags: ["t:{id}", {zset: z, score: "{n}", member: "{id}"}]
    gather: true
    where: {id: 1, n: true}
    pending: {stream: q, group: g, key_field: k, wait: 3s}
    max_bytes: 1kb"""
        )
    )
    (entry,) = found.entries
    assert entry.name == "e"
    assert entry.type == "zset"
    assert entry.value == Value("members", elements=("{id}",), scores=("{n}",))
    assert entry.codec == ("msgpack", "zstd")
    assert entry.ttl == Ttl("range", 600, 600, 0.5)
    assert str(entry.ttl) == "5m to 10m"
    assert entry.existing == Existing("replace-if-expires-within", 60)
    assert entry.tags == (Tag("t:{id}"), Tag("z", "zset", "{id}", "{n}"))
    assert entry.gather
    assert entry.where == {"id": "1", "n": "true"}
    assert entry.pending == Pending("stream", b"q", b"g", "k", 3)
    assert entry.max_bytes == 1024


@pytest.mark.parametrize(
    ("written", "means", "words"),
    [
        ("1h", Ttl("range", 3600, 3600, 0.1), "54m to 1h"),
        ("90", Ttl("range", 90, 90, 0.1), "1m21s to 1m30s"),
        ("{duration: 1h, jitter: 0}", Ttl("range", 3600, 3600, 0), "1h"),
        ("{min: 1m, max: 5m}", Ttl("range", 60, 300, 0), "1m to 5m"),
        ("{tier: medium}", Ttl("tier", jitter=0, tier="medium"), "tier medium"),
        ("{column: n}", Ttl("column", jitter=0.1, column="n"), "column n"),
        ('{at: "2030-01-01T00:00:00Z"}', Ttl("at", at=1893456000), "until 2030-01-01 00:00 UTC"),
        ("never", Ttl("never", jitter=0), "never expires"),
        ("policy", Ttl("policy"), "by policy"),
    ],
)
def test_ttl(manifest: Any, written: str, means: Ttl, words: str) -> None:
    (entry,) = manifest(with_entry(f"ttl: {written}")).entries
    assert entry.ttl == means
    assert str(entry.ttl) == words


@pytest.mark.parametrize(
    ("written", "means", "codec"),
    [
        ('"{id}!"', Value("template", template="{id}!"), ("raw",)),
        ("free", Value("template", template="free"), ("raw",)),
        ("5", Value("template", template="5"), ("raw",)),
        ("{row: true}", Value("row"), ("json",)),
        ("{column: tags}", Value("column", column="tags"), ("raw",)),
        ("{columns: [id, n]}", Value("columns", names={"id": "id", "n": "n"}), ("json",)),
        ("{columns: {a: id}}", Value("columns", names={"a": "id"}), ("json",)),
    ],
)
def test_value(manifest: Any, written: str, means: Value, codec: tuple[str, ...]) -> None:
    (entry,) = manifest(with_entry(f"value: {written}")).entries
    assert entry.value == means
    assert entry.codec == codec


@pytest.mark.parametrize(
    ("query", "valid"),
    [
        ("-- why\n/* and how */ WITH x AS (SELECT 1) SELECT * FROM x", True),
        ("(select 1)", False),
        ("/* select */ delete from t", False),
        ("-- select 1", False),
        ("/*" * 20_000, False),
        ("selected", False),
    ],
)
def test_a_query_begins_as_one(manifest: Any, query: str, valid: bool) -> None:
    text = with_source(f"sql: {{url: 'sqlite:///a', query: {json.dumps(query)}}}")
    if valid:
        manifest(text)
    else:
        with pytest.raises(ConfigError, match="must be a query"):
            manifest(text)


def test_several_columns_become_json_before_they_are_compressed(manifest: Any) -> None:
    (entry,) = manifest(with_entry("codec: gzip")).entries
    assert entry.codec == ("json", "gzip")


def test_sources(manifest: Any, tmp_path: Path) -> None:
    found = manifest(
        """
manifest: 1
sources:
  inline: {rows: [{id: 1, x: null}, {id: 2}]}
  numbers: {range: [1, 10, 3]}
  files:
    {file: [a.csv, "b/*.csv"], max_rows: 5, max_bytes: 1mb, max_row: 1kb, timeout: 1m, retries: 0}
  one: {file: {path: x.json, format: json, root: a.b, delimiter: ";"}}
  db:
    sql:
      url: postgresql://me@db/shop
      query: |
        SELECT id FROM t WHERE a = :a;
      parameters: {a: 1}
      password: {env: PW}
      fetch: 10
  web:
    http:
      url: https://example.com/x
      parameters: {a: 1, b: true}
      headers: {X-A: b}
      bearer: {env: TOKEN}
      paging: {page: p, first: 0, pages: 3}
  cache: {cache: {profile: prod, match: ["a:*", "b:*"], type: hash}}
  archive: {archive: {run: last}}
  scan: {snapshot: {file: s.ndjson}}
entries:
  - {source: inline, key: "a{id}"}
  - {source: numbers, key: "b{n}"}
  - {source: files, key: "c{id}"}
  - {source: one, key: "d{id}"}
  - {source: db, key: "e{id}"}
  - {source: web, key: "f{id}"}
  - {source: cache}
  - {source: archive, key: "x:{key|without:a}"}
  - {source: scan, key: "g{key}", ttl: kept, value: warm}
""",
        environ={"PW": CANARY, "TOKEN": CANARY},
    )
    sources = found.sources
    inline, numbers, files, one = (sources[n] for n in ("inline", "numbers", "files", "one"))
    assert isinstance(inline, InlineSpec)
    assert inline.rows == ({"id": 1, "x": None}, {"id": 2})
    assert inline.columns == ("id",)
    assert isinstance(numbers, InlineSpec)
    assert numbers.numbers == range(1, 11, 3)
    assert isinstance(files, FileSpec)
    assert files.patterns == ("a.csv", "b/*.csv")
    assert files.limits == SourceLimits(5, 2**20, 1024, 60, 0)
    assert isinstance(one, FileSpec)
    assert (one.format, one.root, one.delimiter) == ("json", "a.b", ";")
    db, web = sources["db"], sources["web"]
    assert isinstance(db, SqlSpec)
    assert db.query == "SELECT id FROM t WHERE a = :a"
    assert db.password is not None
    assert db.password.reveal() == CANARY
    assert isinstance(web, HttpSpec)
    assert web.parameters == {"a": "1", "b": "true"}
    assert web.paging == Paging("page", parameter="p", first=0, pages=3)
    token = web.headers["Authorization"]
    assert isinstance(token, Secret)
    assert token.reveal() == f"Bearer {CANARY}"
    assert isinstance(sources["cache"], CacheSpec)
    assert isinstance(sources["archive"], ArchiveSpec)
    assert isinstance(sources["scan"], SnapshotSpec)
    copied = found.entries_of("cache")[0]
    assert (copied.type, copied.key, copied.ttl.kind) == ("copy", "{key}", "kept")
    assert CANARY not in repr(found)
    assert CANARY not in found.digest


# --- The file as a whole ------------------------------------------------------------------------


def test_json_is_a_manifest_too(manifest: Any) -> None:
    data = yaml.safe_load(LEAST)
    for text in (json.dumps(data), json.dumps(data, indent=2)):
        assert manifest(text, name="m.json").entries[0].key == "k:{id}"


def test_json_with_tabs_and_escapes_of_json(manifest: Any) -> None:
    text = (
        '{\n\t"manifest": 1,\n\t"sources": {"s":'
        ' {"rows": [{"id": 1, "x": "\\ud83d\\ude00 a\\/b"}]}}'
        ',\n\t"entries": [{"source": "s", "key": "k:{id}"}]\n}'
    )
    spec = manifest(text, name="m.json").sources["s"]
    assert spec.rows[0]["x"] == "😀 a/b"


def test_the_digest_is_of_what_is_loaded(manifest: Any, tmp_path: Path) -> None:
    first = manifest(LEAST).digest
    laid_out = yaml.safe_dump(yaml.safe_load(LEAST)) + "description: other words\n"
    assert manifest(laid_out, name="other.yaml").digest == first
    assert manifest(LEAST.replace("k:", "j:")).digest != first
    text = LEAST + "variables: {a: 1}\n"
    with_variable = text.replace('"k:{id}"', '"${a}:{id}"')
    one = manifest(with_variable, variables={"a": "1"}).digest
    assert one == manifest(with_variable).digest
    assert one != manifest(with_variable, variables={"a": "2"}).digest


def test_variables_come_from_set_then_the_environment_then_the_default(manifest: Any) -> None:
    text = """
manifest: 1
variables: {a: x, b: {env: B, default: y}, rows: 10, on: false}
sources: {s: {rows: [{id: 1, on: "${on}"}], max_rows: "${rows}"}}
entries: [{source: s, key: "${a}:${b}:{id}", value: "${on}"}]
"""

    def key(**options: Any) -> str:
        return str(manifest(text, **options).entries[0].key)

    assert key() == "x:y:{id}"
    assert key(environ={"B": "env"}) == "x:env:{id}"
    assert key(environ={"B": "env"}, variables={"b": "set", "a": "1"}) == "1:set:{id}"
    source = manifest(text, variables={"rows": "5"}).sources["s"]
    assert source.limits.max_rows == 5
    assert source.rows == ({"id": 1, "on": False},)


def test_includes_come_first_and_share_everything(manifest: Any, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.yaml").write_text(
        "manifest: 1\nvariables: {p: theirs}\n"
        'sources: {b: {file: b.csv}}\nentries: [{name: b, source: b, key: "${p}:{id}"}]\n'
    )
    found = manifest(
        "manifest: 1\ninclude: sub/b.yaml\nvariables: {p: ours}\n"
        'sources: {a: {rows: [{id: 1}]}}\nentries: [{source: a, key: "a:{id}"}]\n'
    )
    assert [entry.key for entry in found.entries] == ["ours:{id}", "a:{id}"]
    assert found.entries[0].place.file == tmp_path / "sub" / "b.yaml"


@pytest.mark.parametrize("target", ["../out.yaml", "/etc/hostname", "link.yaml"])
def test_includes_stay_in_the_directory(refusal: Any, tmp_path: Path, target: str) -> None:
    outside = tmp_path.parent / "out.yaml"
    outside.write_text("manifest: 1")
    (tmp_path / "link.yaml").symlink_to(outside)
    text = LEAST + f"include: {target}\n"
    assert "names a file outside of" in refusal(text)
    if target != "/etc/hostname":
        load_manifest(tmp_path / "m.yaml", allowed=Allowed((tmp_path.parent,)), environ={})


def test_includes_do_not_run_in_circles(refusal: Any, tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("manifest: 1\ninclude: m.yaml\n")
    message = refusal(LEAST + "include: b.yaml\n")
    assert "b.yaml, line 2: `include[0]` includes a file that includes this one" in message


# --- What is refused ----------------------------------------------------------------------------

REFUSED = [
    ("", "m.yaml, line 1: the file is empty"),
    ("manifest: 2", "`manifest` is a version that this cachectl does not know | it knows 1"),
    ("manifest: 1", "line 1: the file has no entries"),
    ("manifest: 1\nentrys: []", "`entrys` is not a known field; did you mean `entries`?"),
    (LEAST + "x: &a 1", "holds an anchor"),
    (LEAST + "name: *a", "holds an alias"),
    (LEAST + "name: !!python/object x", "holds a tag"),
    (LEAST + "manifest: 1", "has the field `manifest` a second time"),
    (LEAST + "name: 'a b'", "`name` must be a name"),
    (with_entry("ttl: 0"), "line 8: `entries[0].ttl` must be at least 1s | write `never`"),
    (with_entry("ttl: -1"), "`entries[0].ttl` must be a duration"),
    (with_entry("ttl: 1e18"), "`entries[0].ttl` must be shorter than 100 years"),
    (with_entry("ttl: 500us"), "`entries[0].ttl` must be at least 1s"),
    (with_entry("ttl: {duration: 0}"), "`entries[0].ttl.duration` must be longer than 0"),
    (with_entry("ttl: {duration: 1h, tier: low}"), "takes exactly one of"),
    (with_entry("ttl: {min: 1h}"), "needs both `min` and `max`"),
    (with_entry("ttl: {min: 2h, max: 1h}"), "has a `min` that is more than its `max`"),
    (with_entry("ttl: {duration: 1h, jitter: 100%}"), "ttl.jitter` must be at most 0.9"),
    (with_entry('ttl: {at: "2020-01-01T00:00:00Z"}'), "ttl.at` is a time that has passed"),
    (with_entry('ttl: {at: "2030-01-01T00:00:00"}'), "ttl.at` must say its time zone"),
    (with_entry("ttl: kept"), "is kept, and rows of this source have no TTL"),
    (with_entry("ttl: yes"), "ttl` must be a duration"),
    (with_entry("ttl: {column: m}"), "needs the column m, which rows of s lack"),
    (with_entry("existing: kep"), "replace-if-different; did you mean keep?"),
    (
        with_entry("ttl: 1m\n    existing: {replace-if-expires-within: 1h}"),
        "is no less than the TTL, so that every run replaces every key",
    ),
    (with_entry('value: "{idd}"'), "line 8: `entries[0].value.template` needs the column idd"),
    (with_entry('value: "{idd}"'), "did you mean id?"),
    (with_entry('value: "{id"'), "opens a `{` that is never closed"),
    (with_entry('value: "id}"'), "has a `}` that closes nothing"),
    (with_entry('value: "{}"'), "has a placeholder without a column"),
    (with_entry('value: "{id|loud}"'), "has a filter that there is not"),
    (with_entry('value: "{id|lower:x}"'), "gives the filter lower an argument"),
    (with_entry('value: "{id|default}"'), "needs an argument for the filter default"),
    (with_entry("value: {fields: {a: b}}"), "makes no string of `fields`"),
    (with_entry("value: {row: true, column: id}"), "takes exactly one of template"),
    (with_entry("type: list"), "value` is missing for the type list | write one of column"),
    (with_entry('type: set\n    value: "{id}"'), "makes no set of `template`"),
    (with_entry("type: geo"), "must be string, hash, list, set, zset, sorted set, stream or copy"),
    (with_entry("type: copy"), "the source is neither a cache nor an archive"),
    (with_entry("codec: [zlib, json]"), "has json after another codec"),
    (with_entry("codec: raw"), "codec` is raw, which cannot hold several columns"),
    (with_entry("codec: lzma"), "must be raw, json, msgpack, zlib, gzip or zstd"),
    (with_entry("codec: [zlib, zlib]"), "names a codec twice"),
    (with_entry("gather: true"), "gather` is for collections"),
    (with_entry("value: {column: id, id: '1-1'}"), "value.id` is for streams alone"),
    (with_entry("tags: {zset: z}"), "needs `score` with `zset`"),
    (with_entry("tags: {set: a, zset: b, score: '1'}"), "exactly one of `set` and `zset`"),
    (with_entry("pending: {stream: s}"), "needs `group` with `stream`"),
    (with_entry("where: {m: 1}"), "needs the column m"),
    (with_entry("max_bytes: 2 apples"), "max_bytes` must be a size"),
    (with_entry("name: a").replace('"k:{id}"', "k"), "key` is the same for every row"),
    (with_entry("name: a").replace("source: s", "source: t"), "names a source that there is not"),
    (LEAST.replace("entries: [", 'entries: [{source: rows, key: "j:{id}"}, '), "takes a name that"),
    (LEAST.replace("{rows: [{id: 1}]}", "{}"), "says not where its rows are"),
    (LEAST.replace("{rows: [{id: 1}]}", "{rows: [], file: x}"), "has rows and file"),
    (LEAST.replace("rows: {rows", "a: {range: [1, 2]}, rows: {rows"), "is used by no entry"),
    (with_source("range: [5, 1]"), "range` must rise"),
    (with_source("range: [1, 1000000000000]"), "has more than 10,000,000,000 numbers"),
    (with_source("file: {path: x, root: ''}"), "file.root` must not be empty"),
    (with_source("{file: x, max_rows: 0}"), "max_rows` must be more than 0"),
    (with_source("{file: x, retries: 99}"), "retries` must be at most 20"),
    (
        with_source(f"sql: {{url: 'postgresql://a:{CANARY}@db/x', query: select 1}}"),
        "sql.url` must not contain a password",
    ),
    (with_source("sql: {url: 'sqlite:///a', query: DELETE FROM t}"), "must be a query"),
    (
        with_source("sql: {url: 'sqlite:///a', query: 'select 1; drop table t'}"),
        "holds a `;`, and must be one statement",
    ),
    (
        with_source("sql: {url: 'sqlite:///a', query: 'select :a'}"),
        "sql.query` has the parameter :a without a value",
    ),
    (
        with_source("sql: {url: 'sqlite:///a', query: 'select 1', parameters: {a: 1}}"),
        "sql.parameters.a` does not stand in the query",
    ),
    (
        with_source("sql: {url: 'sqlite:///a', query: 'select ${x}'}") + "variables: {x: 1}\n",
        "holds a variable, which would be pasted into the query",
    ),
    (
        with_source(f"sql: {{url: 'sqlite:///a', query: select 1, password: {CANARY}}}"),
        "must not be a password in plain text",
    ),
    (with_source("http: {url: 'ftp://x/'}"), "must be a URL that begins with http:// or https://"),
    (with_source(f"http: {{url: 'http://a:{CANARY}@x/'}}"), "must not contain a login"),
    (
        with_source(f"http: {{url: 'http://x/', headers: {{X-Api-Key: {CANARY}}}}}"),
        "must not hold a secret in plain text",
    ),
    (with_source("http: {url: 'http://x/', headers: {'a b': c}}"), "that no HTTP header has"),
    (
        with_source('http: {url: "http://x/", headers: {A: "b\\r\\nc: d"}}'),
        "has a value that no HTTP header has",
    ),
    (with_source("http: {url: 'http://x/', paging: {}}"), "exactly one of `link`, `next` and"),
    (LEAST.replace("k:", "${a}:"), "uses a variable that there is not"),
    (LEAST + "variables: {a: {env: A}}", "`variables.a` has no value: the environment has no A"),
    (LEAST + 'variables: {a: "{id}"}', "holds a brace"),
    (LEAST + "include: nowhere.yaml", "names a file that is not there"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_refused_with_the_place(refusal: Any, text: str, message: str) -> None:
    assert message in refusal(text)


def test_all_problems_are_told_with_their_lines(refusal: Any) -> None:
    message = refusal(with_entry('value: "{x}"\n    ttl: {at: "2020-01-01T00:00:00Z"}'))
    assert message.startswith("m.yaml has 2 problems:\n  line 8: `entries[0].value.template` needs")
    assert "\n  line 9: `entries[0].ttl.at` is a time that has passed" in message


def test_an_unknown_variable_of_set_is_a_usage_error(manifest: Any) -> None:
    with pytest.raises(UsageError, match="--set nosuch: the manifest has no such variable"):
        manifest(LEAST, variables={"nosuch": "1"})


def test_a_large_file_is_refused(refusal: Any) -> None:
    assert "larger than 1024 KiB" in refusal(LEAST + "# " + "x" * 2**20)


@pytest.mark.parametrize(
    "section",
    [
        "http: {url: 'http://x/', bearer: {command: [cat, token]}}",
        "http: {url: 'http://x/', headers: {A: {command: [cat, token]}}}",
        "sql: {url: 'postgresql://x/y', query: select 1, password: {command: [cat, token]}}",
    ],
)
def test_a_manifest_runs_no_command(refusal: Any, section: str) -> None:
    assert "must not come from a command: a manifest runs no program" in refusal(
        with_source(section)
    )


# --- The schema for editors ---------------------------------------------------------------------


def test_the_schema_takes_what_the_loader_takes(manifest: Any) -> None:
    schema = manifest_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    texts = [
        LEAST,
        with_entry("codec: json\n    tags: a\n    ttl: 1h\n    existing: keep"),
        with_entry("value: {columns: [id]}\n    codec: [json, zstd]\n    tags: [a, {set: b}]"),
        with_entry("ttl: {tier: high}\n    existing: {replace-if-expires-within: 1m}"),
        with_source("file: [a.csv, b.csv]"),
        with_source("http: {url: 'http://x/', headers: {A: b, C: {env: D}}, paging: {link: true}}"),
    ]
    for text in texts:
        manifest(text)
        assert [e.message for e in validator.iter_errors(yaml.safe_load(text))] == []


@pytest.mark.parametrize(
    "text",
    [
        "manifest: 1\nentrys: []",
        with_entry("existing: kep"),
        with_entry("codec: lzma"),
        with_source("fle: x"),
        LEAST.replace('key: "k:{id}"', "kei: x"),
    ],
)
def test_the_schema_finds_slips(text: str) -> None:
    validator = jsonschema.Draft202012Validator(manifest_schema())
    assert list(validator.iter_errors(yaml.safe_load(text)))


# --- Templates ----------------------------------------------------------------------------------


def test_a_template_in_parts() -> None:
    assert parse_template("{{u:{id}}}:{a.b|lower|default:no|x}"[:-3] + "}") == (
        "{u:",
        Placeholder("id"),
        "}:",
        Placeholder("a.b", (("lower", ""), ("default", "no"))),
    )
    assert list(columns_of("{a}{b|default:x}{c|lower}")) == ["a", "c"]


@given(st.text(max_size=30))
def test_escaped_text_is_itself(text: str) -> None:
    parts = parse_template(text.replace("{", "{{").replace("}", "}}"))
    assert "".join(map(str, parts)) == text
