"""The report of `ttl storms`: when keys expire together, and how to keep them apart."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

from cachectl.analysis.audits.storms import ALPHA, Forecast, Storm
from cachectl.config.durations import format_duration
from cachectl.model.figures import value_of
from cachectl.model.findings import Finding, Severity
from cachectl.model.servers import ServerFacts
from cachectl.output.report import Block, Column, Histogram, Kind, Pairs, Report, Table
from cachectl.views.keys.scan import ScanFacts, of_the_pass

SCHEMA = "cachectl.ttl-storms/1"
STORMS = (
    Column("at", Kind.TIME, audience="machines"),
    Column("until", Kind.TIME, audience="machines"),
    Column("in", Kind.SECONDS),
    Column("lasts", Kind.SECONDS, drop=2),
    Column("keys", Kind.COUNT),
    Column("expected", Kind.NUMBER, audience="machines"),
    Column("factor", Kind.NUMBER, title="times usual", drop=3),
    Column("rate", Kind.NUMBER, title="reloads/s"),
    Column("namespace", Kind.NAMESPACE),
    Column("namespaces", Kind.DATA, audience="machines"),
    Column("jitter", Kind.SECONDS, title="spread over", drop=1),
    Column("flattened", Kind.NUMBER, title="then/s", drop=1),
    Column("chance", Kind.NUMBER, audience="machines"),
)
BINS = (
    Column("at", Kind.TIME),
    Column("keys", Kind.NUMBER),
    Column("storm", Kind.BOOL),
)
_ROWS = 36
"""Rows of the plot."""
_STEPS = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 14_400, 21_600)
"""Seconds that a row may stand for."""
_GRAVE = 100
"""Keys, or keys a second, from which a storm is a warning."""
_GRAVE_FACTOR = 10


def storms_report(
    forecast: Forecast,
    facts: ScanFacts,
    server: ServerFacts,
    *,
    words: Sequence[str] = ("cachectl",),
    sample: Mapping[str, object] | None = None,
    limit: int | None = None,
    notes: Sequence[str] = (),
) -> Report:
    """Return the report. words: how a command line for this server begins. limit: storms."""
    shown = forecast.storms[:limit]
    hidden = len(forecast.storms) - len(shown)
    return Report(
        SCHEMA,
        [
            _head(forecast, facts, sample),
            *_plot(forecast),
            Table(
                "storms",
                STORMS,
                [_row(forecast, storm) for storm in shown],
                title="Storms",
                empty="No storm stands out.",
            ),
            Table("bins", BINS, _bins(forecast), audience="machines"),
        ],
        server=server,
        main="storms",
        partial=not facts.complete,
        findings=[finding_of(storm, words) for storm in shown],
        unavailable=facts.unavailable,
        notes=[*_notes(forecast, hidden), *notes],
    )


def _head(forecast: Forecast, facts: ScanFacts, sample: Mapping[str, object] | None) -> Pairs:
    soon = f"expire within {format_duration(forecast.horizon)}"
    return Pairs(
        [
            (Column("within", Kind.COUNT, title=soon), forecast.within),
            (Column("later", Kind.COUNT, title="expire later"), forecast.later),
            (Column("never", Kind.COUNT, title="never expire"), forecast.never),
            (Column("begins", Kind.TIME, audience="machines"), forecast.begins),
            (Column("horizon", Kind.SECONDS, audience="machines"), forecast.horizon),
            (Column("bin", Kind.SECONDS, audience="machines"), forecast.width),
            (Column("alpha", Kind.NUMBER, audience="machines"), ALPHA),
            (Column("sample", Kind.DATA, audience="machines"), sample),
            *of_the_pass(facts),
        ]
    )


def _plot(forecast: Forecast) -> Iterator[Block]:
    last = max((at for at, count in enumerate(forecast.counts) if count), default=-1)
    if last < 0:
        return
    wanted = (last + 1) * forecast.width / _ROWS
    step = next((one for one in _STEPS if one >= wanted), _STEPS[-1])
    each = max(1, round(step / forecast.width))
    rows, marks = [], set()
    for first in range(0, last + 1, each):
        name = _offset(first * forecast.width, each * forecast.width)
        worst = max(forecast.counts[first : first + each])
        rows.append((name, round(worst * forecast.weight / forecast.width, 1)))
        begins, ends = first * forecast.width, (first + each) * forecast.width
        if any(storm.at < ends and begins < storm.until for storm in forecast.storms):
            marks.add(name)
    span = format_duration(each * forecast.width)
    yield Histogram(
        "plot",
        rows,
        Kind.NUMBER,
        title=f"Keys a second that expire, at most in each {span} from now",
        marks=frozenset(marks),
        audience="people",
    )


def _offset(seconds: int, step: int) -> str:
    """Return how far from now: `+1:30` hours and minutes, with seconds where rows need them."""
    minutes, rest = divmod(seconds, 60)
    text = f"+{minutes // 60}:{minutes % 60:02}"
    return text if step % 60 == 0 else f"{text}:{rest:02}"


def _row(forecast: Forecast, storm: Storm) -> Sequence[Any]:
    return (
        forecast.begins + storm.at,
        forecast.begins + storm.until,
        storm.at,
        storm.until - storm.at,
        storm.keys,
        round(storm.expected, 1),
        round(storm.factor, 1) if isfinite(storm.factor) else None,
        round(storm.rate, 1),
        storm.namespaces[0].namespace if storm.namespaces else None,
        [
            {"namespace": one.namespace, "keys": round(value_of(one.keys))}
            for one in storm.namespaces
        ],
        storm.jitter,
        round(storm.flattened, 1),
        storm.chance,
    )


def _bins(forecast: Forecast) -> list[Sequence[Any]]:
    return [
        (
            forecast.begins + at * forecast.width,
            round(count * forecast.weight, 1),
            any(storm.at <= at * forecast.width < storm.until for storm in forecast.storms),
        )
        for at, count in enumerate(forecast.counts)
        if count
    ]


def finding_of(storm: Storm, words: Sequence[str]) -> Finding:
    """Return what a storm amounts to. words: how the command line begins."""
    keys = value_of(storm.keys)
    usual = storm.factor >= _GRAVE_FACTOR and keys >= _GRAVE
    names = ", ".join(
        f"{_text(one.namespace)} {value_of(one.keys):,.0f}" for one in storm.namespaces
    )
    chosen = [
        word for one in storm.namespaces[:1] for word in ("--namespace", _text(one.namespace))
    ]
    spread = ["ttl", "spread", *chosen, "--over", format_duration(storm.jitter)]
    times = f"{storm.factor:,.0f} times as many as around it" if isfinite(storm.factor) else ""
    return Finding(
        id="ttl.storm",
        severity=Severity.WARNING if usual or storm.rate >= _GRAVE else Severity.INFO,
        title=(
            f"{keys:,.0f} keys expire within {format_duration(storm.until - storm.at)}, "
            f"in {format_duration(storm.at)}"
        ),
        evidence="; ".join(
            part
            for part in (
                times or "none around it",
                f"up to {storm.rate:,.0f} reloads a second",
                names,
                f"spread over {format_duration(storm.jitter)} at most {storm.flattened:,.0f}/s",
            )
            if part
        ),
        remedy=shlex.join([*words, *spread]),
        subject=_text(storm.namespaces[0].namespace) if storm.namespaces else None,
    )


def _notes(forecast: Forecast, hidden: int) -> Iterator[str]:
    if hidden:
        yield f"{hidden:,} more storms; --limit shows more"
    if forecast.storms:
        yield (
            "reloads/s: what the database behind the cache gets if all of these keys are wanted "
            "again at once"
        )
    yield (
        f"bins of {forecast.width} s and wider; keys that expire at an even rate would show any "
        f"storm in {ALPHA * 100:.0f} % of all reports at most"
    )


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
