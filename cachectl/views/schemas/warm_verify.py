"""The schema of `warm verify`."""

from __future__ import annotations

from cachectl.output.report import Kind
from cachectl.views.schemas.fragments import bounds, field, report, rows
from cachectl.views.warm import verify

_COUNTS = {
    "checked": "keys that were looked at",
    "ok": "of these, as the manifest says",
    "missing": "not there",
    "wrong_type": "of another type",
    "different": "with another value than the source has now",
    "wrong_ttl": "without a TTL, with one that should have none, or with a longer one",
    "expiring": "that expire soon",
    "unsettled": "that differ while their change may be in a queue",
    "repaired": "that were wrong and have been written, or were renewed meanwhile",
    "failed": "that could not be repaired",
    "problems": "rows that give no key",
}
_TIMES = {
    "source": "a row of the source took, in batches",
    "cache": "a single read of the cache took",
    "gain": "by so much the cache was faster",
}

SCHEMAS = (
    report(
        verify.SCHEMA,
        "whether a cache holds what a manifest says (`cachectl warm verify`)",
        {
            "manifest": field(Kind.TEXT, "name of the manifest"),
            "keys": field(Kind.COUNT, "keys that the sources give"),
            **{name: field(Kind.COUNT, text) for name, text in _COUNTS.items()},
            "sampled": field(Kind.BOOL, "whether only some of the keys were looked at"),
            "wrong": field(Kind.RATIO, "share of all keys that is wrong"),
            **bounds("wrong", Kind.RATIO),
            **{
                f"{name}_{share}": field(Kind.SECONDS, f"{text} ({share})")
                for name, text in _TIMES.items()
                for share in ("p50", "p95")
            },
            "own_lookups": field(Kind.COUNT, "look-ups that this added to the server's counters"),
            "stopped": field(Kind.TEXT, "why it did not get to its end"),
            "seconds": field(Kind.SECONDS, "how long it took"),
            "entries": rows(
                verify._ENTRIES, {"entry": "the entry of the manifest"} | _COUNTS, "by entry"
            ),
            "wrong_keys": rows(
                verify._KEYS,
                {"entry": "its entry", "key": "its name", "fault": "what is wrong with it"},
                "the first that are wrong",
            ),
            "queues": rows(
                verify._QUEUES,
                {"queue": "key of the queue", "items": "items in it, at most"},
                "the queues of write-behind applications",
            ),
        },
    ),
)
