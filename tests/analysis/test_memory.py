"""Where the bytes are: the parts add up, whatever fields a server has."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cachectl.analysis.keyspace.valuesizes import MemorySizes, from_keysizes
from cachectl.analysis.memory.parts import all_memory, node_memory
from cachectl.analysis.traffic.pressure import Pressure, findings
from cachectl.model.counters import MemorySample
from cachectl.model.keys import Page
from cachectl.server.introspection.memory import read_stats

SIZES = st.integers(0, 2**40)


@given(
    st.dictionaries(
        st.sampled_from(
            ["startup.allocated", "clients.normal", "aof.buffer", "replication.backlog", "x.new"]
        ),
        SIZES,
    ),
    SIZES,
    SIZES,
)
def test_parts_add_up_to_used_memory(stats: dict[str, int], total: int, overhead: int) -> None:
    figures = {**stats, "total.allocated": total, "overhead.total": overhead}
    node = node_memory(MemorySample("n", {"used_memory": "1"}, figures))
    assert sum(node.parts.values()) == node.used >= total
    assert all(size >= 0 for size in node.parts.values())


def test_what_is_not_known_is_kept_as_other() -> None:
    node = node_memory(
        MemorySample(
            "n",
            {},
            {
                "total.allocated": 1000,
                "overhead.total": 700,
                "startup.allocated": 400,
                "gadget.buffers": 100,
                "allocator-fragmentation.ratio": 1.5,
            },
            {0: {"overhead.hashtable.main": 150, "overhead.hashtable.expires": 20}},
        )
    )
    assert node.parts["other"] == 700 - 400 - 150 - 20
    assert node.parts["dataset"] == 300
    assert node.unknown == {"gadget.buffers": 100}


def test_info_alone_says_less_and_adds_up_all_the_same() -> None:
    info = {
        "used_memory": "1000",
        "used_memory_overhead": "300",
        "used_memory_startup": "200",
        "mem_clients_normal": "10",
        "db0": "keys=5,expires=1,avg_ttl=0",
    }
    node = node_memory(MemorySample("n", info))
    assert (node.parts["dataset"], node.parts["other"]) == (700, 90)
    assert node.databases[0].keys == 5
    assert node.databases[0].tables is None


def test_nodes_are_summed() -> None:
    def sample(name: str, used: int, limit: int) -> MemorySample:
        info = {"used_memory": str(used), "maxmemory": str(limit), "db3": "keys=2,expires=0"}
        return MemorySample(name, info, {"total.allocated": used, "overhead.total": 10})

    nodes = [node_memory(sample("a", 100, 50)), node_memory(sample("b", 200, 0))]
    whole = all_memory(nodes)
    assert (whole.used, whole.keys, whole.pressure.maxmemory) == (300, 4, 0)
    assert sum(whole.parts.values()) == 300
    assert [(one.database, one.keys) for one in whole.databases] == [(3, 4)]


def test_replies_of_both_protocols_are_read_alike() -> None:
    flat: list[Any] = [b"total.allocated", 5, b"db.12", [b"overhead.hashtable.main", 7]]
    flat += [b"peak.percentage", b"12.5", b"db.dict.rehashing.count", 1, b"odd", b"?"]
    as_map = {
        b"total.allocated": 5,
        b"db.12": {b"overhead.hashtable.main": 7},
        b"peak.percentage": 12.5,
        b"db.dict.rehashing.count": 1,
        b"odd": b"?",
    }
    assert read_stats(flat) == read_stats(as_map)
    stats, databases = read_stats(flat)
    assert databases == {12: {"overhead.hashtable.main": 7}}
    assert stats == {"total.allocated": 5, "peak.percentage": 12.5, "db.dict.rehashing.count": 1}


def test_a_quiet_node_has_no_findings_and_a_full_one_has() -> None:
    quiet = Pressure("n", 100, 1000, "allkeys-lru", 4.0, 1000)
    assert list(findings(quiet, "memory", memory=0.8, fragmentation=1.5)) == []
    full = Pressure("n", 960, 1000, "noeviction", 2.0, 2**30)
    found = list(findings(full, "memory", memory=0.8, fragmentation=1.5))
    assert [(one.id, str(one.severity)) for one in found] == [
        ("memory.memory", "critical"),
        ("memory.fragmentation", "warning"),
    ]


def test_keysizes_are_summed_over_nodes() -> None:
    infos = [
        {"db0_distrib_strings_sizes": "0=1,2=412,1K=3", "db0_distrib_hashes_items": "4=1"},
        {"db0_distrib_strings_sizes": "2=8,16M=1", "db2_distrib_vectors_items": "1=1", "x": "y"},
    ]
    found = {(b.database, b.type, b.unit, b.low): b.keys for b in from_keysizes(infos)}
    assert found == {
        (0, "string", "bytes", 0): 1,
        (0, "string", "bytes", 2): 420,
        (0, "string", "bytes", 1024): 3,
        (0, "string", "bytes", 16 * 2**20): 1,
        (0, "hash", "elements", 4): 1,
        (2, "vectors", "elements", 1): 1,
    }


@given(st.lists(st.one_of(st.none(), st.integers(0, 2**30))))
def test_every_known_size_is_in_its_bin(sizes: list[int | None]) -> None:
    one = MemorySizes()
    keys = [b"%d" % i for i in range(len(sizes))]
    one.add(Page("dropped", [b"x"], ["string"], sizes=[1]))
    one.add(Page("n", keys, ["hash"] * len(keys), sizes=sizes))
    one.drop("dropped")
    known = [size for size in sizes if size is not None]
    assert sum(b.keys for b in one.bins()) == len(known)  # type: ignore[misc]
    for found in one.bins():
        assert found.keys == sum(found.low <= size <= found.high for size in known)
