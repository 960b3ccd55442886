"""Fill a server with a realistic mixed keyspace, fast, and know exactly what is in it.

`fill(server, 100_000)` writes pre-packed commands over one raw connection a node, with the
replies switched off. Names, types and values depend on n and seed alone.
"""

from __future__ import annotations

import itertools
import json
import random
import socket
from binascii import crc_hqx
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

HOUR, DAY = 3600, 86_400

SLOTS = 16_384

# A page of keys is packed and sent at once; large enough to make the system calls cheap.
_FLUSH_BYTES = 256 * 1024
# Values and TTLs are drawn from small pools packed beforehand: packing is what takes the time.
_POOL = 61
_TTL_POOL = 509


@dataclass(frozen=True, slots=True)
class Namespace:
    """One family of keys. share: keys of it in each 100; ttl: seconds from-to, None for none."""

    name: str
    share: int
    type: str
    key: Callable[[int], str]
    ttl: tuple[int, int] | None
    elements: tuple[int, int] = (1, 1)
    size: tuple[int, int] = (8, 60)


def _scramble(i: int) -> int:
    """Map i to a 64-bit number that looks random and differs for each i (SplitMix64's mixer)."""
    i = (i * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) & 0xFFFF_FFFF_FFFF_FFFF
    i = ((i ^ (i >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFF_FFFF_FFFF_FFFF
    return i ^ (i >> 27)


def _uuid(i: int) -> str:
    h = f"{_scramble(i):016x}{i:016x}"
    return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-8{h[17:20]}-{h[20:]}"


def _ticker(i: int) -> str:
    letters = ""
    i += 26**3
    while i:
        i, rest = divmod(i, 26)
        letters = chr(65 + rest) + letters
    return letters


def _date(i: int) -> str:
    return f"{2015 + i // 336 % 10}-{1 + i // 28 % 12:02d}-{1 + i % 28:02d}"


NAMESPACES: tuple[Namespace, ...] = (
    Namespace(
        "session",
        14,
        "string",
        lambda i: f"session:{_scramble(i):016x}",
        (300, 3600),
        size=(80, 400),
    ),
    Namespace("session-cart", 3, "hash", lambda i: f"cart:{{{i}}}:items", (HOUR, DAY), (2, 12)),
    Namespace("user-profile", 10, "hash", lambda i: f"user:{i}:profile", (DAY, 7 * DAY), (5, 12)),
    Namespace("user-prefs", 4, "string", lambda i: f"user:{i}:prefs", None, size=(60, 250)),
    Namespace("user-seen", 4, "set", lambda i: f"user:{i}:seen", (HOUR, DAY), (3, 40), (4, 9)),
    Namespace(
        "api-response", 14, "string", lambda i: f"api:v1:{_uuid(i)}", (240, 300), size=(200, 1500)
    ),
    Namespace("rate-limit", 7, "counter", lambda i: f"rl:{i % 97}:{i}", (300, 300)),
    Namespace("quote", 8, "hash", lambda i: f"mkt:quote:{_ticker(i)}", (240, 300), (4, 6), (4, 12)),
    Namespace("book", 3, "zset", lambda i: f"mkt:book:{_ticker(i)}", (240, 300), (5, 60), (6, 10)),
    Namespace(
        "history",
        7,
        "string",
        lambda i: f"price:hist:{_ticker(i // 365)}:{_date(i % 365)}",
        (4 * HOUR, DAY),
        size=(300, 900),
    ),
    Namespace("portfolio", 4, "hash", lambda i: f"portfolio:{i}:value", (300, HOUR), (3, 20)),
    Namespace("strategy", 3, "string", lambda i: f"strategy:{i}:result:bin", (HOUR, HOUR)),
    Namespace("leaderboard", 1, "zset", lambda i: f"lb:{i}", None, (20, 120), (8, 12)),
    Namespace("queue", 2, "list", lambda i: f"queue:job-{i}", None, (1, 30), (20, 80)),
    Namespace("events", 2, "stream", lambda i: f"events:{i}", (HOUR, DAY), (2, 6), (10, 40)),
    Namespace("lock", 3, "string", lambda i: f"lock:{_uuid(i)}", (HOUR, 2 * HOUR), size=(16, 16)),
    Namespace("tag", 3, "set", lambda i: f"tag:product:{i}", None, (2, 25), (6, 14)),
    Namespace("geo", 1, "zset", lambda i: f"geo:{i}:stores", (DAY, DAY), (3, 12), (6, 12)),
    Namespace("recent", 4, "list", lambda i: f"user:{i}:recent", (DAY, 2 * DAY), (3, 20), (8, 16)),
    Namespace("reference", 3, "string", lambda i: f"ref.country.{i}", None, size=(20, 60)),
)

TYPES = {"counter": "string"}


@dataclass(slots=True)
class Filled:
    """What `fill` wrote: exact counts, as the truth that a test compares with.

    by_namespace: Namespace.name → keys; by_type: TYPE's answer → keys; no_ttl: keys without TTL.
    """

    keys: int
    by_namespace: dict[str, int] = field(default_factory=dict)
    by_type: dict[str, int] = field(default_factory=dict)
    no_ttl: int = 0


class _Node(Protocol):
    host: str
    port: int
    username: str | None
    password: str | None


def pack(*words: bytes | str | int) -> bytes:
    """Return one command in RESP: `pack("SET", b"key", 1)`."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


def key_slot(key: bytes) -> int:
    """Return the cluster slot of a key: CRC16/XMODEM of the hash tag, or of the whole name."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return crc_hqx(key, 0) % SLOTS


def counts(n: int) -> dict[str, int]:
    """Return how many keys of each namespace `fill(…, n)` writes; they sum to n exactly."""
    result = {ns.name: n // 100 * ns.share for ns in NAMESPACES}
    slots = itertools.chain.from_iterable(itertools.repeat(ns.name, ns.share) for ns in NAMESPACES)
    for name in itertools.islice(slots, n % 100):
        result[name] += 1
    return result


def keys_of(n: int) -> Iterator[bytes]:
    """Yield the name of every key that `fill(…, n)` writes."""
    wanted = counts(n)
    for ns in NAMESPACES:
        for i in range(wanted[ns.name]):
            yield ns.key(i).encode()


def fill(server: object, n: int, seed: int = 1, *, db: int = 0) -> Filled:
    """Write n keys into a TestServer or TestCluster that has none of them; return what is there.

    Raises AssertionError when the server then holds another number of keys.
    """
    wanted = counts(n)
    filled = Filled(n, wanted)
    with _Sinks(server, db) as sinks:
        for ns in NAMESPACES:
            rng = random.Random(f"{seed}/{ns.name}")
            _write(sinks, ns, wanted[ns.name], rng)
            kind = TYPES.get(ns.type, ns.type)
            filled.by_type[kind] = filled.by_type.get(kind, 0) + wanted[ns.name]
            filled.no_ttl += wanted[ns.name] if ns.ttl is None else 0
        sinks.finish(n)
    return filled


def _write(sinks: _Sinks, ns: Namespace, n: int, rng: random.Random) -> None:
    """Send ns's first n keys: per key only its name is packed, the rest comes from the pools."""
    bodies = [_body(ns, rng) for _ in range(min(_POOL, n))]
    expiries = [b""]
    if ns.ttl is not None:
        # Milliseconds, so that the keys of a short tier do not all expire in the same instant.
        low, high = ns.ttl[0] * 1000, ns.ttl[1] * 1000
        expiries = [
            pack(rng.randint(low, high)).partition(b"\r\n")[2] for _ in range(min(_TTL_POOL, n))
        ]
    pexpire = b"*3\r\n$7\r\nPEXPIRE\r\n"
    send = sinks.send
    for i in range(n):
        name = ns.key(i).encode()
        key = b"$%d\r\n%b\r\n" % (len(name), name)
        parts = []
        for head, tail in bodies[i % len(bodies)]:
            parts += (head, key, tail)
        if ns.ttl is not None:
            parts += (pexpire, key, expiries[i % len(expiries)])
        send(name, b"".join(parts))


def _body(ns: Namespace, rng: random.Random) -> list[tuple[bytes, bytes]]:
    """Return the commands of one value, each as what goes before and after the packed key."""
    count = rng.randint(*ns.elements)
    texts = [_text(rng, rng.randint(*ns.size)) for _ in range(count)]
    match ns.type:
        case "string":
            return [_around("SET", _value(ns, rng))]
        case "counter":
            return [_around("SET", rng.randint(1, 5000))]
        case "hash":
            fields = [(f"f{i}".encode(), text) for i, text in enumerate(texts)]
            return [_around("HSET", *itertools.chain.from_iterable(fields))]
        case "set":
            return [_around("SADD", *_unlike(texts))]
        case "list":
            return [_around("RPUSH", *texts)]
        case "zset":
            scored = [(rng.randint(1, 10**6), text) for text in _unlike(texts)]
            return [_around("ZADD", *itertools.chain.from_iterable(scored))]
        case _:
            return [_around("XADD", f"{i + 1}-0", "data", text) for i, text in enumerate(texts)]


def _around(command: str, *arguments: bytes | str | int) -> tuple[bytes, bytes]:
    head = b"*%d\r\n$%d\r\n%b\r\n" % (len(arguments) + 2, len(command), command.encode())
    return head, pack(*arguments).partition(b"\r\n")[2]


def _unlike(texts: Sequence[bytes]) -> list[bytes]:
    """Make members differ, so that a set has as many as were asked for."""
    return [b"%b:%d" % (text, i) for i, text in enumerate(texts)]


def _text(rng: random.Random, size: int) -> bytes:
    return rng.randbytes(size // 2 + 1).hex()[:size].encode()


def _value(ns: Namespace, rng: random.Random) -> bytes:
    size = rng.randint(*ns.size)
    if ns.name.startswith(("api", "session", "user")):
        return json.dumps({"id": rng.randint(1, 10**6), "data": _text(rng, size).decode()}).encode()
    return rng.randbytes(size) if ns.name == "strategy" else _text(rng, size)


class _Sinks:
    """One raw connection to each primary, with replies off; commands go where the key's slot is."""

    def __init__(self, server: object, db: int) -> None:
        # A TestCluster has primaries and their slots; a TestServer is its own only node.
        nodes: Iterable[_Node] = getattr(server, "primaries", [server])
        self._sinks = [_Sink(node, db) for node in nodes]
        owners: Callable[[], Sequence[int]] | None = getattr(server, "slot_owners", None)
        self._owners = owners() if owners is not None else [0] * SLOTS

    def send(self, key: bytes, data: bytes) -> None:
        sink = self._sinks[self._owners[key_slot(key)]] if len(self._sinks) > 1 else self._sinks[0]
        sink.send(data)

    def finish(self, expected: int) -> None:
        keys = sum(sink.finish() for sink in self._sinks)
        assert keys == expected, f"{keys} keys are there, not {expected}: filled twice, or evicted"

    def __enter__(self) -> _Sinks:
        return self

    def __exit__(self, *_exc: object) -> None:
        for sink in self._sinks:
            sink.close()


class _Sink:
    def __init__(self, node: _Node, db: int) -> None:
        self._socket = socket.create_connection((node.host, node.port), timeout=60)
        self._buffer: list[bytes] = []
        self._size = 0
        if node.password is not None:
            self._ask("AUTH", *([node.username] if node.username else []), node.password)
        if db:
            self._ask("SELECT", db)
        self._socket.sendall(pack("CLIENT", "REPLY", "OFF"))

    def _ask(self, *command: str | int) -> None:
        self._socket.sendall(pack(*command))
        reply = self._socket.recv(1000)
        assert reply == b"+OK\r\n", f"{command[0]}: {reply!r}"

    def send(self, data: bytes) -> None:
        self._buffer.append(data)
        self._size += len(data)
        if self._size >= _FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        self._socket.sendall(b"".join(self._buffer))
        self._buffer.clear()
        self._size = 0

    def finish(self) -> int:
        """Wait until all is executed; return the number of keys in the database."""
        self.send(pack("CLIENT", "REPLY", "ON") + pack("DBSIZE"))
        self._flush()
        reply = b""
        while reply.count(b"\r\n") < 2:
            part = self._socket.recv(100)
            assert part, "the server closed the connection while it was filled"
            reply += part
        return int(reply.split(b"\r\n")[1].removeprefix(b":"))

    def close(self) -> None:
        self._socket.close()
