"""The schema of `evictions`."""

from __future__ import annotations

from cachectl.output.report import Kind
from cachectl.views.schemas.fragments import bounds, field, report, rows
from cachectl.views.stats import evictions

_HEAD: dict[str, tuple[Kind, str]] = {
    "window": (Kind.SECONDS, "length of the window"),
    "policy": (Kind.TEXT, "maxmemory-policy"),
    "maxmemory": (Kind.BYTES, "most memory that may be used; null: no limit"),
    "used": (Kind.BYTES, "memory that counts towards it"),
    "used_share": (Kind.RATIO, "used of maxmemory"),
    "headroom": (Kind.BYTES, "what is left; null: no limit"),
    "growth": (Kind.BYTES, "by which memory grew a second"),
    "seconds_until_full": (
        Kind.SECONDS,
        "until memory is full at that growth; null: unsure",
    ),
    "evictable": (Kind.RATIO, "share of the keys that the policy may evict at all"),
    "evicted": (Kind.COUNT, "keys that were evicted in the window"),
    "evicted_per_second": (Kind.RATE, "keys that were evicted"),
    "stay": (Kind.SECONDS, "that an evictable key stays on average; null: nothing is evicted"),
    "idle_p95": (Kind.SECONDS, "that 95 % of the keys were used within; null: not an LRU policy"),
    "full_counters": (Kind.RATIO, "share of the LFU counters that are full"),
    "young": (Kind.RATIO, "share of the evicted keys that were made in the window"),
    "young_age_p50": (Kind.SECONDS, "that half of these lived at most"),
    "regret": (Kind.RATIO, "share of the evicted keys that were missed later in the window"),
    "regret_of_misses": (Kind.RATIO, "share of the misses that are of such keys"),
    "own_lookups": (Kind.COUNT, "look-ups of our own that sampled the ages of keys"),
}
_ESTIMATED = ("growth", "seconds_until_full", "idle_p95", "full_counters")
_NAMESPACE = {
    "namespace": "the namespace",
    "evicted": "its keys that were evicted in the window",
    "per_second": "the same",
    "share": "of all evicted keys",
    "regretted": "evicted keys that were missed later in the window",
    "young": "evicted keys that were made in the window",
    "missed": "look-ups of its keys that are not there",
}
_NODE = {name: text for name, (_, text) in _HEAD.items()} | {
    "node": "the node",
    "maxmemory": "most memory that may be used; 0: no limit",
    "keys": "keys of all databases",
    "over_limit": "that memory was above maxmemory in the window",
}
_SETTING = {
    "name": "name of the setting",
    "value": "as it is; null: it may not be read",
    "reason": "why it matters now",
    "advice": "what helps",
}

SCHEMAS = [
    report(
        evictions.SCHEMA,
        "memory pressure, evictions and what decides about them (`cachectl evictions`)",
        {
            **{name: field(kind, text) for name, (kind, text) in _HEAD.items()},
            **{k: v for name in _ESTIMATED for k, v in bounds(name, _HEAD[name][0]).items()},
            "namespaces": rows(evictions.NAMESPACES, _NAMESPACE, "the most evicted first"),
            "nodes": rows(evictions.NODES, _NODE, "the same by node"),
            "settings": rows(evictions.SETTINGS, _SETTING, "the most important first"),
        },
    )
]
