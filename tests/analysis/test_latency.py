"""Percentiles of latency, exact for values, upper bounds from the server's histograms."""

from __future__ import annotations

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from cachectl.analysis.traffic.latency import bins, command_latency, distribution, without_delays


def test_nearest_rank() -> None:
    found = distribution([value / 1000 for value in range(1, 1001)])
    assert (found.p50, found.p99, found.p999, found.worst) == (0.5, 0.99, 0.999, 1.0)


def test_too_few_for_a_percentile() -> None:
    found = distribution([0.1] * 99)
    assert (found.count, found.p50, found.p99, found.p999) == (99, 0.1, None, None)
    assert distribution([]).worst is None


def test_delays_of_ours_are_taken_out() -> None:
    assert without_delays([0.010, 0.020], [0.002, 0.019]) == [0.008]
    assert without_delays([0.010], []) == [0.010]


@given(st.lists(st.floats(1e-7, 500), max_size=200))
def test_bins_hold_every_value_once(values: list[float]) -> None:
    found = bins(values)
    assert sum(count for _, _, count in found) == len(values)
    for low, high, count in found:
        assert count == sum(low < value <= high for value in values)
    assert all(a[1] == b[0] for a, b in itertools.pairwise(found))


def test_histograms_of_the_server_are_subtracted() -> None:
    before = ((1, 100), (2, 150))
    after = ((1, 100), (2, 150), (33, 200), (66, 250))
    found = command_latency("get", before, after)
    assert found is not None
    assert (found.calls, found.p50, found.p99) == (100, 33e-6, 66e-6)
    assert command_latency("get", after, after) is None


def test_a_bound_that_is_new_between_known_ones() -> None:
    found = command_latency("get", ((1, 10), (8, 20)), ((1, 10), (4, 15), (8, 25)))
    assert found is not None
    assert found.calls == 5


def test_a_reset_histogram_counts_from_then_on() -> None:
    found = command_latency("get", ((1, 1000),), ((4, 10),))
    assert found is not None
    assert (found.calls, found.p50) == (10, 4e-6)


@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(0, 100)), min_size=1, max_size=20))
def test_percentiles_are_in_order(raw: list[tuple[int, int]]) -> None:
    total, counts = 0, []
    for bound, more in sorted(dict(raw).items()):
        total += more
        counts.append((bound, total))
    found = command_latency("x", (), counts)
    if total == 0:
        assert found is None
        return
    assert found is not None
    assert found.p50 is not None
    assert found.p50 <= (found.p99 or math.inf) <= (found.p999 or math.inf)
