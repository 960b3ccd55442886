"""The schemas of `warm run`."""

from __future__ import annotations

from cachectl.output.report import Kind
from cachectl.views.schemas.fragments import bounds, field, report, rows
from cachectl.views.warm import run

_ESTIMATES = {
    "entry": "the entry of the manifest",
    "source": "the source that its rows come from",
    "rows": "rows of the source; null: not known before it is read",
    "keys": "keys that they make",
    "there": "share of the sample that is in the cache already",
    "growth": "memory that a key adds, on average",
    "bytes": "memory that all keys add",
    "is_measured": "whether the server was asked what keys take, or sizes were added up",
    "problems": "rows of the sample that give no key",
}
_NODES = {
    "node": "the node",
    "used": "memory in use",
    "limit": "maxmemory, or the machine's memory without one",
    "policy": "what it does when maxmemory is reached",
    "more": "memory that the keys would add",
    "share": "share of the limit in use then",
    "evictions": "keys that would be evicted",
}
_COUNTS = {
    "written": "keys that were written",
    "kept": "keys that were there and stay as they are",
    "failed": "keys that could not be written, and rows that give none",
    "bytes": "names and values that were written",
}
_ENTRIES = {"entry": "the entry of the manifest"} | _COUNTS
_SOURCES = {
    "source": "the source",
    "rows": "rows that came",
    "seconds": "time that it took to give them",
    "retries": "how often it was tried again",
    "error": "why it could not be read to its end",
}
_FAILURES = {
    "entry": "the entry",
    "row": "number of the row in its source",
    "key": "name of the key; null: the row gives none",
    "reason": "why",
}

SCHEMAS = (
    report(
        run.ESTIMATE_SCHEMA,
        "what warming would take (`cachectl warm run --dry-run`)",
        {
            "keys": field(Kind.COUNT, "keys that the manifest makes; null: not known"),
            "bytes": field(Kind.BYTES, "memory that they would take"),
            **bounds("bytes", Kind.BYTES),
            "seconds": field(Kind.SECONDS, "how long it would take, about"),
            "evictions": field(Kind.COUNT, "keys that would be evicted"),
            "entries": rows(run._ENTRY_ESTIMATES, _ESTIMATES, "by entry"),
            "nodes": rows(run._NODES, _NODES, "by node"),
        },
    ),
    report(
        run.RUN_SCHEMA,
        "what a warming has done (`cachectl warm run`)",
        {
            "run": field(Kind.TEXT, "name of the run"),
            "manifest": field(Kind.TEXT, "name of the manifest"),
            **{
                name: field(Kind.BYTES if name == "bytes" else Kind.COUNT, text)
                for name, text in _COUNTS.items()
            },
            "again": field(Kind.COUNT, "keys that a failover had lost, written again"),
            "done_by": field(Kind.TEXT, "the other run that has done it meanwhile"),
            "stopped": field(Kind.TEXT, "why it did not get to its end"),
            "seconds": field(Kind.SECONDS, "how long it took"),
            "entries": rows(run._ENTRIES, _ENTRIES, "by entry"),
            "sources": rows(run._SOURCES, _SOURCES, "by source"),
            "failures": rows(run._FAILURES, _FAILURES, "the first that failed"),
        },
    ),
)
