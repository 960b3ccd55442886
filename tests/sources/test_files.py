from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rows import manifest_with, read, source_of

from cachectl.config.manifest import Allowed, InlineSpec
from cachectl.errors import RefusedError
from cachectl.sources.interface import BATCH_ROWS, SourceError
from cachectl.sources.jsonarray import JsonArray
from cachectl.sources.ndjson import Lines, page_of
from cachectl.sources.opening import open_source
from cachectl.sources.paging import Page, Paged

ROWS = [{"id": 1, "name": "é\n"}, {"id": 2, "name": ""}]


def failure(directory: Path, source: str) -> SourceError:
    with pytest.raises(SourceError) as caught:
        read(source_of(directory, source))
    assert caught.value.message.startswith("the source s ")
    assert caught.value.target == f"{directory}/m.yaml, line 3: `sources.s`"
    return caught.value


# --- Inline -------------------------------------------------------------------------------------


def test_rows_and_ranges(tmp_path: Path) -> None:
    source = source_of(tmp_path, "{rows: [{id: 1}, {id: null}]}")
    assert (source.name, source.count()) == ("s", 2)
    assert read(source) == ([{"id": 1}, {"id": None}], [])
    numbers = source_of(tmp_path, "{range: [5, 9, 2], columns: [id]}")
    assert read(numbers) == ([{"n": 5}, {"n": 7}, {"n": 9}], [])


def test_a_huge_range_is_not_made_at_once(tmp_path: Path) -> None:
    source = source_of(tmp_path, "{range: [1, 5000000000], max_rows: 2500}")
    assert source.count() == 2500
    rows, _ = read(source)
    assert (len(rows), rows[-1]) == (2500, {"n": 2500})


# --- Formats ------------------------------------------------------------------------------------


def in_format(ending: str) -> bytes:
    if ending in ("csv", "tsv"):
        text = io.StringIO()
        writer = csv.writer(text, delimiter="," if ending == "csv" else "\t")
        writer.writerows([["id", "name"], *([row["id"], row["name"]] for row in ROWS)])
        return text.getvalue().encode()
    if ending == "json":
        return json.dumps(ROWS, indent=1).encode()
    return "".join(json.dumps(row) + "\n" for row in ROWS).encode()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("ending", ["csv", "tsv", "json", "ndjson", "jsonl"])
def test_formats(tmp_path: Path, ending: str, packed: bool) -> None:
    content = in_format(ending)
    name = f"a.{ending}{'.gz' if packed else ''}"
    (tmp_path / name).write_bytes(gzip.compress(content) if packed else content)
    rows, problems = read(source_of(tmp_path, f"{{file: {name}}}"))
    texts = ending in ("csv", "tsv")
    assert rows == [{**row, "id": str(row["id"])} if texts else row for row in ROWS]
    assert problems == []


def test_a_byte_order_mark_is_no_part_of_the_data(tmp_path: Path) -> None:
    for ending in ("csv", "json", "ndjson"):
        (tmp_path / f"a.{ending}").write_bytes(b"\xef\xbb\xbf" + in_format(ending))
        rows, problems = read(source_of(tmp_path, f"{{file: a.{ending}}}"))
        assert (set(rows[0]), problems) == ({"id", "name"}, [])


def test_files_come_in_order_and_are_numbered_through(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "e.csv").mkdir()
    for name, ids in (("d/b.csv", (3, 4)), ("d/a.csv", (1, 2)), ("c.csv", (5,))):
        (tmp_path / name).write_text("id\n" + "".join(f"{i}\n" for i in ids))
    source = source_of(tmp_path, "{file: ['d/*.csv', c.csv]}")
    assert [row["id"] for row in read(source)[0]] == ["1", "2", "3", "4", "5"]
    assert [row["id"] for row in read(source, after=3)[0]] == ["4", "5"]
    assert source.count() == 5


def test_the_format_can_be_said(tmp_path: Path) -> None:
    (tmp_path / "dump").write_text("id;b\n1;2\n")
    source = source_of(tmp_path, "{file: {path: dump, format: csv, delimiter: ';'}}")
    assert read(source)[0] == [{"id": "1", "b": "2"}]
    assert "does not say its format" in failure(tmp_path, "{file: dump}").message


def test_an_array_inside(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"x": [{"y": 1}], "data": {"n": 1, "items": ROWS}}))
    assert read(source_of(tmp_path, "{file: {path: a.json, root: data.items}}"))[0] == ROWS
    error = failure(tmp_path, "{file: a.json}")
    assert error.message.endswith(
        "cannot use a.json: it begins with an object and not with an array"
    )
    assert error.hint == "say where its array is: `root: data.items`"
    assert (
        "has no `data.itms`" in failure(tmp_path, "{file: {path: a.json, root: data.itms}}").message
    )
    assert "is not an array" in failure(tmp_path, "{file: {path: a.json, root: data.n}}").message


def test_elements_that_are_no_objects_are_the_column_value(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[1, "x"]')
    assert read(source_of(tmp_path, "{file: a.json}"))[0] == [{"value": 1}, {"value": "x"}]


def test_parquet_asks_for_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "a.parquet").touch()
    error = failure(tmp_path, "{file: a.parquet}")
    assert "needs the package pyarrow" in error.message
    assert error.hint == "pip install 'redis-cachectl[parquet]'"


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    assert read(source_of(tmp_path, "{file: a.parquet}"))[0] == ROWS
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    assert "is not a Parquet file" in failure(tmp_path, "{file: a.parquet}").message


# --- Laws ---------------------------------------------------------------------------------------


@given(st.binary(max_size=60), st.lists(st.integers(1, 9), min_size=1))
def test_lines_are_the_same_however_the_stream_is_cut(data: bytes, cuts: list[int]) -> None:
    lines = Lines(longest=1000)
    found: list[bytes] = []
    at = i = 0
    while at < len(data):
        found += lines.feed(data[at : at + cuts[i % len(cuts)]])
        at += cuts[i % len(cuts)]
        i += 1
    found += lines.end()
    expected = data.split(b"\n")
    assert found == (expected if expected[-1] else expected[:-1])


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(-1e9, 1e9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.lists(_JSON, max_size=5), st.integers(1, 20), st.booleans())
@example([12.5, 1, True], 1, False)
@example([[], [], 0.0], 19, True)
@example([1e-07, 2], 1, False)
def test_an_array_is_the_same_however_the_stream_is_cut(
    elements: list[Any], size: int, indented: bool
) -> None:
    text = json.dumps({"a": {"b": elements}, "c": 1}, indent=1 if indented else None).encode()
    chunks = [text[at : at + size] for at in range(0, len(text), size)]
    assert list(JsonArray(chunks, "a.b", 10_000)) == elements


@given(st.integers(0, 40))
def test_a_cut_off_array_is_an_error(end: int) -> None:
    text = json.dumps([{"id": 1, "x": "abc"}, {"id": 22, "x": None}]).encode()
    with pytest.raises(SourceError):
        list(JsonArray([text[:end]], None, 10_000))


# --- What can be wrong in a file ----------------------------------------------------------------


def test_bad_lines_are_told_and_the_rest_is_read(tmp_path: Path) -> None:
    lines = [
        b'{"id": 1}',
        b"",
        b"{nonsense",
        b"  \r",
        b'{"id": 2} {"id": 3}',
        b'{"id": NaN}',
        b'{"id": "\xff"}',
        b"[" * 100_000,
        b'{"id": "' + b"x" * 70 + b'"}',
        b'{"id": ' + b"9" * 5000 + b"}",
        b"7",
        b'{"id": 4}',
    ]
    (tmp_path / "a.ndjson").write_bytes(b"\n".join(lines))
    rows, problems = read(source_of(tmp_path, "{file: a.ndjson, max_row: 64}"))
    assert rows == [{"id": 1}, {"value": 7}, {"id": 4}]
    assert [(problem.row, problem.what) for problem in problems] == [
        (2, "is not JSON"),
        (3, "is not JSON"),
        (4, "is not JSON"),
        (5, "holds bytes that are not UTF-8"),
        (6, "is longer than max_row (64 bytes)"),
        (7, "is longer than max_row (64 bytes)"),
        (8, "is longer than max_row (64 bytes)"),
    ]
    assert problems[0].source == "s"


def test_of_several_files_the_problem_says_which(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text('{"id": 1}\n{"id": 2}\n')
    (tmp_path / "b.ndjson").write_text('{"id": 3}\nnonsense\n')
    (problem,) = read(source_of(tmp_path, "{file: '*.ndjson'}"))[1]
    assert (problem.row, problem.what) == (4, "is not JSON (row 2 of b.ndjson)")


def test_deep_json_is_no_crash(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_bytes(b'{"a":' * 50_000 + b"\n" + b'{"id": 1}')
    rows, problems = read(source_of(tmp_path, "{file: a.ndjson}"))
    assert (rows, [problem.what for problem in problems]) == ([{"id": 1}], ["is nested too deeply"])
    (tmp_path / "a.json").write_bytes(b"[" * 50_000)
    assert "is not JSON" in failure(tmp_path, "{file: a.json}").message


def test_numbers_of_rows_do_not_depend_on_what_is_wrong(tmp_path: Path) -> None:
    lines = ["{" if i % 7 == 0 else json.dumps({"id": i}) for i in range(1, 3000)]
    (tmp_path / "a.ndjson").write_text("\n".join(lines))
    source = source_of(tmp_path, "{file: a.ndjson}")
    rows, problems = read(source)
    assert [problem.row for problem in problems] == list(range(7, 3000, 7))
    for after in (0, 1, 7, BATCH_ROWS - 1, BATCH_ROWS, 2998, 2999, 5000):
        later, told = read(source, after)
        assert later == [row for row in rows if row["id"] > after]
        assert [problem.row for problem in told] == [p.row for p in problems if p.row > after]


def test_csv_with_other_widths_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'id,b\n1,2\n\n3\n4,5,6\n"7","\xff"\n8,\n')
    rows, problems = read(source_of(tmp_path, "{file: a.csv}"))
    assert [row["id"] for row in rows] == ["1", "7", "8"]
    assert [(p.row, p.what) for p in problems] == [
        (2, "has 1 columns where the header has 2"),
        (3, "has 3 columns where the header has 2"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.csv", b"id,id\n1,2\n", "two columns of one name: id"),
        ("a.csv", b'id\n"1\n' + b"x\n" * 60, "is not CSV in line"),
        ("a.json", b"", "ends in the middle of its JSON"),
        ("a.json", b'[{"id": 1},', "ends in the middle of its JSON"),
        ("a.json", b'[{"id": 1} {"id": 2}]', "is not JSON"),
        ("a.json", b'[{"id": 1', "ends in the middle of it"),
        ("a.json", b"[nope]", "is not JSON"),
        ("a.json", b'["\xff"]', "holds bytes that are not UTF-8"),
        ("a.json.gz", gzip.compress(b'[{"id": 1}]', mtime=0)[:-12], "is not whole gzip data"),
        ("a.json.gz", b"no gzip", "is not whole gzip data"),
        (
            "a.ndjson.gz",
            gzip.compress(b"\n" * 2_000_000, mtime=0),
            "holds more than max_bytes (100,000)",
        ),
        ("a.csv", b"id\n" + b"1\n" * 60_000, "holds more than max_bytes (100,000)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_files_that_cannot_be_used(tmp_path: Path, name: str, content: bytes, what: str) -> None:
    (tmp_path / name).write_bytes(content)
    error = failure(tmp_path, f"{{file: {name}, max_bytes: 100000}}")
    assert what in error.message
    assert f"cannot use {name}: it " in error.message


def test_a_json_element_of_any_size_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'["' + b"x" * 3_000_000 + b'"]')
    error = failure(tmp_path, "{file: a.json, max_row: 1000}")
    assert "has an element of more than max_row (1,000 bytes)" in error.message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "cannot read" in failure(tmp_path, "{file: a.csv}").message
    assert "finds no file that matches *.csv" in failure(tmp_path, "{file: '*.csv'}").message


# --- Where files may lie ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["../out.csv", "/dev/zero", "/etc/*", "../*.csv", "link.csv", "linked/out.csv"],
)
def test_files_outside_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path.parent / "out.csv").write_text("id\n1\n")
    (tmp_path / "link.csv").symlink_to(tmp_path.parent / "out.csv")
    (tmp_path / "linked").symlink_to(tmp_path.parent)
    with pytest.raises(RefusedError, match="the source s names a file outside of") as caught:
        read(source_of(tmp_path, f"{{file: '{name}'}}"))
    assert caught.value.exit_code == 5
    if name.endswith("out.csv"):
        allowed = source_of(tmp_path, f"{{file: '{name}'}}", Allowed((tmp_path.parent,)))
        assert read(allowed)[0] == [{"id": "1"}]


def test_a_pipe_and_a_directory_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "dir.csv").mkdir()
    for name in ("pipe.csv", "dir.csv"):
        with pytest.raises(RefusedError, match="is not a regular file"):
            read(source_of(tmp_path, f"{{file: {name}}}"))


# --- What all sources have in common ------------------------------------------------------------


def test_a_source_that_keeps_us_waiting_is_given_up(tmp_path: Path) -> None:
    class Slow:
        def __iter__(self) -> Any:
            while True:
                now[0] += 3
                yield Page([{"id": 1}])

        def count(self) -> None:
            return None

    now = [0.0]
    spec = manifest_with(tmp_path, "{rows: [{id: 1}], timeout: 10s}").sources["s"]
    assert isinstance(spec, InlineSpec)
    batches = Paged(spec, Slow(), clock=lambda: now[0]).batches()
    for _ in range(3):
        next(batches)
        now[0] += 1000  # what the reader does meanwhile is not the source's fault
    with pytest.raises(SourceError, match="has kept us waiting for more than 10 s"):
        next(batches)


def test_a_reader_that_stops_lets_go_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id\n" + "1\n" * 5000)
    before = len(os.listdir("/proc/self/fd"))
    batches = source_of(tmp_path, "{file: a.csv}").batches()
    next(batches)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    batches.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_opening_a_cache_needs_a_reader(tmp_path: Path) -> None:
    from cachectl.errors import UsageError

    path = tmp_path / "m.yaml"
    path.write_text("manifest: 1\nsources: {s: {cache: {profile: p}}}\nentries: [{source: s}]")
    from cachectl.config.manifests import load_manifest

    manifest = load_manifest(path)
    with pytest.raises(UsageError):
        open_source(manifest.sources["s"], manifest)


_NUMBER = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers().map(str),
    st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
)


@given(st.lists(_NUMBER, max_size=5), st.text(max_size=9))
@example(["-0", "-0.0", "1e400", "2.2250738585072011e-308", "123456789012345678901"], "\ud800")
def test_a_row_is_what_the_standard_library_reads(numbers: list[str], text: str) -> None:
    line = f'{{"numbers": [{", ".join(numbers)}], "text": {json.dumps(text)}}}'
    page = page_of([line.encode(), b'{"a": 1}'], 10_000)
    assert repr(page.rows) == repr([json.loads(line), {"a": 1}])
    assert page.texts == [line.encode(), b'{"a": 1}']


@pytest.mark.parametrize(
    "lines",
    [
        [b'{"a":', b"1}"],
        [b'{"a": 1}{"b": 2}', b'{"a":', b"1}"],
        [b'{"a": 1} {"b": 2}', b'{"c": 3}'],
        [b'{"a": [1', b"2]}", b'{"x": 1}{"y": 2}'],
        [b"[1]", b'{"a": 1}'],
        [b'{"a": 1}', b'{"a": 1} x'],
    ],
)
def test_a_line_is_one_row_whatever_the_lines_are_together(lines: list[bytes]) -> None:
    """Lines are parsed in one go where they are fine; what is not fine is found line by line."""
    page = page_of(list(lines), 1000)
    good = {}
    for i, line in enumerate(lines):
        with contextlib.suppress(ValueError):
            row = json.loads(line)
            good[i] = row if isinstance(row, dict) else {"value": row}
    assert page.rows == list(good.values())
    assert sorted(page.bad) == [i for i in range(len(lines)) if i not in good]
