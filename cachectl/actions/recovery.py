"""Finding a server again after a connection broke, a slot moved or a node changed its role."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from cachectl.errors import AuthenticationError, CannotConnectError, PartialError
from cachectl.server.handle import Server
from cachectl.server.node import Node
from cachectl.server.resp import ReplyError
from cachectl.server.transaction import MovedError

PATIENCE = 30.0
"""Seconds without any success after which a run stops, to be resumed."""
_PASSING = frozenset(
    ("READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "NOREPLICAS")
)
"""Errors of a server that is changing its role or place, or is busy: they pass."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0
LAG = 60.0
"""Seconds of work that a failover may undo: what the new primary had not received yet."""
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
