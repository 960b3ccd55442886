"""How hard cachectl works on a server: one home for every long loop (scan, delete, repair, warm).

    pace = Pace.of(target.limits, "gentle")
    while work:
        batch = take(work, pace.batch)
        pace.before(len(batch))
        seconds = timed_round_trip(batch)
        pace.after(len(batch), seconds)

gentle leaves the server idle for most of the time, normal works through while answers come
quickly, flat-out does not look. All obey `max_rate`. A server that answers later than
`max_latency` gets smaller batches and rests; one that stays above `critical_latency` is left alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from cachectl.config.target import Limits, PaceName
from cachectl.errors import PartialError

Clock = Callable[[], float]
Sleep = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Gear:
    """The constants of one pace.

    batch: keys in a flight to start with; share: the part of the time in which a flight may be
    under way (1: no rests; the server is busy for about two thirds of it); overlap: whether the
    next flight leaves before the last one is answered; looks: whether latency changes anything.
    """

    batch: int
    share: float
    overlap: bool
    looks: bool


# A server works through a flight of 100 keys in about half a millisecond, and a bystander waits
# for one flight at most. Measured on one small machine; see tests/benchmarks.
GEARS: dict[PaceName, Gear] = {
    "gentle": Gear(batch=100, share=0.4, overlap=False, looks=True),
    "normal": Gear(batch=300, share=1.0, overlap=True, looks=True),
    "flat-out": Gear(batch=1000, share=1.0, overlap=True, looks=False),
}

MIN_BATCH = 10
SLOW_SHARE = 0.25
"""The share that a pace without rests falls back to while the server is slow."""
_RECOVER = 1.25
_FAR = 0.005
_FAR_BATCH = 1000
_PAUSE, _LONGEST_PAUSE = 0.5, 8.0
_PATIENCE = 6
_SHORTEST_SLEEP = 0.0005


class TooSlowError(PartialError):
    """Stopped because the server's latency stayed critical."""

    slug = "too-slow"


class RateCap:
    """At most so many keys a second in all, however many threads share it. Thread-safe."""

    def __init__(
        self, rate: int | None, *, clock: Clock = time.monotonic, sleep: Sleep = time.sleep
    ) -> None:
        self.rate = rate
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._free_at = clock()

    def spend(self, keys: int) -> None:
        """Wait until `keys` more fit under the rate."""
        if not self.rate:
            return
        with self._lock:
            now = self._clock()
            start = max(now, self._free_at)
            self._free_at = start + keys / self.rate
        if start > now:
            self._sleep(start - now)


@dataclass(slots=True)
class Pace:
    """The pace of one loop on one node. Not thread-safe, except for the cap that loops share.

    batch: how many keys to take for the next flight. slept: seconds spent resting so far.
    round_trip: seconds that an empty command takes; only what comes on top is the server's work.
    """

    gear: Gear
    max_latency: float = 0.05
    critical_latency: float = 1.0
    cap: RateCap = field(default_factory=lambda: RateCap(None))
    clock: Clock = time.monotonic
    sleep: Sleep = time.sleep
    slept: float = 0.0
    round_trip: float = 0.0
    _batch: float = 0.0
    _share: float = 1.0
    _rest_until: float = 0.0
    _criticals: int = 0
    _slow: int = 0

    def __post_init__(self) -> None:
        self._batch = float(self.gear.batch)
        self._share = self.gear.share

    @classmethod
    def of(cls, limits: Limits, name: PaceName, cap: RateCap | None = None) -> Pace:
        """Return the pace `name` under a profile's limits; loops share one rate by one `cap`."""
        return cls(
            GEARS[name],
            limits.max_latency,
            limits.critical_latency,
            cap or RateCap(limits.max_rate),
        )

    @property
    def batch(self) -> int:
        """How many keys the next flight should have."""
        size = int(self._batch)
        if self.cap.rate:  # a slow rate is a trickle, not a flight now and then
            size = min(size, max(1, self.cap.rate // 10))
        return size

    @property
    def overlap(self) -> bool:
        """Whether the next flight may leave before the last one is answered."""
        return self.gear.overlap and self._share >= 1.0 and not self._criticals

    def before(self, keys: int) -> None:
        """Wait for as long as the last flight and the rate demand. Call before each flight."""
        wait = self._rest_until - self.clock()
        if wait > _SHORTEST_SLEEP:
            self.sleep(wait)
            self.slept += wait
        self.cap.spend(keys)

    def after(self, keys: int, seconds: float) -> None:
        """Learn how long a flight of `keys` took. Raises TooSlowError when it stays critical."""
        if not self.gear.looks:
            return
        seconds = max(0.0, seconds - self.round_trip)
        if seconds >= self.critical_latency:
            self._pause(seconds)
            return
        self._criticals = 0
        self._slow = self._slow + 1 if seconds > self.max_latency else 0
        if self._slow:
            self._batch = max(MIN_BATCH, min(self._batch, keys or self._batch) / 2)
            if self._slow > 1:  # one late answer may be chance
                self._share = min(self.gear.share, SLOW_SHARE)
        elif seconds < self.max_latency / 2:
            ceiling = self._ceiling
            self._batch = min(ceiling, self._batch * _RECOVER)
            if self._batch >= min(ceiling, self.gear.batch):
                self._share = self.gear.share
        if self._share < 1.0:
            self._rest_until = self.clock() + seconds * (1 / self._share - 1)

    @property
    def _ceiling(self) -> float:
        # A far server is idle while a flight travels: larger flights cost the others nothing more.
        return min(_FAR_BATCH, self.gear.batch * 4) if self.round_trip > _FAR else self.gear.batch

    def _pause(self, seconds: float) -> None:
        self._criticals += 1
        if self._criticals > _PATIENCE:
            message = f"the server needs {seconds:.1f} s to answer, more than the critical latency"
            raise TooSlowError(
                f"{message} of {self.critical_latency:g} s, again and again",
                hint="try again when it is less busy, or raise `limits.critical_latency`",
            )
        self._batch = MIN_BATCH
        self._share = min(self.gear.share, SLOW_SHARE)
        pause = min(_LONGEST_PAUSE, _PAUSE * 2 ** (self._criticals - 1))
        self._rest_until = self.clock() + pause
