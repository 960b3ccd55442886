"""Storms: the test's exact law, its rate of false alarms and its power, and what is counted."""

from __future__ import annotations

import random
from collections.abc import Iterator
from math import comb, exp, sqrt

import pytest

from cachectl.analysis.audits.storms import (
    ALPHA,
    ExpiryTimes,
    all_waves,
    jitter_for,
    peak,
    width_for,
)
from cachectl.analysis.audits.waves import BLIND, binomial_tail, waves
from cachectl.analysis.estimates.intervals import Stratum, wilson
from cachectl.model.figures import Estimate
from cachectl.model.keys import Page

NOW = 1_790_000_000_000


def poisson(rng: random.Random, mean: float) -> int:
    if mean > 50:
        return max(0, round(rng.gauss(mean, sqrt(mean))))
    bound, k, product = exp(-mean), 0, rng.random()
    while product > bound:
        k += 1
        product *= rng.random()
    return k


@pytest.mark.parametrize(
    ("k", "n", "p"), [(3, 10, 0.1), (9, 200, 1 / 117), (40, 300, 0.1), (5, 5, 0.2)]
)
def test_the_tail_is_that_of_the_binomial_law(k: int, n: int, p: float) -> None:
    exact = sum(comb(n, j) * p**j * (1 - p) ** (n - j) for j in range(k, n + 1))
    assert binomial_tail(k, n, p) == pytest.approx(exact, rel=1e-9)
    assert binomial_tail(0, n, p) == 1
    assert binomial_tail(n + 1, n, p) == 0


# --- The promises -------------------------------------------------------------------------------


def even(rng: random.Random, bins: int) -> list[int]:
    mean = rng.choice((0.05, 0.3, 1.4, 2.8, 30))
    return [poisson(rng, mean) for _ in range(bins)]


def uneven(rng: random.Random, bins: int) -> list[int]:
    """Rates as caches have them: keys of some TTLs, each spread evenly up to it, and a drift."""
    steps = [(rng.randrange(bins // 4, bins), rng.choice((0.2, 1, 5))) for _ in range(3)]
    drift = rng.uniform(0.3, 3)
    rates = (
        0.2 + sum(rate for end, rate in steps if at < end) * drift ** (at / bins)
        for at in range(bins)
    )
    return [poisson(rng, rate) for rate in rates]


def alarms(kind: object, runs: int, bins: int) -> int:
    series = (kind(random.Random(seed), bins) for seed in range(runs))  # type: ignore[operator]
    return sum(bool(all_waves(counts, 1)) for counts in series)


def planted(runs: int, mean: float, times: float, bins: int = 3600) -> int:
    """Return in how many of the runs a wave of so many times the mean was found, in its place."""
    hits = 0
    for seed in range(runs):
        rng = random.Random(seed)
        counts = [poisson(rng, mean) for _ in range(bins)]
        at = rng.randrange(BLIND, bins - BLIND)
        counts[at] += poisson(rng, mean * times)
        hits += any(wave.first <= at <= wave.last for wave in all_waves(counts, 1))
    return hits


@pytest.mark.parametrize("kind", [even, uneven])
def test_false_alarms_are_rarer_than_promised(kind: object) -> None:
    runs = 200
    assert alarms(kind, runs, 900) / runs <= ALPHA


def test_a_wave_of_ten_times_the_usual_is_found() -> None:
    """A 5 % sample of 100,000 keys that expire within half an hour: 2.8 of them a second."""
    runs = 75
    low, _ = wilson(planted(runs, 100_000 * 0.05 / 1800, 10, 1800) / runs, runs)
    assert low >= 0.95


@pytest.mark.soak
def test_the_promises_at_length() -> None:
    """Run by hand: `pytest tests/analysis/test_storms.py -m soak -s` prints the rates."""
    for kind in (even, uneven):
        runs = 2000
        share = alarms(kind, runs, 3600) / runs
        low, high = wilson(share, runs)
        print(f"\nfalse alarms, {kind.__name__}: {share:.4f} ({low:.4f}–{high:.4f}) of {runs}")
        assert low <= ALPHA
    for keys in (100_000, 150_000, 200_000):
        runs = 1000
        share = planted(runs, keys * 0.05 / 3600, 10) / runs
        low, high = wilson(share, runs)
        print(
            f"power, 5 % of {keys:,} keys in an hour: {share:.4f} ({low:.4f}–{high:.4f}) of {runs}"
        )
        assert high >= 0.95


def test_one_storm_does_not_hide_another() -> None:
    rng = random.Random(4)
    counts = [poisson(rng, 5) for _ in range(600)]
    for at, size in ((100, 5000), (130, 120), (400, 80), (401, 90)):
        counts[at] += size
    assert [(wave.first, wave.last) for wave in waves(counts, ALPHA)] == [
        (100, 100),
        (130, 130),
        (400, 401),
    ]


def test_a_storm_of_minutes_is_found_in_coarser_bins() -> None:
    rng = random.Random(5)
    counts = [poisson(rng, 1) for _ in range(7200)]
    for at in range(3000, 3240):
        counts[at] += poisson(rng, 8)
    (wave,) = all_waves(counts, 1)
    assert wave.first <= 3010
    assert wave.last >= 3230
    assert wave.last - wave.first < 360


# --- What is counted ----------------------------------------------------------------------------


def pages(keys: list[tuple[bytes, int]], node: str = "a", size: int = 50) -> Iterator[Page]:
    for at in range(0, len(keys), size):
        part = keys[at : at + size]
        yield Page(node, [key for key, _ in part], None, [ttl for _, ttl in part])


def test_counts_and_namespaces() -> None:
    rng = random.Random(9)
    keys = [(b"user:%d" % n, rng.randrange(3_600_000)) for n in range(2000)]
    keys += [(b"catalog:%d" % n, 1_800_000 + rng.randrange(900)) for n in range(300)]
    keys += [(b"user:%d" % (5000 + n), 1_800_100) for n in range(50)]
    keys += [(b"later:%d" % n, 3_600_000) for n in range(7)] + [
        (b"ever:%d" % n, -1) for n in range(5)
    ]
    rng.shuffle(keys)
    times = ExpiryTimes(NOW, 3600, 1)
    for page in pages(keys):
        times.add(page, NOW)
    found = times.forecast()
    assert (found.begins, found.horizon, found.weight) == (NOW / 1000, 3600, 1)
    assert (found.within, found.later, found.never) == (2350, 7, 5)
    assert sum(found.counts) == 2350
    (storm,) = found.storms
    assert (storm.at, storm.until) == (1800, 1801)
    assert storm.keys == found.counts[1800]
    assert [one.namespace for one in storm.namespaces] == [b"catalog:{id}", b"user:{id}"]
    assert storm.namespaces[0].keys == 300
    assert storm.rate == found.counts[1800]
    assert storm.factor > 100


def test_time_goes_on_while_keys_are_read() -> None:
    times = ExpiryTimes(NOW, 600, 1)
    for second in range(300):  # told later, the same moment is nearer
        times.add(Page("a", [b"a:%d" % second], None, [(400 - second) * 1000]), NOW + second * 1000)
    found = times.forecast()
    assert found.counts[400] == 300
    (storm,) = found.storms
    assert storm.at == 400


def test_a_node_that_is_read_again_counts_once() -> None:
    times = ExpiryTimes(NOW, 600, 1)
    for node in ("a", "b"):
        times.add(Page(node, [b"a:1", b"a:2", b"b:3"], None, [5000, -1, 10**9]), NOW)
    times.drop("a")
    found = times.forecast()
    assert (found.within, found.later, found.never) == (1, 1, 1)


def test_more_groups_than_are_kept() -> None:
    times = ExpiryTimes(NOW, 600, 1)
    times.index.limit = 50
    words = ["".join(random.Random(n).choices("abcdefgh", k=7)) for n in range(400)]
    for page in pages([(f"{word}:{word}".encode(), 5000) for word in words], size=40):
        times.add(page, NOW)
    found = times.forecast()
    assert times.index.capped
    assert found.counts[5] == 400


def test_figures_of_a_sample_have_intervals_that_hold() -> None:
    """A storm of 2,000 among 40,000 keys, one in twenty drawn."""
    keys = [(b"u:%d" % n, n * 90) for n in range(38_000)]
    keys += [(b"c:%d" % n, 1_800_500) for n in range(2000)]
    inside = found = 0
    for seed in range(30):
        drawn = random.Random(seed).sample(keys, 2000)
        times = ExpiryTimes(NOW, 3600, 1)
        for page in pages(drawn):
            times.add(page, NOW)
        forecast = times.forecast({"a": Stratum(40_000, 2000)})
        storms = [storm for storm in forecast.storms if storm.at <= 1800 < storm.until]
        found += len(storms)
        for storm in storms:
            assert isinstance(storm.keys, Estimate)
            inside += storm.keys.low <= 2011 <= storm.keys.high
    assert found == 30
    assert inside >= 26  # 28.5 are expected; fewer than 26 come about once in a hundred times


# --- What helps ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("keys", "jitter"), [(5000, 60), (5000, 300), (300, 30)])
def test_the_peak_after_spreading_is_what_is_said(keys: int, jitter: int) -> None:
    above = 0
    for seed in range(40):
        rng = random.Random(seed)
        counts = [0] * jitter
        for _ in range(keys):
            counts[rng.randrange(jitter)] += 1
        above += sum(count > peak(keys, jitter) for count in counts)
    assert above / (40 * jitter) < 0.005  # three standard deviations of each second


def test_jitter_flattens() -> None:
    assert peak(5000, 60) == pytest.approx(110.7, abs=0.1)
    for keys, rate, around in ((5000, 5000, 1), (300, 300, 28), (50, 50, 0)):
        jitter = jitter_for(keys, rate, around)
        assert peak(keys, jitter) <= max(2 * around, rate / 20, 1)


@pytest.mark.parametrize(
    ("horizon", "width"), [(600, 1), (7200, 1), (21_600, 5), (86_400, 15), (604_800, 60)]
)
def test_bins_are_as_fine_as_the_horizon_allows(horizon: int, width: int) -> None:
    assert width_for(horizon) == width
