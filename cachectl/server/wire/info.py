"""INFO → records. Missing, unknown and absurd fields are None, never a crash."""

from __future__ import annotations

from collections.abc import Mapping

from cachectl.model.servers import NodeFacts

Info = Mapping[str, str]

# Forks answer `redis_version` with the Redis they are compatible with; their own name and version
# stand in other fields (measured: Valkey 8.1 and 9.1 both say redis_version:7.2.4).
_FLAVOURS = (
    ("valkey", "valkey_version"),
    ("dragonfly", "dragonfly_version"),
    ("keydb", "keydb_version"),
)


def parse_info(raw: bytes) -> dict[str, str]:
    """Return the fields of an INFO reply, all sections in one dictionary."""
    fields: dict[str, str] = {}
    for line in raw.decode("utf-8", "replace").splitlines():
        name, colon, value = line.partition(":")
        if colon and not line.startswith("#"):
            fields[name] = value
    return fields


def number(info: Info, field: str) -> int | None:
    """Return a field as a non-negative integer, None when it is absent or makes no sense."""
    try:
        value = int(info[field])
    except (KeyError, ValueError):
        return None
    return value if value >= 0 else None


def flavour_and_version(info: Info) -> tuple[str, str]:
    """Return who this really is: redis, valkey, dragonfly, keydb or unknown, and its version."""
    for flavour, field in _FLAVOURS:
        if field in info:
            return flavour, info[field].removeprefix("df-").removeprefix("v")
    if "redis_version" in info:
        return "redis", info["redis_version"]
    return "unknown", "unknown"


def mode_of(info: Info) -> str:
    """Return standalone, sentinel or cluster; '' when INFO does not say."""
    return info.get("server_mode") or info.get("redis_mode") or ""


def keyspace_of(info: Info, database: int) -> dict[str, int]:
    """Return `keys`, `expires`, `avg_ttl` … of one database; empty when it holds no key."""
    fields: dict[str, int] = {}
    for pair in info.get(f"db{database}", "").split(","):
        name, equals, value = pair.partition("=")
        if equals and value.isdigit():
            fields[name] = int(value)
    return fields


def node_facts(address: str, info: Info, database: int = 0) -> NodeFacts:
    """Return what one node's INFO says about it."""
    flavour, version = flavour_and_version(info)
    role = {"master": "primary", "slave": "replica"}.get(info.get("role", ""), "unknown")
    return NodeFacts(
        address=address,
        role=role,
        run_id=info.get("run_id", ""),
        replid=info.get("master_replid", ""),
        version=version,
        flavour=flavour,
        keys=keyspace_of(info, database).get("keys", 0) if "redis_version" in info else None,
        used_memory=number(info, "used_memory"),
        maxmemory=number(info, "maxmemory"),
        policy=info.get("maxmemory_policy"),
    )


def replicas_of(info: Info) -> list[tuple[str, int]]:
    """Return host and port of each replica that is connected, as INFO replication lists them."""
    replicas = []
    for name, line in info.items():
        if name.startswith("slave") and name[5:].isdigit():
            fields = dict(pair.partition("=")[::2] for pair in line.split(","))
            if fields.get("ip") and fields.get("port", "").isdigit():
                replicas.append((fields["ip"], int(fields["port"])))
    return replicas
