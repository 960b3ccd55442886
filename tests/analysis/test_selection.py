"""Conditions: what they mean, and what they refuse."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachectl.analysis.selecting.selection import ConditionError, Selection, parse_condition
from cachectl.model.keys import Page

PAGE = Page(
    node="n",
    keys=[b"user:1", b"user:2", b"tmp:1", b"tmp:2"],
    types=["hash", "string", "string", "set"],
    ttls=[-1, 60_000, 7_200_000, 0],
    sizes=[100, 5_000, None, 70],
    idles=[10, 90_000, 0, None],
    freqs=None,
)


def parse(text: str, negated: bool = False):
    units = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
    return parse_condition(
        text,
        duration=lambda t: float(t[:-1]) * units[t[-1]],
        size=lambda t: int(t.removesuffix("K")) * 1000,
        negated=negated,
    )


def chosen(*conditions: str, without: tuple[str, ...] = ()) -> list[int]:
    selection = Selection(
        (*(parse(c) for c in conditions), *(parse(c, negated=True) for c in without))
    )
    return selection.filter(
        glob=lambda pattern: lambda key: fnmatch.fnmatchcase(key.decode(), pattern.decode()),
        namespace_of=lambda key: key.split(b":")[0] + b":{id}",
    )(PAGE)


@pytest.mark.parametrize(
    ("conditions", "without", "expected"),
    [
        ((), (), [0, 1, 2, 3]),
        (("match=user:*",), (), [0, 1]),
        (("match=user:*", "match=*:2"), (), [0, 1, 3]),
        ((), ("match=user:*",), [2, 3]),
        (("namespace=tmp:{id}",), (), [2, 3]),
        (("type=hash", "type=set"), (), [0, 3]),
        ((), ("type=string",), [0, 3]),
        (("ttl=none",), (), [0]),
        ((), ("ttl=none",), [1, 2, 3]),
        (("ttl<5m",), (), [1, 3]),
        (("ttl>1h",), (), [2]),
        (("bytes>1K",), (), [1]),
        (("idle>1d",), (), [1]),
        (("type=string", "ttl>1h"), (), [2]),
    ],
)
def test_conditions_choose(conditions, without, expected):
    assert chosen(*conditions, without=without) == expected


def test_what_is_not_known_is_never_chosen_not_even_by_its_opposite():
    assert 2 not in chosen("bytes<9K")
    assert 2 not in chosen(without=("bytes<1K",))
    assert chosen("freq<5") == []
    assert chosen(without=("freq<5",)) == []


def test_values_are_left_to_whoever_reads_them():
    condition = parse("json:$.state=done=1")
    assert (condition.subject, condition.path, condition.value) == ("json", "$.state", b"done=1")
    assert Selection((condition,)).value_conditions == (condition,)
    assert Selection((condition,)).columns == frozenset()


@pytest.mark.parametrize(
    "text", ["nonsense", "type>hash", "ttl=5m", "idle=3d", "freq<x", "size>1K"]
)
def test_a_wrong_condition_is_a_sentence(text):
    with pytest.raises(ConditionError, match=r"."):
        parse(text)


def test_the_server_filters_by_one_pattern_only():
    assert Selection((parse("match=a*"),)).server_match == b"a*"
    assert Selection((parse("match=a*"), parse("match=b*"))).server_match is None
    assert Selection((parse("match=a*", negated=True),)).server_match is None


@given(st.sampled_from(["type=hash", "ttl=none", "match=user:*"]))
def test_a_condition_and_its_opposite_part_what_is_known(text):
    assert sorted(chosen(text) + chosen(without=(text,))) == [0, 1, 2, 3]
