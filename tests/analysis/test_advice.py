"""Advice: what keys would save adds up, exactly or within its interval."""

from __future__ import annotations

import random

from cachectl.analysis.estimates.intervals import Stratum
from cachectl.analysis.memory.advice import Advice, Drawn, Savings, thinned, worth_giving
from cachectl.analysis.memory.key_advice import ttl_advice, unread_advice
from cachectl.analysis.memory.settings import process_advice, settings_findings
from cachectl.model.counters import MemorySample
from cachectl.model.figures import Estimate, value_of
from cachectl.model.findings import Severity
from cachectl.model.keys import Page

GIB = 2**30
DAY = 86_400


def advice(saves: int, *, protects: bool = False, severity: Severity = Severity.INFO) -> Advice:
    return Advice("memory.x", "", saves, "", "", "", severity=severity, protects=protects)


def test_only_what_is_worth_it_is_given_the_dangers_first() -> None:
    grave = advice(0, protects=True, severity=Severity.CRITICAL)
    many = [advice(10), advice(10**6), grave, advice(3 * 10**6), advice(0)]
    assert worth_giving(many, 20 * 10**6) == [grave, many[3], many[1]]


def test_savings_of_all_keys_are_exact_and_of_a_sample_are_not() -> None:
    pages = [Page("n", [b"%d" % n for n in range(at, at + 20)]) for at in range(0, 400, 20)]
    spaces = [[(b"all",)] * 20 for _ in pages]
    for size, exact in ((400, True), (4000, False)):
        savings = Savings()
        for at in range(len(pages)):
            for row in range(0, 20, 2):
                savings.add(at, row, (b"space",), 100 + row)
        drawn = Drawn(pages, {"n": Stratum(size, 400)}, spaces)
        ((saves, keys),) = savings.totals(drawn).values()
        truth = sum(100 + row for row in range(0, 20, 2)) * 20 * size // 400
        if exact:
            assert (saves, keys) == (truth, 200)
        else:
            assert isinstance(saves, Estimate)
            assert saves.low < saves.value < saves.high
            assert abs(saves.value - truth) < 1


def test_some_pages_are_a_smaller_sample() -> None:
    draw = random.Random(1)
    pages = [Page(draw.choice("ab"), [b"x"] * draw.randrange(1, 9)) for _ in range(50)]
    counts = {node: sum(len(page) for page in pages if page.node == node) for node in "ab"}
    strata = {node: Stratum(10 * count, count) for node, count in counts.items()}
    drawn = Drawn(pages, strata, [[(b"s",)] * len(page) for page in pages])
    some = thinned(drawn, list(range(0, 50, 3)))
    for node in "ab":
        kept = sum(len(page) for page in some.pages if page.node == node)
        assert some.strata[node] == Stratum(strata[node].size, kept)
    assert thinned(drawn, list(range(50))).strata == strata


def page(rows: list[tuple[bytes, int, int, int]]) -> Drawn:
    keys, sizes, ttls, idles = (list(column) for column in zip(*rows, strict=True))
    one = Page("n", keys, sizes=sizes, ttls=ttls, idles=idles)
    spaces = [[(key.partition(b":")[0],) for key in keys]]
    return Drawn([one], {"n": Stratum(len(keys), len(keys))}, spaces)


def test_keys_without_ttl_count_where_most_have_one() -> None:
    rows = [(b"mixed:%d" % n, 100, 5000 if n % 4 else -1, 0) for n in range(40)]
    rows += [(b"eternal:%d" % n, 100, -1, 0) for n in range(40)]
    rows += [(b"fine:%d" % n, 100, 5000, 0) for n in range(40)]
    found = list(ttl_advice(page(rows)))
    assert [(one.subject, one.saves, one.keys) for one in found] == [(b"mixed", 1000, 10)]


def test_namespaces_that_nobody_reads() -> None:
    rows = [(b"dead:%d" % n, 100, -1, 8 * DAY) for n in range(40)]
    rows += [(b"half:%d" % n, 100, -1, 8 * DAY if n % 2 else 5) for n in range(40)]
    found = list(unread_advice(page(rows)))
    assert [(one.subject, value_of(one.saves)) for one in found] == [(b"dead", 4000)]


def sample(**info: object) -> MemorySample:
    fields = {"total_system_memory": 8 * GIB, "used_memory_rss": GIB, "maxmemory": 4 * GIB}
    fields |= {"maxmemory_policy": "allkeys-lru", "db0": "keys=100,expires=1,avg_ttl=0"}
    return MemorySample("n", {name: str(value) for name, value in (fields | info).items()})


def found_in(**info: object) -> list[tuple[str, str]]:
    return [(one.id, str(one.severity)) for one in settings_findings(sample(**info))]


def test_settings() -> None:
    assert found_in() == []
    assert found_in(maxmemory=0) == [("memory.maxmemory_unset", "info")]
    assert found_in(maxmemory=0, used_memory_rss=6 * GIB) == [("memory.maxmemory_unset", "warning")]
    assert found_in(maxmemory=9 * GIB) == [("memory.maxmemory_above_machine", "critical")]
    assert found_in(maxmemory=int(7.5 * GIB)) == [("memory.maxmemory_above_machine", "warning")]
    assert found_in(maxmemory_policy="volatile-lfu") == [("memory.volatile_without_ttl", "warning")]
    assert found_in(maxmemory_policy="volatile-lfu", db0="keys=100,expires=50") == []
    assert found_in(maxmemory_policy="volatile-ttl", db0="keys=0,expires=0") == []
    assert settings_findings(MemorySample("n", {})) == []


def test_the_process() -> None:
    mib = 2**20
    quiet = {"allocator_frag_ratio": 1.02, "allocator_frag_bytes": mib}
    assert process_advice(sample(**quiet), fragmentation=1.5) == []
    bad = {
        "allocator_frag_ratio": 2.0,
        "allocator_frag_bytes": 100 * mib,
        "allocator_allocated": 100 * mib,
        "allocator_rss_bytes": 50 * mib,
        "mem_allocator": "jemalloc-5.3.0",
    }
    found = process_advice(sample(**bad), fragmentation=1.5)
    assert [(one.id, one.saves) for one in found] == [
        ("memory.defragment", 90 * mib),
        ("memory.purge", 50 * mib),
    ]
