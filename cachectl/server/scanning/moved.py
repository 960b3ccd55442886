"""The end of a cluster's scan: reading what moved meanwhile, until the slots have come to rest."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterator

from cachectl import glob
from cachectl.errors import CachectlError
from cachectl.model.keys import Page
from cachectl.server.pace import Pace
from cachectl.server.scanning.asking import columns_for
from cachectl.server.scanning.fetch import fetch
from cachectl.server.scanning.ledger import Ledger
from cachectl.server.scanning.scan_errors import NotNowError
from cachectl.server.scanning.scan_types import NodeOutcome, ScanRequest
from cachectl.server.topology.handle import Server
from cachectl.server.topology.node import Node
from cachectl.server.topology.slots import SlotMap, describe, ranges_of, slot_of
from cachectl.server.wire.connection import NodeConnection
from cachectl.server.wire.resp import ReplyError, as_text

WAIT, MAX_WAIT = 0.1, 1.0
PATIENCE = 15.0
"""Seconds without any progress after which half-moved slots are given up."""
_CHUNK = 50_000
"""Names that are held at once."""
_BIG_SLOT = 10_000
"""GETKEYSINSLOT has no cursor: a slot with more keys is read by SCAN, which blocks nobody."""
_FLIGHT_KEYS = 1000
_SCAN_COUNT = 1000

Outcomes = Callable[[Node], NodeOutcome]


class MovedSlots:
    """Reads slots that changed hands during a scan.

    error: a sentence when some never came to rest.
    """

    def __init__(
        self, server: Server, request: ScanRequest, ledger: Ledger, pace: Pace, outcomes: Outcomes
    ) -> None:
        self.error: str | None = None
        self._server = server
        self._request = request
        self._ledger = ledger
        self._pace = pace
        self._outcomes = outcomes
        self._open: set[int] = set()
        self._matches = glob.matcher(request.match) if request.match is not None else None

    def pages(self) -> Iterator[tuple[NodeOutcome, Page]]:
        """Yield the keys that no pass has yielded, each with the outcome to count it in."""
        wait, quiet_since = WAIT, time.monotonic()
        moved: dict[str, set[int]] = {}
        while True:
            found, problem = 0, ""
            try:
                now = self._refresh()
                moved = self._ledger.moved(now)
                if not moved:
                    return
                if self._ledger.overflowed:
                    self.error = _why(moved, "more keys than can be told from those seen before")
                    return
                for outcome, page in self._read(moved, now):
                    found += len(page)
                    yield outcome, page
            except (CachectlError, ReplyError, NotNowError) as error:
                problem = str(error)
            if found:
                wait, quiet_since = WAIT, time.monotonic()
            elif time.monotonic() - quiet_since > PATIENCE:
                self.error = _why(moved, problem)
                return
            if problem or self._open or self._ledger.suspects:
                time.sleep(wait)
                wait = min(MAX_WAIT, wait * 2)

    def _refresh(self) -> SlotMap:
        """Read the slot map, and add slots that are half moved to the suspects."""
        now = self._server.refresh()
        assert now is not None  # noqa: S101 - only clusters come here
        self._open = {
            slot for node in self._server.primaries for slot in open_slots(node.connection)
        }
        self._ledger.suspects |= self._open
        return now

    def _read(self, moved: dict[str, set[int]], now: SlotMap) -> Iterator[tuple[NodeOutcome, Page]]:
        by_id = {node.id: node for node in self._server.primaries}
        for node_id, slots in moved.items():
            node = by_id.get(node_id)
            if node is None:
                self._ledger.suspects |= slots
                continue
            self._ledger.suspects -= slots
            try:
                yield from self._read_node(node, slots)
            except BaseException:
                self._ledger.suspects |= slots
                raise
            self._ledger.take_over(slots, now)

    def _read_node(self, node: Node, slots: set[int]) -> Iterator[tuple[NodeOutcome, Page]]:
        outcome = self._outcomes(node)
        with self._server.new_connection(node) as connection:
            columns = columns_for(node, connection, self._request, outcome.tally)
            for names in names_in_slots(connection, slots):
                wanted = [k for k in names if self._matches(k)] if self._matches else names
                wanted = self._request.sift(wanted) if self._request.sift else wanted
                fresh = self._ledger.unseen(wanted)
                flights = fetch(
                    connection, columns, fresh, self._pace, only_type=self._request.type
                )
                for page, batch in flights:
                    self._ledger.suspects |= {slot_of(key) for key in batch.moved}
                    yield outcome, page


def _why(moved: dict[str, set[int]], problem: str) -> str:
    slots = describe(ranges_of(sorted(set().union(*moved.values()))))
    sentence = f"slots {slots or '?'} were still moving when the scan ended"
    return f"{sentence} ({problem})" if problem else sentence


def open_slots(connection: NodeConnection) -> set[int]:
    """Return the slots that a node is giving away or getting just now; empty if it won't say."""
    reply = connection.pipeline([("CLUSTER", "NODES")])[0]
    if isinstance(reply, ReplyError):
        return set()
    mine = [line for line in as_text(reply).splitlines() if "myself" in line]
    return {int(slot) for line in mine for slot in re.findall(r"\[(\d+)-[<>]-", line)}


def names_in_slots(connection: NodeConnection, slots: Collection[int]) -> Iterator[list[bytes]]:
    """Yield the names of all keys in some slots of a node, a chunk at a time.

    By CLUSTER GETKEYSINSLOT; by SCAN where a service forbids that, and for very big slots. A name
    may come twice.
    """
    ordered = sorted(slots)
    counts = connection.pipeline([("CLUSTER", "COUNTKEYSINSLOT", slot) for slot in ordered])
    if any(isinstance(count, ReplyError) for count in counts):
        yield from _names_by_scan(connection, slots)
        return
    sizes = dict(zip(ordered, counts, strict=True))
    big = {slot for slot, size in sizes.items() if size > _BIG_SLOT}
    if big:
        yield from _names_by_scan(connection, big)
    names: list[bytes] = []
    for group in _grouped({slot: size for slot, size in sizes.items() if size and slot not in big}):
        # A few more than there were: the slot may have grown since it was counted.
        commands = [("CLUSTER", "GETKEYSINSLOT", slot, size + 100) for slot, size in group]
        for reply in connection.pipeline(commands):
            if isinstance(reply, ReplyError):
                yield from _names_by_scan(connection, slots)
                return
            names += reply
        if len(names) >= _CHUNK:
            yield names
            names = []
    if names:
        yield names


def _grouped(sizes: dict[int, int]) -> Iterator[list[tuple[int, int]]]:
    """Yield (slot, size) in groups that fit into one flight."""
    group: list[tuple[int, int]] = []
    keys = 0
    for slot, size in sizes.items():
        if group and keys + size > _FLIGHT_KEYS:
            yield group
            group, keys = [], 0
        group.append((slot, size))
        keys += size
    if group:
        yield group


def _names_by_scan(connection: NodeConnection, slots: Collection[int]) -> Iterator[list[bytes]]:
    wanted = set(slots)
    names: list[bytes] = []
    cursor = b"0"
    while True:
        cursor, keys = connection.call("SCAN", cursor, "COUNT", _SCAN_COUNT)
        names += [key for key in keys if slot_of(key) in wanted]
        if cursor == b"0" or len(names) >= _CHUNK:
            yield names
            names = []
        if cursor == b"0":
            return
