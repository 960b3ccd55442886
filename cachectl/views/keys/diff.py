"""The report of `diff`: namespaces by how much they changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cachectl.analysis.keyspace.snapshots import Change, KeyspaceDiff, NamespaceChange
from cachectl.model.findings import Finding, Severity
from cachectl.output.report import Column, Kind, Pairs, Report, Table

SCHEMA = "cachectl.diff/1"

_COLUMNS = (
    Column("namespace", Kind.NAMESPACE),
    Column("change", audience="machines"),
    Column("what", title="change", audience="people"),
    Column("keys", Kind.SIGNED_COUNT),
    Column("bytes", Kind.SIGNED_BYTES),
    Column("no_ttl", Kind.SIGNED_COUNT, title="no TTL"),
    Column("lost_ttl", Kind.BOOL, audience="machines"),
    Column("keys_before", Kind.COUNT, drop=3),
    Column("keys_after", Kind.COUNT, drop=2),
    Column("bytes_before", Kind.BYTES, drop=3),
    Column("bytes_after", Kind.BYTES, drop=2),
    Column("no_ttl_before", Kind.COUNT, title="no TTL before", drop=5),
    Column("no_ttl_after", Kind.COUNT, title="no TTL after", drop=4),
)


@dataclass(frozen=True, slots=True)
class Scope:
    """What one of the two snapshots is of. scanned_at: Unix seconds; match: escaped."""

    file: str
    server: str
    database: int
    scanned_at: float | None
    keys: int
    match: str | None
    type: str | None
    partial: bool


def diff_report(
    diff: KeyspaceDiff,
    before: Scope,
    after: Scope,
    *,
    by: str = "template",
    sort: str = "bytes",
    limit: int | None = None,
    everything: bool = False,
) -> Report:
    """Return the report of a comparison. sort: bytes, keys, name or no-ttl.

    everything: also namespaces in which nothing changed.
    """
    changed = [one for one in diff.changes if everything or _moved(one)]
    changed.sort(key=_order(sort))
    shown = changed[:limit]
    return Report(
        SCHEMA,
        [
            _scopes(before, after),
            _head(diff, by),
            Table(
                "namespaces",
                _COLUMNS,
                [_row(change) for change in shown],
                title=f"Namespaces by {by}" + ("" if everything else " that changed"),
                empty="Nothing changed." if diff.changes else "No keys in either.",
                total=_total(diff) if len(changed) > 1 else None,
            ),
        ],
        main="namespaces",
        partial=before.partial or after.partial,
        findings=[_finding(change) for change in diff.lost_ttl],
        notes=[*_notes(diff, before, after, len(changed) - len(shown))],
    )


def _moved(change: NamespaceChange) -> bool:
    return change.change is not Change.SAME or bool(change.keys or change.no_ttl)


def _scopes(before: Scope, after: Scope) -> Table:
    columns = [
        Column("which", title=""),
        Column("file"),
        Column("server", drop=2),
        Column("scanned_at", Kind.TIME, drop=1),
        Column("keys", Kind.COUNT),
        Column("database", Kind.NUMBER, audience="machines"),
        Column("match", audience="machines"),
        Column("type", audience="machines"),
        Column("partial", Kind.BOOL, audience="machines"),
    ]
    rows = []
    for which, scope in (("before", before), ("after", after)):
        values = asdict(scope) | {"which": which}
        rows.append([values[column.name] for column in columns])
    return Table("snapshots", columns, rows)


def _head(diff: KeyspaceDiff, by: str) -> Pairs:
    def less(new: int | None, old: int | None) -> int | None:
        return None if new is None or old is None else new - old

    counts = {str(change): len(diff.of(change)) for change in Change}
    machines = [
        (Column("by", audience="machines"), by),
        *((Column(name, Kind.COUNT, audience="machines"), n) for name, n in counts.items()),
        (Column("lost_ttl", Kind.COUNT, audience="machines"), len(diff.lost_ttl)),
    ]
    no_ttl = less(diff.after.no_ttl, diff.before.no_ttl)
    return Pairs(
        [
            (Column("keys", Kind.SIGNED_COUNT), diff.keys),
            (Column("bytes", Kind.SIGNED_BYTES), diff.bytes),
            (Column("no_ttl", Kind.SIGNED_COUNT, title="without TTL"), no_ttl),
            *machines,
        ]
    )


def _row(change: NamespaceChange) -> Sequence[Any]:
    old, new = change.before, change.after
    return (
        change.namespace,
        str(change.change),
        f"{change.change}, lost TTL" if change.lost_ttl else str(change.change),
        change.keys,
        change.bytes,
        change.no_ttl,
        change.lost_ttl,
        old.keys if old else 0,
        new.keys if new else 0,
        old.bytes if old else 0,
        new.bytes if new else 0,
        old.no_ttl if old else 0,
        new.no_ttl if new else 0,
    )


def _total(diff: KeyspaceDiff) -> Sequence[Any]:
    old, new = diff.before, diff.after
    no_ttl = None if old.no_ttl is None or new.no_ttl is None else new.no_ttl - old.no_ttl
    return (
        *(b"all", "", "", diff.keys, diff.bytes, no_ttl, False),
        *(old.keys, new.keys, old.bytes, new.bytes, old.no_ttl, new.no_ttl),
    )


def _order(sort: str) -> Callable[[NamespaceChange], Any]:
    orders: dict[str, Callable[[NamespaceChange], Any]] = {
        "bytes": lambda one: (-abs(one.bytes or 0), -abs(one.keys), one.namespace),
        "keys": lambda one: (-abs(one.keys), -abs(one.bytes or 0), one.namespace),
        "no-ttl": lambda one: (-abs(one.no_ttl or 0), -abs(one.keys), one.namespace),
        "name": lambda one: one.namespace,
    }
    return orders[sort]


def _finding(change: NamespaceChange) -> Finding:
    old, new = change.before, change.after
    assert old is not None and new is not None  # noqa: S101, PT018 - what is new lost nothing
    return Finding(
        id="diff.lost-ttl",
        severity=Severity.WARNING,
        title="keys that had a TTL never expire now",
        evidence=(
            f"{old.no_ttl:,} of {old.keys:,} keys without TTL before, "
            f"{new.no_ttl:,} of {new.keys:,} after"
        ),
        remedy="find out who writes these keys without a TTL",
        subject=change.namespace.decode("utf-8", "surrogateescape"),
    )


def _notes(diff: KeyspaceDiff, before: Scope, after: Scope, hidden: int) -> Iterator[str]:
    if hidden:
        yield f"{hidden:,} more namespaces changed; --limit shows more"
    for scope in (before, after):
        if scope.partial:
            yield f"{scope.file} is partial: what it lacks seems to have come or gone"
    if (before.match, before.type) != (after.match, after.type):
        yield f"the snapshots are of different keys: {_keys(before)}, and {_keys(after)}"
    if before.server != after.server or before.database != after.database:
        yield f"the snapshots are of different servers: {_place(before)}, and {_place(after)}"
    if before.scanned_at and after.scanned_at and before.scanned_at > after.scanned_at:
        yield "the first snapshot is the later one: what grew here has shrunk in time"
    if diff.bytes is None and diff.before.keys and diff.after.keys:
        yield "one of the snapshots holds no sizes"


def _keys(scope: Scope) -> str:
    words = [f"matching {scope.match}" if scope.match else "of any name"]
    if scope.type:
        words.append(f"of type {scope.type}")
    return " ".join(words)


def _place(scope: Scope) -> str:
    return f"{scope.server} database {scope.database}"
