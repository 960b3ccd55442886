"""The schemas of `memory` and its subcommands."""

from __future__ import annotations

from cachectl.output.report import Kind
from cachectl.views.memory import advise, biggest, cold, where
from cachectl.views.schemas.fragments import Schema, bounds, field, report, rows

SAMPLE: Schema = {
    "description": "null when all keys were read; else how the sample was drawn",
    "type": ["object", "null"],
    "properties": {
        "size": {"type": "integer", "description": "keys that were drawn"},
        "confidence": {"type": "number", "description": "of every interval (0 to 1)"},
        "keyspace": {"type": "integer", "description": "keys to draw from"},
        "coverage": {"type": "number", "description": "share of the keyspace that was drawn"},
    },
}
_GROUP = {
    "keys": "keys",
    "bytes": "their memory, as MEMORY USAGE has it",
    "share": "share of the memory of all keys",
    "mean": "memory of a key in the mean",
    "largest_key": "the largest key",
    "largest_bytes": "memory of that key",
}
_NODE = {
    "node": "the node",
    "used_memory": "memory in use",
    "dataset": "of it, values",
    "overhead": "of it, everything else",
    "maxmemory": "most memory that it may use, null: no limit",
    "used_share": "used_memory of maxmemory",
    "rss": "resident memory of the process",
    "fragmentation": "resident to used memory",
    "peak": "most memory that was in use",
    "keys": "keys of all databases",
    "parts": "part → bytes; they add up to used_memory",
}
_SIZES = {
    "type": "type of the keys",
    "unit": "bytes (of a string), elements, or memory (bytes of the key, as MEMORY USAGE has it)",
    "low": "least size in the bin",
    "high": "greatest size in the bin",
    "keys": "keys in the bin",
    "database": "database, null for the one that was read",
}
_KEY = {
    "key": "name of the key",
    "type": "its type",
    "bytes": "its memory, as MEMORY USAGE has it",
    "elements": "its elements; of a string, its length in bytes",
    "namespace": "what its name has in common with others",
    "node": "the node that holds it",
}
_COLD = {
    "namespace": "what the names of its keys have in common",
    "keys": "its keys",
    "bytes": "their memory",
    **{
        f"{level}_{what}": f"its {what} not touched for {one} (LRU policies, or none)"
        for level, one in (("hour", "an hour"), ("day", "a day"), ("week", "a week"))
        for what in ("keys", "bytes")
    },
    "unused_keys": "its keys whose LFU counter is 0 (LFU policies alone)",
    "unused_bytes": "their memory (LFU policies alone)",
}

SCHEMAS = [
    report(
        where.SCHEMA,
        "where the bytes of a server are (`cachectl memory`)",
        {
            "used_memory": field(Kind.BYTES, "memory in use"),
            "peak": field(Kind.BYTES, "most memory that was in use"),
            "maxmemory": field(Kind.BYTES, "most memory that may be used, null: no limit"),
            "used_share": field(Kind.RATIO, "used_memory of maxmemory"),
            "policy": field(Kind.TEXT, "maxmemory-policy"),
            "rss": field(Kind.BYTES, "resident memory of the processes"),
            "fragmentation": field(Kind.NUMBER, "resident to used memory, of the worst node"),
            "fragmentation_bytes": field(
                Kind.BYTES, "pages of the allocator that allocations do not fill"
            ),
            "retained": field(Kind.BYTES, "pages that the allocator holds free"),
            "outside": field(Kind.BYTES, "resident beside the allocator; negative when swapped"),
            "lua": field(Kind.BYTES, "of the engines of scripts"),
            "allocator": field(Kind.TEXT, "mem_allocator"),
            "machine_memory": field(Kind.BYTES, "memory of the machine, null for several nodes"),
            "keys": field(Kind.COUNT, "keys of all databases"),
            "dataset": field(Kind.BYTES, "used memory without the overhead"),
            "overhead": field(Kind.BYTES, "tables, buffers, scripts and the server itself"),
            "unknown": field(Kind.DATA, "figures of MEMORY STATS that cachectl does not know"),
            "keys_bytes": field(Kind.BYTES, "memory of all keys that were read, by MEMORY USAGE"),
            **bounds("keys_bytes", Kind.BYTES),
            "keys_read": field(Kind.COUNT, "keys that were read, or that the sample stands for"),
            **bounds("keys_read", Kind.COUNT),
            "by": field(Kind.TEXT, "what keys are grouped by"),
            "sample": SAMPLE,
            "parts": rows(
                where.PARTS,
                {
                    "part": "name of the part",
                    "bytes": "its memory",
                    "share": "share of used_memory",
                },
                "where used_memory is; the parts add up to it",
            ),
            "nodes": rows(where.NODES, _NODE, "the nodes"),
            "databases": rows(
                where.DATABASES,
                {
                    "database": "its number",
                    "keys": "its keys",
                    "with_ttl": "of these, keys with a TTL",
                    "tables": "memory of the table of its keys",
                    "expires": "memory of the table of its TTLs",
                    "slots": "memory of its table of slots",
                },
                "the databases, over all nodes",
            ),
            "namespaces": rows(
                where.NAMESPACES,
                _GROUP | {"namespace": "what the names of its keys have in common"},
                "the largest first",
            ),
            "layers": rows(
                where.LAYERS,
                _GROUP | {"layer": "session, application or shared, by the policy's rules"},
                "largest first; empty without a policy that names layers",
            ),
            "types": rows(where.TYPES, _GROUP | {"type": "type of the keys"}, "largest first"),
            "sizes": rows(where.SIZES, _SIZES, "how large values are, in powers of two"),
        },
        optional=("namespaces", "layers", "types"),
    ),
    report(
        biggest.SCHEMA,
        "the biggest keys (`cachectl memory keys`)",
        {
            "keys_read": field(Kind.COUNT, "keys that were looked at"),
            "sample": SAMPLE,
            "biggest": rows(biggest.KEYS, _KEY, "by bytes, the biggest first"),
            "by_elements": rows(biggest.KEYS, _KEY, "by elements; strings have none"),
            "by_namespace": rows(biggest.KEYS, _KEY, "by bytes, of each namespace"),
        },
    ),
    report(
        cold.SCHEMA,
        "memory that nobody has touched (`cachectl memory cold`)",
        {
            "keys": field(Kind.COUNT, "keys in all"),
            **bounds("keys", Kind.COUNT),
            "bytes": field(Kind.BYTES, "their memory"),
            **bounds("bytes", Kind.BYTES),
            "sample": SAMPLE,
            "levels": rows(
                cold.LEVELS,
                {
                    "level": "hour, day, week; or unused, under an LFU policy",
                    "seconds": "idle for so long at least, null for unused",
                    "keys": "keys that are so cold",
                    "bytes": "their memory",
                    "share": "share of the memory of all keys",
                },
                "how much is how cold; what is cold for a week is so for a day, too",
            ),
            "namespaces": rows(cold.NAMESPACES, _COLD, "the coldest first"),
        },
    ),
    report(
        advise.SCHEMA,
        "what would save memory (`cachectl memory advise`)",
        {
            "used_memory": field(Kind.BYTES, "memory in use"),
            "values_read": field(Kind.COUNT, "values that were looked into"),
            "bytes_read": field(Kind.BYTES, "how much of them was read"),
            "sample": SAMPLE,
            "advice": rows(
                advise.ADVICE,
                {
                    "saves": "memory that it would save, null when it protects instead",
                    "share": "share of used_memory",
                    "id": "stable: memory.name",
                    "subject": "namespace, key, node or null that it is about",
                    "keys": "keys that it is about",
                    "title": "one sentence",
                    "basis": "how the saving was estimated",
                    "risk": "what to mind",
                    "how": "commands or settings",
                    "severity": "info, warning or critical; from warning on it is a finding, too",
                },
                "worst dangers first, then by what it saves",
            ),
        },
    ),
]
