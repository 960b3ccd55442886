"""The report of `ttl histogram`: how long keys have left, on a logarithmic axis, by namespace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cachectl.analysis.audits.ttl_distribution import EDGES, Distribution, Distributions
from cachectl.model.figures import value_of
from cachectl.model.servers import ServerFacts
from cachectl.output.report import Column, Histogram, Kind, Pairs, Report, Table
from cachectl.views.keys.scan import ScanFacts, of_the_pass

SCHEMA = "cachectl.ttl-histogram/1"
NAMESPACES = (
    Column("namespace", Kind.NAMESPACE),
    Column("keys", Kind.COUNT),
    Column("no_ttl", Kind.COUNT, title="no TTL"),
    Column("spark", Kind.SPARK, title="0s … 1y", audience="people"),
)
BINS = (
    Column("namespace", Kind.NAMESPACE),
    Column("from", Kind.SECONDS),
    Column("to", Kind.SECONDS),
    Column("keys", Kind.COUNT),
)

_NAMES = ("0s", "1s", "10s", "1m", "5m", "15m", "1h", "6h", "1d", "7d", "30d", "1y")
"""EDGES, as people call them."""


def histogram_report(
    found: Distributions,
    facts: ScanFacts,
    server: ServerFacts,
    *,
    by: str,
    limit: int | None = None,
    sample: Mapping[str, object] | None = None,
    notes: Sequence[str] = (),
) -> Report:
    """Return the report. limit: namespaces."""
    shown = found.namespaces[:limit]
    hidden = len(found.namespaces) - len(shown)
    more = [f"{hidden:,} more namespaces; --limit shows more"] if hidden else []
    whole = found.whole
    axis = ", ".join(_NAMES[1:])
    return Report(
        SCHEMA,
        [
            Pairs(
                [
                    (Column("keys", Kind.COUNT), whole.keys),
                    (Column("no_ttl", Kind.COUNT, title="without TTL"), whole.no_ttl),
                    (Column("by", audience="machines"), by),
                    (Column("sample", Kind.DATA, audience="machines"), sample),
                    *of_the_pass(facts),
                ]
            ),
            Histogram(
                "all",
                [("never", value_of(whole.no_ttl)), *_drawn(whole)],
                title="TTLs of all keys",
                audience="people",
            ),
            Table(
                "namespaces",
                NAMESPACES,
                [_row(one) for one in shown],
                title=f"By {by}",
                empty="No keys.",
            ),
            Table("bins", BINS, [row for one in shown for row in _bins(one)], audience="machines"),
        ],
        server=server,
        main="bins",
        partial=not facts.complete,
        unavailable=facts.unavailable,
        notes=[f"bars by namespace: under {axis}, and over", *more, *notes],
    )


def label(at: int) -> str:
    """Return the name of a bin: `1m–5m`."""
    return f"{_NAMES[at]}–{_NAMES[at + 1]}" if at + 1 < len(_NAMES) else f"over {_NAMES[at]}"


def _drawn(one: Distribution) -> Iterator[tuple[str, float]]:
    for at, keys in enumerate(one.bins):
        yield label(at), value_of(keys)


def _row(one: Distribution) -> Sequence[Any]:
    return one.namespace, one.keys, one.no_ttl, [value_of(keys) or None for keys in one.bins]


def _bins(one: Distribution) -> Iterator[Sequence[Any]]:
    for at, keys in enumerate(one.bins):
        if value_of(keys):
            high = EDGES[at + 1] if at + 1 < len(EDGES) else None
            yield one.namespace, EDGES[at], high, keys
