"""Evictions, computed: growth and its interval, what may go, regret, and what to set."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachectl.analysis.estimates.intervals import Stratum
from cachectl.analysis.events.eviction_advice import findings, is_coarse, settings_to_look_at
from cachectl.analysis.events.evictions import (
    AgeSample,
    MemoryReading,
    NodePressure,
    age_sample,
    growth,
    node_pressure,
)
from cachectl.analysis.events.regret import Regret, RegretTracker
from cachectl.model.figures import Estimate
from cachectl.model.findings import Severity
from cachectl.model.keys import Page

MB = 1 << 20
NOTHING = AgeSample()
CALM = NodePressure(
    node="n",
    policy="allkeys-lru",
    maxmemory=100 * MB,
    used=40 * MB,
    growth=Estimate(0.0, -10.0, 10.0),
    keys=1000,
    expires=900,
    evicted=0,
    seconds=10.0,
    settings={"maxmemory-samples": "5", "active-expire-effort": "1"},
)


@pytest.mark.parametrize("wander", [True, False])
def test_the_interval_of_growth_covers(wander: bool) -> None:
    """Memory that goes up and down by chance, and memory that wavers about a line."""
    rng = random.Random(1)
    held = 0
    for _ in range(500):
        used, readings = 0.0, []
        for at in range(21):
            noise = rng.gauss(0, 5_000)
            used = used + 1_000 + noise if wander else 1_000 * at
            readings.append(MemoryReading(at, round(used if wander else used + noise)))
        found = growth(readings)
        assert found is not None
        held += found.low <= 1_000 <= found.high
    assert 0.925 <= held / 500 <= (0.975 if wander else 1.0)


def test_few_readings_tell_no_growth() -> None:
    assert growth([MemoryReading(at, at) for at in range(3)]) is None


def test_when_memory_is_full() -> None:
    node = replace(CALM, growth=Estimate(1.0 * MB, 0.5 * MB, 2.0 * MB))
    assert node.seconds_until_full == Estimate(60.0, 30.0, 120.0)
    assert CALM.seconds_until_full is None  # it may just as well shrink
    assert replace(node, maxmemory=0).seconds_until_full is None
    assert replace(node, used=100 * MB).seconds_until_full is None


@pytest.mark.parametrize(
    ("policy", "expires", "evictable"),
    [
        ("allkeys-lru", 0, 1.0),
        ("allkeys-random", 0, 1.0),
        ("volatile-ttl", 250, 0.25),
        ("volatile-lru", 0, 0.0),
        ("noeviction", 1000, 0.0),
    ],
)
def test_what_a_policy_may_evict(policy: str, expires: int, evictable: float) -> None:
    assert replace(CALM, policy=policy, expires=expires).evictable == evictable


def test_a_key_stays_as_long_as_the_turnover_takes() -> None:
    assert CALM.stay is None
    assert replace(CALM, evicted=1000).stay == 10.0
    assert replace(CALM, evicted=1000, policy="volatile-lru").stay == 9.0


def test_one_node_from_info() -> None:
    before = {"total_eviction_exceeded_time": "0"}
    after = {
        "used_memory": "1000",
        "mem_not_counted_for_evict": "100",
        "maxmemory": "2000",
        "maxmemory_policy": "volatile-lru",
        "db0": "keys=10,expires=1,avg_ttl=0",
        "db7": "keys=30,expires=9,avg_ttl=0,subexpiry=0",
        "mem_clients_normal": "300",
        "total_eviction_exceeded_time": "1500",
        "current_eviction_exceeded_time": "0",
    }
    node = node_pressure("n", before, after, [], 5, 10.0, {})
    assert (node.used, node.headroom, node.keys, node.expires) == (900, 1100, 40, 10)
    assert (node.evictable, node.over, node.clients) == (0.25, 1.5, 300)


def test_ages_of_a_sample() -> None:
    pages = [Page("n", [b"k"] * 100, idles=list(range(100)))]
    found = age_sample(pages, {"n": Stratum(100_000, 100)})
    assert found.idle is not None
    assert found.idle.low <= 95 <= found.idle.high
    assert found.full is None
    pages = [Page("n", [b"k"] * 100, freqs=[255] * 30 + [5] * 70)]
    found = age_sample(pages, {"n": Stratum(100_000, 100)})
    assert found.full is not None
    assert found.new is not None
    assert (found.full.value, found.new.value, found.idle) == (0.3, 0.7, None)
    assert found.full.low < 0.3 < found.full.high


# --- regret ---------------------------------------------------------------------------------------


def test_a_key_is_regretted_when_it_is_missed_after_it_went() -> None:
    tracker = RegretTracker()
    names = ["keymiss", "new", "evicted", "keymiss", "keymiss", "evicted", "new", "keymiss"]
    keys = [b"a", b"a", b"a", b"a", b"a", b"b", b"b", b"b"]
    assert tracker.add(names, keys, 1.0) == ([b"a"], [b"a"])
    found = tracker.result()
    assert (found.evicted, found.misses, found.missed, found.young) == (2, 4, 1, 1)
    assert (found.regretted, found.share_of_misses) == (0.5, 0.25)
    assert found.followed == 1


def test_how_long_young_keys_lived() -> None:
    tracker = RegretTracker()
    tracker.add(["new"], [b"a"], 1.0)
    tracker.add(["evicted"], [b"a"], 4.0)
    assert tracker.result().ages == (3.0,)


def test_memory_is_bounded_and_the_shares_still_hold() -> None:
    tracker = RegretTracker(most=2_000)
    for first in range(0, 60_000, 100):
        batch = [b"key:%d" % number for number in range(first, first + 100)]
        tracker.add(["evicted"] * 100, batch, 0.0)
        tracker.add(["keymiss"] * 30, batch[:30], 0.0)
    found = tracker.result()
    assert found.followed < 0.2
    assert len(tracker._evicted_at) <= 2_000
    assert found.evicted == pytest.approx(60_000, rel=0.15)
    assert found.regretted == pytest.approx(0.3, rel=0.15)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["evicted", "keymiss", "new", "expired", "del"]),
            st.sampled_from([b"a", b"b", b"c"]),
        )
    )
)
def test_no_more_is_regretted_than_was_evicted(events: list[tuple[str, bytes]]) -> None:
    tracker = RegretTracker()
    for number, (name, key) in enumerate(events):
        tracker.add([name], [key], float(number))
    found = tracker.result()
    assert found.missed <= min(found.evicted, found.misses)
    assert found.young <= found.evicted
    assert all(age >= 0 for age in found.ages)


# --- what to set ----------------------------------------------------------------------------------


def ids(node: NodePressure, ages: AgeSample = NOTHING, regret: Regret | None = None) -> set[str]:
    return {one.id for one in findings([node], ages, regret)}


def first(node: NodePressure, ages: AgeSample = NOTHING, regret: Regret | None = None) -> str:
    settings = settings_to_look_at([node], ages, regret)
    assert len(settings) == 3
    assert all(one.reason and one.advice for one in settings)
    return settings[0].name


def test_a_calm_server_has_no_findings_and_three_settings() -> None:
    assert ids(CALM) == set()
    assert first(CALM) == "maxmemory"


def test_a_policy_that_may_evict_nothing() -> None:
    node = replace(CALM, policy="volatile-lru", expires=0)
    (found,) = findings([node], NOTHING, None)
    assert (found.id, found.severity) == ("evictions.nothing_evictable", Severity.WARNING)
    assert first(node) == "maxmemory-policy"
    (found,) = findings([replace(node, used=95 * MB)], NOTHING, None)
    assert found.severity == Severity.CRITICAL
    assert ids(replace(CALM, policy="noeviction")) == set()
    assert ids(replace(CALM, policy="noeviction", used=95 * MB)) == {"evictions.nothing_evictable"}


def test_full_soon() -> None:
    growing = replace(CALM, growth=Estimate(1.0 * MB, 0.9 * MB, 1.1 * MB))
    (found,) = findings([growing], NOTHING, None)
    assert (found.id, found.severity) == ("evictions.soon_full", Severity.INFO)
    (found,) = findings([replace(growing, policy="noeviction")], NOTHING, None)
    assert found.severity == Severity.CRITICAL
    assert "writes are refused" in found.title


def test_a_clock_that_is_too_coarse() -> None:
    fast = replace(CALM, evicted=10_000)  # all keys replaced in a second
    assert is_coarse(fast, NOTHING)
    assert "evictions.coarse_clock" in ids(fast)
    assert not is_coarse(replace(fast, policy="allkeys-lfu"), NOTHING)
    slow = replace(CALM, keys=1_000_000, evicted=100)
    assert not is_coarse(slow, NOTHING)
    assert is_coarse(slow, AgeSample(drawn=500, idle=Estimate(4.0, 3.0, 5.0)))


def test_full_counters() -> None:
    ages = AgeSample(drawn=500, full=Estimate(0.4, 0.35, 0.45), new=Estimate(0.1, 0.05, 0.2))
    node = replace(CALM, policy="allkeys-lfu")
    assert ids(node, ages) == {"evictions.full_counters"}
    assert first(node, ages) == "lfu-log-factor"


def test_regret_asks_for_memory() -> None:
    regret = Regret(evicted=1000, misses=1000, missed=400)
    node = replace(CALM, evicted=1000, keys=1_000_000)
    assert ids(node, regret=regret) == {"evictions.regret"}
    assert first(node, regret=regret) == "maxmemory"


@pytest.mark.parametrize(
    ("change", "setting"),
    [
        ({"maxmemory": 0}, "maxmemory"),
        ({"system": 100 * MB}, "maxmemory"),
        ({"over": 2.0}, "maxmemory-eviction-tenacity"),
        ({"clients": 30 * MB}, "maxmemory-clients"),
        ({"policy": "noeviction", "used": 95 * MB}, "maxmemory-policy"),
        ({"policy": "volatile-lru", "expires": 10}, "maxmemory-policy"),
        ({"evicted": 50, "settings": {"maxmemory-samples": "2"}}, "maxmemory-samples"),
    ],
)
def test_what_matters_most_comes_first(change: dict[str, object], setting: str) -> None:
    node = replace(CALM, **change)  # type: ignore[arg-type]
    assert settings_to_look_at([node], NOTHING, None)[0].name == setting
