"""Ranges of TTLs, in milliseconds: what a rule of a policy asks, and how jitter widens one TTL."""

from __future__ import annotations

from cachectl.model.changes import NEVER
from cachectl.policy import DEFAULT_JITTER, TtlRule

Range = tuple[int, int]
"""The shortest and the longest TTL that a key may be given, in milliseconds."""
UNLIMITED: Range = (NEVER, NEVER)
"""No TTL."""


def shorter(ms: int, jitter: float) -> int:
    """Return the lower end of the range below `ms` that jitter (a share, 0–1) makes."""
    return max(1, ms - round(ms * jitter))


def range_of(rule: TtlRule) -> Range | None:
    """Return what a rule allows, near its upper end; None when it says nothing of TTLs."""
    if rule.presence == "forbidden":
        return UNLIMITED
    jitter = DEFAULT_JITTER if rule.jitter is None else rule.jitter
    if rule.most is not None:
        high = round(rule.most * 1000)
        return max(shorter(high, jitter), round((rule.least or 0) * 1000)), high
    if rule.least is not None:
        low = round(rule.least * 1000)
        return low, low + round(low * jitter)
    return None
