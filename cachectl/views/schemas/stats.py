"""The schemas of `stats` and its subcommands."""

from __future__ import annotations

from cachectl.output.report import Column, Kind
from cachectl.views.schemas.fragments import Schema, field, record, report, rows
from cachectl.views.stats import clients, commands, latency, slow, watch, window

_COUNTS = {
    "hits": "look-ups that found their key, our own left out",
    "misses": "look-ups that did not, our own left out",
    "reads": "commands that read",
    "writes": "commands that write",
    "commands": "commands",
    "errors": "commands that failed",
    "expired": "keys that expired",
    "evicted": "keys that were evicted",
    "connections": "connections that were opened",
    "rejected_connections": "connections that were refused",
    "net_input_bytes": "bytes received",
    "net_output_bytes": "bytes sent",
}
_GAUGES = {
    "used_memory": "memory in use at the end of the window",
    "used_memory_change": "its change in the window",
    "maxmemory": "most memory that may be used, 0 or null for no limit",
    "used_share": "used_memory of maxmemory",
    "fragmentation": "resident memory to used memory",
    "connected_clients": "clients at the end of the window",
    "blocked_clients": "of these, waiting in a blocking command",
    "cpu": "share of one core that the server used",
    "keys": "keys of all databases",
}
_OWN = {
    "own_lookups": "look-ups of cachectl's own jobs, which are subtracted",
    "own_hits": "of these, hits",
    "own_misses": "of these, misses",
    "own_lookups_exact": "whether own_lookups is exact",
    "foreign_commands": "commands of another cachectl; its look-ups are in the figures",
}
_NODE = {
    "node": "the node",
    "seconds": "length of its window",
    "hits": _COUNTS["hits"],
    "misses": _COUNTS["misses"],
    "hit_ratio": "hits of all look-ups",
    "commands_per_second": "commands",
    "expired": _COUNTS["expired"],
    "evicted": _COUNTS["evicted"],
    "used_memory": _GAUGES["used_memory"],
    "used_memory_change": _GAUGES["used_memory_change"],
    "connected_clients": _GAUGES["connected_clients"],
    "cpu": _GAUGES["cpu"],
    "event": "what befell it in the window, such as restarted or reset",
    "since_start_hit_ratio": "hit ratio since it was started",
    "uptime": "since it was started",
    "own_lookups": _OWN["own_lookups"],
    "maxmemory": _GAUGES["maxmemory"],
    "run_id": "changes with every start of the node",
}
_WATCH = (
    _COUNTS
    | _GAUGES
    | _OWN
    | {
        "at": "the end of the window",
        "window": "length of the window",
        "hit_ratio": "hits of all look-ups",
        "changes": "what changed since the window before, in words",
    }
)
_COMMAND = {
    "command": "the command",
    "kind": "read, write or other",
    "calls": "calls in the window",
    "per_second": "calls",
    "share": "of all calls",
    "seconds": "the server's time in it",
    "time_share": "of its time in all commands",
    "per_call": "the server's time in one call",
    "rejected": "calls that were refused before they ran",
    "failed": "calls that failed",
}
_ERROR = {
    "kind": "first word of the error",
    "count": "such errors in the window",
    "per_second": "such errors",
}
_GROUP = {
    "group": "what its connections have in common",
    "clients": "connections",
    "idle": "of these, idle for `idle_from` seconds or longer",
    "idle_p50": "half of them are idle for less",
    "idle_max": "the longest idle time",
    "age_max": "age of the oldest connection",
    "blocked": "waiting in a blocking command",
    "subscribed": "waiting for messages",
    "came": "opened in the window",
    "went": "closed in the window",
    "output": "replies that are not read yet",
    "memory": "memory that they take",
    "commands": "connections by their last command",
}
_LIMITS = {
    "node": "the node",
    "connected_clients": "clients",
    "maxclients": "most clients",
    "used_share": "clients of maxclients",
    "opened": "connections that were opened in the window",
    "rejected": "connections that were refused",
    "timeout": "idle connections are closed after, 0 for never",
}
_PROBE = {
    "node": "the node",
    "probes": "round trips that were measured",
    "p50": "half of them took less",
    "p99": "99 % of them took less",
    "p999": "99.9 % of them took less",
    "worst": "the longest",
    "own_delay_p50": "waiting for a CPU of this machine: half took less",
    "own_delay_p99": "the same for 99 %",
    "own_delay_worst": "the longest such wait",
    "late_p99": "99 % of the probes were sent later than planned by less than",
}
_COMMAND_LATENCY = {
    "command": "the command",
    "calls": "calls since the start or the last reset",
    "p50": "half of them took less in the server",
    "p99": "99 % of them took less",
    "p999": "99.9 % of them took less",
}
_EVENT = {
    "node": "the node",
    "event": "name of the event, as LATENCY LATEST has it",
    "at": "when it was last seen",
    "latest": "how long it took then",
    "worst": "the longest ever",
}
_SLOW = {
    "shape": "the command with its key as a template and ? for all else",
    "why": "slow, or a large request or reply",
    "namespace": "the namespace of its key",
    "count": "such commands in the log",
    "seconds": "their time in all",
    "worst": "the longest",
    "bytes": "the largest request or reply",
    "first": "the first in the log",
    "last": "the last in the log",
    "clients": "commands by client",
    "nodes": "commands by node",
}
_THRESHOLD = {
    "node": "the node",
    "why": "slow, or a large request or reply",
    "threshold": "from how many microseconds or bytes on a command is logged",
}


def _counts(kind: Kind, names: dict[str, str], text: str) -> Schema:
    return record([Column(name, kind) for name in names], names, text)


def _flat(kinds: dict[str, Kind], texts: dict[str, str]) -> Schema:
    return {name: field(kind, texts[name]) for name, kind in kinds.items()}


_STARTED = {name: text for name, text in _COUNTS.items() if name not in ("reads", "writes")}
_SINCE_START = _counts(Kind.COUNT, _STARTED, "the same since the server was started")
_SINCE_START["properties"] = {
    "seconds": field(Kind.SECONDS, "since the start"),
    "hit_ratio": field(Kind.RATIO, "hits of all look-ups"),
    **_SINCE_START["properties"],
}

_STATS = report(
    window.SCHEMA,
    "hits, misses and load over a window (`cachectl stats`)",
    {
        "window": field(Kind.SECONDS, "length of the window"),
        "hit_ratio": field(Kind.RATIO, "hits of all look-ups"),
        **_flat(
            {
                "own_lookups": Kind.COUNT,
                "own_hits": Kind.COUNT,
                "own_misses": Kind.COUNT,
                "own_lookups_exact": Kind.BOOL,
                "foreign_commands": Kind.COUNT,
            },
            _OWN,
        ),
        **{name: field(Kind.COUNT, text) for name, text in _COUNTS.items()},
        **_flat(
            {
                "used_memory": Kind.BYTES,
                "used_memory_change": Kind.SIGNED_BYTES,
                "maxmemory": Kind.BYTES,
                "used_share": Kind.RATIO,
                "fragmentation": Kind.NUMBER,
                "connected_clients": Kind.COUNT,
                "blocked_clients": Kind.COUNT,
                "cpu": Kind.RATIO,
                "keys": Kind.COUNT,
            },
            _GAUGES,
        ),
        "per_second": _counts(Kind.RATE, _COUNTS, "the counts as rates"),
        "since_start": _SINCE_START,
        "nodes": rows(window._NODES, _NODE, "the same by node"),
    },
)
_WINDOWS = report(
    watch.SCHEMA,
    "window after window (`cachectl stats --watch`)",
    {"windows": rows(watch.COLUMNS, _WATCH, "in the order of time")},
)
_COMMANDS = report(
    commands.SCHEMA,
    "which commands were called, and what they cost (`cachectl stats commands`)",
    {
        "window": field(Kind.SECONDS, "length of the window"),
        "calls": field(Kind.COUNT, "calls in all"),
        "busy": field(Kind.SECONDS, "the server's time in commands"),
        "commands": rows(commands._COLUMNS, _COMMAND, "in the order of --sort"),
        "errors": rows(commands._ERRORS, _ERROR, "what failed"),
    },
)
_CLIENTS = report(
    clients.SCHEMA,
    "who is connected (`cachectl stats clients`)",
    {
        "window": field(Kind.SECONDS, "between two looks; null for one look"),
        "clients": field(Kind.COUNT, "connections, our own left out"),
        "by": field(Kind.TEXT, "what they are grouped by"),
        "idle_from": field(Kind.SECONDS, "what counts as idle"),
        "groups": rows(clients._columns("name"), _GROUP, "the largest first"),
        "nodes": rows(clients._NODES, _LIMITS, "limits of each node"),
    },
)
_LATENCY = report(
    latency.SCHEMA,
    "how long round trips and commands take (`cachectl stats latency`)",
    {
        "window": field(Kind.SECONDS, "length of the window"),
        "probes": rows(latency._PROBES, _PROBE, "round trips from here"),
        "histogram": rows(
            (Column("label"), Column("value", Kind.COUNT)),
            {"label": "from and to", "value": "round trips"},
            "of all round trips",
        ),
        "commands": rows(latency._COMMANDS, _COMMAND_LATENCY, "in the server"),
        "events": rows(latency._EVENTS, _EVENT, "latency events"),
    },
)
_SLOWEST = report(
    slow.SCHEMA,
    "slow commands that the server has logged (`cachectl stats slow`)",
    {
        "entries": field(Kind.COUNT, "commands in the log"),
        "commands": rows(slow._columns(sizes=True), _SLOW, "by shape"),
        "thresholds": rows(
            (Column("node"), Column("why"), Column("threshold", Kind.NUMBER)),
            _THRESHOLD,
            "what the servers log",
        ),
    },
)

SCHEMAS = [_STATS, _WINDOWS, _COMMANDS, _CLIENTS, _LATENCY, _SLOWEST]
