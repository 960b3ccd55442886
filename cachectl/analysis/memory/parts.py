"""Where the bytes of a server are: parts that add up to used_memory, and the process around them.

MEMORY STATS (server source, object.c: getMemoryOverheadData) calls overhead what is no value: the
process at its start, buffers, scripts, and the tables of the keys. The dataset is the rest. Its
fields differ by version and flavour: what this module does not know becomes the part `other`, so
that the parts add up whatever a server counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cachectl.analysis.traffic.counters import decimal, number
from cachectl.analysis.traffic.pressure import Pressure
from cachectl.model.counters import MemorySample

# Part → the fields of MEMORY STATS that make it up (several names for what is the same).
_OF_STATS: dict[str, tuple[str, ...]] = {
    "startup": ("startup.allocated",),
    "clients": ("clients.normal",),
    "replicas": ("clients.slaves", "replicas.repl.buffer"),
    "backlog": ("replication.backlog",),
    "full_sync": ("replica.fullsync.buffer",),
    "aof_buffer": ("aof.buffer",),
    "scripts": ("lua.caches",),
    "functions": ("functions.caches",),
    "script_engines": ("script.VMs",),
    "cluster_links": ("cluster.links",),
    "slot_migration": ("cluster.slot_import", "cluster.slot_export"),
}
_OF_DATABASES = {
    "tables": "overhead.hashtable.main",
    "expires": "overhead.hashtable.expires",
    "slots": "overhead.hashtable.slot-to-keys",
}
# The same from INFO memory, for who may not run MEMORY STATS.
_OF_INFO: dict[str, tuple[str, ...]] = {
    "startup": ("used_memory_startup",),
    "clients": ("mem_clients_normal",),
    "replicas": ("mem_clients_slaves", "mem_replicas_repl_buffer"),
    "backlog": ("mem_replication_backlog",),
    "full_sync": ("mem_replica_full_sync_buffer",),
    "aof_buffer": ("mem_aof_buffer",),
    "scripts": ("used_memory_scripts_eval",),
    "functions": ("used_memory_functions",),
    "cluster_links": ("mem_cluster_links",),
    "slot_migration": ("mem_cluster_slot_import", "mem_cluster_slot_export"),
}
# Figures of MEMORY STATS that are sums, shares and states, or are read from INFO.
_DERIVED = frozenset(
    (
        *("peak.allocated", "total.allocated", "overhead.total", "keys.count"),
        *("keys.bytes-per-key", "dataset.bytes", "dataset.percentage", "peak.percentage"),
        *("overhead.db.hashtable.lut", "overhead.db.hashtable.rehashing"),
        *("db.dict.rehashing.count", "fragmentation", "fragmentation.bytes"),
    )
)
_DERIVED_FROM = ("allocator", "rss-overhead")


@dataclass(frozen=True, slots=True)
class DatabaseMemory:
    """One database of one node, or of all. tables, expires, slots: bytes, None: not to be had."""

    database: int
    keys: int
    expires_keys: int
    tables: int | None = None
    expires: int | None = None
    slots: int | None = None


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """What a process takes of its machine, in bytes; None: the node does not say.

    rss: resident in all. fragmentation: the allocator's pages that its allocations do not fill;
    retained: pages that it holds free; other: what is resident beside the allocator, negative where
    memory is swapped out. lua: of the engines of scripts, which old versions do not count in
    used_memory. peak: of used_memory. machine: all memory of the machine.
    """

    allocator: str
    rss: int | None
    fragmentation: int | None
    retained: int | None
    other: int | None
    lua: int | None
    peak: int | None
    machine: int | None
    ratio: float | None


@dataclass(frozen=True, slots=True)
class NodeMemory:
    """One node, or all together. parts: name → bytes, which add up to `used`.

    unknown: figures of MEMORY STATS that cachectl does not know, by their names.
    """

    node: str
    used: int
    parts: Mapping[str, int]
    databases: tuple[DatabaseMemory, ...]
    process: ProcessMemory
    pressure: Pressure
    keys: int
    unknown: Mapping[str, float] = field(default_factory=dict)

    @property
    def overhead(self) -> int:
        """Everything but the dataset."""
        return self.used - self.parts["dataset"]


def node_memory(sample: MemorySample) -> NodeMemory:
    """Return where the bytes of one node are."""
    stats, info = sample.stats, sample.info
    used = _whole(stats.get("total.allocated"))
    if used is None:
        used = number(info, "used_memory") or 0
    parts = _parts(sample)
    overhead = _whole(stats.get("overhead.total"))
    if overhead is None:
        overhead = number(info, "used_memory_overhead")
    known = sum(parts.values())
    # Counted a moment apart, sums may cross by a few bytes.
    other = max(0, (known if overhead is None else overhead) - known)
    parts = {"dataset": max(0, used - known - other), **parts, "other": other}
    excess = sum(parts.values()) - used
    if excess > 0:  # the parts were taken a moment later than the whole
        used += excess
    databases = tuple(_databases(sample))
    return NodeMemory(
        sample.node,
        used,
        {name: size for name, size in parts.items() if size or name in _ALWAYS},
        databases,
        _process(info),
        Pressure.of(sample.node, info),
        sum(one.keys for one in databases),
        dict(_unknown(stats)),
    )


_ALWAYS = ("dataset", "startup", "clients", "other")


def _parts(sample: MemorySample) -> dict[str, int]:
    if not sample.stats:
        info = sample.info
        return {
            part: sum(number(info, name) or 0 for name in names) for part, names in _OF_INFO.items()
        }
    parts = {
        part: sum(_whole(sample.stats.get(name)) or 0 for name in names)
        for part, names in _OF_STATS.items()
    }
    for part, name in _OF_DATABASES.items():
        parts[part] = sum(_whole(one.get(name)) or 0 for one in sample.databases.values())
    return parts


def _databases(sample: MemorySample) -> Iterable[DatabaseMemory]:
    rows = {
        int(name[2:]): _pairs(line)
        for name, line in sample.info.items()
        if name.startswith("db") and name[2:].isdigit()
    }
    for database in sorted(rows):
        figures = sample.databases.get(database, {})
        yield DatabaseMemory(
            database,
            rows[database].get("keys", 0),
            rows[database].get("expires", 0),
            *(_whole(figures.get(name)) for name in _OF_DATABASES.values()),
        )


def _pairs(line: str) -> dict[str, int]:
    pairs = (pair.partition("=") for pair in line.split(","))
    return {name: int(value) for name, equals, value in pairs if equals and value.isdigit()}


def _process(info: Mapping[str, str]) -> ProcessMemory:
    rss = number(info, "used_memory_rss")
    resident = number(info, "allocator_resident")
    lua = number(info, "used_memory_vm_total")
    return ProcessMemory(
        allocator=info.get("mem_allocator", ""),
        rss=rss,
        fragmentation=number(info, "allocator_frag_bytes"),
        retained=number(info, "allocator_rss_bytes"),
        other=None if rss is None or resident is None else rss - resident,
        lua=number(info, "used_memory_lua") if lua is None else lua,
        peak=number(info, "used_memory_peak"),
        machine=number(info, "total_system_memory"),
        ratio=decimal(info, "mem_fragmentation_ratio"),
    )


def _unknown(stats: Mapping[str, float]) -> Iterable[tuple[str, float]]:
    known = {name for names in _OF_STATS.values() for name in names}
    for name, value in stats.items():
        if name not in known | _DERIVED and not name.startswith(_DERIVED_FROM):
            yield name, value


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def all_memory(nodes: Sequence[NodeMemory]) -> NodeMemory:
    """Return the nodes of a server as one."""
    parts: dict[str, int] = {}
    for node in nodes:
        for name, size in node.parts.items():
            parts[name] = parts.get(name, 0) + size
    databases: dict[int, list[DatabaseMemory]] = {}
    for node in nodes:
        for one in node.databases:
            databases.setdefault(one.database, []).append(one)
    unknown: dict[str, float] = {}
    for node in nodes:
        for name, figure in node.unknown.items():
            unknown[name] = unknown.get(name, 0) + figure
    return NodeMemory(
        "",
        sum(node.used for node in nodes),
        parts,
        tuple(_one_database(number, ones) for number, ones in sorted(databases.items())),
        _one_process([node.process for node in nodes]),
        Pressure.over([node.pressure for node in nodes]),
        sum(node.keys for node in nodes),
        unknown,
    )


def _one_database(database: int, ones: Sequence[DatabaseMemory]) -> DatabaseMemory:
    return DatabaseMemory(
        database,
        sum(one.keys for one in ones),
        sum(one.expires_keys for one in ones),
        _plus(one.tables for one in ones),
        _plus(one.expires for one in ones),
        _plus(one.slots for one in ones),
    )


def _one_process(ones: Sequence[ProcessMemory]) -> ProcessMemory:
    allocators = dict.fromkeys(one.allocator for one in ones)
    return ProcessMemory(
        ", ".join(allocators),
        _plus(one.rss for one in ones),
        _plus(one.fragmentation for one in ones),
        _plus(one.retained for one in ones),
        _plus(one.other for one in ones),
        _plus(one.lua for one in ones),
        _plus(one.peak for one in ones),
        # Nodes may share a machine, which nothing tells.
        ones[0].machine if len(ones) == 1 else None,
        max((one.ratio for one in ones if one.ratio is not None), default=None),
    )


def _plus(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
