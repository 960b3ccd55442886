"""The schemas of `profiles list`, `show` and `check`."""

from __future__ import annotations

from cachectl.views import profiles
from cachectl.views.health import profile_check
from cachectl.views.schemas.fragments import fields, record, report, rows

_LIST = {
    "name": "name of the profile",
    "address": "where the server is, null when the profile is not valid",
    "topology": "standalone, sentinel or cluster",
    "environment": "production, staging or development",
    "tls": "whether it uses TLS",
    "read_only": "whether it refuses commands that change keys",
    "place": "user, runtime, system or built-in",
    "path": "its file",
    "hidden": "whether an earlier place has the name",
    "description": "the profile's own words",
    "problem": "what is not valid in it",
}
_HEAD = {
    "name": "name of the profile",
    "description": "its own words",
    "source": "its file",
    "environment": "production, staging or development",
    "read_only": "whether it refuses commands that change keys",
    "topology": "standalone, sentinel or cluster",
    "addresses": "the node, the sentinels, or the seed nodes of a cluster",
    "sentinel_master": "name of the master that the sentinels watch",
    "address_map": "what nodes announce → what is reachable from here",
    "database": "number of the database",
    "protocol": "RESP version",
    "protected": "patterns of keys that are never changed",
    "policy": "the policy file",
}
_LOGIN = {
    "username": "ACL user, null for the default one",
    "password": "where the password comes from; never the password",
}
_TLS = {
    "ca_file": "whom to trust, null for the system's CAs",
    "cert_file": "our certificate",
    "key_file": "its key",
    "key_password": "where the key's password comes from",
    "server_name": "the name in the server's certificate, null for the host's",
    "verify": "whether the server is verified",
}
_TIMEOUTS = {
    "connect": "connecting and logging in to one node",
    "reply": "one reply",
    "loading": "waiting for a server that loads its data",
}
_LIMITS = {
    "pace": "gentle, normal or flat-out",
    "max_rate": "most keys",
    "max_latency": "a slower round trip slows work down",
    "critical_latency": "a slower one stops it",
    "max_lag": "a replica further behind pauses writing",
    "critical_lag": "one further behind stops it",
    "max_keys": "most keys that one run may change",
    "max_percent": "the same in percent of all keys",
    "max_archive": "most that one run's archive may take",
}
_THRESHOLDS = {
    "hit_ratio": "least hit ratio",
    "latency_p99": "most latency of 99 % of the commands",
    "memory": "most share of maxmemory",
    "fragmentation": "most fragmentation ratio",
    "evicted_per_second": "most evictions",
    "connected_clients": "most clients",
    "blocked_clients": "most blocked clients",
    "replica_lag": "most that a replica may be behind",
    "checks": "name of a check → its ranges, warn and critical; null: none",
}
_SUPPRESSIONS = {
    "id": "glob of the findings that are accepted",
    "subject": "glob of what they are about, null for whatever it is",
    "until": "the last day on which they are",
    "reason": "why",
}
_CHECK = {
    "user": "the user's name on the server",
    "protocol": "RESP version that was agreed on",
    "tls": "whether the connection uses TLS",
}
_NODES = {
    "address": "host:port, or the path of a socket",
    "role": "primary or replica",
    "version": "version, null when the node was not asked",
    "keys": "keys of the chosen database",
    "used_memory": "memory in use",
    "maxmemory": "most memory it may use, null for no limit",
    "policy": "maxmemory-policy",
    "slots": "slots of a cluster's node",
}
_STEPS = {"step": "what was done", "seconds": "how long it took"}
_CAPABILITIES = {
    "feature": "name of the feature",
    "works": "whether it works with this server and this login",
    "purpose": "what it is for",
    "reason": "why it does not work",
    "acl": "the command that would allow it",
}

SCHEMAS = [
    report(
        profiles.LIST_SCHEMA,
        "all profiles (`cachectl profiles list`)",
        {"profiles": rows(profiles._LIST, _LIST, "in the order of the search")},
    ),
    report(
        profiles.SHOW_SCHEMA,
        "one profile, every value in force (`cachectl profiles show`)",
        fields(profiles._HEAD, _HEAD)
        | {
            "login": record(profiles._LOGIN, _LOGIN, "who we are"),
            "sentinel_login": record(profiles._LOGIN, _LOGIN, "who we are to the sentinels"),
            "tls": record(profiles._TLS, _TLS, "TLS, when it is used"),
            "timeouts": record(profiles._TIMEOUTS, _TIMEOUTS, "how long to wait"),
            "limits": record(profiles._LIMITS, _LIMITS, "how hard to work, how much to change"),
            "thresholds": record(
                profiles._THRESHOLDS, _THRESHOLDS, "when to speak up; null: not watched"
            ),
            "suppressions": rows(
                profiles._SUPPRESSIONS, _SUPPRESSIONS, "findings that are accepted"
            ),
        },
        optional=("sentinel_login", "tls", "suppressions"),
    ),
    report(
        profile_check.SCHEMA,
        "who answered, and what works there (`cachectl profiles check`)",
        fields(profile_check._HEAD, _CHECK)
        | {
            "nodes": rows(profile_check._NODES, _NODES, "all nodes"),
            "steps": rows(profile_check._STEPS, _STEPS, "connecting, step by step"),
            "capabilities": rows(
                profile_check._CAPABILITIES, _CAPABILITIES, "the features of cachectl"
            ),
        },
    ),
]
