"""Finding a server again after a connection broke, a slot moved or a node changed its role."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from cachectl.actions.execution.ledger import Ledger
from cachectl.errors import AuthenticationError, CannotConnectError, PartialError
from cachectl.server.topology.handle import Server
from cachectl.server.topology.lanes import Lanes
from cachectl.server.topology.node import Node
from cachectl.server.topology.replication import read_lag
from cachectl.server.transactions.transaction import MovedError
from cachectl.server.wire.resp import ReplyError

PATIENCE = 30.0
"""Seconds without any success after which a run stops, to be resumed."""
_PASSING = frozenset(
    ("READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "NOREPLICAS")
)
"""Errors of a server that is changing its role or place, or is busy: they pass."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0
LAG = 60.0
"""Seconds of work that a failover may undo: what the new primary had not received yet."""
OnProgress = Callable[[int, str], None]
"""Takes how many keys are done (-1: as many as before) and a word on what is waited for."""
TROUBLE = (CannotConnectError, MovedError, ReplyError)
"""What `Recovery.after` knows how to go on from, or when to stop."""


@dataclass(slots=True)
class Recovery:
    """Reconnects, for as long as that makes sense.

    doubt: for how many seconds back a server that took the place of another may not know what was
    changed (infinite after a restart, 0 when nothing of the kind happened); notes: for people.
    """

    server: Server
    doubt: float = 0.0
    notes: list[str] = field(default_factory=list)
    _since: float | None = None
    _pause: float = 0.0

    def fine(self) -> None:
        """Note that things work: patience begins anew with the next trouble."""
        self._since = None

    def after(self, error: Exception) -> None:
        """Connect again after `error`, or wait a moment. Raises PartialError to give up.

        The caller tries again, and comes back with the next error.
        """
        if self._since is None:
            self._since, self._pause = time.monotonic(), 0.0
        passes = not isinstance(error, ReplyError) or error.code in _PASSING
        if isinstance(error, AuthenticationError) or not passes:
            raise self._stopped(error) from error
        if self._left <= 0:
            raise self._stopped(error) from error
        time.sleep(self._pause)
        self._pause = min(_LONGEST_PAUSE, 2 * self._pause or _FIRST_PAUSE)
        try:
            self._find(error)
        except AuthenticationError as again:
            raise self._stopped(again) from again
        except CannotConnectError as again:
            if self._left <= 0:
                raise self._stopped(again) from again

    def look_around(self) -> None:
        """Ask once more who the primaries are, for instance when all is done.

        One that was replaced while nobody noticed may have taken changes that its successor never
        heard of: `doubt` says so. Raises PartialError.
        """
        try:
            for node in list(self.server.primaries):
                self._since = time.monotonic()
                self._reopen(node)
            if self.server.slot_map is not None:
                self.server.refresh()
        except CannotConnectError as error:
            raise self._stopped(error) from error
        finally:
            self._since = None

    @property
    def _left(self) -> float:
        assert self._since is not None  # noqa: S101 - `after` has set it
        return self._since + PATIENCE - time.monotonic()

    def _find(self, error: Exception) -> None:
        if isinstance(error, MovedError):
            if error.code == "MOVED":
                self.server.refresh()
            return  # on its way: who has it says so, key by key
        if isinstance(error, ReplyError) and error.code in ("BUSY", "NOREPLICAS", "TRYAGAIN"):
            return
        for node in list(self.server.primaries):
            self._reopen(node)
        if self.server.slot_map is not None:
            self.server.refresh()

    def _reopen(self, node: Node) -> None:
        fresh = self.server.reopen(node, patience=max(0.0, self._left))
        while fresh.facts.role == "replica":
            if self._left <= 0:
                raise PartialError(
                    f"{fresh.name} is a replica now, and no primary has taken its place",
                    hint="resume when there is one",
                    target=fresh.name,
                )
            time.sleep(0.25)
            fresh = self.server.reopen(fresh, patience=max(0.0, self._left))
        what = fresh.identity.change_from(node.identity)
        if what:
            moved = fresh.address != node.address
            self.doubt = max(self.doubt, LAG if moved else float("inf"))
            self.notes.append(f"{node.name} {what}: the keys in flight were looked at again")

    def _stopped(self, error: Exception) -> PartialError:
        if isinstance(error, ReplyError):
            why = f"the server answered {error.text}"
        elif isinstance(error, CannotConnectError):
            why = error.message
        else:
            why = f"a slot of the cluster is on its way elsewhere ({error})"
        return PartialError(
            f"stopped: {why}", hint="mend that, then go on", target=self.server.target.name
        )


class Recent:
    """Remembers where in the plan the work of the last minute began, in case a server forgets."""

    def __init__(self) -> None:
        self._begun: deque[tuple[float, int]] = deque()

    def note(self, record: int) -> None:
        """A batch begins at this record of the plan."""
        now = time.monotonic()
        self._begun.append((now, record))
        while len(self._begun) > 1 and now - self._begun[1][0] > LAG:
            self._begun.popleft()

    def doubted(self, recovery: Recovery, before: range, ledger: Ledger) -> range:
        """Return which records of the plan have to be looked at again in the end.

        recovery: says whether another server has taken the place; before: what was known so far.
        The journal is told, so that a resumed run knows it, too.
        """
        if not recovery.doubt or not self._begun:
            return before
        first = 0 if recovery.doubt > LAG else self._begun[0][1]
        stop = self._begun[-1][1]
        recovery.doubt = 0.0
        if before:
            first, stop = min(first, before.start), max(stop, before.stop)
        ledger.journal.record("failover", first=first, stop=stop)
        return range(first, stop)


def await_replicas(server: Server, lanes: Lanes, on_progress: OnProgress) -> None:
    """Wait while a replica is further behind than the profile allows. Raises PartialError."""
    limits = server.target.limits
    for node in server.primaries:
        deadline = time.monotonic() + 10 * PATIENCE
        while (lag := read_lag(lanes.lane(node))) > limits.max_lag:
            if lag > limits.critical_lag or time.monotonic() > deadline:
                raise PartialError(
                    f"stopped: a replica of {node.name} is {lag:,} bytes behind",
                    hint="resume when it has caught up",
                    target=node.name,
                )
            on_progress(-1, f"waiting for a replica, {lag:,} bytes behind")
            time.sleep(0.5)
