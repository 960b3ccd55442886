"""Values against what the policy says of them, and no sentence that repeats one."""

from __future__ import annotations

import gzip
import json
import sys
import zlib
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachectl.policy import ValueFormat, ValueRule
from cachectl.values.judging import LARGEST, JudgingError, judge_of, value_problem

CANARY = "s3cr3t-canary"
SCHEMA = {
    "type": "object",
    "required": ["id", "items"],
    "properties": {
        "id": {"type": "integer"},
        "items": {"type": "array", "items": {"$ref": "#/$defs/item"}},
    },
    "$defs": {
        "item": {"type": "object", "properties": {"price": {"type": "number", "minimum": 0}}}
    },
}


@pytest.mark.parametrize(
    ("format_", "value", "problem"),
    [
        ("json", b'{"a": [1, null, "x"]}', None),
        ("json", b'"text"', None),
        ("json", b"", "is not JSON: expecting value, at byte 0"),
        ("json", b'{"a": 1', "is not JSON: expecting ',' delimiter, at byte 7"),
        ("json", b"[NaN]", "is not JSON: it holds NaN"),
        ("json", b"\xff\xfe", "is not JSON: it is not UTF-8"),
        ("json", b"[" * 100_000, "is nested too deeply"),
        ("json", gzip.compress(b'{"a": 1}', mtime=0), None),
        ("json", gzip.compress(b"<html>", mtime=0), "is not JSON: expecting value, at byte 0"),
        ("json", gzip.compress(b'{"a": 1}' * 50, mtime=0)[:-9], "is compressed and damaged"),
        ("json", zlib.compress(b'{"long enough to be seen as zlib": 1}'), None),
        ("messagepack", msgpack.packb({"a": [1, None, "x"]}), None),
        ("messagepack", msgpack.packb(5), None),
        (
            "messagepack",
            msgpack.packb("text") + b"x",
            "is not MessagePack: it goes on after its end",
        ),
        ("messagepack", msgpack.packb("text")[:-1], "is not MessagePack: it ends too early"),
        ("messagepack", b"\xc1", "is not MessagePack: it holds what MessagePack does not have"),
        ("text", "naïve\nlines\t".encode(), None),
        ("text", b"\xff", "is not text: it is not UTF-8"),
        ("text", b"a\x00b", "is not text: it holds control characters"),
        ("integer", b"-42", None),
        ("integer", b"9223372036854775808", "is not an integer of 64 bits"),
        ("integer", b"042", "is not an integer of 64 bits"),
        ("number", b"1.5e3", None),
        ("number", b"1,5", "is not a number"),
    ],
)
def test_formats(format_: ValueFormat, value: bytes, problem: str | None) -> None:
    found = value_problem(ValueRule(format_), value)
    assert found == problem if problem is None else found and found.startswith(problem)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"id": 1, "items": []}, None),
        ({"id": 1, "items": [{"price": 2.5}]}, None),
        ({"items": []}, 'does not fit its schema: $ fails required: ["id", "items"]'),
        ({"id": CANARY, "items": []}, 'does not fit its schema: $.id fails type: "integer"'),
        (
            {"id": 1, "items": [{"price": 1}, {"price": -1}]},
            "does not fit its schema: $.items[1].price fails minimum: 0",
        ),
    ],
)
def test_schemas(value: Any, problem: str | None) -> None:
    assert value_problem(ValueRule("json", SCHEMA), json.dumps(value).encode()) == problem
    assert value_problem(ValueRule("messagepack", SCHEMA), msgpack.packb(value)) == problem


def test_a_schema_that_is_none() -> None:
    with pytest.raises(JudgingError, match="the JSON Schema is not valid: type: "):
        judge_of(ValueRule("json", {"type": "objekt"}))


def test_nothing_is_fetched_for_a_schema() -> None:
    judge = judge_of(ValueRule("json", {"$ref": "https://schemas.invalid/x.json"}))
    with pytest.raises(JudgingError, match="refers to https://schemas"):
        judge(b"{}")


def test_without_jsonschema_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    with pytest.raises(JudgingError) as caught:
        judge_of(ValueRule("json", SCHEMA))
    assert caught.value.hint == "pip install 'redis-cachectl[schema]'"
    assert value_problem(ValueRule("json"), b"{}") is None


def test_what_is_too_large_is_not_judged() -> None:
    assert value_problem(ValueRule("json"), b"x" * (LARGEST + 1)) is None
    assert value_problem(ValueRule("json"), gzip.compress(b"x" * (LARGEST + 1))) is None


@given(
    st.binary(max_size=200), st.sampled_from(["json", "messagepack", "text", "integer", "number"])
)
def test_no_bytes_break_it(value: bytes, format_: ValueFormat) -> None:
    value_problem(ValueRule(format_), value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(),
        st.lists,
        max_leaves=20,
    )
)
def test_what_was_written_is_accepted(value: Any) -> None:
    assert value_problem(ValueRule("json"), json.dumps(value).encode()) is None
    assert value_problem(ValueRule("messagepack"), msgpack.packb(value)) is None
