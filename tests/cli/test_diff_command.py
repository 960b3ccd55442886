"""`cachectl diff`: what changed between two snapshots, for people and for CI."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from filling import fill
from programs import Outcome, cachectl
from servers import TestServer

Save = Callable[[str], Path]


@pytest.fixture
def save(valkey: TestServer, tmp_path: Path) -> Save:
    def saved(name: str, *words: str) -> Path:
        path = tmp_path / name
        cachectl("--url", valkey.url, "scan", *words, "--save", str(path)).check(0)
        return path

    return saved


def diff(before: Path, after: Path, *words: str, code: int = 0) -> Outcome:
    return cachectl("diff", str(before), str(after), *words).check(code)


def changes(before: Path, after: Path, *words: str) -> dict[str, dict[str, object]]:
    found = diff(before, after, *words, "-o", "json").json
    return {row["namespace"]: row for row in found["namespaces"]}


def test_nothing_changed(valkey: TestServer, save: Save) -> None:
    fill(valkey, 2000)
    before, after = save("a.ndjson.gz"), save("b.ndjson")
    found = diff(before, after, "-o", "json").json
    assert found["schema"] == "cachectl.diff/1"
    assert (found["keys"], found["no_ttl"], found["namespaces"]) == (0, 0, [])
    assert found["same"] > 10
    assert "Nothing changed." in diff(before, after).stdout
    assert len(changes(before, after, "--all")) == found["same"]


def test_what_grew_shrank_came_went_and_lost_its_ttl(valkey: TestServer, save: Save) -> None:
    for number in range(100):
        valkey.run("SET", f"grew:{number}", "x", "EX", 1000)
        valkey.run("SET", f"shrank:{number}", "x", "EX", 1000)
        valkey.run("SET", f"went:{number}", "x", "EX", 1000)
        valkey.run("SET", f"lost:{number}", "x", "EX", 1000)
        valkey.run("SET", f"same:{number}", "x", "EX", 1000)
    before = save("a.ndjson.gz")
    for number in range(100):
        valkey.run("SET", f"grew:{number + 100}", "x", "EX", 1000)
        valkey.run("DEL", f"went:{number}")
        valkey.run("PERSIST", f"lost:{number}")
        valkey.run("SET", f"came:{number}", "x", "EX", 1000)
        if number % 2:
            valkey.run("DEL", f"shrank:{number}")
    after = save("b.ndjson.gz")
    rows = changes(before, after)
    assert {name: row["change"] for name, row in rows.items() if name != "lost:{id}"} == {
        "grew:{id}": "grew",
        "shrank:{id}": "shrank",
        "went:{id}": "went",
        "came:{id}": "appeared",
    }
    assert [rows[f"{name}:{{id}}"]["keys"] for name in ("grew", "shrank", "went", "came")] == [
        *(100, -50, -100, 100)
    ]
    went = rows["went:{id}"]
    assert (went["keys_before"], went["keys_after"], went["bytes_after"]) == (100, 0, 0)
    assert went["bytes"] == -went["bytes_before"]  # type: ignore[operator]
    lost = rows["lost:{id}"]
    assert (lost["lost_ttl"], lost["no_ttl"], lost["keys"]) == (True, 100, 0)
    screen = diff(before, after, "-o", "table").stdout
    assert "lost TTL" in screen
    assert "+100" in screen
    assert "-50" in screen
    assert "diff.lost-ttl" in screen


def test_a_lost_ttl_can_fail_a_build(valkey: TestServer, save: Save) -> None:
    valkey.run("SET", "a:1", "x", "EX", 1000)
    before = save("a.ndjson")
    valkey.run("PERSIST", "a:1")
    after = save("b.ndjson")
    diff(before, after, code=0)
    diff(before, after, "--fail-on", "warning", code=1)
    diff(before, after, "--fail-on", "critical", code=0)
    diff(after, before, "--fail-on", "warning", code=0)


def test_sorting_and_limit(valkey: TestServer, save: Save) -> None:
    fill(valkey, 1000)
    before = save("a.ndjson.gz")
    valkey.run("FLUSHALL")
    after = save("b.ndjson.gz")
    for sort, figure in (("bytes", "bytes"), ("keys", "keys"), ("no-ttl", "no_ttl")):
        rows = diff(before, after, "--sort", sort, "--limit", "3", "-o", "json").json["namespaces"]
        sizes = [abs(row[figure]) for row in rows]
        assert sizes == sorted(sizes, reverse=True)
        assert len(sizes) == 3
    names = [*changes(before, after, "--sort", "name")]
    assert names == sorted(names)
    assert {*changes(before, after, "--depth", "1")} >= {"user:*"}
    assert {*changes(before, after, "--by", "type")} >= {"hash", "string"}


def test_an_empty_keyspace(valkey: TestServer, save: Save) -> None:
    before = save("a.ndjson")
    valkey.run("SET", "a:1", "x")
    after = save("b.ndjson")
    assert changes(before, after)["a:{id}"]["change"] == "appeared"
    assert diff(before, before, "-o", "json").json["namespaces"] == []


def test_unlike_snapshots_are_said_to_be_so(valkey: TestServer, save: Callable[..., Path]) -> None:
    fill(valkey, 500)
    whole = save("a.ndjson")
    part = save("b.ndjson", "user:*")
    done = diff(whole, part)
    assert "different keys" in done.stderr
    assert "matching user:*" in done.stderr
    assert "later one" in diff(part, whole).stderr


def test_names_that_fold_are_the_same_in_both(valkey: TestServer, save: Save) -> None:
    """Few words do not fold, many do: apart the two scans would have no name in common."""
    for number in range(3):
        valkey.run("SET", f"quote:{'ABCDEFGH'[number]}X", "x")
    before = save("a.ndjson")
    with valkey.client() as client:
        client.mset({f"quote:{a}{b}{c}": 1 for a in "ABCDEFGH" for b in "ABCDEFGH" for c in "XYZ"})
    after = save("b.ndjson")
    rows = changes(before, after)
    assert sum(row["keys"] for row in rows.values()) == 192  # type: ignore[misc]
    assert len(rows) == 1


def test_hostile_names(valkey: TestServer, save: Save) -> None:
    before = save("a.ndjson")
    for name in (b"\x1b[2J", b"\xff", b"[red]", b"a\nb", b""):
        valkey.run("SET", name, "x")
    after = save("b.ndjson")
    done = diff(before, after, "-o", "table")
    assert "\x1b" not in done.stdout
    assert sum(row["keys"] for row in changes(before, after).values()) == 5  # type: ignore[misc]


def test_what_is_no_snapshot(valkey: TestServer, save: Save, tmp_path: Path) -> None:
    good = save("a.ndjson.gz")
    fill(valkey, 300)
    cut = save("b.ndjson.gz")
    cut.write_bytes(cut.read_bytes()[:-9])
    assert "damaged" in diff(good, cut, code=7).stderr
    letter = tmp_path / "letter"
    letter.write_text("dear all")
    assert "is not a snapshot" in diff(letter, good, code=7).stderr
    error = diff(good, tmp_path / "none", "-o", "json", code=2).error
    assert "there is no file" in error["message"]
