"""Conditions on values: what was read decides, and what was not read decides nothing."""

from __future__ import annotations

import pytest

from cachectl.analysis.selecting.contents import holding
from cachectl.analysis.selecting.selection import parse_condition
from cachectl.model.keys import Page

KEYS = [b"done", b"open", b"other", b"text", b"gone"]
CONTENTS = [b'{"state": "done"}', b'{"state": "open"}', b'{"x": 1}', b"no json", None]


def chosen(text: str, contents: list[bytes | None], *, negated: bool = False) -> list[bytes]:
    condition = parse_condition(text, duration=float, size=int, negated=negated)
    page = Page("n", list(KEYS), sizes=list(range(len(KEYS))))
    left = holding([condition], lambda _node, _keys, _condition: contents)(page)
    assert left.sizes == [KEYS.index(key) for key in left.keys]
    return left.keys


@pytest.mark.parametrize(("negated", "expected"), [(False, [b"done"]), (True, [b"open"])])
def test_only_what_is_known_is_chosen(negated, expected):
    assert chosen("json:$.state=done", CONTENTS, negated=negated) == expected


def test_fields_are_compared_byte_by_byte():
    contents = [b"closed", b"closed ", b"", b"\xff", None]
    assert chosen("field:status=closed", contents) == [b"done"]
    assert chosen("field:status=closed", contents, negated=True) == [b"open", b"other", b"text"]


def test_a_later_condition_reads_only_what_is_left():
    asked: list[list[bytes]] = []

    def read(_node, keys, condition):
        asked.append(list(keys))
        return [b"yes" if key in (b"done", b"text") else b"no" for key in keys]

    conditions = [parse_condition(f"field:{name}=yes", duration=float, size=int) for name in "ab"]
    assert holding(conditions, read)(Page("n", list(KEYS))).keys == [b"done", b"text"]
    assert asked == [KEYS, [b"done", b"text"]]
