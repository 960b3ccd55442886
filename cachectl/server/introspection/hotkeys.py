"""HOTKEYS: what servers themselves count of their most used keys.

Two commands of one name. Redis 8.6 counts CPU time and bytes in sessions that are begun and ended
(HOTKEYS START, GET, STOP, RESET); with SAMPLE n its figures by key are one n-th of its totals
(redis#15837). Valkey 9.2 counts accesses all the time once its setting `hotkeys-top-k` is positive,
and shows the last window that is complete (HOTKEYS GET, RESET).
Written from their documentation, redis.io/commands/hotkeys and valkey.io/commands/hotkeys-get.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cachectl.model.findings import Unavailable
from cachectl.server.topology.node import Node
from cachectl.server.wire.connection import NodeConnection
from cachectl.server.wire.info import parse_info
from cachectl.server.wire.resp import ReplyError, as_dict, as_float, as_int, as_pairs, as_text

MOST = 64
"""Keys that HOTKEYS START takes at most for its COUNT."""
CLEAR_OF_IT = 5.0
"""Seconds after which a session ends by itself should we be killed."""
_FLAT_OUT = 20_000
"""Accesses a second up to which every one of them is counted."""


@dataclass(frozen=True, slots=True)
class CountedKey:
    """A key with a figure that a server has counted for it (µs, bytes, accesses a second)."""

    key: bytes
    amount: float
    database: int | None = None


@dataclass(frozen=True, slots=True)
class KeyRanking:
    """What one node's own HOTKEYS says.

    by: `cpu` (µs), `network` (bytes) or `rate` (accesses a second) → the keys, the first first.
    totals: by → the same of all keys, where the server says it. sampled: the share of the accesses
    that was looked at, 0–1. seconds: that it covers. foreign: somebody else had begun it.
    """

    node: str
    by: Mapping[str, tuple[CountedKey, ...]]
    totals: Mapping[str, float] = field(default_factory=dict)
    sampled: float = 1.0
    seconds: float = 0.0
    foreign: bool = False


class NoHotkeysError(Exception):
    """This node has no HOTKEYS, or not for us; the argument is the gap that it leaves."""

    @property
    def gap(self) -> Unavailable:
        """What is missing, why, and what would help."""
        found = self.args[0]
        assert isinstance(found, Unavailable)  # noqa: S101
        return found


def hotkeys(
    node: Node, connection: NodeConnection, seconds: float, rate: float, wait: Callable[[], object]
) -> KeyRanking:
    """Return what the node counts in about `seconds`.

    rate: its commands a second, which decides how many of them are looked at. wait: called while
    it counts; it may raise. connection: of our own. Raises NoHotkeysError, ConnectionLostError.
    """
    reply = connection.pipeline([("HOTKEYS", "GET")])[0]
    if isinstance(reply, ReplyError):
        raise NoHotkeysError(_refused(node, reply))
    if _is_list_of_keys(reply, node):
        return _of_valkey(node, connection, reply)
    if reply:
        # Somebody counts, or has counted and not thrown it away: theirs is shown, not ours begun.
        return parse_session(node.name, reply, foreign=True)
    return _session(node, connection, seconds, rate, wait)


def _session(
    node: Node, connection: NodeConnection, seconds: float, rate: float, wait: Callable[[], object]
) -> KeyRanking:
    sample = max(1, round(rate / _FLAT_OUT))
    command: list[str | int] = [
        *("HOTKEYS", "START", "METRICS", 2, "CPU", "NET", "COUNT", MOST),
        *("DURATION", round(seconds + CLEAR_OF_IT)),
    ]
    if sample > 1:
        command += ["SAMPLE", sample]
    started = connection.pipeline([tuple(command)])[0]
    if isinstance(started, ReplyError):
        raise NoHotkeysError(_refused(node, started))
    begun = time.monotonic()
    try:
        wait()
    finally:
        _, reply, _ = connection.pipeline(
            [("HOTKEYS", "STOP"), ("HOTKEYS", "GET"), ("HOTKEYS", "RESET")]
        )
    if isinstance(reply, ReplyError) or not reply:
        raise NoHotkeysError(
            Unavailable("hot keys", "the session ended without an answer", None, node.name)
        )
    return parse_session(node.name, reply, seconds=time.monotonic() - begun)


def parse_session(
    node: str, reply: Any, *, seconds: float = 0.0, foreign: bool = False
) -> KeyRanking:
    """Return what Redis answers to HOTKEYS GET, as flat pairs, a map, or either in a list."""
    if isinstance(reply, list) and len(reply) == 1:
        reply = reply[0]
    fields = as_dict(reply)
    ratio = max(1, as_int(fields.get("sample-ratio")) or 1)
    slots = bool(fields.get("selected-slots"))
    totals = {
        "cpu": _total(fields, "all-commands-selected-slots-us", slots)
        or _total(fields, "all-commands-all-slots-us", True),
        "network": _total(fields, "net-bytes-all-commands-selected-slots", slots)
        or _total(fields, "net-bytes-all-commands-all-slots", True),
    }
    by = {
        "cpu": _counted(fields.get("by-cpu-time-us")),
        "network": _counted(fields.get("by-net-bytes")),
    }
    took = (as_float(fields.get("collection-duration-ms")) or 0.0) / 1000
    return KeyRanking(
        node=node,
        by={name: _scaled(keys, ratio, totals[name]) for name, keys in by.items() if keys},
        totals={name: total for name, total in totals.items() if total},
        sampled=1 / ratio,
        seconds=took or seconds,
        foreign=foreign,
    )


def _total(fields: dict[str, Any], name: str, wanted: bool) -> float:
    return (as_float(fields.get(name)) or 0.0) if wanted else 0.0


def _counted(reply: Any) -> list[CountedKey]:
    return [
        CountedKey(key, amount)
        for key, value in as_pairs(reply)
        if isinstance(key, bytes) and (amount := as_float(value)) is not None
    ]


def _scaled(keys: list[CountedKey], ratio: int, total: float) -> tuple[CountedKey, ...]:
    """Return figures of a sample as those of all commands, unless the server did that itself."""
    there = sum(one.amount for one in keys) * ratio > 1.05 * total > 0
    factor = 1 if there else ratio
    return tuple(CountedKey(one.key, one.amount * factor, one.database) for one in keys)


def _is_list_of_keys(reply: Any, node: Node) -> bool:
    """Whether it is Valkey's answer: entries, each with the fields key, db and qps; or none."""
    if reply == []:
        return node.facts.flavour == "valkey"
    return isinstance(reply, list) and all("qps" in as_dict(one) for one in reply)


def _of_valkey(node: Node, connection: NodeConnection, reply: Any) -> KeyRanking:
    settings, info = connection.pipeline([("CONFIG", "GET", "hotkeys-*"), ("INFO", "hotkeys")])
    known = {} if isinstance(settings, ReplyError) else as_dict(settings)
    facts = {} if isinstance(info, ReplyError) else parse_info(info)
    if not reply:
        off = as_int(known.get("hotkeys-top-k")) == 0
        raise NoHotkeysError(
            Unavailable(
                "the server's own hot keys",
                "counting them is off" if off else "its last window has none",
                "CONFIG SET hotkeys-top-k 16" if off else None,
                node.name,
            )
        )
    percent = as_float(known.get("hotkeys-sampling-percentage"))
    milliseconds = as_float(facts.get("hotkeys_last_window_duration_ms"))
    window = as_float(known.get("hotkeys-window-seconds")) or 1.0
    return KeyRanking(
        node=node.name,
        by={"rate": parse_rates(reply)},
        sampled=(1.0 if percent is None else percent) / 100,
        seconds=window if milliseconds is None else milliseconds / 1000,
    )


def parse_rates(reply: Iterable[Any]) -> tuple[CountedKey, ...]:
    """Return what Valkey answers to HOTKEYS GET: entries as maps or as flat pairs."""
    found = []
    for entry in reply:
        fields = as_dict(entry)
        key, rate = fields.get("key"), as_float(fields.get("qps"))
        if isinstance(key, bytes) and rate is not None:
            found.append(CountedKey(key, rate, as_int(fields.get("db"))))
    return tuple(found)


def _refused(node: Node, reply: ReplyError) -> Unavailable:
    if reply.is_unknown_command:
        return Unavailable(
            "the server's own hot keys",
            "it has no HOTKEYS",
            "it came with Redis 8.6 and Valkey 9.2",
            node.name,
        )
    denied = reply.code == "NOPERM"
    return Unavailable(
        "the server's own hot keys",
        "this login may not run HOTKEYS" if denied else as_text(reply.text),
        "allow it with the ACL rule +hotkeys" if denied else None,
        node.name,
    )
