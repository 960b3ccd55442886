"""What a scan is asked, what it yields besides pages, and what it says of itself afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cachectl.config.target import PaceName
from cachectl.model.findings import Unavailable
from cachectl.server.scanning.columns import Field, Tally

ALL = frozenset({Field.TYPE, Field.TTL, Field.BYTES, Field.IDLE, Field.FREQ})
"""What a full scan asks: of IDLE and FREQ the server answers the one that its policy keeps."""


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """Where a node's scan stands. It holds for that process only, hence who it was.

    cursor: SCAN's, in decimal digits; None when the node is done.
    """

    cursor: str | None
    run_id: str
    replid: str
    role: str


@dataclass(frozen=True, slots=True)
class ScanRequest:
    """What to scan for, and how hard.

    match: a glob in the server's syntax; type: a name that TYPE answers; sift: takes names, returns
    those that are wanted: the others are never asked about (called by several threads). pace,
    max_rate (keys a second, over all nodes): None takes the profile's. start: node name → where
    an earlier scan stopped; nodes that are not in it start from the beginning. patience: seconds
    to wait for a node that is gone; None: 10, or 30 where another one may take its place.
    """

    fields: frozenset[Field] = ALL
    match: bytes | None = None
    type: str | None = None
    sift: Callable[[list[bytes]], list[bytes]] | None = None
    pace: PaceName | None = None
    max_rate: int | None = None
    start: Mapping[str, ResumePoint] = field(default_factory=dict)
    patience: float | None = None


@dataclass(frozen=True, slots=True)
class Restarted:
    """A node's data changed hands: drop all that came from `node`, it is read again from the start.

    reason: what happened, as a phrase (`was restarted or replaced by another server`).
    """

    node: str
    reason: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a scan is: keys gone through, how many there are about, keys a second."""

    done: int
    total: int | None
    rate: float


@dataclass(slots=True)
class NodeOutcome:
    """What became of one node's pass.

    keys: yielded; visited: gone through on the server (more when a pattern filters). tally:
    duplicates, vanished, unreadable and moved keys, and the lookups that we added to the server's
    keyspace_hits and keyspace_misses (exact unless lookups_exact is False: replies were lost).
    size_before, size_after: DBSIZE. seconds: from the first command to the last page. error: a
    sentence when the node could not be read to the end. resume: where to go on.
    """

    node: str
    keys: int = 0
    visited: int = 0
    tally: Tally = field(default_factory=Tally)
    lookups_exact: bool = True
    size_before: int | None = None
    size_after: int | None = None
    restarts: int = 0
    reconnects: int = 0
    commands: int = 0
    seconds: float = 0.0
    slept: float = 0.0
    complete: bool = False
    error: str | None = None
    resume: ResumePoint | None = None

    @property
    def arrived(self) -> int:
        """About how many keys came while the scan ran (it may have seen them or not)."""
        if self.size_before is None or self.size_after is None:
            return 0
        return max(0, self.size_after - self.size_before)


@dataclass(slots=True)
class ScanOutcome:
    """What a scan says of itself; filled while it runs, and true at any moment.

    unavailable: columns and nodes that could not be had. error: a sentence about the whole, such
    as slots of a cluster that never came to rest.
    """

    nodes: list[NodeOutcome] = field(default_factory=list)
    unavailable: list[Unavailable] = field(default_factory=list)
    error: str | None = None
    seconds: float = 0.0
    finished: bool = False

    @property
    def complete(self) -> bool:
        """Whether every key that was there all the time has been yielded exactly once."""
        return self.finished and not self.error and all(node.complete for node in self.nodes)

    @property
    def keys(self) -> int:
        """Keys yielded, of all nodes."""
        return sum(node.keys for node in self.nodes)

    @property
    def duplicates(self) -> int:
        """Keys that SCAN returned again, and that were not yielded again."""
        return sum(node.tally.duplicates for node in self.nodes)

    @property
    def vanished(self) -> int:
        """Keys that were gone when they were asked about."""
        return sum(node.tally.vanished for node in self.nodes)

    @property
    def unreadable(self) -> int:
        """Keys that this login may see but not read."""
        return sum(node.tally.unreadable for node in self.nodes)

    @property
    def arrived(self) -> int:
        """About how many keys came meanwhile, from the growth of DBSIZE."""
        return sum(node.arrived for node in self.nodes)

    @property
    def hits(self) -> int:
        """What the scan added to the servers' keyspace_hits."""
        return sum(node.tally.hits for node in self.nodes)

    @property
    def misses(self) -> int:
        """What the scan added to the servers' keyspace_misses."""
        return sum(node.tally.misses for node in self.nodes)

    @property
    def lookups_exact(self) -> bool:
        """Whether hits and misses are exact; False after replies were lost."""
        return all(node.lookups_exact for node in self.nodes)

    @property
    def commands(self) -> int:
        """Commands sent, of all nodes."""
        return sum(node.commands for node in self.nodes)

    @property
    def errors(self) -> list[str]:
        """What kept the scan from being complete, one sentence each."""
        found = [node.error for node in self.nodes if node.error]
        return [*found, self.error] if self.error else found

    @property
    def resume(self) -> dict[str, ResumePoint]:
        """Where to go on: hand it to ScanRequest.start."""
        return {node.node: node.resume for node in self.nodes if node.resume}


def merged(lists: list[list[Unavailable]]) -> list[Unavailable]:
    """Return what nodes could not answer; what none of several could is said once."""
    merged: dict[tuple[str, str], list[Unavailable]] = {}
    for one in (gap for gaps in lists for gap in gaps):
        merged.setdefault((one.what, one.reason), []).append(one)
    result = []
    for same in merged.values():
        if len(same) == len(lists):
            first = same[0]
            result.append(Unavailable(first.what, first.reason, first.remedy))
        else:
            result += same
    return result
