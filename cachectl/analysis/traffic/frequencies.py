"""What an LFU counter says of how often its key is used.

A counter c grows by one with probability 1 / ((c - 5) * factor + 1) at each access (always at 5 and
below) and loses one every `decay` minutes. Where it stands still both are in balance, so the key
is used about ((c - 5) * factor + 1) / decay times a minute. A counter of 0 was not used for as
long as it took to get there. Source: LFULogIncr and LFUDecrAndReturn in the servers' evict.c; the
defaults of lfu-log-factor (10) and lfu-decay-time (1 minute) are taken for what is set.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache

_START = 5
_FACTOR, _DECAY = 10, 1.0


@cache
def uses_per_minute(counter: int) -> float:
    """Return about how often a key with this LFU counter (0–255) is used in a minute."""
    return (max(0, counter - _START) * _FACTOR + 1) / _DECAY if counter > 0 else 0.0


@cache
def _is_used(counter: int) -> float:
    return 1 - math.exp(-uses_per_minute(counter))


def expected_loads(counters: Iterable[int | None]) -> float:
    """Return how many of these keys are used at least once within a minute, about.

    That is how many loads the database behind a cache has to expect in the first minute after they
    are gone: a key is loaded once, however often it is used. Uses are taken to come at random (a
    Poisson process). Keys whose counter is not known (None) are not counted.
    """
    return sum(_is_used(counter) for counter in counters if counter is not None)
