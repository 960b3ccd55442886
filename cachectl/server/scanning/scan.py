"""The scan: one pass over every primary at once, yielding pages of keys as columns.

    scan = Scan(server, ScanRequest(match=b"user:*"))
    with scan:
        for item in scan:
            match item:
                case Page(): ...
                case Restarted(node=node): ...  # drop what came from that node
    scan.outcome.complete

A scan uses connections of its own, so it can be stopped at any moment (Ctrl-C, close) without
harm to the server's others; the outcome then says how far it got and where to go on.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from types import TracebackType
from typing import Self

from cachectl.model.keys import Page
from cachectl.server.pace import Pace, RateCap
from cachectl.server.scanning.columns import Field
from cachectl.server.scanning.ledger import Ledger
from cachectl.server.scanning.moved import MovedSlots
from cachectl.server.scanning.scan_node import NodePass, Step
from cachectl.server.scanning.scan_types import (
    ALL,
    NodeOutcome,
    Progress,
    Restarted,
    ResumePoint,
    ScanOutcome,
    ScanRequest,
    merged,
)
from cachectl.server.topology.handle import Server
from cachectl.server.topology.node import Node
from cachectl.server.topology.slots import describe, slot_of

OnProgress = Callable[[Progress], None]
Item = Page | Restarted

_QUEUED = 8
"""Pages that wait for the consumer, per node."""
_PROGRESS_EVERY = 0.1
_JOIN = 2.0


class Scan:
    """One pass over a server. Iterate once; close early by `close`, `with`, or Ctrl-C.

    Raises CachectlError from the iteration only when no node could be read at all.
    """

    def __init__(
        self, server: Server, request: ScanRequest, on_progress: OnProgress | None = None
    ) -> None:
        self.outcome = ScanOutcome()
        self._server = server
        self._request = request
        self._on_progress = on_progress
        self._passes: list[NodePass] = []
        self._ledger: Ledger | None = None
        self._cap = RateCap(request.max_rate or server.target.limits.max_rate)
        self._items: Generator[Item] | None = None
        self._begun = 0.0
        self._reported = 0.0
        self._untaken: tuple[NodePass, Step] | None = None

    def __iter__(self) -> Iterator[Item]:
        if self._items is None:
            self._items = self._run()
        return self._items

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def taken(self) -> None:
        """Say that the last page is counted: `outcome.resume` then goes on after it.

        Asking for the next page says so too; this is for whoever may be stopped before that.
        """
        if self._untaken is not None:
            (one, step), self._untaken = self._untaken, None
            one.outcome.keys += len(step.page)
            one.outcome.resume = step.resume

    def close(self) -> None:
        """Stop. What was yielded stands, and `outcome.resume` says where to go on."""
        if self._items is not None:
            self._items.close()

    def _run(self) -> Generator[Item]:
        self._begun = time.monotonic()
        self._prepare()
        try:
            yield from self._taken(self._stepping())
            if self._ledger is not None and all(node.complete for node in self.outcome.nodes):
                yield from self._moved(self._ledger)
            self.outcome.finished = True
        finally:
            self.outcome.seconds = time.monotonic() - self._begun
            self.outcome.unavailable += merged([one.unavailable for one in self._passes])
            self._report(last=True)
        self._raise_if_all_failed()

    def _prepare(self) -> None:
        """Make a pass for each node that is not done yet; note what can't be had from the start."""
        server, outcome = self._server, self.outcome
        if server.slot_map is not None:
            self._ledger = Ledger(server.slot_map)
        for node in server.primaries:
            start = self._request.start.get(node.name)
            if start is not None and start.cursor is None:
                outcome.nodes.append(NodeOutcome(node.name, complete=True, resume=start))
                continue
            sift = self._ledger.sifter(node.id) if self._ledger else None
            one = NodePass(server, node, self._request, self._pace(), sift=sift)
            self._passes.append(one)
            outcome.nodes.append(one.outcome)
        for lost in server.unreachable:
            outcome.nodes.append(NodeOutcome(lost.name, error=lost.error.message))
        if server.uncovered:
            outcome.error = f"slots {describe(server.uncovered)} are served by no node"
        outcome.unavailable += server.unavailable

    def _pace(self) -> Pace:
        name = self._request.pace or self._server.target.pace
        return Pace.of(self._server.target.limits, name, self._cap)

    def _stepping(self) -> Generator[tuple[NodePass, Step | Restarted]]:
        if len(self._passes) == 1:
            return _inline(self._passes[0])
        return _in_threads(self._passes)

    def _taken(self, steps: Generator[tuple[NodePass, Step | Restarted]]) -> Generator[Item]:
        ledger = self._ledger
        with contextlib.closing(steps):
            for one, step in steps:
                if isinstance(step, Restarted):
                    one.outcome.keys = one.outcome.visited = 0
                    if ledger:
                        ledger.forget(step.node)
                    yield step
                    continue
                one.outcome.visited += step.visited
                if ledger:
                    ledger.note(step.page.node, step.page.keys)
                    ledger.suspects.update(map(slot_of, step.moved))
                self._untaken = one, step
                if step.page.keys:
                    yield step.page
                self.taken()
                self._report()

    def _moved(self, ledger: Ledger) -> Generator[Item]:
        """Read what moved between the nodes of a cluster while they were read."""
        for one in self._passes:
            ledger.read_by(one.began_as, one.node.id)
        rest = MovedSlots(self._server, self._request, ledger, self._pace(), self._outcome_of)
        for outcome, page in rest.pages():
            ledger.note(page.node, page.keys)
            if page.keys:
                yield page
                outcome.keys += len(page)
            self._report()
        self.outcome.error = self.outcome.error or rest.error

    def _outcome_of(self, node: Node) -> NodeOutcome:
        """Return the outcome to count keys of moved slots in."""
        for outcome in self.outcome.nodes:
            if outcome.node == node.name:
                return outcome
        self.outcome.nodes.append(NodeOutcome(node.name, complete=True))
        return self.outcome.nodes[-1]

    def _report(self, *, last: bool = False) -> None:
        if self._on_progress is None:
            return
        now = time.monotonic()
        if now - self._reported < _PROGRESS_EVERY and not last:
            return
        self._reported = now
        done = sum(node.visited for node in self.outcome.nodes)
        sizes = [node.size_before for node in self.outcome.nodes]
        total = None if None in sizes else sum(size or 0 for size in sizes)
        self._on_progress(Progress(done, total, done / max(1e-6, now - self._begun)))

    def _raise_if_all_failed(self) -> None:
        failures = [one.failure for one in self._passes if one.failure is not None]
        read = any(node.visited or node.complete for node in self.outcome.nodes)
        if failures and not read:
            raise failures[0]


def _inline(one: NodePass) -> Generator[tuple[NodePass, Step | Restarted]]:
    with contextlib.closing(one.run()) as steps:
        for step in steps:
            yield one, step


def _in_threads(passes: list[NodePass]) -> Generator[tuple[NodePass, Step | Restarted]]:
    """Run each pass in a thread of its own; yield their steps as they come."""
    waiting: queue.Queue[tuple[NodePass, Step | Restarted | BaseException | None]]
    waiting = queue.Queue(_QUEUED * len(passes))
    stop = threading.Event()

    def put(item: tuple[NodePass, Step | Restarted | BaseException | None]) -> None:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                waiting.put(item, timeout=0.1)
                return

    def read(one: NodePass) -> None:
        end: BaseException | None = None
        try:
            with contextlib.closing(one.run()) as steps:
                for step in steps:
                    put((one, step))
                    if stop.is_set():
                        return
        except BaseException as error:  # a defect: raised again in the thread of the consumer
            end = error
        put((one, end))

    threads = [
        threading.Thread(target=read, args=(one,), name=f"scan {one.node.name}", daemon=True)
        for one in passes
    ]
    for thread in threads:
        thread.start()
    try:
        running = len(threads)
        while running:
            one, item = waiting.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                running -= 1
            else:
                yield one, item
    finally:
        stop.set()
        for one in passes:
            one.interrupt()
        deadline = time.monotonic() + _JOIN
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))


__all__ = [
    "ALL",
    "Field",
    "NodeOutcome",
    "Page",
    "Progress",
    "Restarted",
    "ResumePoint",
    "Scan",
    "ScanOutcome",
    "ScanRequest",
]
