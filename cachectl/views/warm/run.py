"""The reports of `warm run`: what it would take, and what it has done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cachectl.actions.warming.estimate import EntryEstimate, WarmEstimate
from cachectl.actions.warming.journal import Counts
from cachectl.actions.warming.warming import SourceResult, WarmResult
from cachectl.model.figures import Estimate
from cachectl.model.findings import State, Verdict
from cachectl.model.servers import ServerFacts
from cachectl.output.report import Block, Column, Kind, Pairs, Report, Table

ESTIMATE_SCHEMA = "cachectl.warm-estimate/1"
RUN_SCHEMA = "cachectl.warm/1"

_ENTRY_ESTIMATES = (
    Column("entry"),
    Column("source", drop=2),
    Column("rows", Kind.COUNT, drop=3),
    Column("keys", Kind.COUNT),
    Column("there", Kind.RATIO, title="there already", drop=1),
    Column("growth", Kind.BYTES, title="a key"),
    Column("bytes", Kind.BYTES),
    Column("is_measured", Kind.BOOL, audience="machines"),
    Column("problems", Kind.COUNT, title="bad rows", drop=4),
)
_NODES = (
    Column("node"),
    Column("used", Kind.BYTES),
    Column("limit", Kind.BYTES),
    Column("policy", title="when full", drop=1),
    Column("more", Kind.BYTES, title="would add"),
    Column("share", Kind.RATIO, title="full then"),
    Column("evictions", Kind.COUNT, title="keys to go"),
)
_ENTRIES = (
    Column("entry"),
    Column("written", Kind.COUNT),
    Column("kept", Kind.COUNT),
    Column("failed", Kind.COUNT),
    Column("bytes", Kind.BYTES),
)
_SOURCES = (
    Column("source"),
    Column("rows", Kind.COUNT),
    Column("seconds", Kind.SECONDS, title="time"),
    Column("retries", Kind.COUNT, drop=1),
    Column("error"),
)
_FAILURES = (
    Column("entry"),
    Column("row", Kind.COUNT, missing="", drop=1),
    Column("key", Kind.KEY),
    Column("reason"),
)


def estimate_report(estimate: WarmEstimate, pace: str, server: ServerFacts) -> Report:
    """Return what `--dry-run` shows."""
    more = estimate.bytes
    blocks: list[Block] = [
        Pairs(
            [
                (Column("keys", Kind.COUNT), estimate.keys),
                (Column("bytes", Kind.BYTES, title="memory"), _rounded(more)),
                (
                    Column("seconds", Kind.SECONDS, title=f"time at pace {pace}, about"),
                    None if estimate.seconds is None else round(estimate.seconds, 1),
                ),
                (Column("evictions", Kind.COUNT, title="keys to go"), estimate.evictions),
            ]
        ),
        Table("entries", _ENTRY_ESTIMATES, list(map(_estimated, estimate.entries))),
        Table("nodes", _NODES, list(_rooms(estimate)), title="By node"),
    ]
    notes = ["nothing was changed"]
    if not all(one.is_measured for one in estimate.entries):
        notes.append("memory is added up from the values; it was not measured in the server")
    if any(one.keys is None for one in estimate.entries):
        notes.append("how many rows some sources have is not known before they are read")
    return Report(ESTIMATE_SCHEMA, blocks, server=server, main="entries", notes=notes)


def _rounded(estimate: Estimate | None) -> int | Estimate | None:
    if estimate is None:
        return None
    value, low, high = (round(x) for x in (estimate.value, estimate.low, estimate.high))
    return value if low == high else Estimate(value, low, high)


def _estimated(one: EntryEstimate) -> Sequence[object]:
    return (
        one.entry,
        one.source,
        one.rows,
        one.keys,
        round(one.there, 4),
        round(one.growth),
        _rounded(one.bytes),
        one.is_measured,
        one.problems,
    )


def _rooms(estimate: WarmEstimate) -> Iterator[Sequence[object]]:
    total = estimate.bytes.value if estimate.bytes else 0.0
    for room in estimate.rooms:
        more = total * room.share
        full = None
        if room.used is not None and room.limit:
            full = round((room.used + more) / room.limit, 4)
        gone = room.evictions(more)
        yield room.node, room.used, room.limit, room.policy, round(more), full, gone


def run_report(result: WarmResult, server: ServerFacts) -> Report:
    """Return what a warming has done."""
    total = result.total
    blocks: list[Block] = [
        Pairs(
            [
                (Column("run"), result.run),
                (Column("manifest"), result.manifest),
                (Column("written", Kind.COUNT), total.written),
                (Column("kept", Kind.COUNT, title="kept: there already"), total.kept),
                (Column("failed", Kind.COUNT), total.failed),
                (Column("bytes", Kind.BYTES), total.bytes),
                (Column("again", Kind.COUNT, audience="machines"), result.again),
                (Column("done_by", audience="machines"), result.found_done),
                (Column("stopped", audience="machines"), result.stopped),
                (Column("seconds", Kind.SECONDS, title="time"), round(result.seconds, 3)),
            ]
        ),
        Table("entries", _ENTRIES, [_entry(*one) for one in result.entries.items()]),
        Table(
            "sources",
            _SOURCES,
            [_source(one) for one in result.sources.values()],
            title="Sources",
            audience="all" if result.sources else "machines",
        ),
        Table(
            "failures",
            _FAILURES,
            [(one.entry, one.row or None, one.key, one.reason) for one in result.failures],
            title="Some that failed",
            audience="all" if result.failures else "machines",
        ),
    ]
    return Report(
        RUN_SCHEMA,
        blocks,
        server=server,
        main="entries",
        partial=result.is_partial,
        verdicts=list(_verdicts(result)),
        notes=list(_notes(result)),
    )


def _entry(name: str, counts: Counts) -> Sequence[object]:
    return name, counts.written, counts.kept, counts.failed, counts.bytes


def _source(one: SourceResult) -> Sequence[object]:
    return one.name, one.rows, round(one.seconds, 3), one.retries, one.error


def _notes(result: WarmResult) -> Iterator[str]:
    yield from result.notes
    if result.found_done:
        yield f"run {result.found_done} has warmed this manifest while this one waited"
    if result.stopped:
        yield f"{result.stopped}; {result.hint}" if result.hint else result.stopped
    elif result.is_partial:
        yield "what is missing can be tried again with --resume"


def _verdicts(result: WarmResult) -> Iterator[Verdict]:
    """Yield one test for each entry and source, for CI."""
    for name, counts in result.entries.items():
        text = f"{counts.written} written, {counts.kept} kept, {counts.failed} failed"
        first = next((one.reason for one in result.failures if one.entry == name), "")
        state = State.CRITICAL if counts.failed else State.OK
        if counts.failed and first:
            text = f"{text}; {first}"
        yield Verdict(f"entry.{name}", state, text, counts.failed, low=0)
    for source in result.sources.values():
        text = source.error or f"{source.rows} rows"
        yield Verdict(f"source.{source.name}", State.CRITICAL if source.error else State.OK, text)
    if result.stopped:
        yield Verdict("complete", State.CRITICAL, result.stopped)
