"""Hot keys: intervals that hold, a guard that refuses, and figures that are what they say."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachectl.analysis.traffic.hotkeys import (
    FEWEST_BURSTS,
    MOST_CPU,
    HotKey,
    by_frequency,
    findings,
    lfu_accesses,
    monitored,
    plan_monitor,
    ranked,
    ratio_of,
)
from cachectl.model.figures import Estimate
from cachectl.model.keys import Page
from cachectl.server.introspection.hotkeys import CountedKey, KeyRanking
from cachectl.server.introspection.monitor import MonitoredBurst


def morris(accesses: int, factor: int, rng: random.Random) -> int:
    """Count as LFULogIncr does in evict.c, with the waiting times for its steps drawn at once."""
    counter = 5
    while counter < 255:
        chance = 1 / ((counter - 5) * factor + 1)
        accesses -= 1 if chance == 1 else _geometric(chance, rng)
        if accesses < 0:
            return counter
        counter += 1
    return counter


def _geometric(chance: float, rng: random.Random) -> int:
    import math

    return math.ceil(math.log(1 - rng.random()) / math.log(1 - chance))


@pytest.mark.parametrize(
    ("accesses", "factor"),
    [
        (accesses, factor)
        for accesses in (20, 200, 3_000, 80_000)
        for factor in (1, 10, 100)
        if accesses < 20_000 * factor  # more than that is beyond 255
    ],
)
def test_an_lfu_counter_stands_for_what_it_counted(accesses: int, factor: int) -> None:
    rng = random.Random(accesses * factor)
    runs = [lfu_accesses(morris(accesses, factor, rng), factor) for _ in range(2000)]
    within = sum(one.low <= accesses <= one.high for one in runs) / len(runs)
    assert 0.94 <= within <= 1.0
    if accesses > 10 * factor:
        mean = sum(one.value for one in runs) / len(runs)
        assert mean == pytest.approx(accesses, rel=0.25)


@given(st.integers(0, 255), st.integers(0, 100))
def test_a_higher_counter_stands_for_more(counter: int, factor: int) -> None:
    one = lfu_accesses(counter, factor)
    assert 0 <= one.low <= one.value <= one.high
    if counter < 255:
        assert lfu_accesses(counter + 1, factor).value >= one.value


@pytest.mark.parametrize("bursty", [False, True])
def test_intervals_of_bursts_cover(bursty: bool) -> None:
    """Commands that come independently, and a key that is used in fits."""
    rng = random.Random(4)
    held = 0
    for _ in range(400):
        parts, wholes = [], []
        for _ in range(20):
            level = rng.choice((0.05, 0.35)) if bursty else 0.2
            n = rng.randrange(20, 60)
            parts.append(float(sum(rng.random() < level for _ in range(n))))
            wholes.append(float(n))
        estimate = ratio_of(parts, wholes, top=1.0)
        held += estimate.low <= 0.2 <= estimate.high
    assert 0.925 <= held / 400 <= 1.0


def test_shares_of_few_bursts_and_of_none() -> None:
    assert ratio_of([], []) == Estimate(0.0, 0.0, 0.0)
    few = ratio_of([3.0], [10.0], top=1.0)
    assert few.low < 0.3 < few.high <= 1.0


@pytest.mark.parametrize(
    ("rate", "size", "old", "allowed"),
    [
        (1_000, 100, False, True),
        (100_000, 100, False, True),
        (1_000, 100, True, True),
        (150_000, 100, True, False),  # 7.0.15 took 14 µs more a command of 100 B
        (5_000, 10_000, True, False),  # and 600 µs of 10 kB
        (5_000, 10_000, False, True),
        (100_000, 10_000, False, False),
    ],
)
def test_the_guard(rate: float, size: float, old: bool, allowed: bool) -> None:
    plan = plan_monitor(rate, size, old=old, window=10)
    assert plan.allowed == allowed
    assert (plan.cost <= MOST_CPU) == allowed


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.booleans(), st.floats(0.1, 600))
def test_no_plan_that_is_allowed_costs_more_than_may_be(
    rate: float, size: float, old: bool, window: float
) -> None:
    plan = plan_monitor(rate, size, old=old, window=window)
    if plan.allowed:
        assert plan.bursts * 0.05 * plan.burning <= MOST_CPU * window * 1.001
        assert plan.bursts >= min(FEWEST_BURSTS, int(window / 0.1))


def test_bursts_are_counted_by_key() -> None:
    bursts = [
        MonitoredBurst("a", 0.05, [(b"get", [b"hot"]), (b"mget", [b"hot", b"user:1"])])
        for _ in range(10)
    ]
    first, second = monitored(bursts)
    assert (first.key, first.namespace) == (b"hot", b"hot")
    assert second.namespace == b"user:{id}"
    assert isinstance(first.share, Estimate)
    assert first.share.value == pytest.approx(2 / 3)
    assert first.per_second is not None
    assert first.per_second.value == 40.0


def test_frequencies_are_ranked() -> None:
    page = Page("a", [b"cold", b"hot", b"warm"], freqs=[5, 200, 20])
    keys = by_frequency([page], 10)
    assert [(one.key, one.frequency) for one in keys] == [(b"hot", 200), (b"warm", 20)]
    assert isinstance(keys[0].share, Estimate)
    assert keys[0].share.value > 0.9


def test_rates_of_valkey_have_the_interval_of_what_was_sampled() -> None:
    ranking = KeyRanking("a", {"rate": (CountedKey(b"k", 10_000.0, 0),)}, sampled=0.01, seconds=1.0)
    (key,) = ranked([ranking])
    rate = key.per_second
    assert rate is not None
    # 100 were counted: Poisson's exact 95 % interval is 81.36 to 121.63.
    assert rate.low == pytest.approx(8136, rel=0.01)
    assert rate.high == pytest.approx(12163, rel=0.01)


def test_a_key_that_takes_much_is_a_finding() -> None:
    hot = HotKey(b"a", "n", b"a", share=Estimate(0.3, 0.2, 0.4), per_second=Estimate(900, 1, 1))
    unsure = HotKey(b"b", "n", b"b", share=Estimate(0.3, 0.05, 0.6))
    slow = HotKey(b"c", "n", b"c", share=0.9, per_second=Estimate(3, 1, 1))
    assert [one.subject for one in findings([hot, unsure, slow])] == ["a"]
