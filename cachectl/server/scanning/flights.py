"""The hot loop: SCAN's pages and the metadata of their keys over one connection.

A flight carries SCAN for the next page, then the questions about the page before. As soon as the
SCAN is answered the next flight leaves, while the server is still working on the questions of this
one: it never waits for us, and two flights at most are on their way. What depends on the type
(elements, or a type that is filtered on this side) is asked one flight later.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from cachectl.errors import CachectlError
from cachectl.model.keys import Page
from cachectl.server.pace import Pace
from cachectl.server.scanning.columns import Batch, Columns, Field, pack_fields
from cachectl.server.scanning.recent import RecentKeys
from cachectl.server.scanning.scan_errors import WAIT_CODES, NotNowError
from cachectl.server.topology.gate import Gate, OpenGate
from cachectl.server.wire.connection import NodeConnection
from cachectl.server.wire.resp import ReplyError, pack

Sift = Callable[[list[bytes]], list[bytes]]

# A page with few hits is cheap for the server, so a sparse pattern may go through more keys a
# flight: fewer round trips. 1,500 keys of a bare SCAN take it about 2 ms.
_LONGEST_STRIDE = 5
_MAX_COUNT = 1500


@dataclass(frozen=True, slots=True)
class Question:
    """What SCAN itself is told, and what is filtered here instead.

    match, type: sent to the server. sift: takes a page's keys, returns those wanted. only_type: a
    type that the server is not told.
    """

    match: bytes | None = None
    type: str | None = None
    sift: Sift | None = None
    only_type: str | None = None

    @property
    def filters(self) -> bool:
        """Whether the server may go through more keys than it returns."""
        return self.match is not None or self.type is not None

    def scan(self, cursor: bytes, count: int) -> bytes:
        """Return the SCAN command, packed."""
        words: list[bytes | str | int] = ["SCAN", cursor]
        if self.match is not None:
            words += ["MATCH", self.match]
        words += ["COUNT", count]
        if self.type is not None:
            words += ["TYPE", self.type]
        return pack(*words)


@dataclass(slots=True)
class _Flight:
    """What is on its way.

    count: of its SCAN, 0 for none. first, second: batches whose fields it asks, and which fields.
    lengths: positions in `second` whose number of elements it asks. away: see Flights.
    """

    count: int = 0
    first: Batch | None = None
    first_fields: tuple[Field, ...] = ()
    second: Batch | None = None
    second_fields: tuple[Field, ...] = ()
    lengths: list[int] = field(default_factory=list)
    keys: int = 0
    sent_at: float = 0.0
    away: float = 0.0


class Flights:
    """Pages of one node, from a cursor to the end, over one connection.

    commands: sent so far.
    """

    def __init__(
        self,
        connection: NodeConnection,
        columns: Columns,
        question: Question,
        pace: Pace,
        recent: RecentKeys,
        gate: Gate | None = None,
    ) -> None:
        self.commands = 0
        self._gate = gate or OpenGate()
        self._connection = connection
        self._columns = columns
        self._tally_before = columns.tally.hits, columns.tally.misses
        self._question = question
        self._pace = pace
        self._recent = recent
        self._two_steps = columns.elements or question.only_type is not None
        # Batches that were read from SCAN and are not yielded yet.
        self._open: deque[Batch] = deque()
        self._drained = False
        # Hits per key that the server goes through, smoothed.
        self._density = 1.0
        # Seconds that the caller kept a page so far: no fault of the server's.
        self._away = 0.0

    def pages(self, cursor: bytes) -> Iterator[tuple[Page, Batch]]:
        """Yield each page with the batch that it was made from; pages may be empty.

        Raises ConnectionLostError, NotNowError, TooSlowError, and ReplyError when SCAN itself is
        refused. What was yielded stands, and `next` of the last batch is where to go on.
        """
        flight: _Flight | None = self._launch(cursor, None, None)
        while flight is not None:
            batch = self._read_scan(flight) if flight.count else None
            early = self._pace.overlap and not self._two_steps and not self._gate.wanted
            following = self._launch_after(flight, batch) if early else None
            done = self._read_fields(flight)
            self._count_own(under_way=following is not None)
            if done is not None:
                page = self._columns.page(done)
                lent_at = time.monotonic()
                self._open.popleft()
                try:
                    yield page, done
                except GeneratorExit:
                    self._drain(following)
                    raise
                self._away += time.monotonic() - lent_at
            flight = following if early else self._launch_after(flight, batch)

    @property
    def lost(self) -> bool:
        """Whether commands were sent whose replies have not been read."""
        return bool(self._open) and not self._drained

    def _drain(self, flight: _Flight | None) -> None:
        """Read what is still under way when nobody wants more pages, so that its look-ups count.

        It takes as long as one flight; a connection that was interrupted can't tell any more.
        """
        if flight is None:
            return
        try:
            if flight.count:
                self._connection.receive(1)
            self._read_fields(flight)
        except (CachectlError, NotNowError):
            return
        self._drained = True
        self._count_own(under_way=False)

    def forget_open(self) -> None:
        """Take back what was read but not yielded: it will be asked for again."""
        while self._open:
            self._recent.forget(self._open.popleft().found)

    def _count_own(self, *, under_way: bool) -> None:
        tally, (hits, misses) = self._columns.tally, self._tally_before
        say = self._gate.note if under_way else self._gate.leave
        say(tally.hits - hits, tally.misses - misses, self.commands)

    # Sending

    def _launch_after(self, flight: _Flight, batch: Batch | None) -> _Flight | None:
        """Send what follows a flight whose SCAN brought `batch`; None when nothing is left."""
        cursor = batch.next if batch is not None and batch.next != b"0" else None
        second = flight.first if self._two_steps else None
        if cursor is None and batch is None and second is None:
            return None
        return self._launch(cursor, batch, second)

    def _launch(self, cursor: bytes | None, first: Batch | None, second: Batch | None) -> _Flight:
        flight = _Flight(first=first, second=second)
        parts = []
        if cursor is not None:
            flight.count = self._count()
            parts.append(self._question.scan(cursor, flight.count))
            self.commands += 1
        if first is not None:
            flight.first_fields = self._first_fields()
            parts.append(pack_fields(first, flight.first_fields))
            self.commands += len(first) * len(flight.first_fields)
        if second is not None:
            flight.second_fields = self._second_fields()
            packed, flight.lengths = self._columns.pack_lengths(second)
            parts += (pack_fields(second, flight.second_fields), packed)
            self.commands += len(second) * len(flight.second_fields) + len(flight.lengths)
        flight.keys = flight.count or len(first or ())
        self._pace.before(flight.keys)
        self._gate.enter()
        flight.sent_at, flight.away = time.monotonic(), self._away
        if packed := b"".join(parts):
            self._connection.send(packed)
        return flight

    def _first_fields(self) -> tuple[Field, ...]:
        if self._question.only_type is not None:
            return (Field.TYPE,)
        return tuple(self._columns.fields)

    def _second_fields(self) -> tuple[Field, ...]:
        if self._question.only_type is None:
            return ()
        return tuple(one for one in self._columns.fields if one is not Field.TYPE)

    def _count(self) -> int:
        batch = self._pace.batch
        wide = int(batch / max(self._density, 1 / _LONGEST_STRIDE))
        return min(wide, max(_MAX_COUNT, batch))

    # Receiving

    def _read_scan(self, flight: _Flight) -> Batch:
        reply = self._connection.receive(1)[0]
        if self._pace.overlap:
            self._measure(flight)
        if isinstance(reply, ReplyError):
            raise NotNowError(reply) if reply.code in WAIT_CODES else reply
        cursor, keys = reply
        visited = max(flight.count, len(keys)) if self._question.filters else len(keys)
        if keys and self._question.sift:
            keys = self._question.sift(keys)
        fresh = self._recent.sift(keys) if keys else keys
        self._columns.tally.duplicates += len(keys) - len(fresh)
        self._density += 0.2 * (len(keys) / max(1, visited) - self._density)
        batch = Batch(fresh, next=cursor, visited=visited)
        self._open.append(batch)
        return batch

    def _read_fields(self, flight: _Flight) -> Batch | None:
        """Read the rest of the flight; return the batch that is complete with it."""
        first, second, only_type = flight.first, flight.second, self._question.only_type
        if first is not None:
            replies = self._connection.receive(len(first) * len(flight.first_fields))
            self._columns.take(first, flight.first_fields, replies)
            if only_type is not None:
                self._columns.narrow(first, only_type)
        if second is not None:
            n = len(second) * len(flight.second_fields)
            replies = self._connection.receive(n + len(flight.lengths))
            self._columns.take(second, flight.second_fields, replies)
            self._columns.take_lengths(second, flight.lengths, replies[n:])
        if not self._pace.overlap:
            self._measure(flight)
        return second if self._two_steps else first

    def _measure(self, flight: _Flight) -> None:
        away = self._away - flight.away
        self._pace.after(flight.keys, time.monotonic() - flight.sent_at - away)
