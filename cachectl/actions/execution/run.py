"""A run: a change, its plan, its directory; begun once, resumed as often as it takes."""

from __future__ import annotations

import base64
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any

from cachectl.actions.execution.apply import Applier, Suspect
from cachectl.actions.execution.ledger import Ledger, Tally
from cachectl.actions.execution.recovery import OnProgress, Recovery
from cachectl.actions.execution.sweep import Sweeper
from cachectl.actions.execution.trim import Trimmer
from cachectl.actions.planning.changes import Change, Expire, Outcome, Unlink
from cachectl.actions.planning.plan import Meant
from cachectl.actions.planning.registry import change_from_json, change_to_json
from cachectl.actions.whereabouts import check_same_server, circumstances
from cachectl.config.target import PaceName
from cachectl.errors import (
    CannotConnectError,
    ConfigError,
    DamagedError,
    PartialError,
)
from cachectl.model.changes import KeyCopy, PlannedKeys
from cachectl.server.pace import Pace, RateCap
from cachectl.server.topology.handle import Server
from cachectl.server.transactions.locks import Lock
from cachectl.server.wire.resp import ReplyError
from cachectl.storage.files import StorageError
from cachectl.storage.frames import TornError
from cachectl.storage.journal import Entry, Journal, read_journal, reopen
from cachectl.storage.runs import RunDirectory
from cachectl.storage.spool import (
    Copies,
    SpoolWriter,
    create_archive,
    read_archive,
    read_plan,
    resume_archive,
)

SCHEMA = "cachectl.run/1"


@dataclass(frozen=True, slots=True)
class Settings:
    """How a run goes, as run.json keeps it.

    archives: whether copies are kept. checks_guards: whether keys that are not what the plan saw
    are left alone. pace, max_rate: None takes the profile's.
    """

    archives: bool = True
    checks_guards: bool = False
    pace: PaceName | None = None
    max_rate: int | None = None


@dataclass(slots=True)
class RunResult:
    """What a run has come to.

    matched: keys of the plan; fine: keys to which nothing had to be done; notes: for people.
    """

    run: str
    change: str
    verb: str
    matched: int
    tally: Tally
    seconds: float
    archived: bool
    fine: int = 0
    notes: list[str] = field(default_factory=list)


def describe(
    server: Server,
    run: RunDirectory,
    change: Change,
    settings: Settings,
    meant: Meant,
    selection: Sequence[str],
    tags: Sequence[bytes] = (),
) -> dict[str, Any]:
    """Return run.json of a run that is about to begin. tags: tag sets to trim in the end."""
    return {
        "schema": SCHEMA,
        **circumstances(server, run),
        "selection": list(selection),
        "tags": [base64.b64encode(tag).decode() for tag in tags],
        "change": change_to_json(change),
        "archives": settings.archives,
        "checks_guards": settings.checks_guards,
        "pace": settings.pace,
        "max_rate": settings.max_rate,
        "keys": meant.keys,
        "bytes": meant.size,
        "plan_digest": meant.digest,
        "fine": meant.fine,
        "left_out": [asdict(gap) for gap in meant.left_out],
    }


def begin(
    server: Server, run: RunDirectory, facts: Mapping[str, Any], on_progress: OnProgress
) -> RunResult:
    """Do what the plan in the run's directory says. Raises PartialError, LockedError, …"""
    run.save(facts)
    with Journal(run.journal) as journal:
        journal.record("begin", plan=facts["plan_digest"])
        return _Execution(server, run, dict(facts), journal, Standing(), on_progress).perform()


def resume(server: Server, run: RunDirectory, on_progress: OnProgress) -> RunResult:
    """Go on with a run that was stopped. Raises as begin does, and RefusedError elsewhere."""
    facts = run.load()
    if facts.get("state") in ("done", "undone"):
        raise ConfigError(f"run {run.id} has ended: there is nothing to resume", target=run.id)
    check_same_server(server, facts)
    exists = run.journal.exists()
    with reopen(run.journal) if exists else Journal(run.journal) as journal:
        standing = standing_of(read_journal(run.journal))
        journal.record("resumed")
        return _Execution(server, run, facts, journal, standing, on_progress).perform()


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the journal says that a run stands.

    upto: the next record of the plan; copies: records of the archive that belong to what is done;
    digest: of the archive at that point; sent: up to here keys may have been removed without a
    note; voids: copies to be ignored; recheck: records of the plan to be looked at again;
    tags: sets that have been trimmed, as run.json names them.
    """

    upto: int = 0
    copies: int = 0
    digest: str = ""
    sent: int = 0
    voids: frozenset[int] = frozenset()
    recheck: range = range(0)
    tags: frozenset[str] = frozenset()
    tally: Tally = field(default_factory=Tally)


def standing_of(entries: Iterable[Entry]) -> Standing:
    """Read a journal. Memory holds what is told of single copies only where they are void."""
    upto = copies = sent = 0
    digest = ""
    voids: set[int] = set()
    recheck = range(0)
    tags: set[str] = set()
    tally = Tally()
    for entry in entries:
        match entry["kind"]:
            case "done":
                upto, copies, digest = entry["upto"], entry["copies"], entry.get("digest", "")
                tally.take(entry["counts"], entry["bytes"])
                tags |= {entry["tag"]} if "tag" in entry else set()
            case "again":
                copies, digest = entry["copies"], entry.get("digest", "")
            case "sent":
                sent = max(sent, entry["upto"])
            case "void":
                voids.update(entry["records"])
            case "failover":
                recheck = range(entry["first"], entry["stop"])
            case "rechecked":
                recheck = range(0)
    return Standing(upto, copies, digest, sent, frozenset(voids), recheck, frozenset(tags), tally)


@dataclass(slots=True)
class _Execution:
    """One process's part of a run. planned_tags: tag sets that are keys of the plan themselves."""

    server: Server
    run: RunDirectory
    facts: dict[str, Any]
    journal: Journal
    standing: Standing
    on_progress: OnProgress
    planned_tags: frozenset[bytes] = frozenset()
    notes: list[str] = field(default_factory=list)

    def perform(self) -> RunResult:
        """Do what is left to do, under the lock. Raises PartialError when it stops before."""
        facts, server = self.facts, self.server
        tags = [base64.b64decode(tag) for tag in facts.get("tags", ())]
        self.planned_tags = _check_plan(self.run, facts["plan_digest"], tags)
        change = change_from_json(facts["change"])
        ledger = Ledger(self.journal)
        ledger.tally = self.standing.tally
        begun = time.monotonic()
        with Lock(server, f"run {self.run.id}") as lock:
            self.notes += [lock.note] if lock.note else []
            try:
                self._change(change, ledger, lock)
            except ReplyError as error:
                raise PartialError(
                    f"stopped: the server answered {error.text}", target=server.target.name
                ) from error
            except CannotConnectError as error:  # some of it may be done
                raise PartialError(
                    f"stopped: {error.message}", hint=error.hint, target=error.target
                ) from error
            self.journal.record("end", counts=ledger.tally.counts)
        facts |= {"state": "done", "ended_at": time.time(), "counts": ledger.tally.counts}
        self.run.save(facts)
        return RunResult(
            run=self.run.id,
            change=change.name,
            verb=change.verb,
            matched=facts["keys"],
            tally=ledger.tally,
            seconds=time.monotonic() - begun,
            archived=bool(facts["archives"]) or not change.copies_value,
            fine=facts.get("fine", 0) + ledger.tally.of(Outcome.FINE),
            notes=self.notes,
        )

    def _change(self, change: Change, ledger: Ledger, lock: Lock) -> None:
        facts, standing = self.facts, self.standing
        limits = self.server.target.limits
        pace = Pace.of(
            limits,
            facts["pace"] or self.server.target.pace,
            RateCap(facts["max_rate"] or limits.max_rate),
        )
        if facts["archives"] or not change.copies_value or facts["checks_guards"]:
            self._apply(change, ledger, lock, pace)
            return
        sweeper = Sweeper(
            server=self.server,
            ledger=ledger,
            pace=pace,
            lock=lock,
            on_progress=self.on_progress,
            skip=frozenset() if isinstance(change, Expire) else self.planned_tags,
            recheck=standing.recheck,
        )
        sweeper.run(_plan(self.run), start=standing.upto, uncertain=standing.sent)
        self._again(sweeper, ledger)
        self._trim(change, None, ledger, sweeper.recovery, lock)
        self.notes += sweeper.recovery.notes

    def _apply(self, change: Change, ledger: Ledger, lock: Lock, pace: Pace) -> None:
        """Run the applier, with the archive open."""
        run, standing = self.run, self.standing
        archive = None
        if self.facts["archives"] or not change.copies_value:
            archive = self._open_archive()
        applier = Applier(
            server=self.server,
            change=change,
            ledger=ledger,
            archive=archive,
            pace=pace,
            lock=lock,
            on_progress=self.on_progress,
            max_archive=self.server.target.limits.max_archive,
            checks_guards=self.facts["checks_guards"],
            skip=frozenset() if isinstance(change, Expire) else self.planned_tags,
            recheck=standing.recheck,
        )
        try:
            suspects: dict[bytes, Suspect] = {}
            if archive is not None and archive.count > standing.copies:
                suspects = suspects_of(run, standing, ledger)
            applier.run(
                _plan(run),
                start=standing.upto,
                suspects=suspects,
                least=_reach(run, standing.upto, suspects),
                uncertain=standing.sent,
            )
            if isinstance(change, Unlink):
                self._again(applier, ledger)
            self._trim(change, archive, ledger, applier.recovery, lock)
            if archive is not None:
                self.facts["archive_digest"] = archive.end()
                self.facts["archive_records"] = archive.count
        finally:
            if archive is not None:
                with suppress(StorageError):  # what matters was made durable before
                    archive.close()
        self.notes += applier.recovery.notes
        if applier.written:
            self.notes.append(
                "the server was out of memory and took no transactions: some of "
                f"{applier.written:,} keys were written after they had been copied"
            )

    def _open_archive(self) -> SpoolWriter[Copies]:
        """Create the archive, or go on after its last whole frame. Raises DamagedError."""
        path, copies = self.run.archive, self.standing.copies
        header = {
            "run": self.run.id,
            "server": self.facts["server"],
            "change": self.facts["change"],
        }
        if not path.exists():
            return create_archive(path, header)
        try:
            archive = resume_archive(path)
        except TornError:
            if copies:
                raise
            path.unlink()  # stopped before its header was written, so before any change
            return create_archive(path, header)
        if archive.count < copies:
            archive.close()
            raise DamagedError(
                f"the archive of run {self.run.id} lacks copies that its journal has",
                target=str(path),
            )
        return archive

    def _again(self, worker: Applier | Sweeper, ledger: Ledger) -> None:
        """Remove again what a server that took the place of another did not know to be removed."""
        for _ in range(3):
            records = worker.recheck
            if not records:
                break
            worker.recheck = range(0)
            worker.run(_plan(self.run), start=records.start, stop=records.stop, kind="again")
            if not worker.recheck:
                self.journal.record("rechecked")
        back = ledger.again.of(Outcome.DONE)
        if back:
            text = f"{back:,} keys had come back with the failover and were removed again"
            self.notes.append(text)

    def _trim(
        self,
        change: Change,
        archive: SpoolWriter[Copies] | None,
        ledger: Ledger,
        recovery: Recovery,
        lock: Lock,
    ) -> None:
        if isinstance(change, Expire):  # the members are there for a while yet
            return
        tags = self.facts.get("tags", ())
        trimmer = Trimmer(self.server, archive, ledger, recovery, lock, self.planned_tags)
        for tag in tags:
            if tag not in self.standing.tags:
                trimmer.trim(base64.b64decode(tag), self.facts["keys"])
        if trimmer.trimmed:
            sets = "set" if len(tags) == 1 else "sets"
            self.notes.append(
                f"{trimmer.trimmed:,} members were taken out of {len(tags):,} tag {sets}"
            )


def suspects_of(run: RunDirectory, standing: Standing, ledger: Ledger) -> dict[bytes, Suspect]:
    """Return the copies that an earlier process had made without a note of what came of them.

    Of several copies of a key only the last whole one counts: before it was made, the key was
    still there. The others are noted as void.
    """
    suspects: dict[bytes, Suspect] = {}
    parts: list[int] = []
    for record, copy in copies_of(run, standing.voids, first=standing.copies):
        if copy.how == "members":
            continue
        if parts and (copy.extra.get("piece", 0) == 0 or record != parts[-1] + 1):
            ledger.void(parts)
            parts = []
        parts.append(record)
        if copy.extra.get("more"):
            continue
        if copy.key in suspects:
            ledger.void(suspects[copy.key].records)
        # Without the value: what came of the change is told by what the key is now.
        suspects[copy.key] = Suspect(copy._replace(data=b""), range(parts[0], record + 1))
        parts = []
    ledger.void(parts)
    return suspects


def _reach(run: RunDirectory, start: int, keys: Collection[bytes]) -> int:
    """Return how many records of the plan from `start` on it takes to meet all these keys."""
    missing = set(keys)
    reach = 1
    if missing:
        for number, key in enumerate(chain.from_iterable(page.keys for page in _plan(run))):
            if number >= start and key in missing:
                missing.discard(key)
                reach = number - start + 1
                if not missing:
                    break
    return reach


def _plan(run: RunDirectory) -> Iterator[PlannedKeys]:
    with closing(read_plan(run.plan)) as plan:
        yield from plan.pages()


def _check_plan(run: RunDirectory, digest: str, tags: Collection[bytes]) -> frozenset[bytes]:
    """Read the whole plan before anything is changed. Return which of the tags are in it.

    Raises DamagedError.
    """
    found: set[bytes] = set()
    with closing(read_plan(run.plan)) as plan:
        if tags:
            for page in plan.pages():
                found.update(key for key in page.keys if key in tags)
        else:
            plan.verify()
        if plan.digest != digest:
            raise DamagedError(
                f"the plan of run {run.id} is not the one that it was made from",
                target=str(run.plan),
            )
    return frozenset(found)


_TOLD = 20


def troubled_keys(run: RunDirectory) -> dict[str, list[tuple[bytes, str]]]:
    """Return outcome → (key, reason) of the first keys of a run that were not changed."""
    told: dict[str, list[tuple[bytes, str]]] = {}
    for entry in read_journal(run.journal):
        for outcome, keys in entry.get("told", {}).items():
            known = told.setdefault(outcome, [])
            for shown, reason in keys[: _TOLD - len(known)]:
                known.append((base64.b64decode(shown), reason))
    return told


def copies_of(
    run: RunDirectory, voids: frozenset[int], *, first: int = 0
) -> Iterator[tuple[int, KeyCopy]]:
    """Yield (record, copy) of a run's archive from `first` on, without those that are void."""
    with read_archive(run.archive) as archive:
        for number, copy in enumerate(chain.from_iterable(archive.pages())):
            if number >= first and number not in voids:
                yield number, copy
