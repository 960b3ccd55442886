"""The schemas of `invalidate` and `undo`."""

from __future__ import annotations

from typing import Any

from cachectl.output.report import Column, Kind
from cachectl.views import invalidate
from cachectl.views.schemas.fragments import field, report, rows

_NAMESPACE = {
    "namespace": "what the names of the keys have in common",
    "keys": "keys that are meant",
    "bytes": "their memory",
    "types": "keys of each type",
    "no_ttl": "keys that never expire",
    "ttl_p50": "half of those that expire do so within",
    "idle_p50": "half of them were used within",
}
_NODES = rows(
    (Column("node"), Column("keys", Kind.COUNT)),
    {"node": "the node that holds them", "keys": "keys"},
    "keys by node",
)
_TROUBLED = {"outcome": "what became of it", "key": "name of the key", "reason": "why"}
_RUNS = {
    "run": "name of the run",
    "started_at": "when it began",
    "state": "planned, running, done, undone and so on",
    "server": "the server it was for",
    "database": "number of the database",
    "change": "what was done to the keys",
    "selection": "which keys were meant",
    "keys": "keys that were meant",
    "size": "what it takes on this machine's disk",
}

_PLAN = report(
    invalidate.PLAN_SCHEMA,
    "what would be done (`cachectl invalidate --dry-run`)",
    {
        "matched": field(Kind.COUNT, "keys that are meant"),
        "bytes": field(Kind.BYTES, "their memory"),
        "share": field(Kind.RATIO, "share of all keys"),
        "change": field(Kind.TEXT, "what would be done to them"),
        "archived": field(Kind.BOOL, "whether it can be undone"),
        "seconds": field(Kind.SECONDS, "how long it would take, about"),
        "missing": field(Kind.COUNT, "named keys that are not there"),
        "unreadable": field(Kind.COUNT, "keys that this login may not read"),
        "own_lookups": field(Kind.COUNT, "hits that planning added to keyspace_hits"),
        "plan": field(Kind.TEXT, "the file that the plan was saved in"),
        "used_last_minute": field(Kind.COUNT, "of the keys, used in the last minute"),
        "used_last_ten_minutes": field(Kind.COUNT, "of the keys, used in the last ten minutes"),
        "used_last_hour": field(Kind.COUNT, "of the keys, used in the last hour"),
        "loads_first_minute": field(
            Kind.COUNT, "of the keys, used within a minute: loads for the database behind, about"
        ),
        "fine": field(Kind.COUNT, "keys to which nothing would have to be done"),
        "namespaces": rows(invalidate._NAMESPACES, _NAMESPACE, "by namespace"),
        "nodes": _NODES,
        "sample": rows((Column("key", Kind.KEY),), {"key": "name of a key"}, "some of the keys"),
    },
)
_FINE = field(Kind.COUNT, "keys to which nothing had to be done")


def _run(schema: str, title: str, done: str) -> dict[str, Any]:
    return report(
        schema,
        title,
        {
            "run": field(Kind.TEXT, "name of the run"),
            "change": field(Kind.TEXT, "what was done to the keys"),
            "matched": field(Kind.COUNT, "keys that were meant"),
            done: field(Kind.COUNT, "keys to which it was done"),
            "bytes": field(Kind.BYTES, "memory of these"),
            "fine": _FINE,
            "already_gone": field(Kind.COUNT, "keys that were gone before"),
            "changed": field(Kind.COUNT, "keys left alone because they had changed"),
            "refused": field(Kind.COUNT, "keys that the server refused to change"),
            "unknown": field(Kind.COUNT, "keys that are gone, but not known by whose work"),
            "archived": field(Kind.BOOL, "whether it can be undone"),
            "seconds": field(Kind.SECONDS, "how long it took"),
            "troubled": rows(
                (Column("outcome"), *invalidate._KEYS), _TROUBLED, "some of the keys left alone"
            ),
        },
    )


_RUN = _run(invalidate.RUN_SCHEMA, "what a run has done (`cachectl invalidate`)", "removed")
_TTL_RUN = _run(
    invalidate.TTL_RUN_SCHEMA,
    "what a run has done (`cachectl ttl set`, `cachectl ttl spread`)",
    "changed_ttl",
)
_UNDO = report(
    invalidate.UNDO_SCHEMA,
    "what was put back (`cachectl undo`)",
    {
        "run": field(Kind.TEXT, "name of the run"),
        "mode": field(Kind.TEXT, "payload, or logical: rebuilt from elements"),
        "restored": field(Kind.COUNT, "keys that were put back"),
        "expired": field(Kind.COUNT, "keys that would have expired since"),
        "conflicts": field(Kind.COUNT, "keys left alone because a newer value is there"),
        "failed": field(Kind.COUNT, "keys that could not be put back"),
        "already": field(Kind.COUNT, "of the restored, keys that were back before"),
        "members": field(Kind.COUNT, "members that were put back into tag sets"),
        "lost": {
            "description": "what this server could not keep, in words",
            "type": "array",
            "items": {"type": "string"},
        },
        "seconds": field(Kind.SECONDS, "how long it took"),
        "left": rows(invalidate._KEYS, _TROUBLED, "some of the keys that were not put back"),
    },
)
_ALL_RUNS = report(
    invalidate.RUNS_SCHEMA,
    "the runs of this machine (`cachectl invalidate runs`)",
    {"runs": rows(invalidate._RUNS, _RUNS, "newest first")},
)
_ONE_RUN = report(
    "cachectl.run/1",
    "everything about one run (`cachectl invalidate show`)",
    {
        "run": field(Kind.TEXT, "name of the run"),
        "state": field(Kind.TEXT, _RUNS["state"]),
        "started_at": field(Kind.TIME, "when it began"),
        "ended_at": field(Kind.TIME, "when it ended"),
        "undone_at": field(Kind.TIME, "when it was undone"),
        "target": field(Kind.TEXT, "the server it was for"),
        "environment": field(Kind.TEXT, "production, staging or development"),
        "database": field(Kind.NUMBER, "number of the database"),
        "user": field(Kind.TEXT, "who ran it"),
        "machine": field(Kind.TEXT, "where it was run"),
        "selection": field(Kind.TEXT, "which keys were meant"),
        "change": field(Kind.TEXT, "what was done to them"),
        "matched": field(Kind.COUNT, "keys that were meant"),
        "counts": field(Kind.COUNTS, "keys by what became of them"),
        "archived": field(Kind.COUNT, "copies in its archive"),
        "plan_digest": field(Kind.TEXT, "digest of its plan"),
        "size": field(Kind.BYTES, "what it takes on this machine's disk"),
    },
)
_FLUSH = report(
    "cachectl.flush/1",
    "what was emptied (`cachectl invalidate flush`)",
    {
        "removed": field(Kind.COUNT, "keys that were there"),
        "seconds": field(Kind.SECONDS, "how long it took"),
        "nodes": _NODES,
    },
)

SCHEMAS = [_PLAN, _RUN, _TTL_RUN, _UNDO, _ALL_RUNS, _ONE_RUN, _FLUSH]
