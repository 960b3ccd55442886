"""Rows that come one by one: in every format, to their end and when they are cut short."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator

import pytest
import yaml
from hostile import NAMES
from reports import FORMATS, OF_STATES, terminal, written

from cachectl.model.findings import Unavailable
from cachectl.output.escape import escape, unescape
from cachectl.output.report import Column, Kind, Pairs, Report, RowStream, Table
from cachectl.output.show import Format, show, stream
from cachectl.output.terminal import Terminal

COLUMNS = (
    Column("key", Kind.KEY),
    Column("bytes", Kind.BYTES),
    Column("ttl", Kind.TTL),
    Column("for_people", audience="people"),
)


def rows(until: int, error: BaseException | None = None) -> Iterator[tuple[object, ...]]:
    for number in range(until):
        yield f"key:{number}".encode(), number, None, "x"
    if error:
        raise error


def streamed(
    chosen: Format, items: Iterator[tuple[object, ...]], *, partial: bool = False
) -> tuple[Terminal, RowStream]:
    screen = terminal()
    end = Report(
        schema="cachectl.keys/1",
        blocks=[Pairs([(Column("listed", Kind.COUNT), 3)])],
        partial=partial,
        unavailable=[Unavailable("idle", "NOPERM")],
        notes=["done"],
    )
    return screen, RowStream("cachectl.keys/1", "keys", COLUMNS, items, finish=lambda: end)


@pytest.mark.parametrize("chosen", FORMATS)
def test_rows_and_what_is_missing_are_told(chosen: Format) -> None:
    screen, source = streamed(chosen, rows(3))
    stream(source, chosen, screen)
    out, err = written(screen.stdout), written(screen.stderr)
    assert "key:2" in out or chosen in OF_STATES
    assert "NOPERM" in out + err


def test_plain() -> None:
    screen, source = streamed(Format.PLAIN, rows(3))
    stream(source, Format.PLAIN, screen)
    assert written(screen.stdout) == (
        "key    bytes   ttl  for people\n"
        "key:0    0 B  none  x\n"
        "key:1    1 B  none  x\n"
        "key:2    2 B  none  x\n"
    )
    assert written(screen.stderr) == "listed:  3\nnot available: idle: NOPERM\ndone\n"


def test_csv() -> None:
    screen, source = streamed(Format.CSV, rows(2))
    stream(source, Format.CSV, screen)
    assert written(screen.stdout) == "key,bytes,ttl\nkey:0,0,\nkey:1,1,\n"


def test_yaml_is_one_document_a_row() -> None:
    screen, source = streamed(Format.YAML, rows(2))
    stream(source, Format.YAML, screen)
    assert list(yaml.safe_load_all(written(screen.stdout))) == [
        {"key": "key:0", "bytes": 0, "ttl": None},
        {"key": "key:1", "bytes": 1, "ttl": None},
    ]


@pytest.mark.parametrize("count", [0, 1, 120])
def test_json_is_one_document(count: int) -> None:
    screen, source = streamed(Format.JSON, rows(count))
    stream(source, Format.JSON, screen)
    found = json.loads(written(screen.stdout))
    assert found["schema"] == "cachectl.keys/1"
    assert len(found["keys"]) == count
    assert found["partial"] is False
    assert found["listed"] == 3
    assert found["unavailable"][0]["what"] == "idle"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ConnectionError("gone")])
@pytest.mark.parametrize("chosen", FORMATS)
def test_what_was_seen_is_printed_when_the_rows_break_off(
    chosen: Format, error: BaseException
) -> None:
    screen, source = streamed(chosen, rows(2, error))
    with pytest.raises(type(error)):
        stream(source, chosen, screen)
    out = written(screen.stdout)
    for told in ("key:0", "key:1"):
        assert told in out or chosen in OF_STATES
    assert "NOPERM" in out + written(screen.stderr)
    if chosen is Format.JSON:
        found = json.loads(out)
        assert found["partial"] is True
        assert len(found["keys"]) == 2


def test_empty_streams_still_have_their_heading() -> None:
    for chosen, expected in ((Format.CSV, "key,bytes,ttl\n"), (Format.TSV, "key\tbytes\tttl\n")):
        screen, source = streamed(chosen, rows(0))
        stream(source, chosen, screen)
        assert written(screen.stdout) == expected


def hostile_stream(chosen: Format) -> str:
    screen = terminal()
    items = ((name, 1, None, "") for name in NAMES)
    columns = COLUMNS[:3]
    stream(RowStream("x/1", "keys", columns, ((*r[:3],) for r in items)), chosen, screen)
    return written(screen.stdout)


def test_hostile_names_are_exact_in_streams_too() -> None:
    found = csv.reader(io.StringIO(hostile_stream(Format.CSV)))
    assert [unescape(row[0]) for row in found][1:] == NAMES
    _, *lines = hostile_stream(Format.PLAIN).splitlines()
    assert len(lines) == len(NAMES)
    assert all(escape(name) in line for name, line in zip(NAMES, lines, strict=True))
    parsed = [json.loads(line)["key"] for line in hostile_stream(Format.NDJSON).splitlines()]
    assert len(parsed) == len(NAMES)


@pytest.mark.parametrize(
    "chosen", [Format.PLAIN, Format.NDJSON, Format.CSV, Format.TSV, Format.MARKDOWN]
)
def test_stream_and_report_of_the_same_rows_agree(chosen: Format) -> None:
    """A command may stream today and collect tomorrow: scripts must not notice."""
    items = [(f"key:{number}".encode(), number, 1.5, "x") for number in range(5)]
    streaming, collecting = terminal(), terminal()
    stream(RowStream("x/1", "keys", COLUMNS, items), chosen, streaming)
    show(Report("x/1", [Table("keys", COLUMNS, items)]), chosen, collecting)
    assert written(streaming.stdout) == written(collecting.stdout)


def test_json_stream_and_json_report_have_the_same_fields() -> None:
    items = [(f"key:{number}".encode(), number, 1.5, "x") for number in range(5)]
    streaming, collecting = terminal(), terminal()
    stream(RowStream("x/1", "keys", COLUMNS, items), Format.JSON, streaming)
    show(Report("x/1", [Table("keys", COLUMNS, items)]), Format.JSON, collecting)
    assert json.loads(written(streaming.stdout)) == json.loads(written(collecting.stdout))
