"""Differences of counters: resets, restarts and our own work, never a negative figure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachectl.analysis.traffic.counters import (
    FIELDS,
    CommandCount,
    Event,
    NodeWindow,
    event_between,
    window,
)
from cachectl.model.counters import NodeSample, OwnWork


def info(run_id: str = "a", uptime: int = 1000, **fields: int | str) -> dict[str, str]:
    base = {"run_id": run_id, "uptime_in_seconds": str(uptime), "role": "master"}
    return base | {name: str(value) for name, value in fields.items()}


def sample(at: float, fields: dict[str, str], **rest: object) -> NodeSample:
    return NodeSample("n", 1e9 + at, at, fields, **rest)  # type: ignore[arg-type]


def between(before: NodeSample, after: NodeSample) -> NodeWindow:
    result = window(before, after)
    assert result is not None
    return result


def test_plain_difference() -> None:
    result = between(
        sample(0, info(keyspace_hits=10, keyspace_misses=5, used_cpu_user="1.5", used_cpu_sys="1")),
        sample(10, info(keyspace_hits=110, keyspace_misses=5, used_cpu_user="2", used_cpu_sys="2")),
    )
    assert (result.seconds, result.counts["hits"], result.counts["misses"]) == (10, 100, 0)
    assert result.cpu_seconds == 1.5
    assert result.counts["evicted"] is None
    assert result.event is None


def test_restart_counts_from_the_start_on() -> None:
    before = sample(0, info("a", 5000, keyspace_hits=1_000_000))
    after = sample(60, info("b", 20, keyspace_hits=30))
    result = between(before, after)
    assert result.event is Event.RESTARTED
    assert result.counts["hits"] == 30
    assert 20 <= result.seconds <= 21


def test_another_process_says_nothing_about_the_window() -> None:
    assert window(sample(0, info("a")), sample(10, info("b", 9000, keyspace_hits=7))) is None


def test_hidden_run_ids_still_tell_a_restart() -> None:
    before, after = info("", 5000), info("", 3)
    assert event_between(sample(0, before), sample(10, after), 10) is Event.RESTARTED


def test_reset_that_a_lower_counter_tells() -> None:
    result = between(
        sample(0, info(keyspace_hits=100, expired_keys=4)),
        sample(10, info(keyspace_hits=150, expired_keys=1)),
    )
    assert result.event is Event.RESET
    assert (result.counts["hits"], result.counts["expired"]) == (150, 1)


def test_reset_that_only_its_own_entry_tells() -> None:
    commands = {"cmdstat_get": "calls=3,usec=5,rejected_calls=0,failed_calls=0"}
    reset = {"cmdstat_config|resetstat": "calls=1,usec=77,rejected_calls=0,failed_calls=0"}
    before = sample(0, info(keyspace_hits=1) | commands)
    after = sample(10, info(keyspace_hits=50) | commands | reset)
    assert between(before, after).event is Event.RESET
    assert between(after, sample(20, info(keyspace_hits=60) | commands | reset)).event is None


def test_denied_reset_is_none() -> None:
    commands = {"cmdstat_get": "calls=3,usec=5,rejected_calls=0,failed_calls=0"}
    denied = {"cmdstat_config|resetstat": "calls=0,usec=0,rejected_calls=1,failed_calls=0"}
    before = sample(0, info(keyspace_hits=1) | commands)
    assert between(before, sample(10, info(keyspace_hits=5) | commands | denied)).event is None


def test_own_work_is_subtracted() -> None:
    result = between(
        sample(0, info(keyspace_hits=10, total_commands_processed=5), own=OwnWork(3, 1, 9)),
        sample(
            10,
            info(keyspace_hits=110, keyspace_misses=4, total_commands_processed=205),
            own=OwnWork(53, 3, 109),
            asked={"info": 1, "client|list": 1},
        ),
    )
    assert (result.counts["hits"], result.counts["misses"]) == (50, 2)
    assert result.counts["commands"] == 200 - 100 - 2
    assert (result.own.hits, result.own.misses) == (50, 2)
    assert result.own_exact


def test_what_the_measuring_was_refused_is_no_error() -> None:
    result = between(
        sample(0, info(total_error_replies=7, errorstat_NOPERM="count=7"), refused={"NOPERM": 1}),
        sample(
            10,
            info(total_error_replies=12, errorstat_NOPERM="count=10", errorstat_OOM="count=2"),
            refused={"NOPERM": 4},
        ),
    )
    assert result.counts["errors"] == 2
    assert result.errors == {"OOM": 2}


@pytest.mark.parametrize("name", ["client|list", "client"])
def test_commands_of_the_measuring_are_left_out(name: str) -> None:
    commands = {
        f"cmdstat_{name}": "calls=5,usec=50,rejected_calls=0,failed_calls=0",
        "cmdstat_info": "calls=1,usec=200,rejected_calls=0,failed_calls=0",
    }
    result = between(
        sample(0, info()),
        sample(10, info() | commands, asked={"client|list": 4, "info": 1, "ping": 3}),
    )
    assert result.commands == {name: CommandCount(1, 10)}


def test_own_work_that_is_not_settled_is_said() -> None:
    before = sample(0, info(keyspace_hits=0))
    for own in (OwnWork(5, settled=False), OwnWork(5, lost=1)):
        after = sample(1, info(keyspace_hits=9), own=own)
        assert not between(before, after).own_exact


counts = st.dictionaries(
    st.sampled_from([*FIELDS.values(), "used_cpu_user", "used_cpu_sys"]),
    st.integers(-5, 10**12),
)


@given(counts, counts, st.integers(0, 10**6), st.integers(0, 10**6), st.booleans())
def test_never_negative(
    before: dict[str, int], after: dict[str, int], own: int, uptime: int, same: bool
) -> None:
    result = window(
        sample(0, info("a", 1000, **before)),
        sample(5, info("a" if same else "b", uptime, **after), own=OwnWork(own, own, own)),
    )
    if result is None:
        return
    assert result.seconds > 0
    assert all(value is None or value >= 0 for value in result.counts.values())
    assert result.cpu_seconds is None or result.cpu_seconds >= 0
