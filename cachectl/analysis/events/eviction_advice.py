"""What evictions say of a server's settings: the three to look at, and what is a finding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cachectl.analysis.events.evictions import LRU_CLOCK, AgeSample, NodePressure
from cachectl.analysis.events.regret import Regret
from cachectl.model.findings import Finding, Severity

NEARLY_FULL = 0.9
COARSE = 10 * LRU_CLOCK
"""Seconds: a key that is evicted younger than that was chosen nearly at random by LRU."""
SOON_FULL = 3600.0
MUCH_REGRET = 0.1
FULL_COUNTERS = 0.05
IDLE_COUNTERS = 0.9
MIN_SAMPLE = 100
MIN_EVICTED = 100


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting to look at. value: as it is, None when it may not be read; reason: why it matters
    now; advice: what to do, or that it is fine. weight: how much it matters, the highest first."""

    name: str
    value: str | None
    reason: str
    advice: str
    weight: int


def settings_to_look_at(
    nodes: Sequence[NodePressure], ages: AgeSample, regret: Regret | None, most: int = 3
) -> list[Setting]:
    """Return the settings that matter most now, each once."""
    best: dict[str, Setting] = {}
    for node in nodes:
        for one in _candidates(node, ages, regret):
            if one.name not in best or best[one.name].weight < one.weight:
                best[one.name] = one
    return sorted(best.values(), key=lambda one: (-one.weight, one.name))[:most]


def _candidates(node: NodePressure, ages: AgeSample, regret: Regret | None) -> Iterable[Setting]:
    yield from _of_maxmemory(node, regret)
    yield from _of_policy(node, ages)
    yield from _of_choice(node, ages)
    yield from _of_work(node)


def _of_maxmemory(node: NodePressure, regret: Regret | None) -> Iterable[Setting]:
    value = node.settings.get("maxmemory", str(node.maxmemory))

    def maxmemory(reason: str, advice: str, weight: int) -> Setting:
        return Setting("maxmemory", value, reason, advice, weight)

    share = node.used_share
    if share is None:
        yield maxmemory(
            "there is no limit: memory grows until the machine has no more",
            "set it to what the machine can spare",
            100,
        )
        return
    if node.system and node.maxmemory > 0.9 * node.system:
        yield maxmemory(
            f"it is {node.maxmemory / node.system:.0%} of the machine's memory: a snapshot or a "
            "peak of clients leads to swapping, or to the process being killed",
            "leave a fifth of the machine free, more with snapshots",
            95,
        )
    regretted = regret.share_of_misses if regret else None
    if node.evicted and regretted is not None and regretted >= MUCH_REGRET:
        yield maxmemory(
            f"{regretted:.0%} of the misses are of keys that were evicted moments before",
            "with more memory these would be hits",
            90,
        )
    elif node.evicted:
        yield maxmemory(
            f"{node.evicted_rate:,.1f} keys a second are evicted for want of memory",
            "raise it, shorten TTLs, or store less",
            60,
        )
    elif share > NEARLY_FULL:
        yield maxmemory(f"{share:.0%} of it is used", "raise it before it is full", 55)
    else:
        yield maxmemory(f"{share:.0%} of it is used", "fine for now", 10)


def _of_policy(node: NodePressure, ages: AgeSample) -> Iterable[Setting]:
    def policy(reason: str, advice: str, weight: int) -> Setting:
        return Setting("maxmemory-policy", node.policy, reason, advice, weight)

    full = node.used_share is not None and node.used_share > NEARLY_FULL
    evictable = node.evictable
    if node.policy == "noeviction":
        yield policy(
            "nothing is evicted: when memory is full, writes are refused",
            "allkeys-lru or allkeys-lfu for a cache",
            98 if full else 70,
        )
    elif evictable is not None and evictable < 0.5:
        yield policy(
            f"only keys with a TTL may be evicted, which {evictable:.0%} have"
            + ("; when those are gone, writes are refused" if evictable < 0.05 else ""),
            "give keys a TTL, or choose the allkeys- kind",
            97 if full or evictable == 0 else 65,
        )
    elif is_coarse(node, ages):
        yield policy(
            f"keys are evicted within some {COARSE:.0f} s, which the LRU clock of one second "
            "hardly tells apart",
            "allkeys-lfu, or more memory; allkeys-random costs less and chooses as well",
            75,
        )
    else:
        yield policy("what it may evict fits how keys are used", "fine", 5)


def _of_choice(node: NodePressure, ages: AgeSample) -> Iterable[Setting]:
    settings = node.settings
    samples = settings.get("maxmemory-samples")
    if samples is not None and samples.isdigit() and not node.policy.endswith("-random"):
        if int(samples) < 5 and node.evicted:
            yield Setting(
                "maxmemory-samples",
                samples,
                "so few are compared that the choice is nearly random",
                "5, or 10 where CPU is to spare",
                68,
            )
        elif int(samples) < 10:
            yield Setting(
                "maxmemory-samples",
                samples,
                "so many keys are compared for each one that is evicted",
                "10 comes close to the exact order, for a little CPU",
                30 if node.evicted else 4,
            )
    if ages.full is not None and ages.drawn >= MIN_SAMPLE and ages.full.low > FULL_COUNTERS:
        yield Setting(
            "lfu-log-factor",
            settings.get("lfu-log-factor"),
            f"{ages.full.value:.0%} of the counters are full, and tell such keys apart no more",
            "multiply it by 10",
            80,
        )
    if ages.new is not None and ages.drawn >= MIN_SAMPLE and ages.new.low > IDLE_COUNTERS:
        yield Setting(
            "lfu-decay-time",
            settings.get("lfu-decay-time"),
            f"{ages.new.value:.0%} of the counters are those of keys that were never used again",
            "raise it, so that counters fade more slowly",
            58,
        )


def _of_work(node: NodePressure) -> Iterable[Setting]:
    settings = node.settings
    if node.over:
        yield Setting(
            "maxmemory-eviction-tenacity",
            settings.get("maxmemory-eviction-tenacity"),
            f"memory was above maxmemory for {node.over:.1f} s: evicting does not keep up",
            "raise it (10 is the default, 100 evicts until it fits)",
            85,
        )
    if node.clients is not None and node.maxmemory and node.clients > 0.1 * node.maxmemory:
        yield Setting(
            "maxmemory-clients",
            settings.get("maxmemory-clients"),
            f"buffers of clients take {node.clients / node.maxmemory:.0%} of maxmemory, and push "
            "keys out",
            "5 % as a limit; cachectl stats clients shows whose they are",
            88,
        )
    if settings.get("lazyfree-lazy-eviction") == "no" and node.evicted:
        yield Setting(
            "lazyfree-lazy-eviction",
            "no",
            "evicted values are freed while all clients wait",
            "yes, where values are large",
            25,
        )
    if "active-expire-effort" in settings:
        yield Setting(
            "active-expire-effort",
            settings["active-expire-effort"],
            "how hard the server looks for keys that have expired and still take memory",
            "fine, unless expired keys pile up",
            3,
        )


def _span(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds < 120 else f"{seconds / 60:,.0f} min"


def is_coarse(node: NodePressure, ages: AgeSample) -> bool:
    """Return whether an LRU clock of one second is too coarse for how fast keys are replaced."""
    if "lru" not in node.policy or node.evicted < MIN_EVICTED:
        return False
    stay = node.stay
    if stay is not None and stay < COARSE:
        return True
    return ages.idle is not None and ages.drawn >= MIN_SAMPLE and ages.idle.high < COARSE


def findings(
    nodes: Sequence[NodePressure], ages: AgeSample, regret: Regret | None
) -> list[Finding]:
    """Return what a server that evicts as it should does not show. The worst first."""
    found = [one for node in nodes for one in _of_node(node, ages)]
    if regret is not None and regret.evicted >= MIN_EVICTED:
        share = regret.share_of_misses or 0.0
        if share >= MUCH_REGRET:
            found.append(
                Finding(
                    "evictions.regret",
                    Severity.WARNING,
                    f"{share:.0%} of the misses are of keys that were evicted moments before",
                    f"{regret.missed:,.0f} of {regret.evicted:,.0f} evicted keys were looked for",
                    "raise maxmemory, or store less of what is not used again",
                )
            )
    return sorted(found, key=lambda one: -one.severity)


def _of_node(node: NodePressure, ages: AgeSample) -> Iterable[Finding]:
    share, evictable = node.used_share, node.evictable
    if evictable == 0.0 and share is not None and node.keys:
        grave = share > NEARLY_FULL
        why = "noeviction" if node.policy == "noeviction" else f"{node.policy}, and no key a TTL"
        if grave or node.policy != "noeviction":
            yield Finding(
                "evictions.nothing_evictable",
                Severity.CRITICAL if grave else Severity.WARNING,
                "nothing may be evicted: when memory is full, writes are refused",
                f"the policy is {why}; {share:.0%} of maxmemory is used",
                "allkeys-lru or allkeys-lfu for a cache, or TTLs",
                node.node,
            )
    until = node.seconds_until_full
    if until is not None and until.high < SOON_FULL and not node.evicted:
        refused = evictable is not None and evictable < 0.05
        then = "writes are refused" if refused else "keys are evicted"
        yield Finding(
            "evictions.soon_full",
            Severity.CRITICAL if refused else Severity.INFO,
            f"memory is full in {_span(until.value)} at this growth, and then {then}",
            f"{_span(until.low)} to {_span(until.high)}",
            "raise maxmemory, shorten TTLs, or store less",
            node.node,
        )
    if is_coarse(node, ages):
        yield Finding(
            "evictions.coarse_clock",
            Severity.WARNING,
            "keys are replaced so fast that LRU chooses nearly at random",
            f"a key stays {node.stay:,.1f} s on average, and the clock counts in seconds",
            "raise maxmemory, or use allkeys-lfu",
            node.node,
        )
    if ages.full is not None and ages.drawn >= MIN_SAMPLE and ages.full.low > FULL_COUNTERS:
        yield Finding(
            "evictions.full_counters",
            Severity.WARNING,
            f"{ages.full.value:.0%} of the LFU counters are full: the policy can't tell those keys "
            "apart",
            f"{ages.drawn:,} keys were looked at",
            "CONFIG SET lfu-log-factor 100",
            node.node,
        )
    if node.over:
        yield Finding(
            "evictions.over_limit",
            Severity.WARNING,
            "memory was above maxmemory: evicting does not keep up",
            f"for {node.over:.1f} s of {node.seconds:.1f} s",
            "raise maxmemory-eviction-tenacity, or maxmemory",
            node.node,
        )
