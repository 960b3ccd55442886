"""The report of `warm verify`: what is as the manifest says, what is not, what the cache gains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cachectl.actions.warming.examining import Fault
from cachectl.actions.warming.verify_result import FAULTS, Checked, VerifyResult, quantiles
from cachectl.model.findings import Finding, Severity, State, Verdict
from cachectl.model.servers import ServerFacts
from cachectl.output.report import Audience, Block, Column, Kind, Pairs, Report, Table

SCHEMA = "cachectl.warm-verify/1"

_ENTRIES = (
    Column("entry"),
    Column("checked", Kind.COUNT),
    Column("ok", Kind.COUNT),
    Column("missing", Kind.COUNT),
    Column("wrong_type", Kind.COUNT, title="other type", drop=2),
    Column("different", Kind.COUNT),
    Column("wrong_ttl", Kind.COUNT, title="other TTL", drop=1),
    Column("expiring", Kind.COUNT),
    Column("unsettled", Kind.COUNT, drop=4),
    Column("repaired", Kind.COUNT, drop=3),
    Column("failed", Kind.COUNT, drop=5),
    Column("problems", Kind.COUNT, audience="machines"),
)
_KEYS = (Column("entry"), Column("key", Kind.KEY), Column("fault"))
_QUEUES = (Column("queue", Kind.KEY), Column("items", Kind.COUNT))
_WORDS = {
    Fault.MISSING: "{n} keys are missing",
    Fault.WRONG_TYPE: "{n} keys have another type",
    Fault.DIFFERENT: "{n} keys differ from their source",
    Fault.WRONG_TTL: "{n} keys have another TTL than the manifest gives them",
    Fault.EXPIRING: "{n} keys expire soon",
}
_MILD = (Fault.WRONG_TTL, Fault.EXPIRING)


def verify_report(result: VerifyResult, server: ServerFacts) -> Report:
    """Return what verifying has found."""
    total = result.total
    source = [*quantiles(result.source_rows), None, None][:2]
    cache = [*quantiles([(seconds, 1) for seconds in result.cache_reads]), None, None][:2]
    gains = [
        None if a is None or b is None else round(a - b, 6)
        for a, b in zip(source, cache, strict=True)
    ]
    wrong = result.wrong
    blocks: list[Block] = [
        Pairs(
            [
                (Column("manifest"), result.manifest),
                (Column("keys", Kind.COUNT), result.keys),
                (Column("checked", Kind.COUNT), total.checked),
                (Column("ok", Kind.COUNT), total.of(Fault.OK)),
                *((_quiet(fault, total), total.of(fault)) for fault in FAULTS),
                (
                    Column("unsettled", Kind.COUNT, "in a queue", _shown(total.unsettled)),
                    total.unsettled,
                ),
                (Column("repaired", Kind.COUNT, audience=_shown(total.repaired)), total.repaired),
                (Column("failed", Kind.COUNT, audience=_shown(total.failed)), total.failed),
                (
                    Column("problems", Kind.COUNT, "bad rows", _shown(total.problems)),
                    total.problems,
                ),
                (Column("sampled", Kind.BOOL, audience="machines"), result.sampled),
                (
                    Column("wrong", Kind.RATIO, title="wrong, of all keys"),
                    wrong if result.sampled else round(wrong.value, 6),
                ),
                *_times("source", "a row of the source", source),
                *_times("cache", "a read of the cache", cache),
                *_times("gain", "gain of a read", gains),
                (Column("own_lookups", Kind.COUNT, audience="machines"), result.own_lookups),
                (Column("stopped", audience="machines"), result.stopped),
                (Column("seconds", Kind.SECONDS, title="time"), round(result.seconds, 3)),
            ]
        ),
        Table("entries", _ENTRIES, [_entry(*one) for one in result.entries.items()]),
        Table(
            "wrong_keys",
            _KEYS,
            [(one.entry, one.key, one.fault.value) for one in result.told],
            title="Some that are wrong",
            audience="all" if result.told else "machines",
        ),
        Table(
            "queues",
            _QUEUES,
            result.queues,
            title="Queues of writes",
            audience="all" if result.queues else "machines",
        ),
    ]
    return Report(
        SCHEMA,
        blocks,
        server=server,
        main="entries",
        partial=result.is_partial,
        findings=list(_findings(result)),
        verdicts=list(_verdicts(result)),
        notes=list(_notes(result)),
    )


def _shown(count: int) -> Audience:
    return "all" if count else "machines"


def _quiet(fault: Fault, total: Checked) -> Column:
    title = {Fault.WRONG_TYPE: "of another type", Fault.WRONG_TTL: "with another TTL"}.get(
        fault, ""
    )
    always = fault in (Fault.MISSING, Fault.DIFFERENT, Fault.EXPIRING)
    return Column(fault.value, Kind.COUNT, title, "all" if always else _shown(total.of(fault)))


def _times(
    name: str, title: str, figures: Sequence[float | None]
) -> Iterator[tuple[Column, float | None]]:
    for share, figure in zip(("p50", "p95"), figures, strict=True):
        rounded = None if figure is None else round(figure, 6)
        yield Column(f"{name}_{share}", Kind.SECONDS, title=f"{title}, {share}"), rounded


def _entry(name: str, one: Checked) -> Sequence[object]:
    faults = [one.of(fault) for fault in FAULTS]
    rest = (one.unsettled, one.repaired, one.failed, one.problems)
    return name, one.checked, one.of(Fault.OK), *faults, *rest


def _findings(result: VerifyResult) -> Iterator[Finding]:
    for name, one in result.entries.items():
        for fault in FAULTS:
            count = one.of(fault)
            if not count:
                continue
            severity = Severity.WARNING if fault in _MILD else Severity.CRITICAL
            if one.repaired and not one.failed:
                severity = Severity.INFO
            text = _WORDS[fault].format(n=f"{count:,}")
            evidence = f"of {one.checked:,} that were looked at"
            remedy = None if one.repaired else "cachectl warm verify --repair"
            yield Finding(f"warm.{fault.value}", severity, text, evidence, remedy, name)


def _verdicts(result: VerifyResult) -> Iterator[Verdict]:
    """Yield one test for each entry, for CI."""
    for name, one in result.entries.items():
        bad = [f"{one.of(fault)} {fault.value}" for fault in FAULTS if one.of(fault)]
        is_bad = bool(one.wrong - one.repaired)
        text = f"{one.checked} checked" + (f": {', '.join(bad)}" if bad else "")
        yield Verdict(f"entry.{name}", State.CRITICAL if is_bad else State.OK, text, one.wrong)
    for name, reason in result.errors.items():
        yield Verdict(f"source.{name}", State.CRITICAL, reason)
    if result.stopped:
        yield Verdict("complete", State.CRITICAL, result.stopped)


def _notes(result: VerifyResult) -> Iterator[str]:
    yield from result.notes
    for name, reason in result.errors.items():
        yield f"source {name}: {reason}"
    if result.stopped:
        yield result.stopped
    if result.total.unsettled:
        yield (
            f"{result.total.unsettled:,} keys differ while their change may still be in a queue: "
            "they count neither as fine nor as wrong"
        )
    if result.source_rows:
        yield "sources are read in batches: a single read of one takes longer than a row's share"
