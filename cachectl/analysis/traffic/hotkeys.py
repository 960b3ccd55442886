"""Keys that are much used, from whatever a server can say of them, with the error of each method.

LFU counters are Morris counters: from 5 on, one goes up with a probability of one in
(counter - 5) * factor + 1, and down by one every `lfu-decay-time` minutes (evict.c of Redis).
Waiting times for the steps are geometric, so a counter of 5 + m stands for about
factor * m * (m - 1) / 2 + m accesses, with a relative deviation of about 2 / sqrt(3 * m).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cachectl.analysis.estimates.intervals import Z, student
from cachectl.analysis.naming.templates import template
from cachectl.model.figures import Estimate, value_of
from cachectl.model.findings import Finding, Severity
from cachectl.model.keys import Page

LFU_START = 5
LFU_TOP = 255
HOT = 0.1
"""Share of all accesses from which on one key is a finding."""
LEAST_RATE = 50.0
"""Accesses a second below which nothing is hot."""


class Counted(Protocol):
    """What server.hotkeys.CountedKey is."""

    @property
    def key(self) -> bytes: ...  # noqa: D102
    @property
    def amount(self) -> float: ...  # noqa: D102
    @property
    def database(self) -> int | None: ...  # noqa: D102


class Ranking(Protocol):
    """What server.hotkeys.KeyRanking is."""

    @property
    def node(self) -> str: ...  # noqa: D102
    @property
    def by(self) -> Mapping[str, Sequence[Counted]]: ...  # noqa: D102
    @property
    def totals(self) -> Mapping[str, float]: ...  # noqa: D102
    @property
    def sampled(self) -> float: ...  # noqa: D102
    @property
    def seconds(self) -> float: ...  # noqa: D102


class Burst(Protocol):
    """What server.monitor.MonitoredBurst is."""

    @property
    def node(self) -> str: ...  # noqa: D102
    @property
    def seconds(self) -> float: ...  # noqa: D102
    @property
    def commands(self) -> Sequence[tuple[bytes, Sequence[bytes]]]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class HotKey:
    """One key. share: of all accesses, or of the CPU time where the server counts that; network:
    of all bytes sent and received; per_second: accesses; accesses: lately, as an LFU counter has
    them (frequency: the counter itself). None: the method does not say."""

    key: bytes
    node: str
    namespace: bytes
    database: int | None = None
    share: float | Estimate | None = None
    network: float | None = None
    per_second: Estimate | None = None
    accesses: Estimate | None = None
    frequency: int | None = None


# --- the server's own figures ---------------------------------------------------------------------


def ranked(rankings: Sequence[Ranking]) -> list[HotKey]:
    """Return what servers count themselves, the most used first."""
    found = [one for ranking in rankings for one in _of_ranking(ranking)]
    return sorted(found, key=lambda one: (-_weight(one), one.key))


def _of_ranking(ranking: Ranking) -> Iterable[HotKey]:
    for one in ranking.by.get("rate", ()):
        count = one.amount * ranking.seconds * ranking.sampled
        yield HotKey(
            one.key,
            ranking.node,
            template(one.key),
            one.database,
            per_second=_rounded(_poisson(one.amount, count)),
        )
    cpu = {one.key: one.amount for one in ranking.by.get("cpu", ())}
    network = {one.key: one.amount for one in ranking.by.get("network", ())}
    for key in dict.fromkeys([*cpu, *network]):
        yield HotKey(
            key,
            ranking.node,
            template(key),
            share=_part(cpu.get(key), ranking.totals.get("cpu")),
            network=_part(network.get(key), ranking.totals.get("network")),
        )


def _part(amount: float | None, total: float | None) -> float | None:
    return None if amount is None or not total else min(1.0, amount / total)


def _rounded(rate: Estimate) -> Estimate:
    return Estimate(*(round(one, 1) for one in (rate.value, rate.low, rate.high)))


def _poisson(rate: float, count: float) -> Estimate:
    """Return a rate with the interval that `count` sampled accesses give it."""
    if count <= 0:
        return Estimate(rate, 0.0, rate)
    # Exact at its ends to about 1 % (Wilson-Hilferty), also for few.
    low = count * (1 - 1 / (9 * count) - Z / (3 * math.sqrt(count))) ** 3 if count >= 1 else 0.0
    more = count + 1
    high = more * (1 - 1 / (9 * more) + Z / (3 * math.sqrt(more))) ** 3
    return Estimate(rate, max(0.0, low) / count * rate, high / count * rate)


def _weight(one: HotKey) -> float:
    for figure in (one.share, one.per_second, one.accesses, one.network):
        if figure is not None:
            return value_of(figure)
    return 0.0


# --- LFU counters ---------------------------------------------------------------------------------


def lfu_accesses(counter: int, factor: int) -> Estimate:
    """Return about how many accesses an LFU counter stands for. factor: lfu-log-factor.

    Between this step and the next one: the interval goes from where this one is unlikely to have
    been reached to where the next one would have been. A counter of LFU_TOP has no step any more:
    there it is at least so many.
    """
    steps = max(0, counter - LFU_START)
    here, _ = _steps(steps, factor)
    value = here + (factor * steps + 1) / 2
    return Estimate(
        value,
        min(value, max(float(steps), _quantile(steps, factor, -Z))),
        max(value, _quantile(steps + 1, factor, Z)),
    )


def _steps(steps: int, factor: int) -> tuple[float, float]:
    """Return mean and variance of the accesses that so many steps take, each a geometric wait."""
    mean = factor * steps * (steps - 1) / 2 + steps
    squares = factor**2 * (steps - 1) * steps * (2 * steps - 1) / 6
    return mean, squares + factor * steps * (steps - 1) / 2


def _quantile(steps: int, factor: int, z: float) -> float:
    """Return a quantile of that, as of a gamma distribution (Wilson and Hilferty, 1931)."""
    mean, variance = _steps(steps, factor)
    if not variance:
        return mean
    shape = mean * mean / variance
    return float(mean * max(0.0, 1 - 1 / (9 * shape) + z / (3 * math.sqrt(shape))) ** 3)


def by_frequency(pages: Iterable[Page], factor: int, most: int = 64) -> list[HotKey]:
    """Return the keys of a sample with the highest LFU counters; shares are of the sample's."""
    found: list[tuple[int, bytes, str]] = []
    total = 0.0
    for page in pages:
        for key, frequency in zip(page.keys, page.freqs or (), strict=False):
            if frequency is not None:
                total += lfu_accesses(frequency, factor).value
                if frequency > LFU_START:
                    found.append((frequency, key, page.node))
        found = sorted(found, key=lambda one: (-one[0], one[1]))[:most]
    keys = []
    for frequency, key, node in found:
        accesses = lfu_accesses(frequency, factor)
        share = Estimate(
            *(min(1.0, part / total) for part in (accesses.value, accesses.low, accesses.high))
        )
        keys.append(
            HotKey(key, node, template(key), share=share, accesses=accesses, frequency=frequency)
        )
    return keys


# --- bursts of MONITOR ----------------------------------------------------------------------------

PER_COMMAND = 2.5e-6
PER_BYTE_BEFORE_7_2 = 60e-9
PER_BYTE = 3e-9
MOST_CPU = 0.05
"""Of one core, what watching may cost a server."""
BURST = 0.05
FEWEST_BURSTS, MOST_BURSTS = 10, 40


@dataclass(frozen=True, slots=True)
class MonitorPlan:
    """How to watch a server's commands. bursts: how many; needed: with fewer, little is known;
    burning: share of a core that it takes during one; cost: the same over the whole window."""

    bursts: int
    needed: int
    burning: float
    cost: float

    @property
    def allowed(self) -> bool:
        """Whether enough bursts fit into what may be spent."""
        return self.bursts >= self.needed


def plan_monitor(rate: float, size: float, *, old: bool, window: float) -> MonitorPlan:
    """Plan bursts for a window of seconds. rate: commands a second; size: bytes of a request.

    old: before Redis 7.2, when each byte was escaped by a printf of its own. The figures were
    measured on Redis 7.0.15 and Valkey 9.1.2 (values of 16 B to 10 kB).
    """
    per_byte = PER_BYTE_BEFORE_7_2 if old else PER_BYTE
    burning = rate * (PER_COMMAND + size * per_byte)
    room = max(1, int(window / (2 * BURST)))
    needed = min(FEWEST_BURSTS, room)
    bursts = min(MOST_BURSTS, room)
    if burning * BURST * bursts > MOST_CPU * window:
        bursts = int(MOST_CPU * window / (burning * BURST))
    cost = burning * BURST * max(bursts, needed) / window
    return MonitorPlan(bursts, needed, burning, cost)


def monitored(bursts: Sequence[Burst], most: int = 64) -> list[HotKey]:
    """Return the keys that the commands of all bursts named most often, by node."""
    found: list[HotKey] = []
    for node in dict.fromkeys(one.node for one in bursts):
        found += _of_node([one for one in bursts if one.node == node], most)
    return sorted(found, key=lambda one: (-_weight(one), one.key))[:most]


def _of_node(bursts: Sequence[Burst], most: int) -> Iterable[HotKey]:
    counts = [Counter(key for _, keys in one.commands for key in keys) for one in bursts]
    totals = [float(sum(one.values())) for one in counts]
    together: Counter[bytes] = Counter()
    for one in counts:
        together.update(one)
    for key, _ in together.most_common(most):
        seen = [float(one[key]) for one in counts]
        yield HotKey(
            key,
            bursts[0].node,
            template(key),
            share=ratio_of(seen, totals, top=1.0),
            per_second=_rounded(ratio_of(seen, [one.seconds for one in bursts])),
        )


def ratio_of(parts: Sequence[float], wholes: Sequence[float], top: float = math.inf) -> Estimate:
    """Return sum(parts) / sum(wholes) with its 95 % interval from the differences between bursts.

    The ratio estimator of cluster sampling, but never surer than if all had come independently.
    """
    total, whole = sum(parts), sum(wholes)
    if whole <= 0:
        return Estimate(0.0, 0.0, 0.0)
    ratio = total / whole
    n = len(parts)
    independent = _poisson(ratio, total)
    if n < 3:
        return Estimate(ratio, independent.low, min(top, independent.high))
    mean = whole / n
    residuals = sum((y - ratio * x) ** 2 for y, x in zip(parts, wholes, strict=True))
    half = student(n - 1) * math.sqrt(residuals / (n - 1) / n) / mean
    return Estimate(
        ratio,
        max(0.0, min(independent.low, ratio - half)),
        min(top, max(independent.high, ratio + half)),
    )


# --- findings -------------------------------------------------------------------------------------


def findings(keys: Sequence[HotKey]) -> list[Finding]:
    """Return the keys that take a large part of all accesses on their own."""
    found = []
    for one in keys:
        share, rate = one.share, one.per_second
        sure = share.low if isinstance(share, Estimate) else share
        if sure is None or sure < HOT or (rate is not None and rate.value < LEAST_RATE):
            continue
        value = value_of(share or 0.0)
        beside = f", {rate.value:,.0f} a second" if rate is not None else ""
        found.append(
            Finding(
                "hotkeys.hot",
                Severity.WARNING,
                f"one key takes {value:.0%} of all accesses{beside}",
                "",
                "keep it in the clients (client-side caching), or spread it over several keys",
                one.key.decode("utf-8", "surrogateescape"),
            )
        )
    return found
