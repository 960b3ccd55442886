"""`warm check` and `warm schema`: no server is there in any of these tests."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from programs import Outcome, cachectl

from cachectl.cli.help import TOPICS

TOPIC = (TOPICS / "manifests.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"```yaml\n(.*?)```", TOPIC, re.DOTALL)

MANIFEST = """
manifest: 1
variables: {region: eu}
sources:
  products: {file: products.csv}
  db: {sql: {url: "sqlite:///shop.db", query: select 1 as id}}
  prod: {cache: {profile: prod.yaml}}
entries:
  - source: products
    key: "${region}:p:{id}"
    value: "{name}"
    ttl: 1h
  - source: db
    key: "d:{id}"
    ttl: never
  - source: prod
"""


@pytest.fixture
def check(tmp_path: Path) -> Any:
    (tmp_path / "m.yaml").write_text(MANIFEST)
    (tmp_path / "prod.yaml").write_text("host: 127.0.0.1")
    (tmp_path / "products.csv").write_text("id,name\n1,Lamp\n2,Desk\n")
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("CREATE TABLE t (id)")
    connection.close()

    def run(*words: str, code: int = 0) -> Outcome:
        return cachectl("warm", "check", str(tmp_path / "m.yaml"), *words).check(code)

    return run


def test_the_example_of_the_help_topic_holds(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(EXAMPLE)
    found = cachectl("warm", "check", str(tmp_path / "m.yaml"), "-o", "json").check().json
    assert found["findings"] == []
    assert [entry["example"] for entry in found["entries"]] == [
        *("eu:product:1", "eu:product:1:tags", "eu:prices", "eu:slot:0")
    ]


def test_every_source_of_the_help_topic_can_be_written_so(tmp_path: Path) -> None:
    """The snippets below `## Sources`, all of them in one manifest."""
    part = TOPIC.partition("## Sources")[2].partition("## Variables")[0]
    text = "\n".join(line[4:] for line in part.splitlines() if line.startswith("    "))
    snippets = re.split(r"\n(?=\w)", text)
    assert len(snippets) > 9
    lines = ["manifest: 1", "variables: {region: eu}", "sources:"]
    for i, snippet in enumerate(snippets):
        lines += [f"  s{i}:", *("    " + line for line in snippet.splitlines())]
    lines.append("entries:")
    key = "{key|default:}{n|default:}{id|default:}"
    lines += [f"  - {{source: s{i}, key: '{key}'}}" for i in range(len(snippets))]
    (tmp_path / "m.yaml").write_text("\n".join(lines))
    cachectl("warm", "check", str(tmp_path / "m.yaml"), "--fail-on", "none").check()


def test_what_a_manifest_would_write(check: Any) -> None:
    found = check("-o", "json").json
    products, db, prod = found["entries"]
    assert (products["key"], products["example"]) == ("eu:p:{id}", "eu:p:1")
    assert (products["ttl"], products["line"]) == ("54m to 1h", 9)
    assert (db["example"], db["ttl"]) == (None, "never expires")
    assert (prod["type"], prod["ttl"]) == ("as copied", "as copied")
    assert [(s["source"], s["kind"], s["rows"], s["looked"]) for s in found["sources"]] == [
        ("products", "file", 2, True),
        ("db", "sql", None, False),
        ("prod", "cache", None, False),
    ]


def test_variables_and_services(check: Any) -> None:
    found = check("--set", "region=us", "--services", "-o", "json").json
    assert [entry["example"] for entry in found["entries"]] == ["us:p:1", "d:1", None]


def test_it_fits_the_screen(check: Any) -> None:
    text = check("-o", "table").stdout
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "eu:p:1" in text
    assert "54m to 1h" in text


def test_an_invalid_manifest(check: Any, tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(MANIFEST.replace("ttl: 1h", "ttl: 0"))
    done = check("-o", "json", code=2)
    assert done.error == {
        "code": "config",
        "message": f"{tmp_path}/m.yaml, line 12: `entries[0].ttl` must be at least 1s",
        "hint": "write `never` for keys that are to stay",
        "target": f"{tmp_path}/m.yaml",
    }


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--set", "region"), 2, "--set region: write it as NAME=VALUE"),
        (("--set", "x=1"), 2, "--set x: the manifest has no such variable"),
        (("--allow-network", "here"), 2, "--allow-network here: this is no network"),
    ],
)
def test_options_that_make_no_sense(
    check: Any, words: tuple[str, ...], code: int, message: str
) -> None:
    assert message in check(*words, code=code).stderr


def test_no_such_manifest(tmp_path: Path) -> None:
    done = cachectl("warm", "check", str(tmp_path / "nowhere.yaml")).check(2)
    assert "cannot read" in done.stderr


def test_a_file_outside_is_refused(check: Any, tmp_path: Path) -> None:
    (tmp_path.parent / "products.csv").write_text("id,name\n1,Lamp\n")
    (tmp_path / "m.yaml").write_text(MANIFEST.replace("products.csv", "../products.csv"))
    assert "names a file outside of" in check(code=5).stderr
    check("--allow-path", str(tmp_path.parent))


def test_a_file_that_is_missing_is_a_finding(check: Any, tmp_path: Path) -> None:
    (tmp_path / "products.csv").unlink()
    found = check("-o", "json", code=1).json["findings"]
    assert [(one["id"], one["severity"]) for one in found] == [("manifest.source", "critical")]
    assert found[0]["evidence"] == f"{tmp_path}/m.yaml, line 5: `sources.products`"
    check("--fail-on", "none")


def test_a_profile_that_is_missing_is_a_finding(check: Any, tmp_path: Path) -> None:
    (tmp_path / "prod.yaml").unlink()
    (one,) = check("-o", "json", code=1).json["findings"]
    assert (one["id"], one["subject"]) == ("manifest.source", "prod")


def test_a_column_that_no_row_has_is_critical(check: Any, tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_text("id,title\n1,Lamp\n2,Desk\n")
    (one,) = check("-o", "json", code=1).json["findings"]
    assert one["title"] == "row 1 of products has no column `name`"
    assert one["evidence"].startswith("2 of the first 2 rows; ")


def test_a_bad_row_is_a_warning(check: Any, tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_text("id,name\n1,Lamp\n,Desk\n3\n")
    (tmp_path / "m.yaml").write_text(MANIFEST.replace('"${region}:p:{id}"', '"{id}"'))
    found = check("-o", "json").json["findings"]
    assert [(one["title"], one["severity"]) for one in found] == [
        ("row 3 of products has 1 columns where the header has 2", "warning"),
        ("row 2 of products makes an empty key", "warning"),
    ]
    check("--fail-on", "warning", code=1)


def test_a_source_without_rows_is_a_warning(check: Any, tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_text("id,name\n")
    assert "the source products has no rows" in check().stdout


def test_hostile_names_are_harmless(check: Any, tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_bytes(b"id,name\n\x1b[31mred\xe2\x80\xae,Lamp\n")
    done = check("-o", "table")
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout


def test_the_schema_for_editors() -> None:
    schema = cachectl("warm", "schema").check().json
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"] == "cachectl.manifest-file/1"
    assert json.dumps(schema)
