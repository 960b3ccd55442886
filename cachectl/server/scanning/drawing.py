"""Drawing keys from one node: SCANs from random places, and their keys' fields a flight later."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from cachectl import glob
from cachectl.model.findings import Unavailable
from cachectl.model.keys import Page
from cachectl.server.pace import Pace
from cachectl.server.scanning.asking import columns_for
from cachectl.server.scanning.columns import Batch, Field, Tally, pack_fields
from cachectl.server.scanning.cursors import draws_for
from cachectl.server.scanning.fetch import ask_lengths
from cachectl.server.scanning.scan_errors import WAIT_CODES, NotNowError, as_failure
from cachectl.server.scanning.scan_types import ScanRequest
from cachectl.server.topology.handle import Server
from cachectl.server.topology.node import Node
from cachectl.server.wire.connection import NodeConnection
from cachectl.server.wire.resp import ReplyError, pack

_DRAW, _SLOT_DRAW = 100, 20
"""Keys of one draw; fewer where they share a slot, and with it perhaps a hash tag."""
_MAX_FRUITLESS = 200
"""Flights in a row that bring nothing new before we stop: the table may be nearly empty."""


@dataclass(slots=True)
class NodeSample:
    """What was drawn on one node: `drawn` distinct keys of `size` (DBSIZE), wanted or not."""

    node: str
    size: int
    drawn: int = 0
    pages: list[Page] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    unavailable: list[Unavailable] = field(default_factory=list)


@dataclass(slots=True)
class _Flight:
    """draws: SCANs in it. batches: whose fields it asks."""

    draws: int
    batches: Sequence[Batch]
    fields: tuple[Field, ...]
    keys: int
    sent_at: float


class Drawer:
    """Draws from one node over a connection of its own."""

    def __init__(
        self, server: Server, node: Node, request: ScanRequest, pace: Pace, rng: random.Random
    ) -> None:
        self._server = server
        self._node = node
        self._request = request
        self._pace = pace
        self._rng = rng
        self._matches = glob.matcher(request.match) if request.match is not None else None
        self._seen: set[bytes] = set()
        self._fruitless = 0
        self._commands = 0

    def draw(self, n: int, size: int) -> NodeSample:
        """Draw n distinct keys or a few more. size: what DBSIZE says. Raises CachectlError."""
        sample = NodeSample(self._node.name, size)
        try:
            with self._server.new_connection(self._node) as connection:
                self._draw(connection, n, sample)
        except (ReplyError, NotNowError) as error:
            raise as_failure(error, self._node.name) from error
        return sample

    def _draw(self, connection: NodeConnection, n: int, sample: NodeSample) -> None:
        self._connection = connection
        self._gate = self._server.gates(self._node.identity.run_id, connection.local_address)
        try:
            self._draw_all(connection, n, sample)
        finally:
            self._gate.close()

    def _draw_all(self, connection: NodeConnection, n: int, sample: NodeSample) -> None:
        self._columns = columns_for(self._node, connection, self._request, sample.tally)
        self._next, in_slots = draws_for(self._node, connection, self._rng)
        self._count = _SLOT_DRAW if in_slots else _DRAW
        batches = self._fly(n)
        sample.drawn = len(self._seen)
        for batch in batches:
            if self._request.type is not None:
                self._columns.narrow(batch, self._request.type)
            if self._columns.elements:
                self._gate.enter()
                self._commands += len(batch)
                ask_lengths(connection, self._columns, batch, self._pace)
                self._count_own(under_way=False)
            page = self._columns.page(batch)
            if page.keys:
                sample.pages.append(page)
        sample.unavailable = self._columns.unavailable

    def _fly(self, n: int) -> list[Batch]:
        """Send flights until n distinct keys came, the next one ahead of this one's last reply."""
        complete: list[Batch] = []
        flight: _Flight | None = self._launch([], n)
        while flight is not None:
            found = [self._read_draw() for _ in range(flight.draws)]
            fruitful = any(batch.found for batch in found)
            self._fruitless = 0 if fruitful else self._fruitless + 1
            left = n - len(self._seen) if self._fruitless < _MAX_FRUITLESS else 0
            early = self._pace.overlap and not self._gate.wanted
            if early:
                self._measure(flight)
            following = self._launch(found, left) if early else None
            self._read_fields(flight)
            self._count_own(under_way=following is not None)
            complete += flight.batches
            if not early:
                self._measure(flight)
                following = self._launch(found, left)
            flight = following
        return complete

    def _launch(self, batches: Sequence[Batch], left: int) -> _Flight | None:
        """Send the questions about what was drawn, and draws for some of the keys that are left."""
        batches = [batch for batch in batches if batch.keys]
        draws = math.ceil(min(left, self._pace.batch) / self._count) if left > 0 else 0
        if not draws and not batches:
            return None
        flight = _Flight(draws, batches, tuple(self._columns.fields), draws * self._count, 0.0)
        parts = [pack("SCAN", self._next(), "COUNT", self._count) for _ in range(draws)]
        parts += [pack_fields(batch, flight.fields) for batch in batches]
        self._commands += draws + len(flight.fields) * sum(map(len, batches))
        self._pace.before(flight.keys)
        self._gate.enter()
        flight.sent_at = time.monotonic()
        self._connection.send(b"".join(parts))
        return flight

    def _read_draw(self) -> Batch:
        reply = self._connection.receive(1)[0]
        if isinstance(reply, ReplyError):
            raise NotNowError(reply) if reply.code in WAIT_CODES else reply
        # A key drawn twice counts once, so that every key keeps the same chance to be in.
        fresh = [key for key in dict.fromkeys(reply[1]) if key not in self._seen]
        self._seen.update(fresh)
        wanted = [key for key in fresh if self._matches(key)] if self._matches else fresh
        wanted = self._request.sift(wanted) if self._request.sift else wanted
        batch = Batch(wanted)
        batch.found = fresh
        return batch

    def _read_fields(self, flight: _Flight) -> None:
        width = len(flight.fields)
        for batch in flight.batches:
            replies = self._connection.receive(len(batch) * width)
            self._columns.take(batch, flight.fields, replies)

    def _count_own(self, *, under_way: bool) -> None:
        """Make the look-ups known to whoever counts those of the server."""
        tally = self._columns.tally
        say = self._gate.note if under_way else self._gate.leave
        say(tally.hits, tally.misses, self._commands)

    def _measure(self, flight: _Flight) -> None:
        self._pace.after(flight.keys, time.monotonic() - flight.sent_at)
