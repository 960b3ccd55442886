"""Which values are read: each key with the same chance, whatever the pages and nodes."""

from __future__ import annotations

from collections import Counter

import pytest

from cachectl.analysis.estimates.value_sample import ValueSample
from cachectl.model.keys import Page


def page(node: str, *keys: bytes) -> Page:
    return Page(node, list(keys), ["string"] * len(keys), sizes=[10] * len(keys))


def offer(sample: ValueSample, one: Page, rule: int = 0) -> None:
    sample.add(one, range(len(one)), [rule] * len(one))


def test_all_are_kept_where_there_are_no_more() -> None:
    sample = ValueSample(5)
    offer(sample, page("a", b"1", b"2"))
    offer(sample, page("b", b"3"), rule=1)
    found = sample.chosen()
    assert sorted(one.key for one in found if one.rule == 0) == [b"1", b"2"]
    assert [(one.node, one.key, one.bytes, one.rule) for one in found if one.rule] == [
        ("b", b"3", 10, 1)
    ]


def test_only_the_rows_that_take_part() -> None:
    sample = ValueSample(5)
    sample.add(page("a", b"1", b"2", b"3", b"4"), [1, 2, 3], [0, 7, 0])
    assert sorted((one.key, one.rule) for one in sample.chosen()) == [
        (b"2", 0),
        (b"3", 7),
        (b"4", 0),
    ]


@pytest.mark.parametrize("sizes", [(100,), (1, 99), (7,) * 14 + (2,), (60, 40)])
def test_every_key_has_the_same_chance(sizes: tuple[int, ...]) -> None:
    """Pages of any sizes, of two nodes in turn, 10 of 100 keys: counts are within five errors."""
    counts: Counter[bytes] = Counter()
    rounds = 400
    for seed in range(rounds):
        sample, at = ValueSample(10, seed), 0
        for number, size in enumerate(sizes):
            names = [b"%d" % key for key in range(at, at + size)]
            offer(sample, page("ab"[number % 2], *names))
            at += size
        found = sample.chosen()
        assert len(found) == 10
        counts.update(one.key for one in found)
    assert len(counts) == 100
    error = (rounds * 0.1 * 0.9) ** 0.5
    assert max(abs(count - rounds * 0.1) for count in counts.values()) < 5 * error


def test_a_node_that_is_read_again_is_forgotten() -> None:
    sample = ValueSample(3)
    offer(sample, page("a", *(b"a%d" % n for n in range(50))))
    offer(sample, page("b", *(b"b%d" % n for n in range(50))))
    sample.drop("a")
    assert {one.node for one in sample.chosen()} == {"b"}
    assert len(sample.chosen()) == 3
