"""Keys to groups: the fast way says what the plain way says, and folding counts every key once."""

from __future__ import annotations

import random
import re
import tracemalloc
import uuid
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachectl.analysis.keyspace.keyspace import KeyspaceAccumulator, summarise
from cachectl.analysis.naming.groups import GroupIndex
from cachectl.analysis.naming.labeltree import fold_classes, folded_name
from cachectl.analysis.naming.namespaces import PrefixGrouper, index_by, index_of
from cachectl.analysis.naming.shapes import TemplateIndex
from cachectl.analysis.naming.templates import labels, template
from cachectl.model.keys import Page

NODE = "127.0.0.1:6379"
UUID = b"550e8400-e29b-41d4-a716-446655440000"
DIGEST = b"9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c"


def pages(keys: list[bytes], size: int = 300) -> list[Page]:
    return [Page(NODE, keys[at : at + size]) for at in range(0, len(keys), size)]


def counts(keys: list[bytes], by: str = "template") -> dict[bytes, int]:
    summary = summarise(pages(keys), by)
    return {namespace.namespace: namespace.keys for namespace in summary.namespaces}


def group_names(index: GroupIndex, gids: list[int]) -> list[bytes]:
    name_of = {node.gid: b"".join(path) for path, node in index.root.walk() if node.gid >= 0}
    return [name_of[gid] for gid in gids]


WORDS = st.one_of(
    st.sampled_from([b"user", b"order", b"v1", b"v2", b"AAPL", b"5m", b"", b"a_b", b"x.y"]),
    st.integers(0, 10**12).map(lambda number: b"%d" % number),
    st.integers(1_690_000_000, 1_710_000_000).map(lambda number: b"%d" % number),
    st.sampled_from([b"20240131", b"20249931", b"20240131101500", b"2024-01-31", b"1.2.3.4"]),
    st.binary(min_size=16, max_size=16).map(lambda raw: raw.hex().encode()),
    st.uuids().map(lambda found: str(found).encode()),
    st.text("abcXYZ019-_.", max_size=24).map(str.encode),
)
KEYS = st.lists(
    st.lists(st.tuples(WORDS, st.sampled_from([b":", b"/", b"", b"_", b"-"])), max_size=5).map(
        lambda parts: b"".join(word + end for word, end in parts)
    ),
    max_size=60,
)


@given(KEYS)
@settings(max_examples=300, deadline=None)
def test_shapes_give_the_template_of_every_key(keys: list[bytes]) -> None:
    index = TemplateIndex()
    for _ in range(2):  # the second time from what the first one remembered
        assert group_names(index, index.gids(Page(NODE, keys))) == [template(key) for key in keys]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (b"c:1700000000", b"c:9700000000"),
        (b"c:20240131", b"c:99999999"),
        (b"api:v1:7", b"api:v2:7"),
        (b"a1:7:20240131", b"a2:7:99999999"),
        (DIGEST + b":" + DIGEST, b"\x02:" + DIGEST),
        (b"x:" + DIGEST, b"x:" + UUID),
        (b"v1:" + DIGEST, b"v2:" + DIGEST),
        (b"s:" + DIGEST, b"s\n:" + DIGEST),
    ],
)
def test_names_of_one_shape_with_different_templates(first: bytes, second: bytes) -> None:
    assert template(first) != template(second)
    for keys in ([first, second], [second, first]):
        index = TemplateIndex()
        for _ in range(2):
            gids = [index.gids(Page(NODE, [key]))[0] for key in keys]
            assert group_names(index, gids) == [template(key) for key in keys]


@pytest.fixture(scope="module")
def folded_index() -> GroupIndex:
    accumulator = KeyspaceAccumulator("template", index=TemplateIndex(limit=8))
    names = [bytes([97 + at % 26, 97 + at // 26]) for at in range(300)]
    for seed in (b"user:%s:x", b"%s", b"%s_y", b"order:V%s", b"v1:%s9"):
        for page in pages([seed % name for name in names]):
            accumulator.add(page)
    assert accumulator.index.capped
    return accumulator.index


@given(keys=KEYS)
@settings(max_examples=150, deadline=None)
def test_after_folding_the_fast_way_is_the_plain_way(
    folded_index: GroupIndex, keys: list[bytes]
) -> None:
    for _ in range(2):
        fast = folded_index.gids(Page(NODE, keys))
        assert fast == [folded_index.resolve(labels(key))[0] for key in keys]


def test_a_handful_of_namespaces() -> None:
    draw = random.Random(1)
    keys = [b"user:%d:profile" % at for at in range(3_000)]
    keys += [b"session:" + draw.randbytes(16).hex().encode() for _ in range(2_000)]
    keys += [b"order:" + str(uuid.UUID(int=draw.getrandbits(128))).encode() for _ in range(1_000)]
    keys += [b"price:" + word(draw, "ABCDEFGHIJ", 4) for _ in range(500)]
    keys += [b"{user:%d}:cart" % at for at in range(700)]
    keys += [b"lang:" + code for code in (b"en", b"de", b"fr")]
    keys = list(dict.fromkeys(keys))
    draw.shuffle(keys)
    tickers = sum(key.startswith(b"price:") for key in keys)
    assert counts(keys) == {
        b"user:{id}:profile": 3_000,
        b"session:{hex}": 2_000,
        b"order:{uuid}": 1_000,
        b"price:{ticker}": tickers,
        b"{user:{id}}:cart": 700,
        b"lang:en": 1,
        b"lang:de": 1,
        b"lang:fr": 1,
    }


def word(draw: random.Random, letters: str, length: int) -> bytes:
    return "".join(draw.choices(letters, k=length)).encode()


LETTERS = "abcdefghijklmnopqrstuvwxyz"


def test_people_fold_and_what_stands_below_them_stays_apart() -> None:
    draw = random.Random(2)
    people = {word(draw, LETTERS, 7) for _ in range(400)}
    keys = [b"user:%s:%s" % (name, what) for name in people for what in (b"cart", b"profile")]
    assert counts(keys) == {
        b"user:{*}:cart": len(people),
        b"user:{*}:profile": len(people),
    }


def test_a_heavy_word_is_not_folded() -> None:
    draw = random.Random(3)
    keys = [b"tenant:%s:%d" % (word(draw, LETTERS, 7), at) for at in range(1_000)]
    keys += [b"tenant:acme:%d" % at for at in range(500)]
    assert counts(keys) == {b"tenant:{*}:{id}": 1_000, b"tenant:acme:{id}": 500}


def test_numbers_in_words_fold_when_there_are_many() -> None:
    keys = [b"shard%02d:job:%d" % (shard, at) for shard in range(16) for at in range(10)]
    keys += [b"api:v%d:%d" % (version, at) for version in (1, 2, 3) for at in range(10)]
    assert counts(keys) == {
        b"shard{id}:job:{id}": 160,
        b"api:v1:{id}": 10,
        b"api:v2:{id}": 10,
        b"api:v3:{id}": 10,
    }


def test_chance_does_not_split_a_namespace() -> None:
    """Random digits that look like a date, a time or a number, and hex without a letter."""
    draw = random.Random(4)
    keys = [b"order:%08d" % draw.randrange(10**8) for _ in range(30_000)]
    keys += [b"call:%010d" % draw.randrange(10**10) for _ in range(5_000)]
    keys += [b"s:" + draw.randbytes(4).hex().encode() for _ in range(5_000)]
    letters = LETTERS + LETTERS.upper() + "0123456789"
    keys += [b"t:" + word(draw, letters, 22) for _ in range(5_000)]
    assert set(counts(keys)) == {b"order:{id}", b"call:{id}", b"s:{hex}", b"t:{token}"}


def test_the_order_of_keys_does_not_matter() -> None:
    draw = random.Random(5)
    keys = [b"user:%s:%d" % (word(draw, LETTERS, 3), at % 7) for at in range(3_000)]
    keys += [b"price:" + word(draw, "ABC", 3) for _ in range(100)]
    first = counts(keys)
    draw.shuffle(keys)
    assert counts(keys) == first


@given(KEYS, st.sampled_from(["template", "prefix", "type", "node"]))
@settings(max_examples=100, deadline=None)
def test_every_key_is_counted_once(keys: list[bytes], by: str) -> None:
    assert sum(counts(keys, by).values()) == len(keys)


@pytest.mark.parametrize("by", ["template", "prefix"])
def test_distinct_prefixes_without_end_stay_in_bounded_memory(by: str) -> None:
    """75,000 of them; what is traced is the time until the limit is reached and shortly after."""
    draw = random.Random(6)
    accumulator = KeyspaceAccumulator(by)

    def add(page_count: int) -> None:
        for _ in range(page_count):
            keys = [b"%s:%d" % (word(draw, LETTERS, 9), at) for at in range(300)]
            accumulator.add(Page(NODE, keys, ["string"] * 300, [-1] * 300, [100] * 300))

    tracemalloc.start()
    try:
        add(50)
        early = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert early[1] < 30_000_000
    add(150)
    tracemalloc.start()
    try:
        add(50)
        grown = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert grown < 2_000_000
    summary = accumulator.result()
    assert summary.capped
    assert summary.keys == 75_000
    assert [namespace.namespace for namespace in summary.namespaces] == [
        {"template": b"{*}:{id}", "prefix": b"{*}:*"}[by]
    ]
    assert summary.names_folded >= 10_000


@pytest.mark.parametrize(
    "name",
    [
        b"user%d:cart",
        b"user%d:%d:v2",
        b"a:%s",
        b"u:%s_x:%d",
        b"{%d}:%s",
        b"%s",
        b"v%d:%s:17%08d",
    ],
)
def test_whatever_varies_the_memories_are_bounded(name: bytes) -> None:
    draw = random.Random(9)
    index = TemplateIndex(limit=100)
    accumulator = KeyspaceAccumulator("template", index=index)
    for _ in range(40):
        keys = [
            name
            % tuple(
                word(draw, LETTERS, 6) if kind == b"s" else draw.randrange(10**6)
                for kind in re.findall(rb"%\d*([sd])", name)
            )
            for _ in range(100)
        ]
        accumulator.add(Page(NODE, keys))
        assert index.live <= 100
    assert len(index._plain.gid_of) + len(index._masked.gid_of) < 500
    assert accumulator.result().keys == 4_000


def test_variants_of_one_shape_are_bounded() -> None:
    index = TemplateIndex(limit=5_000)
    index.gids(Page(NODE, [b"user%d:cart" % at for at in range(1_000, 4_000)]))
    assert index.live == 3_000
    (variant,) = index._plain._variants.values()
    assert len(variant.gid_of) <= 1_024


def test_structures_without_end_stay_in_bounded_memory() -> None:
    """Not words but shapes vary: no word to fold, so what lies deep is given up."""
    draw = random.Random(7)
    index = TemplateIndex(limit=200)
    accumulator = KeyspaceAccumulator("template", index=index)
    total = 0
    for _ in range(100):
        keys = [b"".join(draw.choices([b"1:", b"1/", b"1|", b"1;"], k=10)) for _ in range(50)]
        accumulator.add(Page(NODE, keys))
        total += len(keys)
        assert index.live <= 200
    assert accumulator.result().keys == total


def test_a_hundred_thousand_namespaces_are_said_to_be_folded() -> None:
    draw = random.Random(8)
    names = [word(draw, LETTERS, 8) for _ in range(100_000)]
    keys = [b"%s:config" % name for name in names] + [b"big:%d" % at for at in range(20_000)]
    draw.shuffle(keys)
    summary = summarise(pages(keys))
    found = {namespace.namespace: namespace.keys for namespace in summary.namespaces}
    assert found == {b"{*}:config": 100_000, b"big:{id}": 20_000}
    assert summary.folds[0].namespace == b"{*}:*"
    assert summary.names_folded >= 5_000


@pytest.mark.parametrize(
    ("depth", "key", "expected"),
    [
        (1, b"user:123:profile", b"user:*"),
        (2, b"user:123:profile", b"user:123:*"),
        (3, b"user:123:profile", b"user:123:*"),
        (1, b"lock", b"*"),
        (1, b"tmp_123", b"tmp_*"),
        (1, b"550e8400-e29b-41d4-a716-446655440000", b"*"),
        (1, b"", b"*"),
        (1, b"a/b", b"a/*"),
    ],
)
def test_a_prefix_is_literal(depth: int, key: bytes, expected: bytes) -> None:
    assert PrefixGrouper(depth).group(key) == expected


def test_a_policy_groups_as_it_says() -> None:
    class Rules:
        def group(self, key: bytes) -> bytes:
            return b"carts" if key.endswith(b":cart") else b"other"

    keys = [b"user:%d:%s" % (at, what) for at in range(50) for what in (b"cart", b"profile")]
    index = index_of(Rules())
    assert Counter(group_names(index, index.gids(Page(NODE, keys)))) == {b"carts": 50, b"other": 50}


def test_a_grouping_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="colour"):
        index_by("colour")


@given(
    st.text("abAB12{}_.:-*", max_size=8).map(str.encode),
    st.sets(st.sampled_from(["alike", "ticker", "word"])),
)
@settings(max_examples=300)
def test_a_late_name_folds_in_the_narrowest_class_that_has_a_rule(
    name: bytes, whys: set[str]
) -> None:
    classes = fold_classes(name)
    rules = {rule for rule in classes if rule[1] in whys}
    expected = next((rule[0] for rule in classes if rule in rules), name)
    assert folded_name(rules, name) == expected
