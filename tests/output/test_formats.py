"""Every format × every hostile name: harmless, valid, exact."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from html import unescape as html_unescape
from typing import Any

import pytest
import yaml
from hostile import NAMES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from reports import FORMATS, Bytes, named, sample, shown, terminal, written

from cachectl.cli.options import OutputFormat
from cachectl.output.escape import escape, unescape
from cachectl.output.report import Column, Kind, Report, Table
from cachectl.output.show import Format, default_format, show
from cachectl.output.terminal import Terminal

HARMFUL = ("Cc", "Cf", "Cs", "Zl", "Zp")
SOME = [name for name in NAMES if len(name) < 200]


def harmful(text: str, allowed: str = "\n") -> set[str]:
    return {c for c in text if unicodedata.category(c) in HARMFUL and c not in allowed}


def test_the_command_line_offers_every_format() -> None:
    assert [str(option) for option in OutputFormat] == [str(chosen) for chosen in Format]


def test_default_is_a_table_on_a_screen_and_plain_on_a_pipe() -> None:
    assert default_format(terminal(tty=True)) is Format.TABLE
    assert default_format(terminal()) is Format.PLAIN


# The Text block alone may keep the tabs and line breaks of a value.
@pytest.mark.parametrize("chosen", FORMATS)
@pytest.mark.parametrize("columns", [20, 80])
def test_nothing_harmful_reaches_stdout_or_stderr(chosen: Format, columns: int) -> None:
    screen = terminal(columns=columns)
    show(named(NAMES), chosen, screen)
    for stream in (screen.stdout, screen.stderr):
        assert harmful(written(stream), "\n\t") == set()


@given(st.lists(st.binary(), min_size=1, max_size=5), st.sampled_from(FORMATS))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_bytes_are_harmful_in_any_format(names: list[bytes], chosen: Format) -> None:
    screen = terminal()
    show(named(names), chosen, screen)
    assert harmful(written(screen.stdout) + written(screen.stderr), "\n\t") == set()


@pytest.mark.parametrize("chosen", FORMATS)
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_every_encoding_of_stdout_will_do(chosen: Format, encoding: str) -> None:
    out = Bytes(encoding)
    world = terminal()
    show(named(SOME), chosen, Terminal(world.stdin, out, world.stderr, now=world.now))
    text = out.content.decode(encoding)
    assert text
    assert harmful(text, "\n\t") == set()


def test_names_stay_exact_on_an_ascii_stdout() -> None:
    names = [name for name in SOME if name]
    out = Bytes("ascii")
    world = terminal()
    table = Table("keys", [Column("key", Kind.KEY)], [(name,) for name in names])
    show(Report("x/1", [table]), Format.PLAIN, Terminal(world.stdin, out, world.stderr))
    assert [unescape(line) for line in out.content.decode().splitlines()[1:]] == names


def test_our_drawings_have_stand_ins_on_an_ascii_stdout() -> None:
    out = Bytes("ascii")
    world = terminal(columns=200)
    screen = Terminal(world.stdin, out, world.stderr, environ=world.environ, now=world.now)
    show(sample(), Format.TABLE, screen)
    text = out.content.decode()
    assert "~1,200 +/-200" in text
    assert "(781 KiB-1.81 MiB)" in text
    assert "##########" in text
    assert r"user:\u540d\u524d:profile" in text
    assert r"\u2588" not in text


@pytest.mark.parametrize("chosen", FORMATS)
def test_no_escape_code_on_a_pipe_even_when_a_table_is_forced(chosen: Format) -> None:
    assert "\x1b" not in shown(sample(), chosen)


def test_a_screen_has_colours_unless_somebody_minds() -> None:
    assert "\x1b[" in shown(sample(), Format.TABLE, tty=True)
    for environ in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        screen = terminal(tty=True, environ=environ)
        show(sample(), Format.TABLE, screen)
        assert "\x1b" not in written(screen.stdout)
    screen = terminal(tty=True)
    screen.no_color = True
    show(sample(), Format.TABLE, screen)
    assert "\x1b" not in written(screen.stdout)


def test_colours_change_nothing_but_colour() -> None:
    colourful = shown(sample(), Format.TABLE, tty=True)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", colourful).splitlines()
    assert [line.rstrip() for line in lines] == shown(sample(), Format.TABLE).splitlines()


# --- json, ndjson, yaml -----------------------------------------------------------------------


def test_json_is_one_ascii_document_with_exact_names() -> None:
    text = shown(named(NAMES), Format.JSON)
    assert text.isascii()
    rows = json.loads(text)["names"]
    assert [name_of(row) for row in rows] == NAMES


def name_of(row: dict[str, Any]) -> bytes:
    import base64

    if "key_b64" in row:
        assert unescape(row["key"]) == base64.b64decode(row["key_b64"])
        return base64.b64decode(row["key_b64"])
    return str(row["key"]).encode()


def test_every_string_of_a_document_is_unicode() -> None:
    """A lone surrogate would be valid for Python alone: jq, DuckDB and YAML refuse it."""
    json.dumps(json.loads(shown(named(NAMES), Format.JSON)), ensure_ascii=False).encode()


def test_ndjson_has_one_object_a_row() -> None:
    lines = shown(named(NAMES), Format.NDJSON).split("\n")
    assert lines.pop() == ""
    assert [name_of(json.loads(line)) for line in lines] == NAMES


def test_ndjson_of_a_report_without_rows_is_the_document() -> None:
    report = named(NAMES)
    report.blocks = [block for block in report.blocks if not isinstance(block, Table)]
    (line,) = shown(report, Format.NDJSON).splitlines()
    assert json.loads(line) == json.loads(shown(report, Format.JSON))


@pytest.mark.parametrize("report", [named(NAMES), sample()], ids=["names", "sample"])
def test_yaml_says_what_json_says(report: Report) -> None:
    text = shown(report, Format.YAML)
    assert text.isascii()
    assert yaml.safe_load(text) == json.loads(shown(report, Format.JSON))


def test_a_report_cannot_overwrite_the_head_of_the_document() -> None:
    report = Report("x/1", [Table("server", [Column("a")], [])])
    with pytest.raises(ValueError, match="server"):
        shown(report, Format.JSON)


# --- csv, tsv ---------------------------------------------------------------------------------


def separated(text: str, chosen: Format) -> list[list[str]]:
    if chosen is Format.CSV:
        return list(csv.reader(io.StringIO(text)))
    return [line.split("\t") for line in text.removesuffix("\n").split("\n")]


@pytest.mark.parametrize("chosen", [Format.CSV, Format.TSV])
def test_separated_names_are_exact_and_one_line_each(chosen: Format) -> None:
    text = shown(named(NAMES), chosen)
    heading, *rows = separated(text, chosen)
    assert heading == ["key", "text", "types", "data", "bytes"]
    assert text.count("\n") == len(NAMES) + 1
    assert [unescape(row[0]) for row in rows] == NAMES
    assert {len(row) for row in rows} == {5}


@pytest.mark.parametrize("chosen", [Format.CSV, Format.TSV])
def test_no_cell_is_a_formula(chosen: Format) -> None:
    for row in separated(shown(named(NAMES), chosen), chosen):
        assert not [cell for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


def test_numbers_below_zero_stay_numbers() -> None:
    table = Table("t", [Column("change", Kind.SIGNED_BYTES)], [(-5,), (5,)])
    assert shown(Report("x/1", [table]), Format.CSV) == "change\n-5\n5\n"


def test_bounds_of_an_estimate_get_columns_though_the_first_row_has_none() -> None:
    heading, first, second, _ = separated(shown(sample(), Format.CSV), Format.CSV)
    assert heading[:4] == ["namespace", "keys", "keys_low", "keys_high"]
    assert first[1:4] == ["1234567", "", ""]
    assert second[1:4] == ["1200", "1000", "1400"]


def test_separated_report_without_rows_is_field_and_value() -> None:
    report = sample()
    report.blocks = report.blocks[:1]
    assert shown(report, Format.CSV) == (
        "field,value\nkeys,1235767\naddress,cache.example.net:6379\nmemory,\n"
    )


@pytest.mark.parametrize("chosen", [Format.CSV, Format.TSV, Format.NDJSON, Format.PLAIN])
def test_what_has_no_place_in_the_format_is_said_on_stderr(chosen: Format) -> None:
    screen = terminal()
    show(sample(), chosen, screen)
    said = written(screen.stderr)
    assert "partial: " in said
    assert "not available: idle: the policy is LFU" in said


# --- markdown ---------------------------------------------------------------------------------


def markdown_cells(text: str) -> list[list[str]]:
    """Return the rows of the first table, as GitHub would show them."""
    rows: list[list[str]] = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "tr_open":
            rows.append([])
        if token.type == "inline" and token.level > 2 and token.children is not None:
            assert {child.type for child in token.children} <= {"text", "code_inline"}, token
            rows[-1].append("".join(child.content for child in token.children))
    return rows


def test_markdown_shows_every_name_as_it_is() -> None:
    names = [name for name in SOME if name]
    columns = [Column("key", Kind.KEY), Column("text", Kind.TEXT)]
    texts = [name.decode("utf-8", "surrogateescape") for name in names]
    table = Table("keys", columns, list(zip(names, texts, strict=True)))
    _, *rows = markdown_cells(shown(Report("x/1", [table]), Format.MARKDOWN))
    assert rows == [[escape(name), escape(name)] for name in names]


def test_markdown_has_no_html() -> None:
    page = MarkdownIt("commonmark").enable("table").render(shown(named(SOME), Format.MARKDOWN))
    tags = set(re.findall(r"<(/?\w+)", page))
    assert "script" not in tags
    assert "a" not in tags
    assert "alert(1)" in html_unescape(page)
