"""Pacing by a clock that tests turn: rests, smaller flights, pauses, rates."""

from __future__ import annotations

import threading
import time

import pytest

from cachectl.config.target import Limits, PaceName
from cachectl.server.pace import GEARS, MIN_BATCH, Pace, RateCap, TooSlowError


class Clock:
    """Time that passes only when somebody sleeps or `pass_` is called."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += seconds

    def pass_(self, seconds: float) -> None:
        self.now += seconds


def paced(name: PaceName, clock: Clock, rate: int | None = None) -> Pace:
    cap = RateCap(rate, clock=clock, sleep=clock.sleep)
    return Pace(GEARS[name], cap=cap, clock=clock, sleep=clock.sleep)


def fly(pace: Pace, clock: Clock, seconds: float) -> None:
    pace.before(pace.batch)
    clock.pass_(seconds)
    pace.after(pace.batch, seconds)


def test_gentle_leaves_the_server_most_of_the_time() -> None:
    clock = Clock()
    pace = paced("gentle", clock)
    for _ in range(100):
        fly(pace, clock, 0.001)
    busy = 0.1 / (clock.now - 100.0)
    assert busy == pytest.approx(0.4, abs=0.01)
    assert not pace.overlap


@pytest.mark.parametrize("name", ["normal", "flat-out"])
def test_the_others_do_not_rest(name: PaceName) -> None:
    clock = Clock()
    pace = paced(name, clock)
    for _ in range(100):
        fly(pace, clock, 0.002)
    assert clock.slept == 0
    assert pace.overlap


def test_time_that_the_caller_took_counts_as_rest() -> None:
    clock = Clock()
    pace = paced("gentle", clock)
    pace.after(100, 0.010)
    clock.pass_(1.0)
    pace.before(100)
    assert clock.slept == 0


@pytest.mark.parametrize("name", ["gentle", "normal"])
def test_latency_halves_the_flights_and_brings_rests(name: PaceName) -> None:
    clock = Clock()
    pace = paced(name, clock)
    full = pace.batch
    fly(pace, clock, 0.08)
    assert pace.batch == full // 2
    assert pace.overlap is GEARS[name].overlap  # one late answer may be chance
    fly(pace, clock, 0.08)
    assert not pace.overlap
    for _ in range(20):
        fly(pace, clock, 0.08)
    assert pace.batch == MIN_BATCH
    assert clock.slept >= 20 * 0.08
    for _ in range(30):
        fly(pace, clock, 0.001)
    assert pace.batch == full
    assert pace.overlap is GEARS[name].overlap


def test_flat_out_does_not_look() -> None:
    clock = Clock()
    pace = paced("flat-out", clock)
    for _ in range(20):
        fly(pace, clock, 3.0)
    assert pace.batch == GEARS["flat-out"].batch
    assert clock.slept == 0


def test_critical_latency_pauses_longer_each_time_and_then_stops() -> None:
    clock = Clock()
    pace = paced("normal", clock)
    rests = []
    for _ in range(6):
        before = clock.slept
        fly(pace, clock, 2.0)
        rests.append(clock.slept - before)
    assert rests == [0, 0.5, 1, 2, 4, 8]
    with pytest.raises(TooSlowError, match=r"2\.0 s to answer.*critical latency of 1 s"):
        fly(pace, clock, 2.0)


def test_one_good_answer_ends_the_count_of_critical_ones() -> None:
    clock = Clock()
    pace = paced("normal", clock)
    for _ in range(10):
        fly(pace, clock, 2.0)
        fly(pace, clock, 0.001)
    assert pace.batch < GEARS["normal"].batch


def test_a_far_server_is_not_a_slow_one() -> None:
    clock = Clock()
    pace = paced("normal", clock)
    pace.round_trip = 0.2
    for _ in range(20):
        fly(pace, clock, 0.21)
    assert pace.batch == 1000
    assert clock.slept == 0


def test_rate_in_a_trickle() -> None:
    clock = Clock()
    pace = paced("normal", clock, rate=1000)
    sent = 0
    while sent < 5000:
        sent += pace.batch
        fly(pace, clock, 0.0001)
    assert clock.now - 100.0 == pytest.approx(5.0, abs=0.2)
    assert pace.batch == 100


def test_a_rate_is_shared_by_threads() -> None:
    cap = RateCap(2000)
    begun = time.monotonic()

    def work() -> None:
        for _ in range(5):
            cap.spend(50)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0.45 <= time.monotonic() - begun < 1.5


def test_limits_of_the_profile() -> None:
    pace = Pace.of(Limits(max_rate=50, max_latency=0.1, critical_latency=2), "gentle")
    assert pace.batch == 5
    assert (pace.max_latency, pace.critical_latency) == (0.1, 2)
