"""The report of `memory`: where the bytes are, as bars that add up to used_memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cachectl.analysis.keyspace.sampling import SampledNamespace
from cachectl.analysis.keyspace.summary import NamespaceSummary
from cachectl.analysis.keyspace.valuesizes import SizeBin
from cachectl.analysis.memory.parts import NodeMemory, ProcessMemory
from cachectl.model.figures import Estimate, value_of
from cachectl.model.findings import Finding, Unavailable
from cachectl.model.servers import ServerFacts
from cachectl.output.report import Audience, Block, Column, Histogram, Kind, Pairs, Report, Table
from cachectl.views.keys.scan import without_bar

SCHEMA = "cachectl.memory/1"

PART_TITLES = {
    "dataset": "values (dataset)",
    "startup": "the server itself",
    "tables": "tables of keys",
    "expires": "tables of TTLs",
    "slots": "tables of slots",
    "clients": "clients' buffers",
    "replicas": "replicas' buffers",
    "backlog": "replication backlog",
    "full_sync": "full sync buffer",
    "aof_buffer": "AOF buffer",
    "scripts": "cached scripts",
    "functions": "functions",
    "script_engines": "engines of scripts",
    "cluster_links": "cluster links",
    "slot_migration": "slot migration",
    "other": "other",
}
PARTS = (
    Column("part", audience="machines"),
    Column("title", title="part", audience="people"),
    Column("bytes", Kind.BYTES),
    Column("share", Kind.RATIO),
    Column("bar", Kind.BAR, title=" ", audience="people", missing=""),
)
NODES = (
    Column("node"),
    Column("used_memory", Kind.BYTES, title="used"),
    Column("dataset", Kind.BYTES),
    Column("overhead", Kind.BYTES, drop=3),
    Column("maxmemory", Kind.BYTES, drop=4, missing="no limit"),
    Column("used_share", Kind.RATIO, title="of max"),
    Column("rss", Kind.BYTES, title="RSS"),
    Column("fragmentation", Kind.NUMBER, title="frag.", drop=1),
    Column("peak", Kind.BYTES, drop=2),
    Column("keys", Kind.COUNT, drop=5),
    Column("parts", Kind.DATA, audience="machines"),
)
DATABASES = (
    Column("database", Kind.NUMBER),
    Column("keys", Kind.COUNT),
    Column("with_ttl", Kind.COUNT, title="with TTL"),
    Column("tables", Kind.BYTES, title="table of keys"),
    Column("expires", Kind.BYTES, title="of TTLs"),
    Column("slots", Kind.BYTES, audience="machines"),
)
GROUPS = (
    Column("keys", Kind.COUNT),
    Column("bytes", Kind.BYTES),
    Column("share", Kind.RATIO),
    Column("bar", Kind.BAR, title=" ", audience="people", drop=2, missing=""),
    Column("mean", Kind.BYTES, drop=3),
    Column("largest_key", Kind.KEY, title="largest key", drop=4),
    Column("largest_bytes", Kind.BYTES, title="largest", drop=1),
)
NAMESPACES = (Column("namespace", Kind.NAMESPACE), *GROUPS)
TYPES = (Column("type"), *GROUPS[:-2])
LAYERS = (Column("layer"), *GROUPS[:-2])
SIZES = (
    Column("type"),
    Column("unit"),
    Column("low", Kind.NUMBER),
    Column("high", Kind.NUMBER),
    Column("keys", Kind.COUNT),
    Column("database", Kind.NUMBER),
)
SHOWN = 12
"""Namespaces that people see unless they ask for more; machines get all."""

Group = NamespaceSummary | SampledNamespace


@dataclass(frozen=True, slots=True)
class KeysMemory:
    """What a pass over the keys says. whole: all of them; sample: as KeyPass.about; layers: empty
    without a policy that names some.

    notes, unavailable, partial: of the pass.
    """

    whole: Group
    namespaces: Sequence[Group]
    types: Sequence[Group]
    by: str
    layers: Sequence[Group] = ()
    sample: Mapping[str, object] | None = None
    notes: Sequence[str] = ()
    unavailable: Sequence[Unavailable] = ()
    partial: bool = False


def memory_report(
    whole: NodeMemory,
    nodes: Sequence[NodeMemory],
    keys: KeysMemory | None,
    sizes: Sequence[SizeBin],
    server: ServerFacts,
    *,
    limit: int | None = None,
    findings: Sequence[Finding] = (),
    unavailable: Sequence[Unavailable] = (),
    partial: bool = False,
) -> Report:
    """Return the report. keys: None when they were not read."""
    databases = [
        (d.database, d.keys, d.expires_keys, d.tables, d.expires, d.slots) for d in whole.databases
    ]
    blocks: list[Block] = [
        _head(whole, keys),
        Table(
            "parts",
            PARTS,
            [_part(name, size, whole.used) for name, size in _largest_first(whole.parts)],
            title="Used memory",
            total=("all", "all: used_memory", whole.used, 1.0, None),
        ),
        Table(
            "nodes",
            NODES,
            [_node(node) for node in nodes],
            title="Nodes",
            audience="all" if len(nodes) > 1 else "machines",
        ),
        Table(
            "databases",
            DATABASES,
            databases,
            title="Databases",
            audience="all" if len(databases) > 1 else "machines",
        ),
    ]
    notes: list[str] = []
    if keys is not None:
        blocks += _of_keys(keys, limit)
        hidden = len(keys.namespaces) - len(_listed(keys.namespaces, limit))
        notes += [f"{hidden:,} more namespaces; --limit shows more"] if hidden else []
        notes += _explained(whole, keys)
        notes += keys.notes
    blocks.append(Table("sizes", SIZES, [_size(one) for one in sizes], audience="machines"))
    blocks += _histograms(sizes)
    return Report(
        SCHEMA,
        blocks,
        server=server,
        main="parts",
        partial=partial or (keys is not None and keys.partial),
        findings=findings,
        unavailable=[*unavailable, *(keys.unavailable if keys else ())],
        notes=notes,
    )


def _head(whole: NodeMemory, keys: KeysMemory | None) -> Pairs:
    process, pressure = whole.process, whole.pressure
    machines: Audience = "machines"
    rows: list[tuple[Column, Any]] = [
        (Column("used_memory", Kind.BYTES, title="used"), whole.used),
        (Column("peak", Kind.BYTES), process.peak),
        (Column("maxmemory", Kind.BYTES, missing="no limit"), pressure.maxmemory or None),
        (Column("used_share", Kind.RATIO, title="of maxmemory"), pressure.share),
        (Column("policy"), pressure.policy or None),
        (Column("rss", Kind.BYTES, title="the process (RSS)"), process.rss),
        *_process(process),
        (Column("machine_memory", Kind.BYTES, title="the machine"), process.machine),
        (Column("keys", Kind.COUNT), whole.keys),
        (Column("dataset", Kind.BYTES, audience=machines), whole.parts["dataset"]),
        (Column("overhead", Kind.BYTES, audience=machines), whole.overhead),
        (Column("unknown", Kind.DATA, audience=machines), dict(whole.unknown)),
        (Column("keys_bytes", Kind.BYTES, audience=machines), keys.whole.bytes if keys else None),
        (Column("keys_read", Kind.COUNT, audience=machines), keys.whole.keys if keys else None),
        (Column("by", audience=machines), keys.by if keys else None),
        (Column("sample", Kind.DATA, audience=machines), keys.sample if keys else None),
    ]
    return Pairs(rows)


def _process(process: ProcessMemory) -> list[tuple[Column, Any]]:
    return [
        (Column("fragmentation", Kind.NUMBER, title="RSS to used"), process.ratio),
        (
            Column("fragmentation_bytes", Kind.BYTES, title="lost to fragmentation"),
            process.fragmentation,
        ),
        (Column("retained", Kind.BYTES, title="kept by the allocator"), process.retained),
        (Column("outside", Kind.BYTES, audience="machines"), process.other),
        (Column("lua", Kind.BYTES, audience="machines"), process.lua),
        (Column("allocator", audience="all"), process.allocator or None),
    ]


def _largest_first(parts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(parts.items(), key=lambda part: (part[0] == "other", -part[1], part[0]))


def _part(name: str, size: int, used: int) -> Sequence[Any]:
    share = size / used if used else 0.0
    return name, PART_TITLES[name], size, share, share


def _node(node: NodeMemory) -> Sequence[Any]:
    process, pressure = node.process, node.pressure
    return (
        node.node,
        node.used,
        node.parts["dataset"],
        node.overhead,
        pressure.maxmemory or None,
        pressure.share,
        process.rss,
        process.ratio,
        process.peak,
        node.keys,
        dict(node.parts),
    )


def _listed(groups: Sequence[Group], limit: int | None) -> Sequence[Group]:
    return groups[: SHOWN if limit is None else limit]


def _of_keys(keys: KeysMemory, limit: int | None) -> list[Block]:
    listed = keys.namespaces if limit is None else keys.namespaces[:limit]
    rows = [(one.namespace, *_group(one)) for one in listed]
    total = (b"all", *_group(keys.whole))
    return [
        Table("namespaces", NAMESPACES, rows, audience="machines"),
        Table(
            "shown_namespaces",
            NAMESPACES,
            rows[: len(_listed(keys.namespaces, limit))],
            title=f"Memory of keys by {keys.by}" + (", from a sample" if keys.sample else ""),
            empty="No keys.",
            total=without_bar(NAMESPACES, total) if len(rows) > 1 else None,
            audience="people",
        ),
        _table("layers", LAYERS, "By layer", keys.layers),
        _table("types", TYPES, "By type", keys.types),
    ]


def _table(name: str, columns: Sequence[Column], title: str, groups: Sequence[Group]) -> Table:
    return Table(
        name,
        columns,
        [(one.namespace.decode("utf-8", "replace"), *_group(one)[:-2]) for one in groups],
        title=title,
        audience="all" if groups else "machines",
    )


def _group(group: Group) -> Sequence[Any]:
    mean: float | None = None
    if isinstance(group, SampledNamespace):
        bar = group.share.value
        if group.bytes is not None and group.keys.value:
            mean = group.bytes.value / group.keys.value
    else:
        bar = group.share
        if group.bytes is not None and group.keys > group.unsized:
            mean = group.bytes / (group.keys - group.unsized)
    largest = group.largest
    return (
        group.keys,
        group.bytes,
        group.share,
        bar,
        None if mean is None else round(mean),
        largest.key if largest else None,
        largest.bytes if largest else None,
    )


def _explained(whole: NodeMemory, keys: KeysMemory) -> list[str]:
    """Say how the memory of keys and used_memory go together."""
    size = keys.whole.bytes
    if size is None or isinstance(size, Estimate) or keys.partial or len(whole.databases) > 1:
        return []
    rest = whole.used - size
    return [
        f"MEMORY USAGE of all keys is {size:,} bytes; the other {rest:,} of used_memory are "
        "tables, buffers and the server itself"
    ]


def _size(one: SizeBin) -> Sequence[Any]:
    return one.type, one.unit, one.low, one.high, one.keys, one.database


_TITLES = {
    "bytes": "Lengths of strings, bytes",
    "elements": "Elements of collections",
    "memory": "Memory of keys, bytes",
}


def _histograms(sizes: Sequence[SizeBin]) -> list[Block]:
    blocks: list[Block] = []
    for unit, title in _TITLES.items():
        sums: dict[int, float] = {}
        for one in sizes:
            if one.unit == unit:
                sums[one.low] = sums.get(one.low, 0) + value_of(one.keys)
        if sums:
            low, high = min(sums), max(sums)
            rows = [(_label(at), sums.get(at, 0)) for at in _steps(low, high)]
            blocks.append(Histogram(f"shown_{unit}", rows, title=title, audience="people"))
    return blocks


def _steps(low: int, high: int) -> list[int]:
    steps = [low]
    while steps[-1] < high:
        steps.append(steps[-1] * 2 or 1)
    return steps


def _label(low: int) -> str:
    if low < 2:
        return str(low)
    steps = min((low.bit_length() - 1) // 10, len(_BINARY) - 1)
    return f"≥ {low >> 10 * steps}{_BINARY[steps]}"


_BINARY = ("", " Ki", " Mi", " Gi", " Ti")
