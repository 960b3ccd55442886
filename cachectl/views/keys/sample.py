"""The report of `scan --sample`: the namespaces of a scan, each figure with its interval."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from cachectl.analysis.keyspace.sampling import SampledNamespace, SampledSummary
from cachectl.model.figures import Estimate
from cachectl.model.servers import ServerFacts
from cachectl.output.report import Column, Kind, Pairs, Report, Table
from cachectl.views.keys.scan import (
    LARGEST,
    SCHEMA,
    ScanFacts,
    Shape,
    kept,
    largest_row,
    of_the_pass,
    without_bar,
)

_COLUMNS = (
    Column("namespace", Kind.NAMESPACE),
    Column("keys", Kind.COUNT),
    Column("bytes", Kind.BYTES),
    Column("share", Kind.RATIO, drop=4),
    Column("bar", Kind.BAR, title=" ", audience="people", drop=3, missing=""),
    Column("types", Kind.COUNTS, drop=6),
    Column("types_low", Kind.COUNTS, audience="machines"),
    Column("types_high", Kind.COUNTS, audience="machines"),
    Column("no_ttl", Kind.COUNT, title="no TTL"),
    Column("ttl_p50", Kind.SECONDS, title="TTL p50", drop=1),
    Column("ttl_p95", Kind.SECONDS, title="p95", drop=8),
    Column("idle_p50", Kind.SECONDS, title="idle p50", drop=2),
    Column("idle_p95", Kind.SECONDS, title="p95", drop=8),
    Column("freq_p50", Kind.NUMBER, title="freq p50", drop=2),
    Column("freq_p95", Kind.NUMBER, title="p95", drop=8),
    Column("largest_key", Kind.KEY, title="largest drawn", drop=7),
    Column("largest_bytes", Kind.BYTES, title="largest", drop=5),
    Column("sample_keys", Kind.COUNT, title="drawn", drop=9),
    Column("unsized", Kind.COUNT, audience="machines"),
    Column("folded", Kind.COUNT, audience="machines"),
    Column("heavy_tail", Kind.BOOL, audience="machines"),
)


def sample_report(
    summary: SampledSummary, facts: ScanFacts, server: ServerFacts, shape: Shape
) -> Report:
    """Return the report of a sample."""
    namespaces = sorted(summary.namespaces, key=_order(shape.sort))
    shown = namespaces[: shape.limit]
    columns = kept(_COLUMNS, summary.namespaces)
    return Report(
        SCHEMA,
        [
            _head(summary, facts),
            Table(
                "namespaces",
                columns,
                [_row(namespace, namespace.namespace) for namespace in shown],
                title=f"Namespaces by {summary.by}, from a sample",
                empty="No key was drawn.",
                total=without_bar(_COLUMNS, _row(summary.whole, b"all"))
                if len(namespaces) > 1
                else None,
            ),
            Table(
                "largest",
                LARGEST,
                [largest_row(key) for key in summary.largest[:5]],
                title="Largest keys drawn",
                audience="all" if summary.largest else "machines",
            ),
        ],
        server=server,
        main="namespaces",
        partial=not facts.complete,
        unavailable=facts.unavailable,
        notes=[*_notes(summary, facts, len(namespaces) - len(shown))],
    )


def _head(summary: SampledSummary, facts: ScanFacts) -> Pairs:
    whole = summary.whole
    types, low, high = _types(whole)
    sample = {
        "size": summary.drawn,
        "confidence": summary.confidence,
        "keyspace": summary.size,
        "coverage": summary.coverage,
        "blind_spot": summary.blind_spot,
    }
    return Pairs(
        [
            (Column("keys", Kind.COUNT), whole.keys),
            (Column("bytes", Kind.BYTES), whole.bytes),
            (Column("no_ttl", Kind.COUNT, title="without TTL"), whole.no_ttl),
            (Column("types", Kind.COUNTS), types),
            (Column("types_low", Kind.COUNTS, audience="machines"), low),
            (Column("types_high", Kind.COUNTS, audience="machines"), high),
            (Column("sample", Kind.DATA, audience="machines"), sample),
            (Column("by", audience="machines"), summary.by),
            *of_the_pass(facts),
        ]
    )


def _row(namespace: SampledNamespace, name: bytes) -> Sequence[Any]:
    largest = namespace.largest
    return (
        name,
        namespace.keys,
        namespace.bytes,
        namespace.share,
        namespace.share.value,
        *_types(namespace),
        namespace.no_ttl,
        _seconds(namespace.ttl_p50_ms),
        _seconds(namespace.ttl_p95_ms),
        namespace.idle_p50,
        namespace.idle_p95,
        namespace.freq_p50,
        namespace.freq_p95,
        largest.key if largest else None,
        largest.bytes if largest else None,
        namespace.sample_keys,
        namespace.unsized,
        namespace.folded,
        namespace.heavy_tail,
    )


def _types(namespace: SampledNamespace) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
    """Return type → keys, and the ends of the intervals."""
    types = namespace.types
    return (
        {kind: round(keys.value) for kind, keys in types.items()},
        {kind: round(keys.low) for kind, keys in types.items()},
        {kind: round(keys.high) for kind, keys in types.items()},
    )


def _seconds(milliseconds: Estimate | None) -> Estimate | None:
    if milliseconds is None:
        return None
    low, high = milliseconds.low / 1000, milliseconds.high / 1000
    return Estimate(milliseconds.value / 1000, low, high)


def _order(sort: str) -> Callable[[SampledNamespace], Any]:
    def figure(name: str) -> Callable[[SampledNamespace], Any]:
        def key(namespace: SampledNamespace) -> Any:
            estimate: Estimate | None = getattr(namespace, name)
            value = estimate.value if estimate else 0.0
            return -value, -namespace.keys.value, namespace.namespace

        return key

    if sort == "name":
        return lambda namespace: namespace.namespace
    columns = {"no-ttl": "no_ttl", "ttl": "ttl_p50_ms", "idle": "idle_p50"}
    return figure(columns.get(sort, sort))


def _notes(summary: SampledSummary, facts: ScanFacts, hidden: int) -> Iterable[str]:
    yield (
        f"a sample: {summary.drawn:,} of {summary.size:,} keys, drawn at random in "
        f"{facts.seconds:.1f} s; intervals are of {summary.confidence * 100:.0f} %"
    )
    if summary.blind_spot > 1:
        yield f"namespaces of fewer than about {summary.blind_spot:,} keys may be missing"
    heavy = [one for one in summary.namespaces if one.heavy_tail]
    if heavy:
        yield (
            f"{len(heavy):,} namespaces hold a few keys so large that their bytes may lie above "
            "the interval; a full scan knows"
        )
    if hidden:
        yield f"{hidden:,} more namespaces; --limit shows more"
    if facts.unreadable:
        yield f"{facts.unreadable:,} of the keys drawn are unreadable for this login"
    if facts.own_lookups:
        yield f"this sample added {facts.own_lookups:,} hits to the server's keyspace_hits"
    yield from facts.errors
