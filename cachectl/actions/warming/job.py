"""A warming from manifest to end: one job at a time, begun once, resumed as often as it takes.

The second job for the same manifest waits for the first one. When that ends well it leaves a mark
in the server, and the second has nothing left to do.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from cachectl.actions.warming.headroom import Watch
from cachectl.actions.warming.journal import Standing, WarmingJournal, standing_of
from cachectl.actions.warming.lifetimes import Lifetimes
from cachectl.actions.warming.warming import OnProgress, Warming, WarmResult
from cachectl.actions.whereabouts import check_same_server, circumstances, identity_of
from cachectl.config.manifest import Entry, Manifest
from cachectl.errors import DamagedError, LockedError, RefusedError
from cachectl.server.pace import Pace
from cachectl.server.topology.handle import Server
from cachectl.server.transactions.locks import OWN_PREFIX, Lock
from cachectl.server.wire.resp import ReplyError
from cachectl.sources.interface import Source
from cachectl.storage.journal import Journal, read_journal, reopen
from cachectl.storage.runs import RunDirectory, Runs

SCHEMA = "cachectl.warming/1"
_KEPT_RUNS = 50
_RETRY = 0.5
_MARK_LIFE = 3_600_000
"""Milliseconds that the mark of a warming which ended well stays in the server."""

_FILLING = {
    "string": ("SET",),
    "hash": ("HSET",),
    "list": ("RPUSH",),
    "set": ("SADD",),
    "zset": ("ZADD",),
    "stream": ("XADD",),
    "copy": ("SET", "HSET", "RPUSH", "SADD", "ZADD", "XADD"),
}


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be done, and how.

    until: of time.monotonic(), when it must end; None: no limit. wait: seconds to wait for another
    job of the same manifest. allow_evictions: whether the server's memory is not watched.
    """

    server: Server
    manifest: Manifest
    sources: Mapping[str, Source]
    lifetimes: Mapping[str, Lifetimes]
    pace: Pace
    until: float | None = None
    wait: float = 0.0
    allow_evictions: bool = False

    def perform(
        self,
        run: RunDirectory,
        *,
        on_progress: OnProgress,
        on_wait: Callable[[str], None],
    ) -> WarmResult:
        """Begin a run, or go on with one that was stopped. Raises LockedError, RefusedError, …"""
        is_new = not run.journal.exists()
        facts = self._facts(run) if is_new else run.load()
        if not is_new:
            check_same_server(self.server, facts)
        with held(self.server, self.manifest, f"warming {run.id}", self.wait, on_wait) as lock:
            if lock.waited_since is not None:
                other = _done_since(self.server, self.manifest, lock.waited_since)
                if other is not None:
                    return WarmResult(run.id, self.manifest.name, {}, {}, found_done=other)
            others = _others(self.server, facts)
            facts |= {"state": "running", "nodes": identity_of(self.server)}
            run.save(facts)
            with Journal(run.journal) if is_new else reopen(run.journal) as journal:
                standing = Standing() if is_new else standing_of(read_journal(run.journal))
                if others and not is_new:
                    standing.doubt_all()
                journal.record("begin" if is_new else "resumed", digest=self.manifest.digest)
                result = self._warm(run, journal, standing, lock.lock, on_progress)
                journal.record("end", partial=result.is_partial)
            if not result.is_partial:
                _leave_mark(self.server, self.manifest, run.id)
        state = "partial" if result.is_partial else "done"
        run.save(facts | {"state": state, "ended_at": time.time(), "counts": counts_of(result)})
        return result

    def _warm(
        self,
        run: RunDirectory,
        journal: Journal,
        standing: Standing,
        lock: Lock,
        on_progress: OnProgress,
    ) -> WarmResult:
        threshold = None if self.allow_evictions else self.server.target.thresholds.memory
        with closing(Watch(self.server, threshold)) as watch:
            result = Warming(
                server=self.server,
                manifest=self.manifest,
                sources=self.sources,
                lifetimes=self.lifetimes,
                run=run.id,
                journal=WarmingJournal(journal),
                standing=standing,
                pace=self.pace,
                lock=lock,
                watch=watch,
                until=self.until,
                on_progress=on_progress,
            ).perform()
        result.notes += [lock.note] if lock.note else []
        return result

    def _facts(self, run: RunDirectory) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            **circumstances(self.server, run),
            "manifest": str(self.manifest.path),
            "name": self.manifest.name,
            "digest": self.manifest.digest,
        }


def _others(server: Server, facts: Mapping[str, Any]) -> bool:
    """Return whether a node is another process than when the run went on last: it may lack keys."""
    known = {node["run_id"] for node in facts["nodes"]}
    return any(node.facts.run_id not in known for node in server.primaries)


def counts_of(result: WarmResult) -> dict[str, int]:
    """Return what a warming came to, for run.json and the audit line."""
    total = result.total
    return {"written": total.written, "kept": total.kept, "failed": total.failed}


def needs(entries: Iterable[Entry]) -> list[str]:
    """Return the commands that the login must be allowed to run."""
    wanted = {"PTTL", "TIME"}
    for entry in entries:
        wanted |= set(_FILLING[entry.type])
        if entry.type != "string":
            wanted |= {"MULTI", "EXEC", "PEXPIREAT", "PERSIST", "UNLINK"}
            wanted.add("RENAMENX" if entry.existing.rule == "keep" else "RENAME")
        if entry.existing.rule not in ("keep", "replace"):
            wanted |= {"WATCH", "MULTI", "EXEC", "TYPE"}
        for tag in entry.tags:
            wanted |= {"SADD" if tag.kind == "set" else "ZADD", "PEXPIREAT", "PERSIST"}
    return sorted(wanted)


def warmings() -> Runs:
    """Return the directory of warmings: their journals, kept apart from runs that can be undone."""
    return Runs(kind="warmings")


def unfinished(manifest: Manifest, server: Server) -> RunDirectory | None:
    """Return the last warming of this manifest on this server, when it did not get to its end."""
    latest: tuple[float, RunDirectory, str] | None = None
    for run in warmings().all():
        try:
            facts = run.load()
            if facts.get("digest") != manifest.digest:
                continue
            check_same_server(server, facts)
        except (DamagedError, RefusedError):
            continue
        if latest is None or facts["started_at"] > latest[0]:
            latest = (facts["started_at"], run, facts.get("state", ""))
    if latest is None or latest[2] == "done" or not latest[1].journal.exists():
        return None
    return latest[1]


def forget_old() -> None:
    """Delete the journals of all but the latest warmings that have ended."""
    for number, run in enumerate(warmings().all()):
        if number >= _KEPT_RUNS:
            with suppress(DamagedError):
                if run.load().get("state") == "done":
                    run.remove()


# --- one at a time --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Held:
    """A lock that was taken. waited_since: since when it was waited for, by the server's clock."""

    lock: Lock
    waited_since: int | None


@contextmanager
def held(
    server: Server,
    manifest: Manifest,
    what: str,
    wait: float,
    on_wait: Callable[[str], None],
    *,
    purpose: str = "warm",
) -> Iterator[Held]:
    """Hold the manifest's lock in the server, waiting for it. Raises LockedError, RefusedError.

    purpose: locks of different purposes do not exclude each other.
    """
    since: int | None = None
    until = time.monotonic() + wait
    while True:
        lock = Lock(server, what, name=_name(server, manifest, purpose))
        try:
            lock.__enter__()
            break
        except LockedError as error:
            if time.monotonic() >= until:
                raise
            since = _now(server) if since is None else since
            on_wait(error.message)
            time.sleep(_RETRY)
    try:
        yield Held(lock, since)
    finally:
        lock.__exit__()


def _name(server: Server, manifest: Manifest, purpose: str = "warm") -> str:
    """Name what is warmed: locks stand in database 0, whatever database is meant."""
    return f"{purpose}:{server.target.database}:{manifest.digest[:32]}"


def _mark(server: Server, manifest: Manifest) -> bytes:
    return OWN_PREFIX + f"{_name(server, manifest)}:done".encode()


def _now(server: Server) -> int:
    from cachectl.server.clock import ServerClock

    return ServerClock.of(server.primaries[0].connection).now()


def _leave_mark(server: Server, manifest: Manifest, run: str) -> None:
    key = _mark(server, manifest)
    mark = json.dumps({"run": run, "at": _now(server)})
    with suppress(ReplyError), server.new_connection(server.node_of(key)) as connection:
        connection.call("SET", key, mark, "PX", _MARK_LIFE)


def _done_since(server: Server, manifest: Manifest, since: int) -> str | None:
    """Return the run that has warmed this manifest since then, None when there is none."""
    key = _mark(server, manifest)
    try:
        with server.new_connection(server.node_of(key)) as connection:
            mark = json.loads(connection.call("GET", key) or b"{}")
        return str(mark["run"]) if mark.get("at", 0) >= since else None
    except (ReplyError, ValueError):
        return None
