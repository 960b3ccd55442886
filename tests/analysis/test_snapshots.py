"""Two scans compared."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from cachectl.analysis.keyspace.keyspace import summarise
from cachectl.analysis.keyspace.snapshots import Change, diff, diff_pages
from cachectl.model.keys import Page


def scan(*namespaces: tuple[bytes, int, int, int]) -> list[Page]:
    """(name, keys, bytes of each, how many of them without TTL)"""
    return [
        Page(
            "n",
            [b"%s:%d" % (name, at) for at in range(keys)],
            ["string"] * keys,
            [-1 if at < no_ttl else 5_000 for at in range(keys)],
            [size] * keys,
        )
        for name, keys, size, no_ttl in namespaces
    ]


def test_what_grew_shrank_appeared_went_and_lost_its_ttl() -> None:
    before = scan((b"grows", 10, 10, 0), (b"shrinks", 10, 10, 5), (b"goes", 3, 10, 0))
    before += scan((b"loses", 100, 10, 0), (b"stays", 4, 10, 4))
    after = scan((b"grows", 30, 10, 0), (b"shrinks", 5, 10, 0), (b"comes", 7, 10, 7))
    after += scan((b"loses", 100, 10, 60), (b"stays", 4, 10, 4))
    found = diff_pages(before, after)
    assert {change.namespace: change.change.value for change in found.changes} == {
        b"grows:{id}": "grew",
        b"shrinks:{id}": "shrank",
        b"comes:{id}": "appeared",
        b"goes:{id}": "went",
        b"loses:{id}": "same",
        b"stays:{id}": "same",
    }
    assert [change.namespace for change in found.lost_ttl] == [b"loses:{id}"]
    assert found.lost_ttl[0].no_ttl == 60
    assert (found.keys, found.bytes) == (19, 190)
    assert found.changes[0].namespace == b"grows:{id}"
    assert (found.changes[0].keys, found.changes[0].bytes) == (20, 200)
    assert [change.keys for change in found.of(Change.WENT)] == [-3]


def test_a_namespace_that_grows_without_ttl_did_not_lose_one() -> None:
    found = diff_pages(scan((b"a", 10, 1, 10)), scan((b"a", 20, 1, 20)))
    assert not found.lost_ttl


def test_without_sizes_keys_decide() -> None:
    found = diff_pages([Page("n", [b"a:1"])], [Page("n", [b"a:1", b"a:2"])])
    assert [(change.change, change.bytes) for change in found.changes] == [(Change.GREW, None)]
    assert found.bytes is None


def test_names_are_folded_alike_in_both() -> None:
    """Before, ten people are told apart; after, a thousand are not."""
    draw = random.Random(1)
    people = [bytes(draw.choices(b"abcdefghijklmnop", k=6)) for _ in range(1_000)]

    def pages(count: int) -> list[Page]:
        return [Page("n", [b"user:%s:cart" % name for name in people[:count]])]

    apart = diff(summarise(pages(10)), summarise(pages(1_000)))
    assert len(apart.changes) == 11
    together = diff_pages(pages(10), pages(1_000))
    assert [(change.namespace, change.keys) for change in together.changes] == [
        (b"user:{*}:cart", 990)
    ]


NAMES = st.lists(st.text("ab:12", max_size=6).map(str.encode), unique=True, max_size=40)


@given(NAMES, NAMES)
@settings(max_examples=60, deadline=None)
def test_differences_add_up(old: list[bytes], new: list[bytes]) -> None:
    before = [Page("n", old, sizes=[len(name) + 1 for name in old])]
    after = [Page("n", new, sizes=[len(name) + 2 for name in new])]
    found = diff_pages(before, after)
    assert sum(change.keys for change in found.changes) == len(new) - len(old)
    if old and new:
        assert sum(change.bytes or 0 for change in found.changes) == found.bytes
    backwards = {change.namespace: -change.keys for change in diff_pages(after, before).changes}
    assert {change.namespace: change.keys for change in found.changes} == backwards
