"""Settings of a server that do not fit its memory or its TTLs, and memory that it gives back.

Pure: what INFO says in, findings or advice out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cachectl.analysis.memory.advice import Advice
from cachectl.analysis.traffic.counters import decimal, number
from cachectl.model.counters import MemorySample
from cachectl.model.findings import Finding, Severity

TIGHT = 0.9
"""The share of the machine's memory beyond which maxmemory leaves too little for all else."""
ROOMY = 0.5
"""A process below this share of its machine is in no hurry for a limit."""
SUGGESTED = 0.75
FEW = 0.1
"""The share of keys with a TTL below which volatile-* policies have little to choose from."""
MIN_FRAGMENTED = 16 * 1024 * 1024
RESIDUE = 0.1
"""Of what is allocated: about what stays fragmented (active-defrag-threshold-lower, by default)."""


def settings_findings(sample: MemorySample) -> list[Finding]:
    """Return what is wrong with the settings of one node."""
    return [one.finding for one in settings_advice(sample)]


def settings_advice(sample: MemorySample) -> list[Advice]:
    """Return the same as advice, none of which saves anything: it protects."""
    return [*_of_limit(sample), *_of_policy(sample)]


def _of_limit(sample: MemorySample) -> Iterable[Advice]:
    info = sample.info
    limit, memory = number(info, "maxmemory"), number(info, "total_system_memory")
    if limit is None or not memory:
        return
    resident = number(info, "used_memory_rss") or number(info, "used_memory") or 0
    suggested = int(SUGGESTED * memory)
    if limit == 0:
        yield _protects(
            "memory.maxmemory_unset",
            "maxmemory is not set: the process grows until the machine has no memory left",
            sample.node,
            f"{resident:,} bytes of the machine's {memory:,} are resident",
            "below a limit the policy evicts keys, or refuses writes",
            f"CONFIG SET maxmemory {suggested} (75 % of the machine, if nothing else runs there), "
            "and a maxmemory-policy that may evict",
            Severity.WARNING if resident > ROOMY * memory else Severity.INFO,
        )
    elif limit > TIGHT * memory:
        above = limit > memory
        yield _protects(
            "memory.maxmemory_above_machine",
            "maxmemory is more than the machine has"
            if above
            else "maxmemory leaves the machine too little for fragmentation, buffers and forks",
            sample.node,
            f"maxmemory {limit:,} bytes, the machine {memory:,}",
            "keys are evicted earlier",
            f"CONFIG SET maxmemory {suggested}",
            Severity.CRITICAL if above else Severity.WARNING,
        )


def _of_policy(sample: MemorySample) -> Iterable[Advice]:
    policy = sample.info.get("maxmemory_policy", "")
    keys, expiring = _keys(sample.info)
    if not policy.startswith("volatile-") or not keys or expiring >= FEW * keys:
        return
    limited = bool(number(sample.info, "maxmemory"))
    yield _protects(
        "memory.volatile_without_ttl",
        f"the policy {policy} may evict keys with a TTL alone, and "
        + (f"only {expiring / keys:.1%} have one" if expiring else "there are none"),
        sample.node,
        f"{expiring:,} of {keys:,} keys have a TTL",
        "under allkeys-* any key may be evicted: right for a cache, wrong for a store",
        f"CONFIG SET maxmemory-policy {policy.replace('volatile-', 'allkeys-')}"
        if policy != "volatile-ttl"
        else "CONFIG SET maxmemory-policy allkeys-lru",
        Severity.WARNING if limited else Severity.INFO,
    )


def _keys(info: Mapping[str, str]) -> tuple[int, int]:
    keys = expiring = 0
    for name, line in info.items():
        if name.startswith("db") and name[2:].isdigit():
            fields = dict(pair.partition("=")[::2] for pair in line.split(","))
            keys += number(fields, "keys") or 0
            expiring += number(fields, "expires") or 0
    return keys, expiring


def _protects(
    identifier: str,
    title: str,
    node: str,
    basis: str,
    risk: str,
    how: str,
    severity: Severity,
) -> Advice:
    return Advice(
        identifier, title, 0, basis, risk, how, node.encode(), severity=severity, protects=True
    )


def process_advice(sample: MemorySample, *, fragmentation: float) -> list[Advice]:
    """Return advice on what the process holds beside its data. fragmentation: the ratio allowed."""
    info = sample.info
    found = []
    lost = number(info, "allocator_frag_bytes") or 0
    ratio = decimal(info, "allocator_frag_ratio") or 1.0
    if ratio > fragmentation and lost >= MIN_FRAGMENTED:
        allocated = number(info, "allocator_allocated") or 0
        # What is left when it has done its work: it stops at active-defrag-threshold-lower.
        rest = int(RESIDUE * allocated)
        found.append(
            Advice(
                "memory.defragment",
                f"the allocator holds {ratio:.2f} times what it has handed out",
                max(0, lost - rest),
                "allocator_frag_bytes of INFO, less the tenth that defragmentation leaves; of the "
                "process, not of used_memory",
                "it takes CPU while it runs (active-defrag-cycle-max, 25 % by default)",
                "CONFIG SET activedefrag yes; where the build cannot (the server says so), restart "
                "the node after a failover",
                sample.node.encode(),
            )
        )
    retained = number(info, "allocator_rss_bytes") or 0
    if retained >= MIN_FRAGMENTED and info.get("mem_allocator", "").startswith("jemalloc"):
        found.append(
            Advice(
                "memory.purge",
                "the allocator keeps pages that nothing is in",
                retained,
                "allocator_rss_bytes of INFO; of the process, not of used_memory",
                "the node stops for some milliseconds",
                "MEMORY PURGE",
                sample.node.encode(),
            )
        )
    return found
