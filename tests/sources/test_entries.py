from __future__ import annotations

import datetime
import gzip
import json
import zlib
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgpack
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from rows import batch, entry, problems_of, rendered, values_of

from cachectl.config.manifest import Tag, Ttl, Value
from cachectl.errors import ConfigError
from cachectl.model.keys import NO_TTL
from cachectl.model.values import LogicalValue
from cachectl.sources.entries import LONGEST_KEY, Renderer
from cachectl.sources.interface import RowBatch
from cachectl.sources.rendered import TagMember
from cachectl.sources.scalars import RowFault, as_json, as_text
from cachectl.sources.template import Template

# --- Templates ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "row", "gives"),
    [
        ("k:{id}", {"id": 7}, b"k:7"),
        ("{{u:{id}}}", {"id": "a"}, b"{u:a}"),
        ("{a}{b}", {"a": "x%s", "b": -1}, b"x%s-1"),
        ("100%{a}", {"a": "é"}, "100%é".encode()),
        ("{a}", {"a": True}, b"true"),
        ("{a}", {"a": 1.0}, b"1.0"),
        ("{a}", {"a": 1e300}, b"1e+300"),
        ("{a}", {"a": 2**80}, b"1208925819614629174706176"),
        ("{a}", {"a": Decimal("1.10")}, b"1.10"),
        ("{a}", {"a": datetime.date(2026, 1, 2)}, b"2026-01-02"),
        ("{a}", {"a": UUID(int=1)}, b"00000000-0000-0000-0000-000000000001"),
        ("{a}", {"a": b"\xff\x00"}, b"\xff\x00"),
        ("{a}", {"a": [1, "é"]}, '[1,"é"]'.encode()),
        ("{a.b.1}", {"a": {"b": [1, 2]}}, b"2"),
        ("{a.b}", {"a.b": 1, "a": {"b": 2}}, b"1"),
        ("{a|lower}{a|upper}", {"a": "Xy"}, b"xyXY"),
        ("{a|trim|url}", {"a": " a/b é "}, b"a%2Fb%20%C3%A9"),
        ("{a|json}", {"a": 'x"'}, b'"x\\""'),
        ("{a|sha256}", {"a": "x"}, __import__("hashlib").sha256(b"x").hexdigest().encode()),
        ("{a|default:none}", {}, b"none"),
        ("{a|default:none}", {"a": None}, b"none"),
        ("{a.b|default:}", {"a": 1}, b""),
        ("{key|without:prod:}", {"key": b"prod:\xff"}, b"\xff"),
        ("{key|without:prod:}", {"key": "x"}, b"x"),
    ],
)
def test_template(template: str, row: Any, gives: bytes) -> None:
    assert Template(template).column([row]) == ([gives], {})


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({}, "has no column `id`"),
        ({"id": None}, "has a column `id` that is null"),
        ({"id": "\ud83d"}, "has a column `id` that holds half a character"),
        ({"id": object()}, "is of a type that has no text (object)"),
    ],
)
def test_a_bad_row_is_told_and_the_others_are_made(row: Any, what: str) -> None:
    values, faults = Template("k:{id}").column([{"id": 1}, row, {"id": 2}])
    assert values[::2] == [b"k:1", b"k:2"]
    assert list(faults) == [1]
    assert what in faults[1]


_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(max_size=5),
    st.floats(allow_nan=False, allow_infinity=False),
)


@given(st.lists(st.fixed_dictionaries({"a": _SCALARS}, optional={"b": _SCALARS}), max_size=8))
def test_whole_columns_give_what_single_rows_give(rows: list[dict[str, Any]]) -> None:
    """The quick way and the careful way are the same function."""
    template = Template("x{a}y{b}z")
    values, faults = template.column(rows)
    for i, row in enumerate(rows):
        if i not in faults:
            assert values[i] == template.one(row)
            continue
        with pytest.raises(RowFault) as fault:
            template.one(row)
        assert faults[i] == str(fault.value)


@given(st.recursive(_SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_json_is_json(value: Any) -> None:
    assert json.loads(as_json(value)) == value
    if isinstance(value, int | list | dict):
        assert as_text(value) == as_json(value)


# --- Strings ------------------------------------------------------------------------------------

ROW = {"id": 1, "name": "é", "price": Decimal("2.50"), "none": None, "tags": ["a", "b"]}
WHOLE = '{"id":1,"name":"é","price":"2.50","none":null,"tags":["a","b"]}'.encode()


@pytest.mark.parametrize(
    ("value", "codec", "gives"),
    [
        (Value("template", template="{name}!"), ("raw",), "é!".encode()),
        (Value("template", template="{name}!"), ("json",), '"é!"'.encode()),
        (Value("column", column="name"), ("raw",), "é".encode()),
        (Value("column", column="tags"), ("json",), b'["a","b"]'),
        (Value("column", column="none"), ("json",), b"null"),
        (Value("row"), ("json",), WHOLE),
        (
            Value("columns", names={"n": "name", "t": "tags.0"}),
            ("json",),
            '{"n":"é","t":"a"}'.encode(),
        ),
    ],
)
def test_string_values(value: Value, codec: Any, gives: bytes) -> None:
    assert values_of(rendered(entry(value=value, codec=codec), [ROW])) == {b"k:1": gives}


@pytest.mark.parametrize(
    ("codec", "back"),
    [
        (("json", "zlib"), lambda data: json.loads(zlib.decompress(data))),
        (("json", "gzip"), lambda data: json.loads(gzip.decompress(data))),
        (("json", "zstd"), lambda data: json.loads(zstandard.decompress(data))),
        (("msgpack",), msgpack.unpackb),
        (("msgpack", "zstd"), lambda data: msgpack.unpackb(zstandard.decompress(data))),
    ],
)
def test_codecs_give_back_the_row(codec: Any, back: Any) -> None:
    made = values_of(rendered(entry(value=Value("row"), codec=codec), [ROW]))
    assert back(made[b"k:1"]) == {**ROW, "price": "2.50"}
    again = values_of(rendered(entry(value=Value("row"), codec=codec), [ROW]))
    assert made == again


def test_a_compressed_template() -> None:
    made = values_of(
        rendered(entry(value=Value("template", template="x{id}"), codec=("zlib",)), [ROW])
    )
    assert zlib.decompress(made[b"k:1"]) == b"x1"


def test_a_row_that_was_json_is_not_written_anew() -> None:
    texts = [b'{"id": 1}', b'{"id": 2}']
    rows = RowBatch([json.loads(text) for text in texts], [1, 2], texts)
    assert Renderer(entry(value=Value("row"), codec=("json",))).render(rows).values == texts


@pytest.mark.parametrize(
    ("value", "codec", "row", "what"),
    [
        (Value("column", column="x"), ("raw",), {"id": 1}, "has no column `x`"),
        (Value("column", column="x"), ("raw",), {"id": 1, "x": None}, "that is null"),
        (Value("row"), ("json",), {"id": 1, "x": float("nan")}, "cannot be written as JSON"),
        (Value("row"), ("json",), {"id": 1, "x": b"\xff"}, "cannot be written as JSON"),
        (Value("row"), ("msgpack",), {"id": 1, "x": 2**70}, "cannot be packed as MessagePack"),
    ],
)
def test_a_value_that_cannot_be_made(value: Value, codec: Any, row: Any, what: str) -> None:
    parts = rendered(entry(value=value, codec=codec), [row, {"id": 2, "x": 1}])
    assert list(values_of(parts)) == [b"k:2"]
    assert what in problems_of(parts)[1]


def test_keys_that_no_server_should_have() -> None:
    parts = rendered(entry("{id}"), [{"id": ""}, {"id": "x" * (LONGEST_KEY + 1)}, {"id": "ok"}])
    assert list(values_of(parts)) == [b"ok"]
    found = problems_of(parts)
    assert found[1] == "makes an empty key"
    assert "makes a key of 65,537 bytes" in found[2]


def test_a_value_that_is_too_large() -> None:
    made = entry(value=Value("template", template="{x}"), max_bytes=3)
    parts = rendered(made, [{"id": 1, "x": "abcd"}, {"id": 2, "x": "abc"}])
    assert list(values_of(parts)) == [b"k:2"]
    assert problems_of(parts)[1] == "makes a value of 4 bytes, more than max_bytes (3)"


def test_where_counts_some_rows_alone() -> None:
    rows = [{"id": 1, "s": "open"}, {"id": 2, "s": "shut"}, {"id": 3}, {"id": 4, "s": "open"}]
    (part, _) = rendered(entry(where={"s": "open"}), rows)
    assert part.keys == [b"k:1", b"k:4"]
    assert list(part.rows) == [1, 4]
    assert part.problems == ()


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "msgpack", None)
    with pytest.raises(ConfigError, match="need the package msgpack"):
        Renderer(entry(value=Value("row"), codec=("msgpack",)))


# --- Collections --------------------------------------------------------------------------------

THINGS = {"id": 1, "list": ["b", "a", "b", 1], "map": {"x": 2, "y": 1.5}, "pairs": [["m", 1]]}


@pytest.mark.parametrize(
    ("kind", "value", "gives"),
    [
        ("list", Value("column", column="list"), [b"b", b"a", b"b", b"1"]),
        ("set", Value("column", column="list"), [b"b", b"a", b"1"]),
        ("list", Value("elements", elements=("{id}", "x")), [b"1", b"x"]),
        ("zset", Value("column", column="map"), [(b"x", 2.0), (b"y", 1.5)]),
        ("zset", Value("column", column="pairs"), [(b"m", 1.0)]),
        ("zset", Value("members", elements=("m{id}",), scores=("{id}5",)), [(b"m1", 15.0)]),
        ("hash", Value("column", column="map"), [(b"x", b"2", None), (b"y", b"1.5", None)]),
        ("hash", Value("columns", names={"a": "id"}), [(b"a", b"1", None)]),
        ("hash", Value("fields", names={"f{id}": "v{id}"}), [(b"f1", b"v1", None)]),
        ("stream", Value("columns", names={"a": "id"}), [((0, 1), ((b"a", b"1"),))]),
        ("stream", Value("fields", names={"a": "b"}, id="5-{id}"), [((5, 1), ((b"a", b"b"),))]),
    ],
)
def test_collections_of_one_row(kind: str, value: Value, gives: Any) -> None:
    parts = rendered(entry(type_=kind, value=value), [THINGS])
    assert values_of(parts) == {b"k:1": gives}
    (made,) = parts[0].warm_keys()
    assert made.value == LogicalValue(kind, gives)


def test_null_columns_are_no_fields() -> None:
    parts = rendered(entry(type_="hash", value=Value("row")), [{"id": 1, "a": None}])
    assert values_of(parts) == {b"k:1": [(b"id", b"1", None)]}


@pytest.mark.parametrize(
    ("kind", "value", "row", "what"),
    [
        ("list", Value("column", column="x"), {"x": []}, "makes an empty list"),
        ("list", Value("column", column="x"), {"x": "a"}, "`x` that is not a list"),
        ("set", Value("column", column="x"), {"x": [None]}, "has a column `x` that is null"),
        ("zset", Value("column", column="x"), {"x": {"a": "b"}}, "score that is not a number"),
        ("zset", Value("column", column="x"), {"x": {"a": float("nan")}}, "not a number"),
        ("zset", Value("column", column="x"), {"x": 5}, "neither an object of member and score"),
        ("hash", Value("column", column="x"), {"x": 5}, "`x` that is not an object of fields"),
        ("hash", Value("columns", names={"x": "x"}), {"x": None}, "makes an empty hash"),
        ("stream", Value("fields", names={"a": "b"}, id="{x}"), {"x": "1-x"}, "has no id like"),
        ("stream", Value("fields", names={"a": "b"}, id="0-0"), {}, "out of range"),
    ],
)
def test_collections_that_cannot_be_made(kind: str, value: Value, row: Any, what: str) -> None:
    parts = rendered(entry(type_=kind, value=value), [{"id": 1, **row}])
    assert values_of(parts) == {}
    assert what in problems_of(parts)[1]


def gathering(kind: str = "list", **fields: Any) -> Any:
    value = {
        "list": Value("elements", elements=("{v}",)),
        "set": Value("elements", elements=("{v}",)),
        "hash": Value("fields", names={"{v}": "{n}"}),
        "zset": Value("members", elements=("{v}",), scores=("{n}",)),
        "stream": Value("fields", names={"v": "{v}"}),
    }[kind]
    return entry(type_=kind, value=value, gather=True, **fields)


def rows_of(*pairs: tuple[int, Any]) -> list[dict[str, Any]]:
    return [{"id": key, "v": value, "n": n} for n, (key, value) in enumerate(pairs)]


@pytest.mark.parametrize(
    ("kind", "gives"),
    [
        ("list", [b"a", b"b", b"a"]),
        ("set", [b"a", b"b"]),
        ("hash", [(b"a", b"2", None), (b"b", b"1", None)]),
        ("zset", [(b"a", 2.0), (b"b", 1.0)]),
        (
            "stream",
            [((0, 1), ((b"v", b"a"),)), ((0, 2), ((b"v", b"b"),)), ((0, 3), ((b"v", b"a"),))],
        ),
    ],
)
def test_rows_with_one_key_make_one_collection(kind: str, gives: Any) -> None:
    rows = rows_of((1, "a"), (1, "b"), (1, "a"), (2, "x"))
    found = values_of(rendered(gathering(kind), rows))
    assert found[b"k:1"] == gives
    assert len(found) == 2


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), max_size=30).map(
        lambda pairs: sorted(pairs, key=lambda pair: pair[0])
    ),
    st.integers(1, 7),
)
def test_where_batches_end_changes_nothing(pairs: list[tuple[int, int]], size: int) -> None:
    rows = rows_of(*pairs)
    pieces = [rows[at : at + size] for at in range(0, len(rows), size)]
    assert values_of(rendered(gathering(), *pieces)) == values_of(rendered(gathering(), rows))
    expected: dict[bytes, list[bytes]] = {}
    for key, value in pairs:
        expected.setdefault(b"k:%d" % key, []).append(b"%d" % value)
    assert values_of(rendered(gathering(), rows)) == expected


def test_a_key_that_comes_again_is_told_and_not_written_over() -> None:
    parts = rendered(gathering(), rows_of((1, "a"), (2, "b"), (1, "c")))
    assert values_of(parts) == {b"k:1": [b"a"], b"k:2": [b"b"]}
    assert "sort the rows by key" in problems_of(parts)[3]


def test_a_collection_that_lacks_an_element_is_not_written() -> None:
    rows = [*rows_of((1, "a"), (1, None), (2, "b")), {"id": 3}]
    parts = rendered(gathering(), rows)
    assert values_of(parts) == {b"k:2": [b"b"]}
    assert problems_of(parts) == {
        1: "is one of its key's rows, and row 2 has no value",
        2: "has a column `v` that is null",
        4: "has no column `v`",
    }


def test_a_first_row_without_a_value_spoils_its_key_too() -> None:
    parts = rendered(gathering(), rows_of((1, None), (1, "a"), (2, "b")))
    assert values_of(parts) == {b"k:2": [b"b"]}
    assert problems_of(parts) == {1: "has a column `v` that is null"}


def test_a_gathered_key_that_is_too_large() -> None:
    parts = rendered(gathering(max_bytes=3), rows_of((1, "aa"), (1, "bb"), (1, "cc"), (2, "b")))
    assert values_of(parts) == {b"k:2": [b"b"]}
    assert "larger than its entry's max_bytes" in problems_of(parts)[1]


# --- TTLs, tags, copies -------------------------------------------------------------------------


def test_a_ttl_of_the_row() -> None:
    made = entry(ttl=Ttl("column", column="t"))
    rows = [{"id": i, "t": t} for i, t in enumerate((60, "1.5", 0, -1, 1e18, None, "x"), 1)]
    parts = rendered(made, rows)
    assert parts[0].ttls == [60_000, 1500]
    assert [key.ttl_ms for key in parts[0].warm_keys()] == [60_000, 1500]
    assert set(problems_of(parts)) == {3, 4, 5, 6, 7}
    assert "not between 0 and 100 years" in problems_of(parts)[5]


def test_a_ttl_of_the_first_gathered_row() -> None:
    made = gathering(ttl=Ttl("column", column="n"))
    rows = [{"id": 1, "v": "a", "n": 5}, {"id": 1, "v": "b", "n": 9}]
    assert rendered(made, rows)[-1].ttls == [5000]


def test_tags() -> None:
    tags = (Tag("t:{c}"), Tag("z", "zset", "{id}", "{s}"))
    rows = [
        {"id": 1, "c": "x", "s": 2},
        {"id": 2, "c": None, "s": 3},
        {"id": 3, "c": "y", "s": "?"},
    ]
    parts = rendered(entry(tags=tags), rows)
    assert parts[0].tags == [
        (TagMember("set", b"t:x", b"k:1"), TagMember("zset", b"z", b"1", 2.0)),
    ]
    assert set(problems_of(parts)) == {2, 3}


def test_tags_of_a_gathered_key() -> None:
    parts = rendered(gathering(tags=(Tag("t"),)), rows_of((1, "a"), (1, "b")))
    assert parts[-1].tags == [(TagMember("set", b"t", b"k:1"),)]


def test_copies_keep_type_and_ttl() -> None:
    made = entry("new:{key|without:old:}", "copy", Value("copy"), ttl=Ttl("kept", jitter=0))
    rows = [
        {
            "key": b"old:\xff",
            "type": "string",
            "ttl_ms": 5,
            "value": LogicalValue("string", [b"a"]),
        },
        {"key": b"old:2", "type": "list", "ttl_ms": NO_TTL, "value": LogicalValue("list", [b"x"])},
        {"key": b"old:3", "type": "list", "ttl_ms": 0, "value": LogicalValue("list", [b"x"])},
        {"key": b"old:4", "type": "list", "ttl_ms": 5, "value": None},
    ]
    (part, rest) = rendered(made, rows)
    assert (rest.keys, rest.ttls) == ([], [])
    assert part.keys == [b"new:\xff", b"new:2"]
    assert part.values == [b"a", [b"x"]]
    assert part.types == ["string", "list"]
    assert part.ttls == [5, NO_TTL]
    assert [problem.what for problem in part.problems] == [
        "is a key that had expired",
        "has no value: a saved scan holds names and no values",
    ]
    assert [key.value.type for key in part.warm_keys()] == ["string", "list"]


def test_a_problem_says_whom_it_concerns() -> None:
    (part, _) = rendered(entry(), [{}])
    (problem,) = part.problems
    assert str(problem) == "s: entry e, row 1 has no column `id`"
    assert str(problem.place) == "m.yaml, line 1: `entries[0]`"
    assert batch([{}]).problems == ()
