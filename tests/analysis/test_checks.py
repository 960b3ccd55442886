"""What checks measure and how it is judged, from counters and INFO alone."""

from __future__ import annotations

from typing import Any

import pytest

from cachectl.analysis.estimates.intervals import Stratum
from cachectl.analysis.health.checks import (
    Limits,
    Measurement,
    judge,
    judged,
    limits_for,
    problem_of,
)
from cachectl.analysis.health.gauging import (
    has_replication,
    of_latency,
    of_persistence,
    of_replication,
    of_traffic,
    persists,
    share_of_keys,
)
from cachectl.analysis.traffic.counters import window
from cachectl.analysis.traffic.latency import distribution
from cachectl.analysis.traffic.traffic import Traffic, traffic
from cachectl.model.counters import NodeSample
from cachectl.model.findings import State, Unavailable
from cachectl.model.keys import Page
from cachectl.ranges import parse_range

BASE = {
    "run_id": "r",
    "role": "master",
    "uptime_in_seconds": "1000",
    "keyspace_hits": "0",
    "keyspace_misses": "0",
    "evicted_keys": "0",
    "expired_keys": "0",
    "used_memory": "500",
    "maxmemory": "1000",
    "maxmemory_policy": "allkeys-lru",
    "connected_clients": "3",
    "blocked_clients": "1",
    "mem_fragmentation_ratio": "1.1",
    "mem_fragmentation_bytes": "100",
    "db0": "keys=7,expires=1,avg_ttl=1",
    "db3": "keys=5,expires=1,avg_ttl=1",
}


def nodes(*afters: dict[str, Any], before: dict[str, Any] | None = None) -> Traffic:
    """Return a window of 10 s over nodes that began alike."""
    windows = []
    for number, after in enumerate(afters):
        first = NodeSample(f"n{number}", 100.0, 0.0, BASE | (before or {}))
        info = {name: str(value) for name, value in (BASE | after).items()}
        found = window(first, NodeSample(f"n{number}", 110.0, 10.0, info))
        assert found is not None
        windows.append(found)
    return traffic(windows, None)


def measured(*afters: dict[str, Any]) -> dict[str, Measurement]:
    return {one.name: one for one in of_traffic(nodes(*afters))}


def state_of(one: Measurement, warn: str = "", critical: str = "") -> State:
    limits = Limits(
        parse_range(warn) if warn else None, parse_range(critical) if critical else None
    )
    return judge(one, limits).state


def test_a_window_of_two_nodes() -> None:
    found = measured(
        {"keyspace_hits": 900, "keyspace_misses": 100, "evicted_keys": 50, "expired_keys": 20},
        {"keyspace_hits": 100, "keyspace_misses": 900, "used_memory": 900, "evicted_keys": 10},
    )
    values = {name: one.value for name, one in found.items()}
    assert values == {
        "hit_ratio": 50.0,
        "memory": 90.0,
        "fragmentation": 1.1,
        "evictions": 6.0,
        "expirations": 2.0,
        "connected_clients": 6.0,
        "blocked_clients": 2.0,
        "keys": 24.0,
    }
    assert found["memory"].text == "90.0% of maxmemory used (allkeys-lru) on n1"
    assert found["hit_ratio"].text == "50.0% of 2,000 look-ups hit"


def test_defaults_mean_something() -> None:
    found = measured({"keyspace_hits": 79, "keyspace_misses": 21, "used_memory": 801})
    assert {
        one.name: judge(one, limits_for(one.name, {})).state
        for one in found.values()
        if one.name in ("hit_ratio", "memory", "keys")
    } == {"hit_ratio": State.WARNING, "memory": State.WARNING, "keys": State.OK}
    found = measured({"keyspace_hits": 80, "keyspace_misses": 20, "used_memory": 800})
    assert {judge(one, limits_for(one.name, {})).state for one in found.values()} == {State.OK}


def test_the_profiles_range_goes_before_the_default() -> None:
    given = {"hit_ratio": Limits(parse_range("95:"), parse_range("50:"))}
    one = measured({"keyspace_hits": 90, "keyspace_misses": 10})["hit_ratio"]
    verdict = judge(one, limits_for("hit_ratio", given))
    assert (verdict.state, verdict.warn, verdict.critical) == (State.WARNING, "95:", "50:")
    assert verdict.text.endswith(" (alert: 95:)")


def test_few_look_ups_are_not_judged_and_none_is_no_alarm() -> None:
    few = measured({"keyspace_hits": 1, "keyspace_misses": 98})["hit_ratio"]
    assert (few.judged, few.value) == (False, 1.01)
    assert state_of(few, "80:") is State.OK
    none = measured({})["hit_ratio"]
    assert (none.value, state_of(none, "80:")) == (None, State.OK)


def test_memory_without_a_limit_is_that_of_the_machine() -> None:
    one = measured({"maxmemory": 0, "total_system_memory": 1000, "used_memory_rss": 900})["memory"]
    assert one.value == 90.0
    assert "no maxmemory is set" in one.text
    assert measured({"maxmemory": 0})["memory"].value is None


def test_fragmentation_of_little_memory_is_not_judged() -> None:
    small = measured({"mem_fragmentation_ratio": 4, "mem_fragmentation_bytes": 10**7})
    assert state_of(small["fragmentation"], "1.5") is State.OK
    large = measured({"mem_fragmentation_ratio": 4, "mem_fragmentation_bytes": 10**9})
    assert state_of(large["fragmentation"], "1.5") is State.WARNING


def test_the_worst_node_is_one_that_can_be_judged() -> None:
    found = measured(
        {"mem_fragmentation_ratio": 9, "mem_fragmentation_bytes": 10**7},
        {"mem_fragmentation_ratio": 2, "mem_fragmentation_bytes": 10**9},
    )
    assert (found["fragmentation"].value, found["fragmentation"].judged) == (2.0, True)


def test_what_a_server_does_not_say_is_unknown() -> None:
    start = {name: value for name, value in BASE.items() if name not in ("keyspace_hits", "keys")}
    silent = {"run_id": "r", "uptime_in_seconds": "1000", "role": "master"}
    first = NodeSample("n", 100.0, 0.0, start)
    found = window(first, NodeSample("n", 110.0, 10.0, silent))
    assert found is not None
    result = judged(of_traffic(traffic([found], None)), {})
    states = {one.name: one.state for one in result.verdicts}
    assert {name for name, state in states.items() if state is State.UNKNOWN} == {
        *("hit_ratio", "memory", "fragmentation", "evictions", "expirations"),
        *("connected_clients", "blocked_clients"),
    }
    assert {one.what for one in result.unavailable} == set(states) - {"keys"}


def test_a_node_that_was_replaced_makes_rates_unknown() -> None:
    result = traffic(nodes({}).nodes[0:0] and [], None, silent=["n0"])
    states = {one.name: judge(one, Limits()).state for one in of_traffic(result)}
    assert states["hit_ratio"] is states["evictions"] is State.UNKNOWN


def test_latency_is_that_of_the_slowest_node() -> None:
    fast, slow = distribution([0.001] * 200), distribution([0.001] * 190 + [0.2] * 10)
    one = of_latency({"a": fast, "b": slow})
    assert (one.value, state_of(one, "0.1", "1")) == (0.2, State.WARNING)
    assert one.text.endswith("on b")
    few = of_latency({"a": distribution([0.001] * 49 + [0.3])})
    assert (few.value, state_of(few, "0.1")) == (0.3, State.WARNING)
    assert few.text.startswith("the slowest 300 ms")
    assert judge(of_latency({"a": distribution([])}), Limits()).state is State.UNKNOWN
    lost = Unavailable("latency", "the connection broke", node="b")
    assert judge(of_latency({"a": fast}, lost), Limits()).state is State.UNKNOWN


REPLICA = "ip=10.0.0.2,port=6379,state={},offset=100,lag=0"


@pytest.mark.parametrize(
    ("info", "lag", "value", "state"),
    [
        ({"role": "master"}, 0, None, State.OK),
        ({"role": "master", "slave0": REPLICA.format("online")}, 100, 100.0, State.OK),
        ({"role": "master", "slave0": REPLICA.format("online")}, 2000, 2000.0, State.WARNING),
        ({"role": "master", "slave0": REPLICA.format("wait_bgsave")}, 0, 0.0, State.WARNING),
        ({"role": "slave", "master_link_status": "up"}, 0, None, State.OK),
        ({"role": "slave", "master_link_status": "down"}, 0, None, State.CRITICAL),
    ],
)
def test_replication(info: dict[str, str], lag: int, value: float | None, state: State) -> None:
    one = of_replication({"n": info}, {"n": lag})
    assert (one.value, state_of(one, "1000")) == (value, state)
    assert has_replication(info) is ("slave0" in info or info["role"] == "slave")


@pytest.mark.parametrize(
    ("info", "save", "on"),
    [
        ({"aof_enabled": "0"}, "", False),
        ({"aof_enabled": "0"}, "3600 1", True),
        ({"aof_enabled": "1"}, None, True),
        ({"aof_enabled": "0"}, None, None),
        ({"aof_enabled": "0", "rdb_saves": "0"}, None, None),
        ({"aof_enabled": "0", "rdb_saves": "3"}, None, True),
    ],
)
def test_whether_persistence_is_on(info: dict[str, str], save: str | None, on: object) -> None:
    assert persists(info, save) is on


@pytest.mark.parametrize(
    ("info", "save", "value", "state"),
    [
        ({"rdb_last_save_time": "900"}, "60 1", 100.0, State.OK),
        ({"rdb_last_save_time": "100"}, "60 1", 900.0, State.WARNING),
        ({"rdb_last_save_time": "900", "rdb_last_bgsave_status": "err"}, "60 1", 100.0, "crit"),
        ({"aof_enabled": "1", "aof_last_write_status": "ok"}, "", 0.0, State.OK),
        ({"aof_enabled": "1", "aof_last_write_status": "err"}, "", 0.0, "crit"),
        ({"aof_enabled": "1", "aof_last_bgrewrite_status": "err"}, "", 0.0, State.WARNING),
        ({"rdb_last_save_time": "100"}, "", None, State.OK),
        ({"rdb_last_save_time": "100"}, None, None, State.UNKNOWN),
    ],
)
def test_persistence(
    info: dict[str, str], save: str | None, value: float | None, state: object
) -> None:
    one = of_persistence({"n": (info, 1000.0)}, {"n": save})
    expected = State.CRITICAL if state == "crit" else state
    assert (one.value, state_of(one, "600")) == (value, expected)


class Evens:
    def group(self, key: bytes) -> bytes:
        return b"in" if key.endswith(b"0") else b"out"


def test_a_share_of_all_keys_is_exact_and_of_a_sample_has_an_interval() -> None:
    keys = [b"k:%d" % number for number in range(100)]
    page = Page("n", keys, sizes=[300 if key.endswith(b"0") else 100 for key in keys])
    exact = share_of_keys("share:x", [page], {"n": Stratum(100, 100)}, Evens())
    assert (exact.value, exact.text) == (25.0, "25.0% of the bytes")
    pages = [page.take(range(start, start + 10)) for start in range(0, 100, 10)]
    part = share_of_keys("share:x", pages, {"n": Stratum(10_000, 100)}, Evens())
    assert part.value == pytest.approx(25.0)
    assert part.text.startswith("about 25.0% (")
    none = share_of_keys("share:x", [page.take([1, 2])], {"n": Stratum(2, 2)}, Evens())
    assert (none.value, none.text) == (0.0, "no such keys")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("memory", None),
        ("backlog:queue:mail", None),
        ("backlog", "backlog needs to know of what: backlog:KEY"),
        ("memory:x", "memory is of the whole server, and takes nothing after a colon"),
        ("x", "there is no check called 'x'"),
    ],
)
def test_names(name: str, problem: str | None) -> None:
    found = problem_of(name)
    assert found is None if problem is None else (found or "").startswith(problem)
