"""`scan --save` and `scan --resume`: between a scan and the snapshot that it leaves."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cachectl.cli.context import App
from cachectl.errors import DamagedError, UsageError

if TYPE_CHECKING:
    from cachectl.analysis.keyspace.keyspace import KeyspaceAccumulator
    from cachectl.model.keys import Page
    from cachectl.server.scanning.scan_types import (
        NodeOutcome,
        ResumePoint,
        ScanOutcome,
        ScanRequest,
    )
    from cachectl.server.topology.handle import Server
    from cachectl.storage.snapshots import NodeState, Snapshot, SnapshotInfo

COUNTS = ("duplicates", "vanished", "unreadable", "arrived", "hits", "misses")
"""What a scan says of itself that is added up over its parts."""


class Saving:
    """A snapshot in the making.

    accumulator: of the report: it knows the namespaces when it groups by template. begun: what an
    earlier part of this scan left, to go on from. saved: whether the file was written.
    """

    def __init__(
        self,
        app: App,
        server: Server,
        path: Path,
        accumulator: KeyspaceAccumulator,
        begun: SnapshotInfo | None = None,
    ) -> None:
        from cachectl.analysis.keyspace.keyspace import KeyspaceAccumulator
        from cachectl.output.escape import escape
        from cachectl.storage.snapshot_writer import SnapshotWriter

        self._app = app
        self._server = server
        self._begun = begun
        self._slots = slots_of(server)
        self._shared = accumulator.by == "template"
        self._namer = accumulator if self._shared else KeyspaceAccumulator("template")
        self.saved = False
        self.writer = SnapshotWriter(path, escape, now=app.terminal.now)

    def add(self, page: Page, groups: Sequence[int], scanned_at: str | None = None) -> None:
        """Take a page. groups: what the accumulator of the report said of it."""
        self.writer.add(page, groups if self._shared else self._namer.add(page), scanned_at)

    def drop(self, node: str) -> None:
        """Forget what came from a node."""
        self.writer.drop(node)
        if not self._shared:
            self._namer.drop(node)

    def save(self, request: ScanRequest, outcome: ScanOutcome) -> None:
        """Write the snapshot. Raises StorageError."""
        from cachectl.output.escape import escape
        from cachectl.storage.snapshots import SnapshotInfo

        writer, facts = self.writer, self._server.facts
        if not writer.keys and not outcome.complete:
            return
        earlier = self._begun.counts if self._begun else {}
        info = SnapshotInfo(
            server=facts.name,
            keys=writer.keys,
            begun_at=self._begun.begun_at if self._begun else writer.begun_at,
            ended_at=self._app.terminal.now(),
            database=facts.database,
            topology=facts.topology,
            match=None if request.match is None else escape(request.match),
            type=request.type,
            partial=not outcome.complete,
            nodes=self._nodes(outcome),
            counts={name: earlier.get(name, 0) + getattr(outcome, name) for name in COUNTS},
        )
        with self._app.progress("saving") as progress:
            names = _names_of(self._namer)
            writer.save(info, names, lambda done: progress.update(done, writer.keys))
        self.saved = True

    def close(self) -> None:
        """Give back what was needed to save."""
        self.writer.close()

    def said(self, outcome: ScanOutcome) -> Iterator[str]:
        """Yield what is to be said of the snapshot."""
        if not self.saved:
            yield f"nothing was saved to {self.writer.path}"
            return
        yield f"{self.writer.keys:,} keys saved to {self.writer.path}"
        if not outcome.complete:
            words = [*self._app.words, "scan", "--resume", str(self.writer.path)]
            yield f"go on where this stopped: {shlex.join(words)}"
        elif self._begun:
            yield "resumed: keys that the server returned again after the stop count twice"

    def _nodes(self, outcome: ScanOutcome) -> tuple[NodeState, ...]:
        states = {one.node: self._state(one.node, one) for one in outcome.nodes}
        for name in self.writer.nodes - states.keys():  # keys that moved there, or it was replaced
            states[name] = self._state(name, None)
        return tuple(states.values())

    def _state(self, name: str, outcome: NodeOutcome | None) -> NodeState:
        from cachectl.storage.snapshots import NodeState

        point = outcome.resume if outcome else None
        return NodeState(
            node=name,
            keys=self.writer.keys_of(name),
            columns=self.writer.columns_of(name),
            complete=outcome.complete if outcome else True,
            cursor=point.cursor if point else None,
            run_id=point.run_id if point else "",
            replid=point.replid if point else "",
            role=point.role if point else "",
            slots=self._slots.get(name, ""),
        )


def _names_of(namer: KeyspaceAccumulator) -> Callable[[Sequence[int], Page], list[bytes]]:
    """Return what tells the namespaces of a page's keys, as the report of them all shows them."""
    from cachectl.analysis.keyspace.keyspace import folding_of
    from cachectl.analysis.naming.templates import template

    index = namer.index
    counts = [0] * index.size
    namer.add_counts(counts)
    folding = folding_of(index, "template", counts)
    name_of = {node.gid: b"".join(path) for path, node in folding.root.walk() if node.gid >= 0}
    name_of |= {gid: name_of[target] for gid, target in folding.merged.items() if target in name_of}

    def names(groups: Sequence[int], page: Page) -> list[bytes]:
        if index.capped:  # groups have merged since
            groups = index.gids(page)
        return [
            name_of.get(gid) or template(key) for gid, key in zip(groups, page.keys, strict=True)
        ]

    return names


def slots_of(server: Server) -> dict[str, str]:
    """Return node → the slots that it serves, as text; nothing outside of a cluster."""
    if server.slot_map is None:
        return {}
    from cachectl.server.topology.slots import describe

    return {node.name: describe(node.slots, most=len(node.slots)) for node in server.primaries}


def resume_points(server: Server, snapshot: Snapshot) -> dict[str, ResumePoint]:
    """Return where to go on. Raises UsageError or DamagedError when that can't be done."""
    from cachectl.server.scanning.scan_types import ResumePoint

    info, path = snapshot.info, snapshot.path
    if not info.partial:
        raise UsageError(f"{path} is complete: there is nothing to go on with")
    if (server.facts.topology, server.facts.database) != (info.topology, info.database):
        raise _misfit(path, "it was taken of another database")
    points = {
        node.node: ResumePoint(node.cursor, node.run_id, node.replid, node.role)
        for node in info.nodes
        if node.run_id
    }
    here = {node.name for node in server.primaries}
    if not here & points.keys():
        raise _misfit(path, f"it was taken of {', '.join(points) or 'no node'}, which is not here")
    then = {node.node: node.slots for node in info.nodes if node.slots}
    now = slots_of(server)
    if any(now[name] != slots for name, slots in then.items() if name in now):
        raise _misfit(path, "slots have moved between the nodes since")
    return points


def _misfit(path: Path, why: str) -> DamagedError:
    return DamagedError(
        f"cannot go on with {path}: {why}", hint="scan anew with --save", target=str(path)
    )
