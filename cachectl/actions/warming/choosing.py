"""Replacing only some keys: each is looked at under WATCH, so that nothing newer is overwritten.

A key that the application writes between the look and the write is looked at again; one that is
written all the time is fresh, and kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from cachectl.actions.planning.changes import ttl_differs
from cachectl.actions.undoing.beside import PASSING, Beside
from cachectl.actions.warming.batch import Batch
from cachectl.model.changes import NEVER, KeyCopy
from cachectl.server.topology.lanes import Lanes
from cachectl.server.transactions.transaction import Group, Wanted
from cachectl.server.transactions.units import units
from cachectl.server.values.alike import alike
from cachectl.server.values.logical import Command
from cachectl.server.wire.resp import ReplyError

_TRIES = 5


@dataclass(slots=True)
class Choice:
    """The keys of a batch that still have to be looked at.

    left: their positions, which shrink; after trouble `go_on` is called again. flown: positions
    whose write was sent, maybe in vain: such a key is known by its expiry time.
    """

    batch: Batch
    left: list[int]
    flown: set[int] = field(default_factory=set)

    def go_on(self, lanes: Lanes, beside: Beside) -> None:
        """Settle all keys that are left. Raises TROUBLE."""
        batch = self.batch
        places = {batch.keys[at]: at for at in self.left}
        batch.kept += len(self.left) - len(places)  # of a key that comes twice, the last one holds
        self.left = list(places.values())
        size = len(self.left)
        for _ in range(_TRIES):
            if not self.left:
                return
            wanted = [Wanted(batch.keys[at]) for at in self.left]
            for unit in units(lanes, wanted, max(1, size)):
                self._take(unit, places, beside)
            size //= 4
        batch.kept += len(self.left)
        self.left = []

    def _take(self, unit: Sequence[Group], places: dict[bytes, int], beside: Beside) -> None:
        """Take groups through a transaction, side by side."""
        for group in unit:
            group.send_look(values=False, frequency=False)
        for group in unit:
            group.receive_look(values=False, frequency=False)
        flying: list[tuple[Group, list[tuple[int, int]]]] = []
        for group in unit:
            commands: list[Command] = []
            widths: list[tuple[int, int]] = []
            for at in list(self._chosen(group, places)):
                some = self._commands(group, at, beside)
                commands += some
                widths += [(at, len(some))] if some else []
            self.flown.update(at for at, _ in widths)
            group.send_commit(commands)
            flying.append((group, widths))
        for group, widths in flying:
            self._committed(group, widths)

    def _chosen(self, group: Group, places: dict[bytes, int]) -> Iterator[int]:
        """Yield the positions of the keys that are to be written; settle the others."""
        batch = self.batch
        unsure: list[tuple[int, KeyCopy]] = []
        for wanted, copy in zip(group.keys, group.copies, strict=True):
            at = places[wanted.key]
            if copy is None:
                yield at
            elif batch.existing.rule == "replace-if-different":
                unsure.append((at, copy))
            elif self._may_be_ours(at, copy):
                self._settle(at)
                batch.count_written(at)
            elif _expires_within(copy, group.now, batch.existing.within):
                yield at
            else:
                self._keep(at)
        alikes = [(at, copy) for at, copy in unsure if copy.type == _type_of(batch.values[at])]
        same = alike(group.lane, [(batch.keys[at], batch.values[at]) for at, _ in alikes])
        equal = {at for (at, _), is_same in zip(alikes, same, strict=True) if is_same}
        for at, copy in unsure:
            if at not in equal:
                yield at
            elif self._may_be_ours(at, copy):
                self._settle(at)
                batch.count_written(at)
            else:
                self._keep(at)

    def _may_be_ours(self, at: int, copy: KeyCopy) -> bool:
        """Return whether a key may be our own work, whose reply was lost or came too late."""
        if at not in self.flown and not self.batch.is_doubtful:
            return False
        return not ttl_differs(copy.expires_at, self.batch.expiries[at])

    def _commands(self, group: Group, at: int, beside: Beside) -> list[Command]:
        """Return what writes a key, to run if it has not changed; [] when it can't be written."""
        batch = self.batch
        key, value, expires_at = batch.keys[at], batch.values[at], batch.expiries[at]
        if isinstance(value, bytes):
            expiry = () if expires_at == NEVER else ("PXAT", expires_at)
            return [("SET", key, value, *expiry)]
        refused = beside.build(group.lane, key, [value])
        if refused is None:
            return beside.renaming(key, expires_at, replaces=True)
        self._settle(at)
        batch.count_failed(at, refused.text)
        return []

    def _committed(self, group: Group, widths: Sequence[tuple[int, int]]) -> None:
        try:
            replies = group.receive_commit()
        except ReplyError as error:
            if error.code in PASSING:
                raise
            for at, _ in widths:
                self._settle(at)
                self.batch.count_failed(at, error.text)
            return
        if replies is None:  # one of the keys was written meanwhile: all are looked at again
            self.flown.difference_update(at for at, _ in widths)
            return
        done = 0
        for at, width in widths:
            reply: Any = replies[done + (1 if width > 1 else 0)]
            done += width
            self._settle(at)
            if isinstance(reply, ReplyError):
                self.batch.count_failed(at, reply.text)
            else:
                self.batch.count_written(at)

    def _keep(self, at: int) -> None:
        self._settle(at)
        self.batch.kept += 1

    def _settle(self, at: int) -> None:
        self.left.remove(at)


def _expires_within(copy: KeyCopy, now: int, seconds: float) -> bool:
    return copy.expires_at != NEVER and copy.expires_at - now <= seconds * 1000


def _type_of(value: Any) -> str:
    return "string" if isinstance(value, bytes) else str(value.type)
