"""How full a node is and what its process wastes, and when that is worth a finding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cachectl.analysis.traffic.counters import decimal, number
from cachectl.model.findings import Finding, Severity

MIN_FRAGMENTED = 128 * 1024 * 1024
"""Bytes lost to fragmentation below which the ratio says little: small servers are all overhead."""
ALMOST_FULL = 0.95


@dataclass(frozen=True, slots=True)
class Pressure:
    """One node, or all. Bytes; None where INFO does not say. maxmemory: 0 for no limit.

    ratio: mem_fragmentation_ratio, the worst of several nodes; wasted: resident above used.
    """

    node: str
    used: int | None
    maxmemory: int | None
    policy: str
    ratio: float | None
    wasted: int | None

    @classmethod
    def of(cls, node: str, info: Mapping[str, str]) -> Pressure:
        """Return what INFO memory says."""
        return cls(
            node,
            number(info, "used_memory"),
            number(info, "maxmemory"),
            info.get("maxmemory_policy", ""),
            decimal(info, "mem_fragmentation_ratio"),
            number(info, "mem_fragmentation_bytes"),
        )

    @classmethod
    def over(cls, nodes: Sequence[Pressure]) -> Pressure:
        """Return several nodes as one."""
        limits = [one.maxmemory for one in nodes]
        return cls(
            "",
            sum(one.used or 0 for one in nodes),
            # One node without a limit, and there is none for all.
            0 if 0 in limits else sum(limit or 0 for limit in limits),
            ", ".join(dict.fromkeys(one.policy for one in nodes)),
            max((one.ratio for one in nodes if one.ratio is not None), default=None),
            sum(one.wasted or 0 for one in nodes),
        )

    @property
    def share(self) -> float | None:
        """The used share of maxmemory; None without a limit."""
        return None if self.used is None or not self.maxmemory else self.used / self.maxmemory


def findings(
    pressure: Pressure, area: str, *, memory: float | None, fragmentation: float | None
) -> Iterable[Finding]:
    """Yield what exceeds the limits: `AREA.memory` and `AREA.fragmentation`. None: no limit."""
    share = pressure.share
    if share is not None and memory is not None and share > memory:
        refuses = pressure.policy == "noeviction"
        yield Finding(
            f"{area}.memory",
            Severity.CRITICAL if refuses and share > ALMOST_FULL else Severity.WARNING,
            f"{share:.0%} of maxmemory is used, more than {memory:.0%}",
            f"{pressure.used:,} of {pressure.maxmemory:,} bytes, policy {pressure.policy}",
            "writes will be refused: raise maxmemory, or choose a policy that evicts"
            if refuses
            else "raise maxmemory, shorten TTLs, or store less",
            pressure.node,
        )
    wasted, ratio = pressure.wasted or 0, pressure.ratio
    if (
        ratio is not None
        and fragmentation is not None
        and ratio > fragmentation
        and wasted > MIN_FRAGMENTED
    ):
        yield Finding(
            f"{area}.fragmentation",
            Severity.WARNING,
            f"the process takes {ratio:.2f} times the memory that it uses, "
            f"more than {fragmentation:g}",
            f"{wasted:,} bytes lost",
            "CONFIG SET activedefrag yes, where the allocator is jemalloc",
            pressure.node,
        )
