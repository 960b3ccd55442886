"""A keyspace for tests of removal and undo, and the independent truth about it."""

from __future__ import annotations

import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import redis


def everything(client: Any, prefix: str = "k", *, field_ttls: bool = False) -> None:
    """Write keys of every type and encoding that undo must bring back."""
    now = 4_000_000_000_000
    p = prefix
    client.set(f"{p}:s", "text")
    client.set(f"{p}:int", 12345)
    client.set(f"{p}:raw", b"\x00\xff" * 500)
    client.set(f"{p}:empty", "")
    client.set(f"{p}:ttl", "x", px=9_000_000)
    client.rpush(f"{p}:l", *range(20), "a" * 100)
    client.rpush(f"{p}:L", *(f"element {i}" * 20 for i in range(500)))
    client.sadd(f"{p}:intset", *range(50))
    client.sadd(f"{p}:set", *(f"m{i}" for i in range(600)))
    client.zadd(f"{p}:z", {"inf": "inf", "-inf": "-inf", "zero": "-0.0", "pi": 3.141592653589793})
    client.zadd(f"{p}:Z", {f"m{i}": i / 7 for i in range(300)})
    client.hset(f"{p}:h", mapping={f"f{i}": f"v{i}" for i in range(10)})
    client.hset(f"{p}:H", mapping={f"f{i}": f"v{i}" * 20 for i in range(700)})
    client.pfadd(f"{p}:hll", *range(1000))
    client.expire(f"{p}:h", 5000)
    for i in range(30):
        client.xadd(f"{p}:x", {"n": i, "text": "t" * i}, id=f"{1000 + i}-{i}")
    client.xgroup_create(f"{p}:x", "readers", id="1005-5")
    client.xreadgroup("readers", "alice", {f"{p}:x": ">"}, count=7)
    client.xgroup_create(f"{p}:x", "idle", id="$")
    client.xdel(f"{p}:x", "1003-3")
    if field_ttls:
        client.hset(f"{p}:hf", mapping={"keeps": "1", "goes": "2"})
        client.execute_command("HPEXPIREAT", f"{p}:hf", now, "FIELDS", 1, "goes")


def logical(client: Any, key: bytes) -> Any:
    """Return a key's value in a form that is the same on every server."""
    kind = client.type(key)
    match kind:
        case b"string":
            return kind, client.get(key)
        case b"list":
            return kind, client.lrange(key, 0, -1)
        case b"set":
            return kind, frozenset(client.smembers(key))
        case b"zset":
            pairs = client.execute_command("ZRANGE", key, 0, -1, "WITHSCORES")
            flat = [one for pair in pairs for one in (pair if isinstance(pair, list) else [pair])]
            return kind, [
                (member, struct.pack("<d", float(score)))
                for member, score in zip(flat[::2], flat[1::2], strict=True)
            ]
        case b"hash":
            return kind, client.hgetall(key), _field_times(client, key)
        case b"stream":
            return kind, client.xrange(key), _groups(client, key)
    return kind, client.dump(key)


def _field_times(client: Any, key: bytes) -> Any:
    names = sorted(client.hkeys(key))
    try:
        times = client.execute_command("HPEXPIRETIME", key, "FIELDS", len(names), *names)
    except redis.ResponseError:  # a server without field TTLs
        return None
    return times if any(time >= 0 for time in times) else None


def _groups(client: Any, key: bytes) -> Any:
    return [
        (
            group["name"],
            group["last-delivered-id"],
            sorted(c["name"] for c in client.xinfo_consumers(key, group["name"])),
            [
                (one["message_id"], one["consumer"], one["times_delivered"])
                for one in client.xpending_range(key, group["name"], "-", "+", 1000)
            ],
        )
        for group in client.xinfo_groups(key)
    ]


class Left(int):
    """Milliseconds that are left to a key, equal to what they are a minute later."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, int) or int(self) < 0 or int(other) < 0:
            return int(self) == other
        return abs(int(self) - int(other)) < 60_000

    __hash__ = int.__hash__


def truth(client: Any, keys: Any = None) -> dict[bytes, Any]:
    """Return key → (value, TTL that is left) of all keys but our own."""
    found = {}
    for key in sorted(client.scan_iter(count=1000) if keys is None else keys):
        if key.startswith(b"cachectl:"):
            continue
        ttl = client.pttl(key)
        found[key] = (logical(client, key), Left(ttl))
    return found


def archived(path: Path) -> dict[bytes, int]:
    """Read an archive with nothing of the product's: key → number of whole copies."""
    data = path.read_bytes() if path.exists() else b""
    if len(data) < 22:
        return {}
    (length,) = struct.unpack_from("<I", data, 18)
    at = 22 + length
    copies: dict[bytes, int] = {}
    while data[at : at + 4] == b"FRAM" and at + 48 <= len(data):
        _, raw_size, size = struct.unpack_from("<III", data, at + 4)
        if at + 48 + size > len(data):
            break
        raw = zlib.decompress(data[at + 48 : at + 48 + size])
        assert len(raw) == raw_size
        at += 48 + size
        _count_frame(raw, copies)
    return copies


def _count_frame(raw: bytes, copies: dict[bytes, int]) -> None:
    count, listed = struct.unpack_from("<II", raw, 0)
    at = 8 + listed + count * (2 + 1 + 8 + 8 + 2)
    columns = []
    for _ in range(3):
        sizes = struct.unpack_from(f"<{count}Q", raw, at)
        at += 8 * count
        column = []
        for size in sizes:
            column.append(raw[at : at + size])
            at += size
        columns.append(column)
    assert at == len(raw)
    for key, extra in zip(columns[0], columns[1], strict=True):
        if not (extra and json.loads(extra).get("more")):
            copies[key] = copies.get(key, 0) + 1


def state_home() -> Path:
    """Return where the program under test keeps its runs."""
    base = os.environ.get("XDG_STATE_HOME") or Path(os.environ["HOME"], ".local", "state")
    return Path(base, "cachectl")


def last_run() -> Path | None:
    """Return the directory of the newest run."""
    runs = state_home() / "runs"
    return max(runs.iterdir(), default=None) if runs.is_dir() else None
