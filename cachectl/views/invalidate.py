"""The reports of `invalidate` and `undo`: what is meant, what was done, which runs there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cachectl.actions.planning.changes import QUARANTINE, Outcome, Rename
from cachectl.actions.planning.plan import RECENT, Meant
from cachectl.actions.planning.retiming import Retime
from cachectl.model.findings import Unavailable
from cachectl.model.servers import ServerFacts
from cachectl.output.report import Audience, Block, Column, Kind, Pairs, Report, Table

if TYPE_CHECKING:
    from cachectl.actions.execution.flush import FlushResult
    from cachectl.actions.execution.run import RunResult
    from cachectl.actions.undoing.undo import UndoResult
    from cachectl.analysis.keyspace.summary import NamespaceSummary

PLAN_SCHEMA = "cachectl.invalidate-plan/1"
RUN_SCHEMA = "cachectl.invalidate/1"
TTL_RUN_SCHEMA = "cachectl.ttl-run/1"
UNDO_SCHEMA = "cachectl.undo/1"
RUNS_SCHEMA = "cachectl.runs/1"

_NAMESPACES = (
    Column("namespace", Kind.NAMESPACE),
    Column("keys", Kind.COUNT),
    Column("bytes", Kind.BYTES),
    Column("types", Kind.COUNTS, drop=3),
    Column("no_ttl", Kind.COUNT, title="no TTL", drop=2),
    Column("ttl_p50", Kind.SECONDS, title="TTL p50", drop=1),
    Column("idle_p50", Kind.SECONDS, title="idle p50", drop=4),
)
_KEYS = (Column("key", Kind.KEY), Column("reason"))
_RUN_REPORTS = {Retime.name: (TTL_RUN_SCHEMA, "changed_ttl")}
"""Change → the schema of what is said of a run, and the name of the keys that were changed."""
_SPANS = {60: "last_minute", 600: "last_ten_minutes", 3600: "last_hour"}


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """What the report of a plan says besides its keys. seconds: how long it would take, about."""

    change: str
    archives: bool
    seconds: float
    pace: str
    file: str | None = None
    removes: bool = True


def plan_report(meant: Meant, facts: PlanFacts, server: ServerFacts) -> Report:
    """Return what `--dry-run` shows."""
    summary = meant.summary
    namespaces = summary.namespaces if summary else ()
    share = meant.keys / meant.total if meant.total else None
    loads = round(meant.loads) if facts.removes and meant.loads is not None else None
    blocks: list[Block] = [
        Pairs(
            [
                (Column("matched", Kind.COUNT, title="keys"), meant.keys),
                (Column("bytes", Kind.BYTES), meant.size or None),
                (Column("share", Kind.RATIO, title="of all keys"), share),
                (Column("change"), facts.change),
                (Column("archived", Kind.BOOL, title="can be undone"), facts.archives),
                (
                    Column("seconds", Kind.SECONDS, title=f"time at pace {facts.pace}, about"),
                    facts.seconds,
                ),
                (Column("missing", Kind.COUNT, audience="machines"), meant.missing),
                (Column("unreadable", Kind.COUNT, audience="machines"), meant.unreadable),
                (Column("own_lookups", Kind.COUNT, audience="machines"), meant.own_lookups),
                (Column("plan", audience="machines"), facts.file),
                *_recent(meant),
                (
                    Column(
                        "loads_first_minute",
                        Kind.COUNT,
                        "loads in the first minute, about",
                        "all" if loads is not None else "machines",
                    ),
                    loads,
                ),
                _fine(meant.fine),
            ]
        ),
        Table(
            "namespaces",
            _NAMESPACES,
            [_namespace(one) for one in namespaces],
            title="By namespace",
            empty="No key is meant.",
        ),
        Table(
            "nodes",
            (Column("node"), Column("keys", Kind.COUNT)),
            sorted(meant.nodes.items()),
            title="By node",
            audience="all" if len(meant.nodes) > 1 else "machines",
        ),
        Table(
            "sample",
            (Column("key", Kind.KEY),),
            [(key,) for key in meant.samples],
            title="Some of them",
            audience="all" if meant.samples else "machines",
        ),
    ]
    return Report(
        PLAN_SCHEMA,
        blocks,
        server=server,
        main="namespaces",
        partial=bool(meant.left_out),
        unavailable=meant.left_out,
        notes=_notes(meant, facts),
    )


def _fine(count: int) -> tuple[Column, Any]:
    audience: Audience = "all" if count else "machines"
    return Column("fine", Kind.COUNT, "left as they are", audience), count


def _recent(meant: Meant) -> Iterable[tuple[Column, Any]]:
    for number, seconds in enumerate(RECENT):
        name = f"used_{_SPANS[seconds]}"
        title = f"used in the {_SPANS[seconds].replace('_', ' ')}"
        yield (
            Column(name, Kind.COUNT, title, "all" if meant.recent else "machines"),
            meant.recent[number] if meant.recent else None,
        )


def _notes(meant: Meant, facts: PlanFacts) -> list[str]:
    notes = []
    if facts.removes and meant.loads and meant.loads >= 1:
        seen = "idle times" if meant.recent else "frequencies"
        notes.append(
            f"by their {seen}, about {round(meant.loads):,} of the keys are used within a minute: "
            "expect as many loads from the database behind in the first one"
        )
    if meant.missing:
        notes.append(f"{meant.missing:,} of the named keys are not there")
    if facts.file:
        notes.append(f"saved as {facts.file}; `cachectl invalidate apply {facts.file}` does it")
    notes.append("nothing was changed")
    return notes


def _namespace(namespace: NamespaceSummary) -> Sequence[Any]:
    ttl = namespace.ttl_p50_ms
    return (
        namespace.namespace,
        namespace.keys,
        namespace.bytes,
        dict(namespace.types),
        namespace.no_ttl,
        None if ttl is None else round(ttl / 1000, 3),
        namespace.idle_p50,
    )


def run_report(
    result: RunResult, server: ServerFacts, told: Mapping[str, Any], left_out: Sequence[Unavailable]
) -> Report:
    """Return what a run has done.

    told: outcome → (key, reason) of some keys that went wrong; left_out: what could not be looked
    at when the keys were chosen.
    """
    tally = result.tally
    not_done = [tally.of(o) for o in (Outcome.CHANGED, Outcome.REFUSED, Outcome.UNKNOWN)]
    schema, done = _RUN_REPORTS.get(result.change, (RUN_SCHEMA, "removed"))
    pairs = [
        (Column("run"), result.run),
        (Column("change", audience="machines"), result.change),
        (Column("matched", Kind.COUNT, title="keys"), result.matched),
        (Column(done, Kind.COUNT, title=result.verb), tally.of(Outcome.DONE)),
        (Column("bytes", Kind.BYTES), tally.bytes or None),
        _fine(result.fine),
        (Column("already_gone", Kind.COUNT, title="already gone"), tally.of(Outcome.GONE)),
        (Column("changed", Kind.COUNT, title="left alone: changed"), not_done[0]),
        (Column("refused", Kind.COUNT), not_done[1]),
        (Column("unknown", Kind.COUNT, title="not known whose work"), not_done[2]),
        (Column("archived", Kind.BOOL, title="can be undone"), result.archived),
        (Column("seconds", Kind.SECONDS, title="time"), round(result.seconds, 3)),
    ]
    quiet = {"changed", "refused", "unknown", "already_gone"}
    shown = [
        (Column(c.name, c.kind, c.title, "machines") if c.name in quiet and not v else c, v)
        for c, v in pairs
    ]
    troubled = [(outcome, key, reason) for outcome, keys in told.items() for key, reason in keys]
    blocks: list[Block] = [
        Pairs(shown),
        Table(
            "troubled",
            (Column("outcome"), *_KEYS),
            troubled,
            title="Keys that were left alone",
            audience="all" if troubled else "machines",
        ),
    ]
    notes = list(result.notes)
    if result.archived and tally.of(Outcome.DONE):
        notes.append(f"put them back with: cachectl undo {result.run}")
        if result.change == Rename.name:
            pattern = f"{QUARANTINE.decode()}{result.run}:*"
            notes.append(f"or drop them for good with: cachectl invalidate '{pattern}'")
    if not_done[2]:
        notes.append(
            f"{not_done[2]:,} keys are gone, but whether by this run is not known: a reply was lost"
        )
    partial = any(not_done[:2]) or bool(left_out)  # what is gone needs nothing more to be done
    return Report(
        schema,
        blocks,
        server=server,
        main="troubled",
        partial=partial,
        unavailable=left_out,
        notes=notes,
    )


def undo_report(result: UndoResult, server: ServerFacts) -> Report:
    """Return what an undo has done."""
    conflicts = [(key, "a newer value is there") for key in result.conflicting]
    blocks: list[Block] = [
        Pairs(
            [
                (Column("run"), result.run),
                (Column("mode", audience="machines"), result.mode),
                (Column("restored", Kind.COUNT), result.restored),
                (Column("expired", Kind.COUNT, title="expired since"), result.expired),
                (Column("conflicts", Kind.COUNT, title="kept: newer value"), result.conflicts),
                (Column("failed", Kind.COUNT), result.failed),
                (Column("already", Kind.COUNT, audience="machines"), result.already),
                (Column("members", Kind.COUNT, audience="machines"), result.members),
                (Column("lost", Kind.DATA, audience="machines"), result.lost),
                (Column("seconds", Kind.SECONDS, title="time"), round(result.seconds, 3)),
            ]
        ),
        Table(
            "left",
            _KEYS,
            [*conflicts, *result.failures],
            title="Keys that were not put back",
            audience="all" if conflicts or result.failures else "machines",
        ),
    ]
    notes = list(result.notes)
    if result.mode == "logical":
        notes.append("this server takes other payloads: the keys were rebuilt from their elements")
    if result.conflicts:
        notes.append("newer values were kept; --overwrite puts the old ones in their place")
    partial = bool(result.conflicts or result.failed)
    return Report(UNDO_SCHEMA, blocks, server=server, main="left", partial=partial, notes=notes)


_RUNS = (
    Column("run"),
    Column("started_at", Kind.TIME, title="started"),
    Column("state"),
    Column("server"),
    Column("database", Kind.NUMBER, drop=4),
    Column("change", drop=2),
    Column("selection", Kind.DATA, audience="machines"),
    Column("what", audience="people", drop=3),
    Column("keys", Kind.COUNT),
    Column("size", Kind.BYTES, title="on disk", drop=1),
)


def runs_report(runs: Sequence[tuple[Mapping[str, Any], int]]) -> Report:
    """Return the runs of this machine. runs: run.json and the bytes that it takes on the disk."""
    rows = [
        (
            facts.get("id"),
            facts.get("started_at"),
            facts.get("state"),
            facts.get("server"),
            facts.get("database"),
            facts.get("change", {}).get("name"),
            facts.get("selection"),
            " ".join(facts.get("selection", [])),
            facts.get("keys"),
            size,
        )
        for facts, size in runs
    ]
    table = Table("runs", _RUNS, rows, empty="There are no runs on this machine.")
    return Report(RUNS_SCHEMA, [table], main="runs")


def run_facts_report(facts: Mapping[str, Any], size: int, archived: int | None) -> Report:
    """Return everything that is known of one run."""
    change = {
        name: len(value) if isinstance(value, list) else value
        for name, value in facts.get("change", {}).items()
        if value not in ("", None, [])
    }
    pairs = [
        (Column("run"), facts.get("id")),
        (Column("state"), facts.get("state")),
        (Column("started_at", Kind.TIME, title="started"), facts.get("started_at")),
        (Column("ended_at", Kind.TIME, title="ended"), facts.get("ended_at")),
        (Column("undone_at", Kind.TIME, title="undone"), facts.get("undone_at")),
        (Column("target", title="server"), facts.get("server")),
        (Column("environment"), facts.get("environment")),
        (Column("database", Kind.NUMBER), facts.get("database")),
        (Column("user"), facts.get("user")),
        (Column("machine"), facts.get("machine")),
        (Column("selection"), " ".join(facts.get("selection", []))),
        (Column("change"), " ".join(f"{k}={v}" for k, v in change.items())),
        (Column("matched", Kind.COUNT, title="keys"), facts.get("keys")),
        (Column("counts", Kind.COUNTS), facts.get("counts") or None),
        (Column("archived", Kind.COUNT, title="copies"), archived),
        (Column("plan_digest", title="plan"), facts.get("plan_digest")),
        (Column("size", Kind.BYTES, title="on disk"), size),
    ]
    return Report("cachectl.run/1", [Pairs(pairs)])


def flush_report(result: FlushResult, server: ServerFacts) -> Report:
    """Return what was emptied."""
    nodes = sorted(result.nodes.items())
    blocks: list[Block] = [
        Pairs(
            [
                (Column("removed", Kind.COUNT), sum(result.nodes.values())),
                (Column("seconds", Kind.SECONDS, title="time"), round(result.seconds, 3)),
            ]
        ),
        Table("nodes", (Column("node"), Column("keys", Kind.COUNT)), nodes, title="By node"),
    ]
    return Report("cachectl.flush/1", blocks, server=server, main="nodes", notes=list(result.notes))
