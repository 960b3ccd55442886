"""Keeping tag sets: a key's name goes into the sets of its tags, which live as long as it does.

The name is added before the key is written: a set that names a key which is not there does no
harm, and a key that no set names would survive the invalidation of its tag. A set that is new
lives as long as its longest member; one that has a TTL is extended, never shortened; one without
a TTL keeps none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cachectl.model import NEVER
from cachectl.server.clock import milliseconds
from cachectl.server.lanes import Lanes
from cachectl.server.node import Node
from cachectl.server.resp import ReplyError
from cachectl.actions.beside import pass_on

_REMEMBERED = 50_000
"""Tag sets whose expiry is remembered, to be asked for only once."""
_PIECE = 1000


@dataclass(slots=True)
class Membership:
    """What is to be in one tag set. until: Unix milliseconds of its last member, or NEVER."""

    members: list[bytes] = field(default_factory=list)
    until: int = 0

    def add(self, key: bytes, expires_at: int) -> None:
        """Add a key."""
        self.members.append(key)
        if NEVER in (self.until, expires_at):
            self.until = NEVER
        else:
            self.until = max(self.until, expires_at)


def memberships(
    keys: Iterable[bytes], expiries: Iterable[int], tags: Iterable[Iterable[bytes]]
) -> dict[bytes, Membership]:
    """Return tag set → what goes into it, of keys with their expiry times and tags."""
    found: dict[bytes, Membership] = {}
    for key, expires_at, some in zip(keys, expiries, tags, strict=True):
        for tag in some:
            found.setdefault(tag, Membership()).add(key, expires_at)
    return found


@dataclass(slots=True)
class Tagger:
    """Adds to tag sets over lanes of its own. added: names that were not in their sets before."""

    lanes: Lanes
    added: int = 0
    _until: dict[bytes, int] = field(default_factory=dict)

    def keep(self, wanted: Mapping[bytes, Membership]) -> dict[bytes, str]:
        """Add the members; return tag set → why it could not be kept. Raises TROUBLE."""
        refused: dict[bytes, str] = {}
        by_node: dict[str, tuple[Node, list[bytes]]] = {}
        for tag in wanted:
            node = self.lanes.server.node_of(tag)
            by_node.setdefault(node.name, (node, []))[1].append(tag)
        for node, tags in by_node.values():
            self._keep_on(node, {tag: wanted[tag] for tag in tags}, refused)
        return refused

    def _keep_on(
        self, node: Node, wanted: Mapping[bytes, Membership], refused: dict[bytes, str]
    ) -> None:
        lane = self.lanes.lane(node)
        self._look(node, [tag for tag in wanted if tag not in self._until])
        for tag, membership in wanted.items():
            commands: list[tuple[bytes | str | int, ...]] = [
                ("SADD", tag, *membership.members[at : at + _PIECE])
                for at in range(0, len(membership.members), _PIECE)
            ]
            known = self._until[tag]
            if known != NEVER and membership.until == NEVER:
                commands.append(("PERSIST", tag))
                known = NEVER
            elif known != NEVER and membership.until > known:
                commands.append(("PEXPIREAT", tag, membership.until))
                known = membership.until
            replies = lane.pipeline(commands)
            for reply in replies:
                pass_on(reply)
                if isinstance(reply, ReplyError):
                    refused[tag] = reply.text
                    break
            else:
                self._until[tag] = known
                self.added += sum(replies[: -(-len(membership.members) // _PIECE)])

    def _look(self, node: Node, tags: list[bytes]) -> None:
        """Ask until when tag sets live: 0 for those that are not there."""
        if len(self._until) + len(tags) > _REMEMBERED:
            self._until.clear()
        if not tags:
            return
        lane = self.lanes.lane(node)
        clock, *ttls = lane.pipeline([("TIME",), *(("PTTL", tag) for tag in tags)])
        pass_on(clock)
        now = milliseconds(clock)
        for tag, ttl in zip(tags, ttls, strict=True):
            pass_on(ttl)
            if isinstance(ttl, int) and ttl >= 0:
                self._until[tag] = now + ttl
            else:
                self._until[tag] = NEVER if ttl == -1 else 0
