"""Cold memory: exact over all keys, and intervals of a sample that hold the truth."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachectl.analysis.estimates.intervals import Stratum
from cachectl.analysis.keyspace.cold import (
    IDLE_LEVELS,
    LFU_LEVELS,
    ColdKeys,
    ColdSpace,
    ColdSummary,
    cold_findings,
    cold_of_sample,
)
from cachectl.model.figures import Estimate
from cachectl.model.keys import Page

DAY = 86_400
IDLES = st.one_of(st.none(), st.sampled_from([0, 3599, 3600, DAY - 1, DAY, 7 * DAY, 30 * DAY]))
ROWS = st.lists(
    st.tuples(st.sampled_from([b"user", b"cart"]), st.integers(0, 9999), IDLES), max_size=50
)


@given(ROWS)
def test_all_keys_are_counted_exactly(rows: list[tuple[bytes, int, int | None]]) -> None:
    one = ColdKeys("prefix")
    one.add(Page("n1", [b"user:x"], sizes=[5], idles=[9 * DAY]))
    one.drop("n1")
    for at, (name, size, idle) in enumerate(rows):
        one.add(Page(f"n{at % 2}", [name + b":%d" % at], sizes=[size], idles=[idle]))
    found = one.result()
    assert (found.whole.keys, found.whole.bytes) == (len(rows), sum(row[1] for row in rows))
    for space in (found.whole, *found.namespaces):
        mine = [row for row in rows if (row[0] + b":*").startswith(space.namespace)]
        for at, level in enumerate(IDLE_LEVELS):
            cold = [size for _, size, idle in mine if (idle or 0) >= (level.seconds or 0)]
            assert space.cold_keys[at] == len(cold)
            assert space.cold_bytes[at] == sum(cold)


def test_counters_where_there_are_no_idle_times() -> None:
    one = ColdKeys()
    one.add(Page("n", [b"a:1", b"a:2", b"a:3"], sizes=[1, 2, 4], freqs=[0, 5, 0]))
    found = one.result()
    assert found.levels == LFU_LEVELS
    assert (found.whole.cold_keys, found.whole.cold_bytes) == ((2,), (5,))
    assert cold_findings(found) == []


def sampled(draw: random.Random, table: Sequence[tuple[bytes, int, int]], n: int) -> ColdSummary:
    chosen = draw.sample(table, n)
    pages = [
        Page("n", *([list(column) for column in zip(*chosen[at : at + 20], strict=True)][:1]))
        for at in range(0, n, 20)
    ]
    for at, page in zip(range(0, n, 20), pages, strict=True):
        page.sizes = [size for _, size, _ in chosen[at : at + 20]]
        page.idles = [idle for _, _, idle in chosen[at : at + 20]]
    return cold_of_sample(pages, {"n": Stratum(len(table), n)})


def test_intervals_hold() -> None:
    """150 draws from a table with 30 % of the keys cold for an hour, 12 % a day, 3 % a week."""
    draw = random.Random(5)
    table = []
    for number in range(5_000):
        name = draw.choice([b"session:%d", b"user:%d:profile"]) % number
        idle = draw.choices([10, 5000, 2 * DAY, 9 * DAY], [70, 18, 9, 3])[0]
        table.append((name, int(draw.lognormvariate(6, 1)), idle))
    truth = {
        at: [row for row in table if row[2] >= (level.seconds or 0)]
        for at, level in enumerate(IDLE_LEVELS)
    }
    held: Counter[str] = Counter()
    for _ in range(150):
        whole = sampled(draw, table, 300).whole
        for at, cold in truth.items():
            for what, figure, value in (
                ("keys", whole.cold_keys[at], len(cold)),
                ("bytes", whole.cold_bytes[at], sum(row[1] for row in cold)),
            ):
                assert isinstance(figure, Estimate)
                held[f"{what} {IDLE_LEVELS[at].name}"] += figure.low <= value <= figure.high
    # Of 150 at 95 % fewer than 129 come up once in 100,000 times.
    assert all(count >= 129 for count in held.values()), held


def test_none_drawn_is_not_none_there() -> None:
    table = [(b"a:%d" % number, 100, 10) for number in range(5000)]
    found = sampled(random.Random(1), table, 500)
    keys, size = found.whole.cold_keys[0], found.whole.cold_bytes[0]
    assert isinstance(keys, Estimate)
    assert isinstance(size, Estimate)
    assert (keys.value, size.value) == (0, 0)
    assert 5 < keys.high < 50
    assert size.high == pytest.approx(keys.high * 100, rel=0.01)


def test_a_namespace_that_nobody_reads_is_named() -> None:
    def space(name: bytes, size: int, *cold: int) -> ColdSpace:
        return ColdSpace(name, 1, size, (0, 0, 0), cold)

    spaces = (
        space(b"old:{id}", 1000, 1000, 990, 950),
        space(b"daily:{id}", 9000, 9000, 9000, 0),
        space(b"tiny:{id}", 10, 10, 10, 10),
    )
    summary = ColdSummary(IDLE_LEVELS, space(b"", 10_010, 0, 0, 0), spaces)
    assert [(one.id, one.subject) for one in cold_findings(summary)] == [
        ("memory.cold", "old:{id}")
    ]
