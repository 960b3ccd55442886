"""JSON: indented without changing it, and told why it does not parse."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachectl.values.description import describe
from cachectl.values.sample import Limits

TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)  # fmt: skip


@given(st.lists(TREES) | st.dictionaries(st.text(), TREES), st.booleans(), st.booleans())
def test_any_json_is_read_and_shown_as_it_is(tree: object, ascii_only: bool, wide: bool) -> None:
    value = json.dumps(tree, ensure_ascii=ascii_only, indent=3 if wide else None).encode()
    found = describe(value)
    assert (found.format, found.damaged) == ("json", None)
    assert found.data == tree
    assert json.loads(found.text or "") == tree


def test_it_is_indented_token_by_token() -> None:
    value = b'{"b":[],"a":[1.10,-0,1E5,{"x":{}}],"a":"\\u043f\\n\\ud800"}'
    assert describe(value).text == (
        '{\n  "b": [],\n  "a": [\n    1.10,\n    -0,\n    1E5,\n    {\n      "x": {}\n    }\n  ],\n'
        '  "a": "п\\n\\ud800"\n}'
    )


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ('{"a": 1, "b": }', "Expecting value at line 1, column 15"),
        ('{\n "a": 1,\n "b" 2}', "Expecting ':' delimiter at line 3, column 6"),
        ('{"a": 1', "Expecting ',' delimiter at line 1, column 8 (cut off?)"),
        ('{"a": "x', "Unterminated string starting at line 1, column 7 (cut off?)"),
        ("{'a': 1}", "(written as Python's repr, not as JSON?)"),
        ('{"a": None}', "(written as Python's repr, not as JSON?)"),
        ("[1, 2,]", "Expecting value at line 1, column 7"),
        ("[1] trailing", "Extra data at line 1, column 5"),
        ("{not json", "Expecting property name enclosed in double quotes at line 1, column 2"),
        ("[object Object]", "a JavaScript object turned into text"),
        ('["a\tb"]', "Invalid control character at line 1, column 4"),
        ('["\\x"]', "Invalid \\escape at line 1, column 3"),
    ],
)
def test_poisoned_json_says_where_and_why(value: str, reason: str) -> None:
    found = describe(value.encode())
    assert found.format == "utf8"
    assert reason in (found.damaged or "")
    assert found.text == value


def test_json_in_latin1_is_poisoned_too() -> None:
    found = describe('{"name": "Müller", "town": "Köln"}'.encode("latin-1"))
    assert found.damaged == "looks like JSON but is not UTF-8: byte 0xfc at offset 11"


def test_what_json_forbids_and_writers_write_is_noted() -> None:
    found = describe(b'{"a": NaN, "b": -Infinity, "c": 1e999, "d": 9007199254740993, "a": 2}')
    assert found.data == {"a": 2, "b": "-Infinity", "c": "1e999", "d": 9007199254740993}
    assert found.notes == (
        "Duplicate keys: a; most readers keep the last",
        "NaN, -Infinity is not JSON; strict readers refuse the value",
        "Integers beyond 2^53 lose digits in JavaScript and other readers",
    )


def test_an_integer_longer_than_python_reads_is_kept_in_the_text() -> None:
    digits = "7" * 10_000
    found = describe(f"[{digits}]".encode())
    assert found.data == ["integer of 10,000 digits"]
    assert digits in (found.text or "")


def test_deep_nesting_is_shown_without_recursion() -> None:
    value = b"[" * 100_000 + b"]" * 100_000
    found = describe(value)
    assert found.format == "json"
    assert re.sub(r"\s", "", found.text or "").encode() == value
    assert "Nested too deeply to decode and check; many readers refuse it" in found.notes
    assert describe(b"[" * 100_000 + b"}").damaged


def test_a_decoded_tree_keeps_to_the_limits() -> None:
    deep = describe(b"[" * 80 + b"1" + b"]" * 80)
    assert json.dumps(deep.data).count("[") == 64
    assert any(note.startswith("Shortened") for note in deep.notes)
    wide = describe(b"[" + b"0," * 5000 + b"0]", limits=Limits(nodes=100))
    assert len(wide.data) == 100
    assert wide.data[-1] == "…"


def test_lone_surrogates_do_not_reach_the_output() -> None:
    found = describe(b'["\\ud800", "\\ud83d\\ude00"]')
    assert found.data == ["\\ud800", "\U0001f600"]
    assert (found.text or "").encode()
