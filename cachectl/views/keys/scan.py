"""The report of `scan`: namespaces as a tree for people, as rows for machines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cachectl.analysis.keyspace.summary import (
    Branch,
    KeyspaceSummary,
    LargestKey,
    NamespaceSummary,
    tree,
)
from cachectl.model.findings import Unavailable
from cachectl.model.servers import ServerFacts
from cachectl.output.report import Audience, Block, Column, Indented, Kind, Pairs, Report, Table

SCHEMA = "cachectl.scan/1"

_COLUMNS = (
    Column("namespace", Kind.NAMESPACE),
    Column("keys", Kind.COUNT),
    Column("bytes", Kind.BYTES),
    Column("share", Kind.RATIO, drop=3),
    Column("bar", Kind.BAR, title=" ", audience="people", drop=1, missing=""),
    Column("types", Kind.COUNTS, drop=5),
    Column("no_ttl", Kind.COUNT, title="no TTL"),
    Column("no_ttl_share", Kind.RATIO, audience="people", title="of them", drop=9),
    Column("ttl_p50", Kind.SECONDS, title="TTL p50"),
    Column("ttl_p95", Kind.SECONDS, title="p95", drop=4),
    Column("idle_p50", Kind.SECONDS, title="idle p50", drop=2),
    Column("idle_p95", Kind.SECONDS, title="p95", drop=7),
    Column("freq_p50", Kind.NUMBER, title="freq p50", drop=2),
    Column("freq_p95", Kind.NUMBER, title="p95", drop=7),
    Column("largest_key", Kind.KEY, title="largest key", drop=8),
    Column("largest_bytes", Kind.BYTES, title="largest", drop=6),
    Column("unsized", Kind.COUNT, audience="machines"),
    Column("folded", Kind.COUNT, audience="machines"),
)
LARGEST = (
    Column("key", Kind.KEY),
    Column("type"),
    Column("bytes", Kind.BYTES),
    Column("node", drop=1),
)


@dataclass(frozen=True, slots=True)
class ScanFacts:
    """What the pass says of itself.

    duplicates, vanished, unreadable, arrived: keys, counted for what they are. own_lookups: hits
    that the scan added to the server's counters. seconds: of the pass. errors: why it is partial.
    """

    keys: int
    duplicates: int
    vanished: int
    unreadable: int
    arrived: int
    own_lookups: int
    own_misses: int
    seconds: float
    complete: bool
    errors: tuple[str, ...] = ()
    unavailable: tuple[Unavailable, ...] = ()


@dataclass(frozen=True, slots=True)
class Shape:
    """How the answer is to look.

    by: template, prefix, type or node. depth: levels told apart, None: all. sort: bytes, keys,
    name, no-ttl, ttl or idle. limit: rows, None: all.
    """

    by: str = "template"
    depth: int | None = None
    sort: str = "bytes"
    limit: int | None = None


def scan_report(
    summary: KeyspaceSummary, facts: ScanFacts, server: ServerFacts, shape: Shape | None = None
) -> Report:
    """Return the report of a full scan."""
    shape = shape or Shape()
    namespaces = sorted(summary.namespaces, key=_order(shape.sort))
    shown = namespaces[: shape.limit]
    blocks: list[Block] = [
        _head(summary, facts),
        Table(
            "namespaces",
            kept(_COLUMNS, shown),
            [_row(n, n.namespace) for n in shown],
            audience="machines",
        ),
        _people(summary, shown, shape),
        Table(
            "largest",
            LARGEST,
            [largest_row(key) for key in summary.largest[:5]],
            title="Largest keys",
            audience="all" if summary.largest else "machines",
        ),
    ]
    return Report(
        SCHEMA,
        blocks,
        server=server,
        main="namespaces",
        partial=not facts.complete,
        unavailable=facts.unavailable,
        notes=_notes(summary, facts, len(namespaces) - len(shown)),
    )


def _head(summary: KeyspaceSummary, facts: ScanFacts) -> Pairs:
    machines: Audience = "machines"
    return Pairs(
        [
            (Column("keys", Kind.COUNT), summary.keys),
            (Column("bytes", Kind.BYTES), summary.bytes),
            (Column("no_ttl", Kind.COUNT, title="without TTL"), summary.whole.no_ttl),
            (Column("types", Kind.COUNTS), dict(summary.whole.types)),
            (Column("sample", Kind.DATA, audience=machines), None),
            (Column("by", audience=machines), summary.by),
            *of_the_pass(facts),
        ]
    )


def of_the_pass(facts: ScanFacts) -> list[tuple[Column, Any]]:
    """Return what machines are told of the pass itself."""
    counts = ("duplicates", "vanished", "unreadable", "arrived", "own_lookups", "own_misses")
    return [
        *((Column(name, Kind.COUNT, audience="machines"), getattr(facts, name)) for name in counts),
        (Column("seconds", Kind.SECONDS, audience="machines"), round(facts.seconds, 3)),
        (Column("errors", Kind.DATA, audience="machines"), list(facts.errors)),
    ]


def _people(summary: KeyspaceSummary, shown: Sequence[NamespaceSummary], shape: Shape) -> Table:
    if shape.limit or shape.sort == "name" or summary.by in ("type", "node"):
        rows = _flat_rows(shown)
    else:
        depth = shape.depth if summary.by == "template" else None
        rows = _tree_rows(summary, depth, shape.sort)
    total = None
    if len(summary.namespaces) > 1:
        total = without_bar(_COLUMNS, _row(summary.whole, b"all"))
    return Table(
        "tree",
        kept(_COLUMNS, summary.namespaces),
        list(rows),
        title=f"Namespaces by {summary.by}",
        empty="No keys.",
        total=total,
        audience="people",
    )


def _flat_rows(namespaces: Sequence[NamespaceSummary]) -> Iterator[Sequence[Any]]:
    return (_row(namespace, namespace.namespace) for namespace in namespaces)


def _tree_rows(summary: KeyspaceSummary, depth: int | None, sort: str) -> Iterator[Sequence[Any]]:
    key = _order(sort)

    def walk(branches: Sequence[Branch], indent: int) -> Iterator[Sequence[Any]]:
        for branch in sorted(branches, key=lambda b: key(b.summary)):
            label = branch.label or b"(itself)"
            yield _row(branch.summary, Indented(indent, label))
            yield from walk(branch.branches, indent + 1)

    return walk(tree(summary.namespaces, depth), 0)


def kept(columns: Sequence[Column], namespaces: Sequence[Any]) -> list[Column]:
    """Leave out the figures that this server's policy or this request does not have, for people."""

    def has(name: str) -> bool:
        return any(getattr(namespace, name) is not None for namespace in namespaces)

    hidden: set[str] = set()
    if not has("idle_p50"):
        hidden |= {"idle_p50", "idle_p95"}
    if not has("freq_p50"):
        hidden |= {"freq_p50", "freq_p95"}
    if not has("bytes"):
        hidden |= {"bytes", "largest_key", "largest_bytes"}
    if not has("no_ttl"):
        hidden |= {"no_ttl", "no_ttl_share", "ttl_p50", "ttl_p95"}
    if not any(namespace.types for namespace in namespaces):
        hidden.add("types")
    return [replace(c, audience="machines") if c.name in hidden else c for c in columns]


def without_bar(columns: Sequence[Column], row: Sequence[Any]) -> Sequence[Any]:
    """Return a row of totals: all of it is nothing to draw."""
    pairs = zip(columns, row, strict=True)
    return [None if column.kind is Kind.BAR else value for column, value in pairs]


def _row(namespace: NamespaceSummary, name: bytes | Indented) -> Sequence[Any]:
    largest = namespace.largest
    return (
        name,
        namespace.keys,
        namespace.bytes,
        namespace.share,
        namespace.share,
        dict(namespace.types),
        namespace.no_ttl,
        namespace.no_ttl_share,
        _seconds(namespace.ttl_p50_ms),
        _seconds(namespace.ttl_p95_ms),
        namespace.idle_p50,
        namespace.idle_p95,
        namespace.freq_p50,
        namespace.freq_p95,
        largest.key if largest else None,
        largest.bytes if largest else None,
        namespace.unsized,
        namespace.folded,
    )


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds / 1000, 3)


def largest_row(largest: LargestKey) -> Sequence[Any]:
    """Return a row under LARGEST."""
    return largest.key, largest.type, largest.bytes, largest.node


def _order(sort: str) -> Any:
    orders = {
        "bytes": lambda n: (-(n.bytes or 0), -n.keys, n.namespace),
        "keys": lambda n: (-n.keys, n.namespace),
        "name": lambda n: n.namespace,
        "no-ttl": lambda n: (-(n.no_ttl or 0), -n.keys, n.namespace),
        "ttl": lambda n: (-(n.ttl_p50_ms or 0), n.namespace),
        "idle": lambda n: (-(n.idle_p50 or 0), n.namespace),
    }
    return orders[sort]


def _notes(summary: KeyspaceSummary, facts: ScanFacts, hidden: int) -> list[str]:
    notes: list[str] = []
    if hidden:
        notes.append(f"{hidden:,} more namespaces; --limit shows more")
    if summary.names_folded:
        notes.append(
            f"{summary.names_folded:,} names that vary were folded"
            + (" (more groups than fit in memory at once)" if summary.capped else "")
        )
    counted = {
        "returned twice by SCAN and counted once": facts.duplicates,
        "vanished meanwhile (expired, evicted or deleted)": facts.vanished,
        "unreadable for this login": facts.unreadable,
        "arrived meanwhile, about": facts.arrived,
    }
    notes += [f"{count:,} keys {what}" for what, count in counted.items() if count]
    if facts.own_lookups:
        notes.append(
            f"this scan added {facts.own_lookups:,} hits to the server's keyspace_hits"
            + (f" and {facts.own_misses:,} misses" if facts.own_misses else "")
        )
    notes += facts.errors
    notes.append(f"{facts.keys:,} keys in {facts.seconds:.1f} s")
    return notes
