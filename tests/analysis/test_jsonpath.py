"""Paths into JSON: what they name, what they refuse, and when a value is what was written."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachectl.analysis.selecting import jsonpath

DOCUMENT = {"state": "done", "items": [{"id": 7}, {"id": None}], "a b": {"": 1}, "n": {"x.y": True}}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$", DOCUMENT),
        ("$.state", "done"),
        ("$.items[0].id", 7),
        ("$.items[-1].id", None),
        ("$['a b']['']", 1),
        ('$.n["x.y"]', True),
        ("$.items[2]", jsonpath.MISSING),
        ("$.items.id", jsonpath.MISSING),
        ("$.state[0]", jsonpath.MISSING),
        ("$.missing.deeper", jsonpath.MISSING),
    ],
)
def test_a_path_names_one_place(path, expected):
    found = jsonpath.find(DOCUMENT, jsonpath.parse(path))
    assert found is expected if expected is jsonpath.MISSING else found == expected


@pytest.mark.parametrize(
    "path", ["", "state", ".state", "$state", "$.", "$..a", "$[x]", "$[1", "$.a b"]
)
def test_what_is_no_path_is_a_sentence(path):
    with pytest.raises(ValueError, match="path into JSON"):
        jsonpath.parse(path)


@pytest.mark.parametrize(
    ("value", "text", "same"),
    [
        ("done", "done", True),
        ("5", "5", True),
        (5, "5", True),
        (5, "5.0", True),
        (2**60 + 1, str(2**60), False),
        (True, "true", True),
        (1, "true", False),
        (True, "1", False),
        (None, "null", True),
        ("null", "null", True),
        (None, "", False),
        ([1, 2], "[1,2]", True),
        ({"a": 1}, '{"a": 1}', True),
        (5, "five", False),
    ],
)
def test_a_value_is_what_a_person_wrote(value, text, same):
    assert jsonpath.says(value, text) is same


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_missing(text):
    assert jsonpath.load(text) is jsonpath.MISSING


@given(st.text())
def test_every_name_can_be_quoted(name):
    quote = "'" if "'" not in name else '"'
    if quote in name:
        return
    document = json.loads(json.dumps({name: 1}))
    assert jsonpath.find(document, jsonpath.parse(f"$[{quote}{name}{quote}]")) == 1
