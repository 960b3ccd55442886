"""What `warm verify` has found: entry by entry, with intervals where it was a sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from cachectl.actions.warming.examining import Fault
from cachectl.analysis.estimates.intervals import wilson
from cachectl.model.figures import Estimate

TOLD = 20
"""Wrong keys that are named; all of them are counted."""
FAULTS = tuple(fault for fault in Fault if fault is not Fault.OK)


@dataclass(slots=True)
class Checked:
    """What became of one entry's keys. unsettled: still in the queue of a write-behind
    application; repaired, failed: of those that were wrong."""

    checked: int = 0
    faults: dict[Fault, int] = field(default_factory=dict)
    unsettled: int = 0
    repaired: int = 0
    failed: int = 0
    problems: int = 0

    def add(self, fault: Fault, times: int = 1) -> None:
        """Count keys."""
        self.checked += times
        self.faults[fault] = self.faults.get(fault, 0) + times

    def of(self, fault: Fault) -> int:
        """Return how many keys are so."""
        return self.faults.get(fault, 0)

    @property
    def wrong(self) -> int:
        """Keys with a fault."""
        return self.checked - self.of(Fault.OK) - self.unsettled


@dataclass(frozen=True, slots=True)
class Wrong:
    """One key with a fault."""

    entry: str
    key: bytes
    fault: Fault


@dataclass(slots=True)
class VerifyResult:
    """What verifying has found.

    keys: that the sources gave; sampled: whether only some of them were looked at. source_rows,
    cache_reads: seconds that a row of a source took (in batches), and a single read of the cache.
    queues: (key of the queue, items at most). errors: source → why it was not read to its end.
    """

    manifest: str
    entries: dict[str, Checked]
    keys: int = 0
    sampled: bool = False
    told: list[Wrong] = field(default_factory=list)
    source_rows: list[tuple[float, int]] = field(default_factory=list)
    cache_reads: list[float] = field(default_factory=list)
    queues: list[tuple[bytes, int]] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    stopped: str | None = None
    own_lookups: int = 0
    seconds: float = 0.0

    @property
    def total(self) -> Checked:
        """All entries together."""
        total = Checked()
        for one in self.entries.values():
            for fault, count in one.faults.items():
                total.add(fault, count)
            total.unsettled += one.unsettled
            total.checked += one.unsettled
            total.repaired += one.repaired
            total.failed += one.failed
            total.problems += one.problems
        return total

    @property
    def is_partial(self) -> bool:
        """Whether something was not looked at."""
        total = self.total
        return bool(self.errors or self.stopped or total.problems or total.failed)

    @property
    def wrong(self) -> Estimate:
        """The share of all keys that are wrong, with its interval when it comes from a sample."""
        total = self.total
        if not total.checked:
            return Estimate(0.0, 0.0, 1.0 if self.keys else 0.0)
        return share_of(total.wrong, total.checked, self.keys)


def share_of(count: int, drawn: int, population: int) -> Estimate:
    """Return the share that a simple random sample shows, with its 95 % interval.

    Wilson's score interval, with the sample enlarged by the finite population correction.
    """
    share = count / drawn
    if drawn >= population:
        return Estimate(share, share, share)
    effective = drawn * (population - 1) / (population - drawn)
    low, high = wilson(share, effective)
    return Estimate(share, min(low, share), max(high, share))


def quantiles(weighted: Sequence[tuple[float, int]]) -> Iterator[float]:
    """Yield the median and the 95 % quantile of figures with weights; nothing without any."""
    ordered = sorted(weighted)
    total = sum(weight for _, weight in ordered)
    for share in (0.5, 0.95):
        running = 0
        for figure, weight in ordered:
            running += weight
            if running >= share * total:
                yield figure
                break
