"""The report of `stats hotkeys`: the most used keys, and how that is known."""

from __future__ import annotations

from collections.abc import Sequence

from cachectl.analysis.traffic.hotkeys import HotKey
from cachectl.model.findings import Finding, Unavailable
from cachectl.model.servers import ServerFacts
from cachectl.output.report import Column, Kind, Pairs, Report, Table
from cachectl.views.cut import cut

SCHEMA = "cachectl.stats-hotkeys/1"
SHOWN = 20
"""Keys that people see unless they ask for more; machines get all."""

_FIGURES = (
    ("share", Column("share", Kind.RATIO)),
    ("network", Column("network", Kind.RATIO, title="of network", drop=2)),
    ("per_second", Column("per_second", Kind.NUMBER, title="a second")),
    ("accesses", Column("accesses", Kind.COUNT, drop=1)),
    ("frequency", Column("frequency", Kind.NUMBER, title="counter", drop=3)),
)
COLUMNS = (
    Column("key", Kind.KEY),
    *(column for _, column in _FIGURES),
    Column("namespace", Kind.NAMESPACE, audience="machines"),
    Column("database", Kind.NUMBER, audience="machines"),
    Column("node", audience="machines"),
)


def hotkeys_report(
    keys: Sequence[HotKey],
    server: ServerFacts,
    *,
    method: str,
    how: str,
    limit: int | None = None,
    findings: Sequence[Finding] = (),
    unavailable: Sequence[Unavailable] = (),
    notes: Sequence[str] = (),
    partial: bool = False,
) -> Report:
    """Return the report. method: hotkeys, lfu or monitor; how: what it did and how sure it is."""
    listed, shown, more = cut(keys, limit, SHOWN, "keys")
    had = {name for name, _ in _FIGURES if any(getattr(one, name) is not None for one in keys)}
    columns = [
        column
        for column in COLUMNS
        if column.audience == "all" and (column.name == "key" or column.name in had)
    ]
    names = [column.name for column in columns]
    return Report(
        SCHEMA,
        [
            Pairs([(Column("method"), method), (Column("how"), how)]),
            Table("keys", COLUMNS, [_row(one) for one in listed], audience="machines"),
            Table(
                "shown",
                columns,
                [[getattr(one, name) for name in names] for one in shown],
                empty="No key is used more than others.",
                audience="people",
            ),
        ],
        server=server,
        main="keys",
        partial=partial,
        findings=findings,
        unavailable=unavailable,
        notes=[*more, *notes],
    )


def _row(one: HotKey) -> Sequence[object]:
    return (
        one.key,
        *(getattr(one, name) for name, _ in _FIGURES),
        one.namespace,
        one.database,
        one.node,
    )
