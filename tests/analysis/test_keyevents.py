"""Events counted by namespace: the sum is the whole, what is missing is lost, memory is bounded."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachectl.analysis.events.cost import EventCost, event_cost
from cachectl.analysis.events.findings import findings
from cachectl.analysis.events.keyevents import (
    KIND_OF,
    KINDS,
    LETTER_OF,
    EventTally,
    EventWindow,
    Kind,
    NamespaceEvents,
    NodeEvents,
    kinds_without,
    letters_of,
    names_of,
)
from cachectl.analysis.naming.shapes import TemplateIndex
from cachectl.analysis.traffic.counters import NodeWindow
from cachectl.analysis.traffic.traffic import traffic
from cachectl.model.events import EventBatch, EventGap, EventMark

ALL = frozenset(KINDS)


def info(expired: int = 0, evicted: int = 0, misses: int = 0) -> dict[str, str]:
    return {
        "expired_keys": str(expired),
        "evicted_keys": str(evicted),
        "keyspace_misses": str(misses),
    }


def begun(**counts: int) -> EventTally:
    tally = EventTally()
    tally.published = {"n": ALL}
    tally.begin([EventBatch("n", ["set"], [b"before"]), EventMark("n", info(**counts))])
    return tally


def test_letters_and_names_belong_together() -> None:
    assert letters_of([Kind.EXPIRED, Kind.EVICTED, Kind.MISSED]) == "Exem"
    assert set(letters_of(KINDS)) == set("Exemn$lshzgt")
    assert set(names_of([Kind.DELETED])) == {"del"}
    assert KIND_OF["hset"] == Kind.SET
    assert KIND_OF.keys() == LETTER_OF.keys()


@pytest.mark.parametrize(
    ("missing", "none", "some"),
    [
        ("", [], []),
        ("E", list(KINDS), []),
        ("m", [Kind.MISSED], []),
        ("$", [], [Kind.SET]),
        ("g", [Kind.DELETED], [Kind.SET, Kind.OTHER]),
    ],
)
def test_what_letters_that_are_off_take_away(
    missing: str, none: list[Kind], some: list[Kind]
) -> None:
    assert kinds_without(KINDS, missing) == (none, some)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(sorted(KIND_OF)),
        st.sampled_from([b"user:%d:x", b"page:%d", b"%d", b"word-%d", b"\xff%d"]),
        st.integers(0, 50),
    ),
    max_size=200,
)


@given(st.lists(EVENTS, max_size=3))
def test_namespaces_add_up_to_the_whole(batches: list[list[tuple[str, bytes, int]]]) -> None:
    tally = begun()
    true: Counter[Kind] = Counter()
    for batch in batches:
        names, keys = [one[0] for one in batch], [one[1] % one[2] for one in batch]
        true.update(KIND_OF[name] for name in names)
        tally.add(EventBatch("n", names, keys))
    tally.add(EventMark("n", info()))
    window = tally.end(1.0)
    assert {kind: n for kind, n in window.counts.items() if n} == true
    assert window.counts == window.nodes[0].counts
    assert window.total == sum(true.values())


def test_a_window_holds_only_its_own() -> None:
    tally = begun()
    tally.add(EventBatch("n", ["del"], [b"a"]))
    tally.add(EventMark("n", info()))
    assert tally.end(1.0).counts[Kind.DELETED] == 1
    tally.add(EventMark("n", info()))
    assert tally.end(1.0).total == 0


def test_what_info_counts_and_never_came_is_lost() -> None:
    tally = begun(expired=100, misses=5)
    tally.add(EventBatch("n", ["expired"] * 7, [b"a"] * 7, elsewhere={"keymiss": 2}))
    tally.add(EventMark("n", info(expired=110, misses=7)))
    window = tally.end(1.0)
    assert window.lost == 3
    assert not window.complete
    assert window.nodes[0].counted == {Kind.EXPIRED: 10, Kind.EVICTED: 0, Kind.MISSED: 2}


def test_what_is_not_published_is_not_lost() -> None:
    tally = begun()
    tally.published = {"n": frozenset({Kind.EVICTED})}
    tally.add(EventMark("n", info(expired=50, misses=50)))
    assert tally.end(1.0).lost == 0


def test_dropped_events_are_not_counted_twice() -> None:
    tally = begun()
    tally.add(EventBatch("n", dropped=10))
    tally.add(EventMark("n", info(misses=10)))
    window = tally.end(1.0)
    assert (window.nodes[0].lost, window.nodes[0].dropped, window.lost) == (0, 10, 10)


def test_counters_that_began_anew_tell_nothing() -> None:
    tally = begun(misses=1000)
    tally.add(EventMark("n", info(misses=3)))
    window = tally.end(1.0)
    assert window.lost is None
    assert window.nodes[0].counted == {}


def test_without_counters_nobody_knows_what_is_lost() -> None:
    tally = EventTally()
    tally.published = {"n": ALL}
    tally.begin([EventMark("n")])
    tally.add(EventMark("n"))
    assert tally.end(1.0).lost is None


def test_gaps_are_shown_and_no_longer_than_the_window() -> None:
    tally = begun()
    tally.add(EventGap("n", 30.0, "gone"))
    tally.add(EventMark("n", info()))
    window = tally.end(2.0)
    assert (window.gap, window.nodes[0].reasons, window.complete) == (2.0, ("gone",), False)
    tally.add(EventMark("n", listening=False))
    assert not tally.end(2.0).complete


def test_labels_are_counted_beside_the_events() -> None:
    tally = EventTally(labels=("regretted",))
    tally.begin([EventMark("n")])
    tally.add(EventBatch("n", ["keymiss"] * 2, [b"a:1", b"a:2"]))
    tally.label("regretted", [b"a:1"])
    tally.add(EventMark("n"))
    (one,) = tally.end(1.0).namespaces
    assert (one.namespace, one.counts["regretted"], one.total) == (b"a:{id}", 1, 2)


def test_memory_stays_bounded_and_nothing_is_lost() -> None:
    tally = EventTally(TemplateIndex(limit=50))
    tally.begin([EventMark("n")])
    names = [b"w%c%c:x" % (a, b) for a in range(97, 123) for b in range(97, 123)]
    for start in range(0, len(names), 20):
        part = names[start : start + 20]
        tally.add(EventBatch("n", ["set"] * len(part), part))
    tally.add(EventMark("n"))
    window = tally.end(1.0)
    assert len(window.namespaces) <= 51
    assert window.counts[Kind.SET] == len(names)


# --- what it costs --------------------------------------------------------------------------------


def cost_of(writes: int, misses: int, cpu: float) -> EventCost:
    counts = {"hits": 9000, "misses": misses, "commands": 10_000, "expired": 0, "evicted": 0}
    after = {"instantaneous_eventloop_cycles_per_sec": "5000"}
    window = NodeWindow("n", 1.0, counts, cpu, {}, after)
    seen = traffic([window], None)
    seen.totals.rates["writes"] = writes  # type: ignore[index]
    return event_cost(seen)


def test_a_quiet_server_can_afford_everything() -> None:
    assert cost_of(10, 10, 0.001).affordable() == list(KINDS)


def test_a_busy_one_only_what_is_rare() -> None:
    cost = cost_of(20_000, 500, 0.4)
    assert Kind.MISSED in cost.affordable()
    # With TTLs, each write is an `expire` as well.
    assert not {Kind.SET, Kind.OTHER, Kind.DELETED} & set(cost.affordable())
    assert cost.cores(cost.affordable()) <= cost.allowed


@pytest.mark.parametrize(
    ("writes", "misses", "heard"),
    [
        (10, 10, {Kind.MISSED, Kind.SET}),
        (20_000, 500, {Kind.MISSED}),
        (500, 20_000, set()),
    ],
)
def test_what_is_heard_in_passing_is_what_info_counts_and_more_if_it_is_cheap(
    writes: int, misses: int, heard: set[Kind]
) -> None:
    cost = cost_of(writes, misses, 0.4)
    assert set(cost.in_passing([Kind.MISSED, Kind.SET])) == heard


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.floats(0, 1))
def test_what_is_affordable_costs_no_more_than_is_allowed(
    writes: int, misses: int, cpu: float
) -> None:
    cost = cost_of(writes, misses, cpu)
    assert cost.cores(cost.affordable()) <= cost.allowed


# --- findings -------------------------------------------------------------------------------------


def window_of(
    *namespaces: tuple[bytes, dict[Kind, int]], whole: frozenset[Kind] = frozenset(KINDS)
) -> EventWindow:
    node = NodeEvents("n", {}, {}, {}, 0, 0, 0.0, (), listening=True, whole=whole)
    return EventWindow(10.0, tuple(NamespaceEvents(*one) for one in namespaces), (node,))


def test_keys_that_nobody_writes() -> None:
    window = window_of((b"a", {Kind.MISSED: 500}), (b"b", {Kind.MISSED: 100, Kind.NEW: 100}))
    assert [(one.id, one.subject) for one in findings(window)] == [("events.missed_only", "a")]


@pytest.mark.parametrize("unknown", [Kind.SET, Kind.EXPIRED, Kind.EVICTED])
def test_whether_nobody_writes_them_must_be_known(unknown: Kind) -> None:
    missed = (b"a", {Kind.MISSED: 500})
    assert findings(window_of(missed, whole=frozenset(KINDS) - {unknown})) == []
    assert findings(EventWindow(10.0, window_of(missed).namespaces, ())) == []


def test_keys_that_are_not_kept() -> None:
    window = window_of((b"a", {Kind.NEW: 500, Kind.EVICTED: 490}))
    assert [one.id for one in findings(window)] == ["events.churn", "events.evicted"]


def test_a_healthy_cache_has_none() -> None:
    assert findings(window_of((b"a", {Kind.NEW: 500, Kind.MISSED: 500, Kind.EXPIRED: 490}))) == []
