"""The schemas of what happens to keys: `stats events` and its windows, `stats hotkeys`."""

from __future__ import annotations

from cachectl.analysis.events.keyevents import COUNTED, KINDS
from cachectl.output.report import Kind
from cachectl.views.schemas.fragments import field, report, rows
from cachectl.views.stats import events, events_watch, hotkeys

_KINDS = {
    "expired": "keys that expired; null: such events are not published",
    "evicted": "keys that were evicted",
    "missed": "look-ups of keys that are not there",
    "new": "keys that were made",
    "set": "values that were written, or added to",
    "deleted": "keys that were deleted, by a command or by becoming empty",
    "other": "TTLs set, elements removed, keys renamed",
}
_NAMESPACE = _KINDS | {
    "namespace": "the namespace",
    "events": "events of all kinds",
    "per_second": "events of all kinds",
}
_NODE = (
    _KINDS
    | {f"{kind.value}_elsewhere": f"{kind.value} keys of other databases" for kind in COUNTED}
    | {
        f"{kind.value}_counted": f"{kind.value} keys as INFO counts them, of all databases"
        for kind in COUNTED
    }
    | {
        "node": "the node",
        "lost": "events that INFO counts and that never came; null: it can't be told",
        "dropped": "events that came faster than they could be counted",
        "gap": "nobody listened for",
        "reason": "why nobody listened",
    }
)
_WINDOW = {
    "window": "length of the window",
    "lost": _NODE["lost"],
    "gap": "some node was not listened to for",
}

_EVENTS = report(
    events.SCHEMA,
    "what befell the keys of each namespace (`cachectl stats events`)",
    {
        "window": field(Kind.SECONDS, _WINDOW["window"]),
        "events": field(Kind.COUNT, "events of all kinds"),
        "per_second": field(Kind.RATE, "events of all kinds"),
        "lost": field(Kind.COUNT, _WINDOW["lost"]),
        "gap": field(Kind.SECONDS, _WINDOW["gap"]),
        **{kind.value: field(Kind.COUNT, _KINDS[kind.value]) for kind in KINDS},
        "namespaces": rows(events.NAMESPACES, _NAMESPACE, "the busiest first"),
        "nodes": rows(events.NODES, _NODE, "the same by node, and what INFO counted"),
    },
)
_WINDOWS = report(
    events_watch.SCHEMA,
    "window after window of events (`cachectl stats events --watch`)",
    {
        "windows": rows(
            events_watch.columns(),
            _KINDS
            | _WINDOW
            | {
                "at": "the end of the window",
                "namespaces": "the busiest namespaces, each with its events by kind",
            },
            "in the order of time",
        )
    },
)
_HOTKEYS = report(
    hotkeys.SCHEMA,
    "the most used keys (`cachectl stats hotkeys`)",
    {
        "method": field(Kind.TEXT, "how they were found: hotkeys, lfu or monitor"),
        "how": field(Kind.TEXT, "what was done, and how sure the figures are"),
        "keys": rows(
            hotkeys.COLUMNS,
            {
                "key": "the key",
                "share": "of all accesses; of the server's CPU time with the method hotkeys of "
                "Redis",
                "network": "of all bytes that were sent and received",
                "per_second": "accesses a second",
                "accesses": "accesses lately, as its LFU counter has them",
                "frequency": "its LFU counter, 0 to 255",
                "namespace": "its namespace",
                "database": "its database, where that is told",
                "node": "the node that holds it",
            },
            "the most used first",
        ),
    },
)

SCHEMAS = [_EVENTS, _WINDOWS, _HOTKEYS]
