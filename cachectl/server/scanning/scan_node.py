"""One node's pass: from the first key to the last, through lost connections and restarts.

A cursor means something to one process only. So the node is asked who it is when the pass begins,
after every reconnection, and at the end; when it is another one, or another's data, the pass
starts over and says so.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from cachectl.errors import (
    AuthenticationError,
    CachectlError,
    CannotConnectError,
    PartialError,
)
from cachectl.model.findings import Unavailable
from cachectl.model.keys import Page
from cachectl.server.pace import Pace
from cachectl.server.scanning.asking import columns_for, question_for
from cachectl.server.scanning.columns import Columns, Tally
from cachectl.server.scanning.flights import Flights, Sift
from cachectl.server.scanning.recent import RecentKeys
from cachectl.server.scanning.scan_errors import NotNowError, as_failure
from cachectl.server.scanning.scan_types import NodeOutcome, Restarted, ResumePoint, ScanRequest
from cachectl.server.topology.gate import Gate, OpenGate
from cachectl.server.topology.handle import Server
from cachectl.server.topology.node import Identity, Node, identity_of
from cachectl.server.wire.connection import ConnectionLostError, NodeConnection
from cachectl.server.wire.resp import ReplyError

MAX_RESTARTS = 3
MAX_RECONNECTS = 5
"""In a row, without a page between them."""
_PINGS = 3
WAIT, MAX_WAIT = 0.2, 2.0
PATIENCE = {"standalone": 10.0}
LONG_PATIENCE = 30.0
"""Where another node may take the place of one that is gone (a failover takes its time)."""


@dataclass(slots=True)
class Step:
    """A page (maybe empty), where the pass goes on after it, and keys gone through for it.

    moved: keys that SCAN returned and that belong to another node of the cluster by now.
    """

    page: Page
    resume: ResumePoint
    visited: int
    moved: list[bytes]


class NodePass:
    """Read one node from its beginning, or from where an earlier pass stopped.

    outcome: what became of it. Whoever takes the steps counts the keys in it and moves its
    `resume` on, for a step may still be waiting in a queue when everything is stopped.
    began_as: the node's id in its cluster; node: who has its place by now.
    failure: why it did not get to the end. unavailable: columns that could not be had.
    """

    def __init__(
        self,
        server: Server,
        node: Node,
        request: ScanRequest,
        pace: Pace,
        *,
        sift: Sift | None = None,
        recent: RecentKeys | None = None,
    ) -> None:
        self.node = node
        self.began_as = node.id
        self.outcome = NodeOutcome(node.name)
        self.failure: CachectlError | None = None
        self.unavailable: list[Unavailable] = []
        self._server = server
        self._request = request
        self._pace = pace
        self._sift = sift
        self._recent = recent or RecentKeys()
        self._identity = node.identity
        self._cursor: str | None = "0"
        self._connection: NodeConnection | None = None
        self._columns: Columns | None = None
        self._flights: Flights | None = None
        self._gate: Gate = OpenGate()
        self._stopped = False

    def interrupt(self) -> None:
        """Make run() end soon. Thread-safe."""
        self._stopped = True
        if self._connection is not None:
            self._connection.interrupt()

    @property
    def round_trip(self) -> float:
        """Seconds that an empty command took when the pass began."""
        return self._pace.round_trip

    def run(self) -> Generator[Step | Restarted]:
        """Yield what the node holds. The node's faults are not raised: see failure and outcome."""
        begun = time.monotonic()
        try:
            yield from self._begin()
            yield from self._read_on()
        except (CachectlError, ReplyError, NotNowError) as error:
            if not self._stopped:
                self.failure = as_failure(error, self.node.name)
                self.outcome.error = self.failure.message
        finally:
            self._note_flights()
            self.outcome.seconds = time.monotonic() - begun
            self.outcome.slept = self._pace.slept
            if self._connection is not None:
                self._connection.close()

    def _begin(self) -> Iterator[Restarted]:
        self._connect()
        begun_as, start = self._identity, self._request.start.get(self.node.name)
        self._identity = self._who()
        change = self._identity.change_from(begun_as) if begun_as.is_known else None
        if start is not None:
            then = Identity(start.run_id, start.replid, start.role)
            change = self._identity.change_from(then)
            if change is None:
                self._cursor = start.cursor
        if change is not None:
            yield Restarted(self.node.name, change)
        self.outcome.resume = self._resume_point()
        self.outcome.size_before = self._size()
        self._pace.round_trip = self._round_trip()

    def _read_on(self) -> Iterator[Step | Restarted]:
        """Alternate between reading and mending, until all is read or nothing helps."""
        trouble: ConnectionLostError | NotNowError | None = None
        tries = 0
        while True:
            try:
                change = self._reconnect(trouble, tries) if trouble else None
                trouble = None
                if change is None:
                    for step in self._steps():
                        tries = 0
                        yield step
                    change = self._change_at_the_end()
                if change is None:
                    self.outcome.complete = True
                    return
                yield self._restart(change)
            except (ConnectionLostError, NotNowError) as error:
                tries += 1
                if tries > MAX_RECONNECTS or self._stopped:
                    raise
                trouble = error

    def _change_at_the_end(self) -> str | None:
        """Return what happened to the node while it was read; None when all of it is good."""
        self.outcome.size_after = self._size()
        now = self._who()
        return now.change_from(self._identity) if self._identity.is_known else None

    def _steps(self) -> Iterator[Step]:
        """Read from the cursor to the end over the connection that is open."""
        if self._cursor is None:
            return
        assert self._connection is not None  # noqa: S101 - _begin and _reconnect open it
        if self._columns is None:
            self._columns = columns_for(
                self.node, self._connection, self._request, self.outcome.tally
            )
            self.unavailable = self._columns.unavailable
        self._gate = self._server.gates(self._identity.run_id, self._connection.local_address)
        self._flights = Flights(
            self._connection,
            self._columns,
            question_for(self.node, self._request, self._sift),
            self._pace,
            self._recent,
            self._gate,
        )
        for page, batch in self._flights.pages(self._cursor.encode()):
            self._cursor = None if batch.next == b"0" else batch.next.decode("ascii")
            yield Step(page, self._resume_point(), batch.visited, batch.moved)

    # Mending

    def _reconnect(self, error: CachectlError | NotNowError, tries: int) -> str | None:
        """Connect again, wherever the node is now; return how it changed, None when it did not."""
        self._note_flights()
        self.outcome.reconnects += 1
        if isinstance(error, NotNowError) or tries > 1:
            time.sleep(min(MAX_WAIT, WAIT * 2**tries))
        try:
            self._connect()
            now = self._who()
        except AuthenticationError:
            raise
        except CannotConnectError:
            now = None
        if now is None or (now.role != "primary" and self._identity.role == "primary"):
            self.node = self._server.reopen(self.node, self._patience)
            self._connect()
            now = self._who()
        change = now.change_from(self._identity)
        self._identity = now
        return change

    def _restart(self, reason: str) -> Restarted:
        """Forget what was read of the node; the next step starts from its beginning."""
        outcome, name = self.outcome, self.outcome.node
        outcome.restarts += 1
        if outcome.restarts > MAX_RESTARTS:
            raise PartialError(
                f"{name} {reason}; the scan of it was started {MAX_RESTARTS + 1} times",
                hint="scan again when the servers have come to rest",
                target=name,
            )
        self._note_flights()
        outcome.tally = Tally(hits=outcome.tally.hits, misses=outcome.tally.misses)
        self._identity = self._who()
        self._columns = None
        self._recent = RecentKeys()
        self._cursor = "0"
        outcome.node = self.node.name
        outcome.resume = self._resume_point()
        outcome.size_before = self._size()
        return Restarted(name, reason)

    def _note_flights(self) -> None:
        """Add what the flights over the last connection cost; take back what they left open."""
        if self._flights is None:
            return
        if self._flights.lost:
            self.outcome.lookups_exact = False
        self._flights.forget_open()
        self.outcome.commands += self._flights.commands
        self._gate.close()
        self._flights = None

    # Asking

    def _connect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = self._server.new_connection(self.node)

    def _who(self) -> Identity:
        assert self._connection is not None  # noqa: S101 - see _steps
        return identity_of(self._connection)

    def _size(self) -> int | None:
        assert self._connection is not None  # noqa: S101 - see _steps
        reply = self._connection.pipeline([("DBSIZE",)])[0]
        return None if isinstance(reply, ReplyError) else int(reply)

    def _round_trip(self) -> float:
        """Return the seconds of the quickest of a few empty commands."""
        assert self._connection is not None  # noqa: S101 - see _steps
        times = []
        for _ in range(_PINGS):
            sent_at = time.monotonic()
            self._connection.pipeline([("PING",)])
            times.append(time.monotonic() - sent_at)
        return min(times)

    def _resume_point(self) -> ResumePoint:
        who = self._identity
        return ResumePoint(self._cursor, who.run_id, who.replid, who.role)

    @property
    def _patience(self) -> float:
        if self._request.patience is not None:
            return self._request.patience
        return PATIENCE.get(self._server.target.topology, LONG_PATIENCE)
