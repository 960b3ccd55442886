"""Evictions: how full a server is, how fast it fills, what it may evict, how well it chooses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from cachectl.analysis.estimates.intervals import Stratum, quantile, student, wilson
from cachectl.analysis.traffic.counters import number
from cachectl.model.figures import Estimate
from cachectl.model.keys import Page

LRU_CLOCK = 1.0
"""Seconds that Redis's LRU clock can tell apart (LRU_CLOCK_RESOLUTION in server.h)."""
LFU_FULL = 250
"""An LFU counter that is this high says little more than that a key is used."""
LFU_NEW = 5


@dataclass(frozen=True, slots=True)
class MemoryReading:
    """Memory of one node at one moment. at: seconds of a steady clock; used: bytes that count
    towards maxmemory (buffers of replicas and of the AOF do not)."""

    at: float
    used: int


@dataclass(frozen=True, slots=True)
class NodePressure:
    """One node. Bytes and keys; None where it does not say.

    growth: bytes a second over the window. keys, expires: of all databases, and those with a TTL.
    clients: bytes of client buffers, which count towards maxmemory. over: seconds for which it had
    more than maxmemory in the window. system: bytes of the machine. settings: as CONFIG GET has
    them.
    """

    node: str
    policy: str
    maxmemory: int
    used: int
    growth: Estimate | None
    keys: int
    expires: int
    evicted: int
    seconds: float
    clients: int | None = None
    over: float | None = None
    system: int | None = None
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def headroom(self) -> int | None:
        """Bytes that are left; None without a limit."""
        return max(0, self.maxmemory - self.used) if self.maxmemory else None

    @property
    def used_share(self) -> float | None:
        """The used share of maxmemory; None without a limit."""
        return self.used / self.maxmemory if self.maxmemory else None

    @property
    def evictable(self) -> float | None:
        """The share of the keys that the policy may evict; None where there are no keys."""
        if self.policy == "noeviction":
            return 0.0
        if not self.policy.startswith("volatile-"):
            return 1.0
        return self.expires / self.keys if self.keys else None

    @property
    def evicted_rate(self) -> float:
        """Keys that were evicted a second."""
        return self.evicted / self.seconds if self.seconds > 0 else 0.0

    @property
    def stay(self) -> float | None:
        """Seconds that an evictable key stays on average before it is evicted: keys by turnover.

        None when nothing is evicted.
        """
        if not self.evicted:
            return None
        evictable = self.keys if self.evictable is None else self.keys * self.evictable
        return evictable / self.evicted_rate

    @property
    def seconds_until_full(self) -> Estimate | None:
        """When memory is full, at the growth of the window; None where it may not grow at all."""
        room, growth = self.headroom, self.growth
        if not room or growth is None or growth.low <= 0:
            return None
        return Estimate(room / growth.value, room / growth.high, room / growth.low)


def growth(readings: Sequence[MemoryReading]) -> Estimate | None:
    """Return bytes a second with a 95 % interval, from readings at even distances; None for few.

    From the differences between neighbours, which are independent where memory goes up and down by
    chance; where it only wavers about a line they compensate, and the interval is too wide.
    """
    if len(readings) < 4:
        return None
    steps = [
        (later.used - earlier.used) / max(1e-6, later.at - earlier.at)
        for earlier, later in pairwise(readings)
    ]
    n = len(steps)
    value = (readings[-1].used - readings[0].used) / max(1e-6, readings[-1].at - readings[0].at)
    mean = sum(steps) / n
    deviation = math.sqrt(sum((step - mean) ** 2 for step in steps) / (n - 1))
    half = student(n - 1) * deviation / math.sqrt(n)
    return Estimate(value, value - half, value + half)


def node_pressure(
    node: str,
    before: Mapping[str, str],
    after: Mapping[str, str],
    readings: Sequence[MemoryReading],
    evicted: int,
    seconds: float,
    settings: Mapping[str, str],
) -> NodePressure:
    """Return one node's pressure from INFO at both ends of a window, and readings between them."""
    keys = expires = 0
    for name, line in after.items():
        if name.startswith("db") and name[2:].isdigit():
            fields = dict(pair.partition("=")[::2] for pair in line.split(","))
            keys += number(fields, "keys") or 0
            expires += number(fields, "expires") or 0
    over = None
    then = number(before, "total_eviction_exceeded_time")
    now = number(after, "total_eviction_exceeded_time")
    if then is not None and now is not None:
        over = max(0, now - then) / 1000 + (number(after, "current_eviction_exceeded_time") or 0)
    return NodePressure(
        node=node,
        policy=after.get("maxmemory_policy", settings.get("maxmemory-policy", "")),
        maxmemory=number(after, "maxmemory") or 0,
        used=counted_memory(after),
        growth=growth(readings),
        keys=keys,
        expires=expires,
        evicted=evicted,
        seconds=seconds,
        clients=number(after, "mem_clients_normal"),
        over=over,
        system=number(after, "total_system_memory"),
        settings=settings,
    )


def counted_memory(info: Mapping[str, str]) -> int:
    """Return the bytes that count towards maxmemory (freeMemoryGetNotCountedMemory, evict.c)."""
    return max(
        0, (number(info, "used_memory") or 0) - (number(info, "mem_not_counted_for_evict") or 0)
    )


@dataclass(frozen=True, slots=True)
class AgeSample:
    """What a sample of keys says of the policy's clock.

    idle: the idle time (seconds) that 95 % of the keys are below: about that at which an LRU
    policy evicts. full: the share of LFU counters of LFU_FULL or more; new: of those that do not
    tell a key from a new one. drawn: keys that were looked at. None: the policy keeps the other.
    """

    drawn: int = 0
    idle: Estimate | None = None
    full: Estimate | None = None
    new: Estimate | None = None


def age_sample(pages: Sequence[Page], strata: Mapping[str, Stratum]) -> AgeSample:
    """Return what these pages say. strata: node → its keys, and how many were drawn of them."""
    idles: dict[str, list[int]] = {node: [] for node in strata}
    frequencies: list[int] = []
    drawn = 0
    for page in pages:
        drawn += len(page)
        idles[page.node] += [one for one in page.idles or () if one is not None]
        frequencies += [one for one in page.freqs or () if one is not None]
    weights = [strata[node].weight for node in strata]
    rest = max((one.rest for one in strata.values()), default=0.0)
    found = quantile(weights, [idles[node] for node in strata], 0.95, rest)
    full = sum(one >= LFU_FULL for one in frequencies)
    new = sum(one <= LFU_NEW for one in frequencies)
    return AgeSample(
        drawn=drawn,
        idle=found,
        full=_share(full, len(frequencies), rest),
        new=_share(new, len(frequencies), rest),
    )


def _share(part: int, whole: int, rest: float) -> Estimate | None:
    if not whole:
        return None
    share = part / whole
    return Estimate(share, *wilson(share, whole / rest if rest > 0 else math.inf))
