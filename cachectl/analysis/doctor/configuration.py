"""Settings that do not fit a cache, as INFO and CONFIG GET show them."""

from __future__ import annotations

from collections.abc import Iterable

from cachectl.analysis.doctor.facts import Facts, NodeState, Part, Rule
from cachectl.analysis.health.gauging import persists
from cachectl.analysis.traffic.counters import number
from cachectl.model.findings import Finding, Severity

_INFO, _WARNING, _CRITICAL = Severity.INFO, Severity.WARNING, Severity.CRITICAL
LARGE_SHARE = 0.25
"""The share of maxmemory that one replica's buffer may take."""
BACKLOG_SECONDS = 60
"""How long a replica may be gone without a full resynchronisation."""


def persistence_of_a_cache(facts: Facts) -> Iterable[Finding]:
    """A policy that evicts any key says that the data can be had again: why write it to disk?"""
    for node in facts.nodes:
        policy = node.info.get("maxmemory_policy", "")
        if not policy.startswith("allkeys-") or not persists(node.info, node.settings.get("save")):
            continue
        aof = node.info.get("aof_enabled") == "1"
        how = "an append-only file" if aof else f"snapshots ({node.settings.get('save', 'on')})"
        yield Finding(
            "config.persistence_of_a_cache",
            _INFO,
            f"the policy {policy} treats this as a cache, and yet it is written to disk",
            f"{how}; each fork can double the memory while keys change",
            "CONFIG SET appendonly no, then CONFIG SET save ''"
            if aof
            else "CONFIG SET save '', if a cold start is bearable",
            node.node,
        )


def saving_fails(facts: Facts) -> Iterable[Finding]:
    """Snapshots or the append-only file that can't be written."""
    for node in facts.nodes:
        for field, what, then in (
            ("rdb_last_bgsave_status", "the last snapshot", "stop-writes-on-bgsave-error"),
            ("aof_last_write_status", "the last write to the append-only file", ""),
            ("aof_last_bgrewrite_status", "the last rewrite of the append-only file", ""),
        ):
            if node.info.get(field) == "err":
                stops = then and node.settings.get(then, "yes") == "yes"
                yield Finding(
                    "persistence.failing",
                    _CRITICAL if stops or field == "aof_last_write_status" else _WARNING,
                    f"{what} failed" + (": writes are refused until one works" if stops else ""),
                    f"{field} is err",
                    "see the server's log: a full disk, a missing directory, no memory to fork",
                    node.node,
                )


def appendfsync_always(facts: Facts) -> Iterable[Finding]:
    """A cache that waits for the disk on every write."""
    for node, value in facts.settings("appendfsync"):
        if value == "always" and node.info.get("aof_enabled") == "1":
            yield Finding(
                "config.appendfsync_always",
                _WARNING,
                "every write waits for the disk",
                "appendfsync is always",
                "CONFIG SET appendfsync everysec",
                node.node,
            )


def huge_pages(facts: Facts) -> Iterable[Finding]:
    """Transparent huge pages: a fork then copies 2 MB for each byte that changes."""
    for node in facts.nodes:
        on = node.settings.get("disable-thp") == "no"
        if on or "huge pages" in node.advice.lower():
            yield Finding(
                "config.huge_pages",
                _WARNING,
                "the server does not switch transparent huge pages off for itself"
                if on
                else "LATENCY DOCTOR sees transparent huge pages at work",
                "disable-thp is no" if on else "memory and latency jump at each fork",
                "start the server with disable-thp yes, or "
                "echo never > /sys/kernel/mm/transparent_hugepage/enabled on its machine",
                node.node,
            )


def replica_buffer(facts: Facts) -> Iterable[Finding]:
    """The output buffer of replicas: without a limit, or large against maxmemory."""
    for node, value in facts.settings("client-output-buffer-limit"):
        limits = _buffer_limits(value)
        hard = limits.get("slave", limits.get("replica"))
        if hard is None or not _has_replicas(node):
            continue
        most = number(node.info, "maxmemory") or 0
        if hard == 0 or (most and hard > LARGE_SHARE * most):
            yield Finding(
                "config.replica_buffer",
                _WARNING,
                "a slow replica may take "
                + ("all memory" if hard == 0 else "much of the memory")
                + " for what it has not read",
                f"client-output-buffer-limit {value}" + (f", maxmemory {most:,}" if most else ""),
                'CONFIG SET client-output-buffer-limit "replica 256mb 64mb 60"',
                node.node,
            )


def pubsub_buffer(facts: Facts) -> Iterable[Finding]:
    """Subscribers that do not read take memory without end."""
    for node, value in facts.settings("client-output-buffer-limit"):
        if _buffer_limits(value).get("pubsub") == 0:
            yield Finding(
                "config.pubsub_buffer",
                _WARNING,
                "a subscriber that does not read may take all memory",
                f"client-output-buffer-limit {value}",
                'CONFIG SET client-output-buffer-limit "pubsub 32mb 8mb 60"',
                node.node,
            )


def replication_backlog(facts: Facts) -> Iterable[Finding]:
    """A backlog that is overwritten before a replica that was gone for a moment is back."""
    for node, value in facts.settings("repl-backlog-size"):
        written = node.written
        if not written or not _has_replicas(node) or not value.isdigit():
            continue
        covers = int(value) / written
        if covers < BACKLOG_SECONDS:
            wanted = -(-int(written * BACKLOG_SECONDS) // 1024**2)
            yield Finding(
                "config.replication_backlog",
                _WARNING,
                f"a replica that is gone for {covers:.0f} s needs everything anew",
                f"{written:,.0f} bytes a second are written, repl-backlog-size {int(value):,}",
                f"CONFIG SET repl-backlog-size {wanted}mb",
                node.node,
            )


def replication(facts: Facts) -> Iterable[Finding]:
    """Links that are down, replicas that are far behind or not synchronised."""
    for node in facts.nodes:
        if node.info.get("role") == "slave" and node.info.get("master_link_status") == "down":
            yield Finding(
                "replication.link_down",
                _CRITICAL,
                "this replica has lost its primary",
                f"for {node.info.get('master_link_down_since_seconds', '?')} s",
                "see whether the primary is up, and `masterauth` of the replica",
                node.node,
            )
        for line in _replicas(node):
            if line.get("state") != "online":
                yield Finding(
                    "replication.not_online",
                    _WARNING,
                    f"the replica {line.get('ip', '?')}:{line.get('port', '?')} is not in step",
                    f"its state is {line.get('state', '?')}",
                    "wait for its synchronisation; when it never ends, raise repl-timeout and the "
                    "replica's output buffer",
                    node.node,
                )
        if facts.replica_lag is not None and node.lag > facts.replica_lag:
            yield Finding(
                "replication.lag",
                _WARNING,
                f"a replica is {node.lag:,} bytes behind, more than {facts.replica_lag:,}",
                subject=node.node,
                remedy="look at its network and load; cachectl check replication_lag watches it",
            )


def writable_replica(facts: Facts) -> Iterable[Finding]:
    """A replica that takes writes nobody else will ever see."""
    for node, value in facts.settings("replica-read-only"):
        if value == "no" and node.info.get("role") == "slave":
            yield Finding(
                "config.writable_replica",
                _WARNING,
                "this replica takes writes, which its primary never hears of",
                "replica-read-only is no",
                "CONFIG SET replica-read-only yes",
                node.node,
            )


def events_of_everything(facts: Facts) -> Iterable[Finding]:
    """Notifications of every write cost a fifth of the time that a write takes."""
    for node, value in facts.settings("notify-keyspace-events"):
        writes = {"$", "l", "s", "h", "z", "t", "A"} & set(value)
        if {"K", "E"} & set(value) and writes:
            yield Finding(
                "config.events_of_everything",
                _INFO,
                "an event is published for every write",
                f"notify-keyspace-events is {value}; measured, a SET takes 27 % longer with KEA "
                "and nobody listening",
                "CONFIG SET notify-keyspace-events Ex, if expiries are all that is needed",
                node.node,
            )


def lazy_freeing(facts: Facts) -> Iterable[Finding]:
    """Giants that are evicted or expire are freed while everybody waits."""
    giants = [one for one in facts.reported.get("giants", ()) if one.id == "memory.giant"]
    if not giants:
        return
    for node in facts.nodes:
        off = [
            name
            for name in ("lazyfree-lazy-eviction", "lazyfree-lazy-expire", "lazyfree-lazy-user-del")
            if node.settings.get(name) == "no"
        ]
        if off:
            yield Finding(
                "config.lazy_freeing",
                _INFO,
                "giant keys are freed while everybody waits",
                f"{', '.join(off)}: no; the giant {giants[0].subject}",
                f"CONFIG SET {off[0]} yes" + (", and the others" if len(off) > 1 else ""),
                node.node,
            )


def dead_connections(facts: Facts) -> Iterable[Finding]:
    """Connections whose other end has gone are kept for ever."""
    for node, value in facts.settings("tcp-keepalive"):
        if value == "0" and node.settings.get("timeout", "0") == "0":
            yield Finding(
                "config.dead_connections",
                _WARNING,
                "connections whose other end has gone are kept for ever",
                "tcp-keepalive is 0, and so is timeout",
                "CONFIG SET tcp-keepalive 300",
                node.node,
            )


def nothing_logged(facts: Facts) -> Iterable[Finding]:
    """No slow command is ever noted."""
    for name in ("slowlog-log-slower-than", "commandlog-execution-slower-than"):
        for node, value in facts.settings(name):
            if value.startswith("-"):
                yield Finding(
                    "config.nothing_logged",
                    _INFO,
                    "slow commands are not logged",
                    f"{name} is {value}",
                    f"CONFIG SET {name} 10000",
                    node.node,
                )
                return


def few_samples(facts: Facts) -> Iterable[Finding]:
    """Eviction that looks at too few keys, or at so many that it is slow."""
    for node, value in facts.settings("maxmemory-samples"):
        policy = node.info.get("maxmemory_policy", "")
        if value.isdigit() and ("lru" in policy or "lfu" in policy) and not 3 <= int(value) <= 16:
            yield Finding(
                "config.maxmemory_samples",
                _INFO,
                "eviction hardly tells old keys from new ones"
                if int(value) < 3
                else "eviction looks at many keys for each that it removes",
                f"maxmemory-samples is {value}, {policy}",
                "CONFIG SET maxmemory-samples 5",
                node.node,
            )


def _has_replicas(node: NodeState) -> bool:
    return bool(_replicas(node))


def _replicas(node: NodeState) -> list[dict[str, str]]:
    return [
        dict(pair.partition("=")[::2] for pair in line.split(","))
        for name, line in node.info.items()
        if name.startswith("slave") and name[5:].isdigit()
    ]


def _buffer_limits(value: str) -> dict[str, int]:
    """Return class → hard limit in bytes of `normal 0 0 0 slave 268435456 67108864 60 …`."""
    words = value.split()
    return {
        words[i]: int(words[i + 1]) for i in range(0, len(words) - 3, 4) if words[i + 1].isdigit()
    }


RULES = (
    Rule("persistence.failing", "saving works, where it is on", (Part.INFO,), saving_fails),
    Rule("replication", "replicas are in step, where there are any", (Part.INFO,), replication),
    Rule("config.huge_pages", "no huge pages", (Part.SETTINGS,), huge_pages),
    Rule(
        "config.replica_buffer", "replicas' buffers have limits", (Part.SETTINGS,), replica_buffer
    ),
    Rule(
        "config.pubsub_buffer", "subscribers' buffers have limits", (Part.SETTINGS,), pubsub_buffer
    ),
    Rule(
        "config.replication_backlog",
        "the replication backlog covers a short absence",
        (Part.SETTINGS, Part.TRAFFIC),
        replication_backlog,
    ),
    Rule("config.writable_replica", "replicas take no writes", (Part.SETTINGS,), writable_replica),
    Rule(
        "config.appendfsync_always",
        "writes do not wait for the disk",
        (Part.SETTINGS,),
        appendfsync_always,
    ),
    Rule(
        "config.dead_connections",
        "dead connections are noticed",
        (Part.SETTINGS,),
        dead_connections,
    ),
    Rule(
        "config.persistence_of_a_cache",
        "persistence fits the policy",
        (Part.INFO,),
        persistence_of_a_cache,
    ),
    Rule(
        "config.events_of_everything",
        "no needless events of keys",
        (Part.SETTINGS,),
        events_of_everything,
    ),
    Rule(
        "config.lazy_freeing", "giants are freed lazily", (Part.SETTINGS, Part.SIZES), lazy_freeing
    ),
    Rule("config.maxmemory_samples", "eviction samples enough", (Part.SETTINGS,), few_samples),
    Rule("config.nothing_logged", "slow commands are logged", (Part.SETTINGS,), nothing_logged),
)
