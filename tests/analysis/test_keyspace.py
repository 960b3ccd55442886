"""A scan's pages to its summary: every figure against the plain way of counting it."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachectl.analysis.keyspace.histogram import RELATIVE_ERROR
from cachectl.analysis.keyspace.keyspace import KeyspaceAccumulator, summarise
from cachectl.analysis.keyspace.summary import Branch, KeyspaceSummary, NamespaceSummary, tree
from cachectl.analysis.naming.shapes import TemplateIndex
from cachectl.model.keys import KeyRecord, Page

MINUTE, HOUR = 60_000, 3_600_000


def page_of(records: Sequence[KeyRecord]) -> Page:
    def column(name: str) -> list:
        return [getattr(record, name) for record in records]

    return Page(
        node=records[0].node if records else "",
        keys=[record.key for record in records],
        types=[record.type for record in records],
        ttls=column("ttl_ms"),
        sizes=column("bytes"),
        idles=column("idle"),
        freqs=column("freq"),
    )


RECORDS = st.builds(
    KeyRecord,
    key=st.one_of(
        st.integers(0, 10**6).map(lambda number: b"user:%d:profile" % number),
        st.integers(0, 10**6).map(lambda number: b"{user:%d}:cart" % number),
        st.text("abc", max_size=4).map(lambda text: b"word:" + text.encode()),
        st.binary(max_size=6),
    ),
    type=st.sampled_from(["string", "hash", "list"]),
    ttl_ms=st.one_of(st.just(-1), st.integers(0, 10**10)),
    bytes=st.one_of(st.none(), st.integers(1, 10**9)),
    idle=st.one_of(st.none(), st.integers(0, 10**7)),
    freq=st.one_of(st.none(), st.integers(0, 255)),
    node=st.sampled_from(["a:1", "b:1", "c:1"]),
)


def add_by_node(accumulator: KeyspaceAccumulator, records: Sequence[KeyRecord]) -> None:
    by_node = defaultdict(list)
    for record in records:
        by_node[record.node].append(record)
    for own in by_node.values():
        accumulator.add(page_of(own))


def figures(summary: KeyspaceSummary) -> object:
    """Everything but which of equally large keys was met first."""
    return [
        (n.namespace, n.keys, n.bytes, n.unsized, n.no_ttl, dict(n.types), n.ttl, n.idle, n.freq)
        for n in (summary.whole, *summary.namespaces)
    ]


@given(st.lists(RECORDS, max_size=80), st.sampled_from(["template", "prefix", "type", "node"]))
@settings(max_examples=150, deadline=None)
def test_the_sum_over_namespaces_is_the_whole(records: list[KeyRecord], by: str) -> None:
    accumulator = KeyspaceAccumulator(by)
    add_by_node(accumulator, records)
    summary = accumulator.result()
    spaces = summary.namespaces
    sizes = [record.bytes for record in records]
    assert summary.keys == sum(n.keys for n in spaces) == len(records)
    assert summary.keys == sum(summary.nodes.values())
    assert (summary.bytes or 0) == sum(n.bytes or 0 for n in spaces) == sum(filter(None, sizes))
    no_ttl = sum(record.ttl_ms == -1 for record in records)
    assert (summary.whole.no_ttl or 0) == sum(n.no_ttl or 0 for n in spaces) == no_ttl
    assert Counter(record.type for record in records) == summary.whole.types
    assert sum((Counter(n.types) for n in spaces), Counter()) == summary.whole.types
    if records:
        assert sum(n.keys_share for n in spaces) == pytest.approx(1)
        with_ttl = sum(n.ttl.total for n in spaces if n.ttl)
        assert with_ttl == len(records) - no_ttl
    if any(sizes):
        assert summary.largest[0].bytes == max(filter(None, sizes))
        assert max(n.largest.bytes for n in spaces if n.largest) == summary.largest[0].bytes


@given(st.lists(RECORDS, max_size=30), st.lists(RECORDS, max_size=30), st.lists(RECORDS))
@settings(max_examples=80, deadline=None)
def test_merging_is_associative(a: list, b: list, c: list) -> None:
    def accumulators() -> list[KeyspaceAccumulator]:
        found = []
        for records in (a, b, c):
            found.append(KeyspaceAccumulator())
            add_by_node(found[-1], records)
        return found

    left = accumulators()
    left[0].merge(left[1])
    left[0].merge(left[2])
    right = accumulators()
    right[1].merge(right[2])
    right[0].merge(right[1])
    at_once = KeyspaceAccumulator()
    add_by_node(at_once, [*a, *b, *c])
    assert figures(left[0].result()) == figures(right[0].result()) == figures(at_once.result())


@given(st.lists(RECORDS, max_size=60))
@settings(max_examples=60, deadline=None)
def test_a_node_that_starts_again_leaves_nothing(records: list[KeyRecord]) -> None:
    accumulator = KeyspaceAccumulator()
    add_by_node(accumulator, records)
    accumulator.drop("a:1")
    other = KeyspaceAccumulator()
    add_by_node(other, [record for record in records if record.node != "a:1"])
    assert figures(accumulator.result()) == figures(other.result())


def test_merging_what_was_folded_apart_keeps_counts_exact() -> None:
    """A name that one side may have folded cannot stand with only the other side's keys."""
    draw = random.Random(1)
    keys = [b"user:%s:%d" % (bytes(draw.choices(b"abcdefgh", k=3)), at) for at in range(2_000)]
    keys += [b"user:acme:%d" % at for at in range(1_000)]
    draw.shuffle(keys)
    merged = KeyspaceAccumulator(index=TemplateIndex(limit=20))
    for part in range(4):
        one = KeyspaceAccumulator(index=TemplateIndex(limit=20 if part % 2 else 10_000))
        own = keys[part::4]
        for at in range(0, len(own), 50):
            one.add(Page(f"n{part}", own[at : at + 50]))
        merged.merge(one)
    summary = merged.result()
    found = {namespace.namespace: namespace.keys for namespace in summary.namespaces}
    assert summary.keys == 3_000
    assert found == {b"user:acme:{id}": 1_000, b"user:{*}:{id}": 2_000}


@pytest.mark.parametrize("folded_first", [True, False])
def test_a_name_that_one_side_folded_does_not_stand_with_the_others_keys(
    folded_first: bool,
) -> None:
    people = [b"user:%s:1" % bytes([97 + at % 26, 97 + at // 26]) for at in range(300)]
    folded = KeyspaceAccumulator(index=TemplateIndex(limit=100))
    for at in range(0, 300, 50):
        folded.add(Page("n", [*people[at : at + 50], b"user:bob:%d" % at]))
    assert folded.index.capped
    apart = KeyspaceAccumulator()
    apart.add(Page("n", [b"user:bob:%d" % at for at in range(500)]))
    one, other = (folded, apart) if folded_first else (apart, folded)
    one.merge(other)
    found = {namespace.namespace: namespace.keys for namespace in one.result().namespaces}
    assert found == {b"user:{*}:{id}": 806}


def test_what_is_known_of_a_group_goes_where_it_is_folded() -> None:
    draw = random.Random(4)
    accumulator = KeyspaceAccumulator(largest=3, index=TemplateIndex(limit=100))
    sizes = list(range(1_000, 0, -1))  # the largest are there before anything folds
    for at in range(0, 1_000, 50):
        own = sizes[at : at + 50]
        keys = [b"user:%s:%d" % (bytes(draw.choices(b"abcdefghijkl", k=5)), size) for size in own]
        half = [size if size % 2 else None for size in own]
        kinds = ["hash" if size % 5 else "list" for size in own]
        accumulator.add(Page("n", keys, kinds, [-1] * 50, half, own, [7] * 50))
    summary = accumulator.result()
    (found,) = summary.namespaces
    assert summary.capped
    assert (found.namespace, found.keys, found.unsized) == (b"user:{*}:{id}", 1_000, 500)
    assert (found.bytes, found.no_ttl, found.types) == (250_000, 1_000, {"hash": 800, "list": 200})
    assert found.largest is not None
    assert (found.largest.bytes, found.largest.type) == (999, "hash")
    assert found.idle_p50 == pytest.approx(500, rel=0.02)
    assert found.freq_p50 == 7
    assert [(key.bytes, key.namespace) for key in summary.largest] == [
        (999, b"user:{*}:{id}"),
        (997, b"user:{*}:{id}"),
        (995, b"user:{*}:{id}"),
    ]


def test_quantiles_are_within_the_stated_error() -> None:
    draw = random.Random(2)
    ttls = [
        draw.choice([-1, draw.randrange(1, HOUR), draw.randrange(1, MINUTE)]) for _ in range(3000)
    ]
    idles = [draw.randrange(10**6) for _ in ttls]
    keys = [b"k:%d" % at for at in range(len(ttls))]
    whole = summarise([Page("n", keys, ttls=ttls, idles=idles)]).whole
    expiring = sorted(ttl for ttl in ttls if ttl >= 0)
    for found, values, share in (
        (whole.ttl_p50_ms, expiring, 0.5),
        (whole.ttl_p95_ms, expiring, 0.95),
        (whole.idle_p50, sorted(idles), 0.5),
        (whole.idle_p95, sorted(idles), 0.95),
    ):
        assert found == pytest.approx(values[int(share * len(values))], rel=0.02)


@given(st.lists(st.integers(1, 10**10), min_size=1), st.floats(0.01, 1))
def test_a_quantile_is_never_off_by_more_than_a_bin(ttls: list[int], share: float) -> None:
    page = Page("n", [b"k:%d" % at for at in range(len(ttls))], ttls=ttls)
    histogram = summarise([page]).whole.ttl
    assert histogram is not None
    found = histogram.quantile(share)
    assert found is not None
    assert any(abs(found - ttl) <= ttl * RELATIVE_ERROR for ttl in ttls)


def test_between_borders_people_ask_about_counts_are_exact() -> None:
    edges = [0, MINUTE, 5 * MINUTE, HOUR, 24 * HOUR]
    ttls = [-1, 0, 59_999, MINUTE, MINUTE + 1, 5 * MINUTE, HOUR - 1, HOUR, 25 * HOUR]
    histogram = summarise([Page("n", [b"%d" % ttl for ttl in ttls], ttls=ttls)]).whole.ttl
    assert histogram is not None
    assert [found.keys for found in histogram.between(edges)] == [2, 2, 2, 1, 1]
    assert sum(found.keys for found in histogram.bins()) == 8


def test_what_was_not_asked_for_is_none_and_what_was_not_answered_is_counted() -> None:
    summary = summarise([Page("n", [b"a:1", b"a:2"])])
    (namespace,) = summary.namespaces
    assert (namespace.bytes, namespace.no_ttl, namespace.ttl, namespace.idle) == (None,) * 4
    assert (namespace.freq, namespace.largest, namespace.types) == (None, None, {})
    assert namespace.share == namespace.keys_share == 1.0
    page = Page("n", [b"a:1", b"a:2"], sizes=[None, 7], idles=[None, 3], freqs=[5, None])
    (namespace,) = summarise([page]).namespaces
    assert (namespace.bytes, namespace.unsized, namespace.share) == (7, 1, 1.0)
    assert (namespace.idle_p50, namespace.freq_p50) == (3, 5)


def test_nothing_at_all() -> None:
    for pages in ([], [Page("n", [])], [Page("n", [], [], [], [], [])]):
        summary = summarise(pages)
        assert (summary.keys, summary.namespaces, summary.largest) == (0, (), ())


def test_the_largest_keys_of_all_and_of_each_namespace() -> None:
    keys = [b"a:%d" % at for at in range(100)] + [b"b:%d" % at for at in range(100)]
    accumulator = KeyspaceAccumulator(largest=3)
    for at in range(0, 200, 10):
        own = keys[at : at + 10]
        accumulator.add(
            Page("n", own, ["hash"] * 10, sizes=[2 * int(key[2:]) + (key < b"b") for key in own])
        )
    summary = accumulator.result()
    assert [(found.key, found.bytes) for found in summary.largest] == [
        (b"a:99", 199),
        (b"b:99", 198),
        (b"a:98", 197),
    ]
    assert summary.largest[0].namespace == b"a:{id}"
    assert [n.largest.key for n in summary.namespaces if n.largest] == [b"a:99", b"b:99"]


def test_by_type_by_node_and_by_prefix() -> None:
    pages = [
        Page("n1", [b"user:1:a", b"user:2:a"], ["string", "hash"]),
        Page("n2", [b"user:1:b"], ["string"]),
    ]

    def found(by: str, depth: int = 1) -> dict[bytes, int]:
        accumulator = KeyspaceAccumulator(by, depth=depth)
        for page in pages:
            accumulator.add(page)
        return {n.namespace: n.keys for n in accumulator.result().namespaces}

    assert found("type") == {b"string": 2, b"hash": 1}
    assert found("node") == {b"n1": 2, b"n2": 1}
    assert found("prefix") == {b"user:*": 3}
    assert found("prefix", 2) == {b"user:1:*": 2, b"user:2:*": 1}


def test_depth_sums_what_lies_deeper() -> None:
    keys = [b"user:%d:%s" % (at, what) for at in range(5) for what in (b"a", b"b")] + [b"x"]
    pages = [Page("n", keys, sizes=[10] * 11)]
    found = {n.namespace: (n.keys, n.bytes) for n in summarise(pages, depth=1).namespaces}
    assert found == {b"user:*": (10, 100), b"x": (1, 10)}


def leaves(branches: Sequence[Branch]) -> list[NamespaceSummary]:
    return [
        leaf
        for branch in branches
        for leaf in (leaves(branch.branches) if branch.branches else [branch.summary])
    ]


def assert_parents_are_sums(branches: Sequence[Branch]) -> None:
    for branch in branches:
        if branch.branches:
            below = [child.summary for child in branch.branches]
            assert branch.summary.keys == sum(child.keys for child in below)
            assert branch.summary.bytes == sum(child.bytes or 0 for child in below)
            assert branch.summary.no_ttl == sum(child.no_ttl or 0 for child in below)
            assert_parents_are_sums(branch.branches)


@given(st.lists(RECORDS, min_size=1, max_size=60))
@settings(max_examples=80, deadline=None)
def test_in_the_tree_parents_are_the_sums_of_their_children(records: list[KeyRecord]) -> None:
    records = [KeyRecord(r.key, r.type, r.ttl_ms, r.bytes or 1, node="n") for r in records]
    summary = summarise([page_of(records)])
    branches = tree(summary.namespaces)
    assert_parents_are_sums(branches)
    assert sorted(n.namespace for n in leaves(branches)) == sorted(
        n.namespace for n in summary.namespaces
    )


def test_a_tree_joins_parents_with_an_only_child() -> None:
    keys = [b"user:1:profile", b"user:1:cart", b"app:config:1", b"user:1:cart:items"]
    summary = summarise([Page("n", keys, sizes=[5, 4, 3, 2])])
    assert [
        (branch.label, branch.summary.bytes, [child.label for child in branch.branches])
        for branch in tree(summary.namespaces)
    ] == [
        (b"user:{id}:", 11, [b"profile", b"cart", b"cart:items"]),
        (b"app:config:{id}", 3, []),
    ]


def test_a_group_that_is_also_a_branch_is_shown_as_itself() -> None:
    one, other = summarise([Page("n", [b"a:b", b"c:d"], sizes=[5, 4])]).namespaces
    one = replace(one, namespace=b"a:", path=(b"a:",))
    other = replace(other, namespace=b"a:d", path=(b"a:", b"d"))
    (branch,) = tree([one, other])
    assert (branch.label, branch.summary.keys) == (b"a:", 2)
    assert [child.label for child in branch.branches] == [b"", b"d"]
