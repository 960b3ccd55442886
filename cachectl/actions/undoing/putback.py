"""Putting single keys back, in flights: RESTORE, or elements beside and RENAMENX, or the old TTL.

A key's fate is one of FATES: restored; expired (its time was over, or what held it is gone);
conflicts (something newer is there, which stays unless `overwrite`); failed, with the reason.
Doing it again does no harm: a key that is back, with its value and TTL, is restored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cachectl.actions.execution.trim import addition
from cachectl.actions.planning.alike import is_back
from cachectl.actions.planning.changes import Change, Rename, ttl_differs
from cachectl.actions.undoing.beside import Beside, pass_on
from cachectl.model.changes import NEVER, KeyCopy
from cachectl.model.values import LogicalValue
from cachectl.server.clock import milliseconds
from cachectl.server.topology.lanes import Lanes
from cachectl.server.transactions.locks import OWN_PREFIX
from cachectl.server.transactions.transaction import Group, Wanted, check
from cachectl.server.transactions.units import units
from cachectl.server.values.logical import Abilities, Command
from cachectl.server.values.tags import member_of
from cachectl.server.wire.connection import NodeConnection
from cachectl.server.wire.resp import ReplyError
from cachectl.storage.elements import unpack_value
from cachectl.values.payload import decode_payload

FATES = ("restored", "expired", "conflicts", "failed")
Fate = tuple[str, str]
"""One of FATES with the reason of a failure (of `restored`: that it was back before), or `members`
and how many."""
Parts = Sequence[KeyCopy]
"""The copies of one key: several for a giant one."""

_RESTORED, _EXPIRED, _CONFLICT = ("restored", ""), ("expired", ""), ("conflicts", "")
_ALREADY = ("restored", "already")
_NEAR = 5000
"""Milliseconds: a TTL that is nearly over is looked at after RESTORE, which says OK either way."""
_TRIES = 3


@dataclass(slots=True)
class PutBack:
    """Knows how one run's copies are put back.

    by_payload: whether the server takes payloads. matches: which members of tag sets. lost: what
    the server could not keep, in words; overdue: keys that are there although their old TTL is
    over.
    """

    lanes: Lanes
    change: Change
    run: str
    by_payload: bool
    abilities: Abilities
    overwrite: bool
    matches: Callable[[bytes], bool] = lambda _key: True
    lost: set[str] = field(default_factory=set)
    overdue: int = 0

    def restore(self, batch: Sequence[Parts]) -> list[tuple[bytes, Fate]]:
        """Put keys back and return their fates. Raises TROUBLE; then it is to be done again."""
        fates: dict[bytes, Fate] = {}
        refilled: list[tuple[bytes, Fate]] = []
        ttls = [parts[-1] for parts in batch if parts[-1].how == "ttl"]
        if ttls:
            fates |= self._restore_ttls(ttls)
        by_node: dict[str, list[Parts]] = {}
        for parts in batch:
            copy = parts[-1]
            if copy.how == "members":
                refilled += ((copy.key, fate) for fate in self._refill(copy))
            elif copy.how != "ttl":
                node = self.lanes.server.node_of(copy.key)
                by_node.setdefault(node.name, []).append(parts)
        for keys in by_node.values():
            fates |= self._flight(self._lane(keys[0][-1].key), keys)
        return [*fates.items(), *refilled]

    def _lane(self, key: bytes) -> NodeConnection:
        return self.lanes.lane(self.lanes.server.node_of(key))

    # Whole keys

    def _flight(self, lane: NodeConnection, keys: Sequence[Parts]) -> dict[bytes, Fate]:
        now = milliseconds(lane.call("TIME"))
        fates: dict[bytes, Fate] = {}
        single: list[tuple[Parts, Command]] = []
        for parts in keys:
            command = self._single_command(parts, now)
            if command is None:
                fates[parts[-1].key] = self._rebuild(lane, parts, now)
            else:
                single.append((parts, command))
        replies = lane.pipeline(command for _, command in single)
        for (parts, command), reply in zip(single, replies, strict=True):
            pass_on(reply)
            fates[parts[-1].key] = _fate(str(command[0]), reply)
        return self._looked_at(lane, keys, fates, now)

    def _single_command(self, parts: Parts, now: int) -> Command | None:
        """Return the one command that puts a key back; None when it takes several."""
        copy = parts[-1]
        if copy.how == "renamed" and isinstance(self.change, Rename):
            command = "RENAME" if self.overwrite else "RENAMENX"
            return command, self.change.target(copy.key), copy.key
        if copy.expires_at != NEVER and copy.expires_at <= now:
            return "EXISTS", copy.key
        if copy.how == "payload" and self.by_payload:
            return self._restore_command(copy)
        return None

    def _restore_command(self, copy: KeyCopy) -> Command:
        command: Command = ("RESTORE", copy.key, max(0, copy.expires_at), copy.data)
        if self.overwrite:
            command += ("REPLACE",)
        if copy.expires_at != NEVER:
            command += ("ABSTTL",)
        if copy.idle >= 0:
            command += ("IDLETIME", copy.idle)
        elif copy.freq >= 0:
            command += ("FREQ", copy.freq)
        return command

    def _looked_at(
        self, lane: NodeConnection, keys: Sequence[Parts], fates: dict[bytes, Fate], now: int
    ) -> dict[bytes, Fate]:
        """Look where a reply does not tell: what is in the way, and what has just expired."""
        in_the_way = []
        for parts in keys:
            copy = parts[-1]
            fate = fates[copy.key]
            near = copy.expires_at != NEVER and copy.expires_at - now < _NEAR
            if fate == _RESTORED and near and not lane.call("EXISTS", copy.key):
                fates[copy.key] = _EXPIRED
            elif fate == _CONFLICT or (fate == _EXPIRED and copy.how == "renamed"):
                in_the_way.append(parts)
        for key in is_back(lane, in_the_way):
            fates[key] = _ALREADY
        return fates

    def _rebuild(self, lane: NodeConnection, parts: Parts, now: int) -> Fate:
        """Write a key's elements to a name beside, and rename it when all of them are there."""
        copy = parts[-1]
        prefix = OWN_PREFIX + b"undo:" + self.run.encode() + b":"
        beside = Beside(prefix, self.abilities, now, self.lost)
        renamed = beside.write(
            lane, copy.key, self._values(parts), copy.expires_at, replaces=self.overwrite
        )
        return _fate("RENAME" if self.overwrite else "RENAMENX", renamed)

    def _values(self, parts: Parts) -> Iterator[LogicalValue]:
        for part in parts:
            whole = decode_payload if part.how == "payload" else unpack_value
            yield whole(part.data)

    # Members of tag sets

    def _refill(self, copy: KeyCopy) -> Iterator[Fate]:
        """Put members back into a tag set; a set that is gone comes back with its TTL."""
        lane = self._lane(copy.key)
        exists, clock = lane.pipeline([("EXISTS", copy.key), ("TIME",)])
        for reply in (exists, clock):
            check(reply)
        is_whole = bool(copy.extra.get("whole")) and self.matches(copy.key)
        if not exists and copy.expires_at != NEVER and copy.expires_at <= milliseconds(clock):
            yield from [_EXPIRED] if is_whole else []
            return
        value = unpack_value(copy.data)
        meant = [element for element in value.elements if self.matches(member_of(element))]
        if is_whole:
            meant = list(value.elements)
        if value.type == "list":
            at = lane.pipeline(("LPOS", copy.key, name) for name in meant)
            meant = [name for name, reply in zip(meant, at, strict=True) if reply is None]
        commands = addition(copy.key, replace(value, elements=meant))
        if commands and not exists and copy.expires_at != NEVER:
            commands.append(("PEXPIREAT", copy.key, copy.expires_at))
        for reply in lane.pipeline(commands):
            pass_on(reply)
            if isinstance(reply, ReplyError):
                yield "failed", reply.text
                return
        yield "members", str(len(meant))
        if is_whole:
            yield _RESTORED

    # TTLs

    def _restore_ttls(self, copies: Sequence[KeyCopy]) -> dict[bytes, Fate]:
        """Set old TTLs again, each only if nobody has set another one since."""
        fates: dict[bytes, Fate] = {}
        rest = {copy.key: copy for copy in copies}
        for attempt in range(_TRIES):
            wanted = [Wanted(key) for key in rest]
            size = max(1, len(rest) >> (2 * attempt))
            for unit in units(self.lanes, wanted, size):
                for group in unit:
                    fates |= self._ttl_group(group, rest)
            rest = {key: copy for key, copy in rest.items() if key not in fates}
            if not rest:
                return fates
        return fates | dict.fromkeys(rest, _CONFLICT)

    def _ttl_group(self, group: Group, copies: dict[bytes, KeyCopy]) -> dict[bytes, Fate]:
        group.send_look(values=False, frequency=False)
        group.receive_look(values=False, frequency=False)
        fates: dict[bytes, Fate] = {}
        chosen: list[KeyCopy] = []
        for wanted, current in zip(group.keys, group.copies, strict=True):
            copy = copies[wanted.key]
            if current is None:
                fates[copy.key] = _EXPIRED
            elif not ttl_differs(copy.expires_at, current.expires_at):
                fates[copy.key] = _ALREADY
            elif copy.expires_at != NEVER and copy.expires_at <= group.now:
                fates[copy.key] = _EXPIRED  # its old TTL would remove it now
                self.overdue += 1
            elif _is_newer(copy, current) and not self.overwrite:
                fates[copy.key] = _CONFLICT
            else:
                chosen.append(copy)
        group.send_commit([_old_ttl(copy) for copy in chosen])
        replies = group.receive_commit()
        if replies is None:
            return fates  # written meanwhile: those that are missing here are tried again
        for copy, reply in zip(chosen, replies, strict=True):
            failed = isinstance(reply, ReplyError)
            fates[copy.key] = ("failed", reply.text) if failed else _RESTORED
        return fates


def _is_newer(copy: KeyCopy, current: KeyCopy) -> bool:
    """Return whether somebody has set the key's TTL since the run did."""
    return ttl_differs(copy.extra.get("to", NEVER), current.expires_at)


def _old_ttl(copy: KeyCopy) -> Command:
    if copy.expires_at == NEVER:
        return "PERSIST", copy.key
    return "PEXPIREAT", copy.key, copy.expires_at


def _fate(command: str, reply: Any) -> Fate:
    """Return what became of a key, as its last command's reply says."""
    if command == "EXISTS":
        return _CONFLICT if reply else _EXPIRED
    if isinstance(reply, ReplyError):
        if reply.code == "BUSYKEY":
            return _CONFLICT
        gone = command.startswith("RENAME") and "no such key" in reply.text.lower()
        return _EXPIRED if gone else ("failed", reply.text)
    return _RESTORED if reply in (1, b"OK") else _CONFLICT
