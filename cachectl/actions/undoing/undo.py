"""Undo: put back what a run has archived, keep what was written since, tell what has expired.

How is decided once, before the first key: `payload` (RESTORE) where every node takes what another
one has dumped, `logical` (the elements, written to a name beside and renamed in one step) where
one does not. An undo can be interrupted and repeated: what is back already, equal to its copy and
with its TTL, counts as restored; anything else in its place is newer, a conflict, and is kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from cachectl.actions.execution.recovery import TROUBLE, Recovery
from cachectl.actions.execution.run import Standing, copies_of, standing_of
from cachectl.actions.planning.guards import check_permissions
from cachectl.actions.planning.registry import change_from_json
from cachectl.actions.undoing.putback import FATES, Fate, Parts, PutBack
from cachectl.actions.whereabouts import check_same_server
from cachectl.errors import ConfigError, DamagedError, PartialError, RefusedError
from cachectl.model.changes import KeyCopy
from cachectl.server.pace import Pace
from cachectl.server.topology.handle import Server
from cachectl.server.topology.lanes import Lanes
from cachectl.server.topology.node import Node
from cachectl.server.transactions.locks import OWN_PREFIX, Lock
from cachectl.server.values.logical import Abilities
from cachectl.server.wire.resp import ReplyError
from cachectl.storage.journal import Journal, read_journal
from cachectl.storage.latest import Latest
from cachectl.storage.runs import RunDirectory
from cachectl.storage.spool import read_archive
from cachectl.values.payload import UndecodableError, decode_payload, payload_version

_BATCH_BYTES = 8 * 1024 * 1024
Matches = Callable[[bytes], bool]


@dataclass(slots=True)
class UndoResult:
    """What became of the archived keys. failures: (key, reason), the first of them.

    already: how many of the restored were back before; members: of tag sets, put back into them;
    lost: what this server could not keep, in words.
    """

    run: str
    mode: str
    restored: int = 0
    expired: int = 0
    conflicts: int = 0
    failed: int = 0
    already: int = 0
    members: int = 0
    lost: list[str] = field(default_factory=list)
    conflicting: list[bytes] = field(default_factory=list)
    failures: list[tuple[bytes, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, key: bytes, fate: Fate) -> None:
        """Count one key."""
        name, reason = fate
        if name == "members":
            self.members += int(reason)
            return
        setattr(self, name, getattr(self, name) + 1)
        if name == "restored" and reason:
            self.already += 1
        if name == "conflicts" and len(self.conflicting) < _SHOWN:
            self.conflicting.append(key)
        if name == "failed" and len(self.failures) < _SHOWN:
            self.failures.append((key, reason))


_SHOWN = 20
_REBUILDS = ("PEXPIREAT", "RENAMENX", "UNLINK")


@dataclass(frozen=True, slots=True)
class Survey:
    """What a whole reading of the archive has shown, before anything is written.

    samples: RDB version → one payload of it; undecodable: (key, why) of copies that have no
    logical form here; latest: which copies count when a key has several.
    """

    records: int
    samples: dict[int, bytes]
    undecodable: list[tuple[bytes, str]]
    latest: Latest


def survey(run: RunDirectory, standing: Standing, *, decode: Matches | None = None) -> Survey:
    """Read and check the whole archive. Raises DamagedError when anything is wrong with it.

    decode: of which keys to find out whether their payloads have a logical form.
    """
    facts = run.load()
    records = 0
    samples: dict[int, bytes] = {}
    undecodable: list[tuple[bytes, str]] = []
    latest = Latest(max(standing.copies, facts.get("archive_records", 0)))
    with read_archive(run.archive) as archive:
        if archive.header.get("run") != run.id:
            raise _damaged(run, "it belongs to another run")
        digest_there = ""
        for copy in chain.from_iterable(archive.pages()):
            if records == standing.copies:
                digest_there = digest_there or archive.digest_before
            if (
                copy.how != "members"
                and not copy.extra.get("more")
                and (records not in standing.voids)
            ):
                latest.look(copy.key)
            records += 1
            if copy.how == "payload":
                try:
                    samples.setdefault(payload_version(copy.data), copy.data)
                    if decode and decode(copy.key):
                        decode_payload(copy.data)
                except UndecodableError as error:
                    undecodable.append((copy.key, str(error)))
        digest_there = digest_there or archive.chain
        ended = archive.digest
    if records < standing.copies:
        missing = standing.copies - records
        raise _damaged(run, f"{missing:,} copies that its journal has are missing")
    if standing.digest and not digest_there.startswith(standing.digest):
        raise _damaged(run, "it is not the one that its journal was written with")
    if facts.get("archive_digest", ended) != ended:
        raise _damaged(run, "it is not as it was when the run ended")
    if not latest.is_simple:
        for record, copy in copies_of(run, standing.voids):
            if copy.how != "members" and not copy.extra.get("more"):
                latest.place(record, copy.key)
    return Survey(records, samples, undecodable, latest)


def _damaged(run: RunDirectory, why: str) -> DamagedError:
    return DamagedError(f"the archive of run {run.id} is damaged: {why}", target=str(run.archive))


def takes_payloads(server: Server, lanes: Lanes, samples: Iterable[bytes]) -> bool:
    """Return whether all primaries would RESTORE these payloads. Nothing is created by asking.

    A TTL in the past makes RESTORE check a payload, answer OK and create nothing (measured on
    Redis 6.2, 7.0, 8.2 and Valkey 8.1, 9.1; an error creates nothing either). A server that is
    out of memory refuses before it looks at the payload, and would refuse elements as well: then
    each key says so. Raises PartialError.
    """
    for node in server.primaries:
        name = _name_on(server, node)
        lane = lanes.lane(node)
        for payload in samples:
            try:
                lane.call("RESTORE", name, 1, payload, "ABSTTL")
            except ReplyError as error:
                if "DUMP payload" in error.text or "Bad data format" in error.text:
                    return False
                if error.code != "OOM":
                    raise PartialError(
                        f"nothing was put back: {node.name} answered {error.text}",
                        hint="mend that, then undo again",
                        target=node.name,
                    ) from error
    return True


def _name_on(server: Server, node: Node) -> bytes:
    """Return a name of ours that nobody uses and that belongs to this node."""
    number = 0
    while server.node_of(name := b"%bprobe:%d" % (OWN_PREFIX, number)) is not node:
        number += 1
    return name


@dataclass(slots=True)
class Undo:
    """Puts the copies of one run back. One use.

    matches: which keys. overwrite: whether newer values are replaced. elsewhere: whether another
    server than the run's may be written to.
    """

    server: Server
    run: RunDirectory
    pace: Pace
    matches: Matches
    overwrite: bool = False
    on_progress: Callable[[int, int], None] = lambda _done, _total: None
    elsewhere: bool = False
    _recovery: Recovery = field(init=False)

    def __post_init__(self) -> None:
        self._recovery = Recovery(self.server)

    def perform(self) -> UndoResult:
        """Check the archive, decide how, and put every copy back that is not in the way.

        Raises DamagedError before anything is written when the archive is damaged or can't be
        written to this server; RefusedError, LockedError, PartialError.
        """
        facts = self.run.load()
        notes = self._check(facts)
        standing = standing_of(read_journal(self.run.journal))
        look = survey(self.run, standing)
        begun = time.monotonic()
        what = f"undo of {self.run.id}"
        with Lanes(self.server) as lanes:
            lock = Lock(self.server, what)
            with lock:
                mode = self._mode(lanes, look, standing)
                if mode == "logical":
                    check_permissions(self.server, _REBUILDS)
                result = UndoResult(self.run.id, mode, notes=notes)
                back = PutBack(
                    lanes=lanes,
                    change=change_from_json(facts["change"]),
                    run=self.run.id,
                    by_payload=mode == "payload",
                    abilities=Abilities.of(self.server.primaries[0].connection),
                    overwrite=self.overwrite,
                    matches=self.matches,
                )
                with Journal(self.run.path / "undo-journal") as journal:
                    journal.record("begin", mode=mode, overwrite=self.overwrite)
                    self._put_back(back, standing, look, result, lock)
                    counts = {fate: getattr(result, fate) for fate in FATES}
                    journal.record("end", **counts)
        self._note(result, back, lock)
        result.seconds = time.monotonic() - begun
        self.run.save(facts | {"state": "undone", "undone_at": time.time(), "undo": counts})
        return result

    def _check(self, facts: dict[str, Any]) -> list[str]:
        """Raise when there is nothing to put back, or not here. Return notes for people."""
        notes = []
        if not self.run.archive.exists():
            raise ConfigError(
                f"run {self.run.id} was made with --no-archive: there is nothing to put back",
                target=self.run.id,
            )
        if facts.get("state") == "running":
            notes.append(
                f"run {self.run.id} has not ended; only what it had changed so far is put back"
            )
        try:
            check_same_server(self.server, facts)
        except RefusedError as error:
            if not self.elsewhere or self.server.target.database != facts.get("database"):
                error.hint = "--other-server puts the keys there all the same"
                if self.server.target.database != facts.get("database"):
                    error.hint = f"use database {facts.get('database')}"
                raise
            notes.append(f"the keys came from {facts['server']}, another server")
        return notes

    def _mode(self, lanes: Lanes, look: Survey, standing: Standing) -> str:
        if takes_payloads(self.server, lanes, look.samples.values()):
            return "payload"
        undecodable = survey(self.run, standing, decode=self.matches).undecodable
        if undecodable:
            key, reason = undecodable[0]
            raise DamagedError(
                f"this server takes other payloads than those in the archive, and "
                f"{len(undecodable):,} keys can't be written in another form: "
                f"of {key!r}, {reason}",
                hint="undo on the server (or version) that the run was made on, "
                "or the other keys alone with --match",
                target=str(self.run.archive),
            )
        return "logical"

    def _note(self, result: UndoResult, back: PutBack, lock: Lock) -> None:
        result.notes += [lock.note] if lock.note else []
        result.lost = sorted(back.lost)
        result.notes += [*self._recovery.notes, *result.lost]
        if result.already:
            result.notes.append(f"{result.already:,} of the restored keys were back already")
        if back.overdue:
            result.notes.append(
                f"{back.overdue:,} keys would have expired by now: they were left as they are"
            )
        if result.members:
            result.notes.append(f"{result.members:,} members were put back into tag sets")

    def _put_back(
        self, back: PutBack, standing: Standing, look: Survey, result: UndoResult, lock: Lock
    ) -> None:
        done = 0
        for batch in self._batches(copies_of(self.run, standing.voids), look.latest):
            if lock.lost.is_set():
                raise PartialError("stopped: the lock in the server was lost", hint="undo again")
            self.pace.before(len(batch))
            begun = time.monotonic()
            for key, fate in self._restored(back, batch):
                result.add(key, fate)
            self.pace.after(len(batch), time.monotonic() - begun)
            done += sum(len(parts) for parts in batch)
            self.on_progress(done, look.records)

    def _restored(self, back: PutBack, batch: list[Parts]) -> list[tuple[bytes, Fate]]:
        """Put a batch back, as often as it takes: what is back already is recognised."""
        while True:
            try:
                fates = back.restore(batch)
            except TROUBLE as error:
                back.lanes.drop()
                self._recovery.after(error)
            else:
                self._recovery.fine()
                return fates

    def _batches(
        self, copies: Iterable[tuple[int, KeyCopy]], latest: Latest
    ) -> Iterator[list[Parts]]:
        """Yield keys in batches; a key is the list of its copies (several for a giant one)."""
        batch: list[Parts] = []
        weight = 0
        parts: list[KeyCopy] = []
        for record, copy in copies:
            if copy.how != "members" and not self.matches(copy.key):
                continue
            if copy.extra.get("piece", 0) == 0:
                parts = []  # pieces without their last one: copied in vain
            parts.append(copy)
            if copy.extra.get("more"):
                continue
            whole, parts = parts, []
            if copy.how != "members" and not latest.is_latest(record, copy.key):
                continue
            batch.append(whole)
            weight += sum(len(part.data) for part in whole)
            if len(batch) >= self.pace.batch or weight >= _BATCH_BYTES:
                yield batch
                batch, weight = [], 0
        if batch:
            yield batch
