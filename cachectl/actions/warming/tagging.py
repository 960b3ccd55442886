"""Keeping tag sets and indexes: a key's name goes where the application looks for it.

The name is added before the key is written: a set that names a key which is not there does no
harm, and a key that no set names would survive the invalidation of its tag. A set that is new
lives as long as its longest member; one that has a TTL is extended, never shortened; one without
a TTL keeps none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cachectl.actions.undoing.beside import pass_on
from cachectl.errors import CannotConnectError
from cachectl.model.changes import NEVER
from cachectl.server.clock import milliseconds
from cachectl.server.topology.lanes import Lanes
from cachectl.server.topology.node import Node
from cachectl.server.transactions.transaction import check
from cachectl.server.values.logical import Command, score_text
from cachectl.server.wire.connection import NodeConnection
from cachectl.server.wire.resp import ReplyError
from cachectl.sources.rendered import TagMember

_PIECE = 1000


@dataclass(slots=True)
class Membership:
    """What is to be in one set. until: Unix milliseconds of its last member's expiry, or NEVER."""

    kind: str
    members: list[TagMember] = field(default_factory=list)
    until: int = 0

    def add(self, member: TagMember, expires_at: int) -> None:
        """Add one member, whose key expires then."""
        self.members.append(member)
        if NEVER in (self.until, expires_at):
            self.until = NEVER
        else:
            self.until = max(self.until, expires_at)

    def commands(self, tag: bytes) -> list[Command]:
        """Return what adds the members to the set."""
        pieces = [self.members[at : at + _PIECE] for at in range(0, len(self.members), _PIECE)]
        if self.kind == "zset":
            return [
                (
                    "ZADD",
                    tag,
                    *(word for one in some for word in (score_text(one.score), one.member)),
                )
                for some in pieces
            ]
        return [("SADD", tag, *(one.member for one in some)) for some in pieces]


def memberships(
    tags: Iterable[Iterable[TagMember]], expiries: Iterable[int]
) -> dict[bytes, Membership]:
    """Return set → what goes into it, of keys' tags and expiry times."""
    found: dict[bytes, Membership] = {}
    for some, expires_at in zip(tags, expiries, strict=True):
        for one in some:
            found.setdefault(one.key, Membership(one.kind)).add(one, expires_at)
    return found


def keep_tags(
    lanes: Lanes, wanted: Mapping[bytes, Membership], down: Mapping[str, str]
) -> dict[bytes, str]:
    """Add the members to their sets; return set → why it could not be kept.

    down: nodes that were given up, and why. Raises TROUBLE.
    """
    refused: dict[bytes, str] = {}
    by_node: dict[str, tuple[Node, list[bytes]]] = {}
    for tag in wanted:
        try:
            node = lanes.server.node_of(tag)
        except CannotConnectError as error:
            if not down:
                raise
            refused[tag] = error.message
            continue
        if node.name in down:
            refused[tag] = down[node.name]
        else:
            by_node.setdefault(node.name, (node, []))[1].append(tag)
    for node, tags in by_node.values():
        lane = lanes.lane(node)
        commands = [
            _commands(tag, wanted[tag], until)
            for tag, until in zip(tags, _until(lane, tags), strict=True)
        ]
        replies = iter(lane.pipeline(command for some in commands for command in some))
        for tag, some in zip(tags, commands, strict=True):
            for reply in [next(replies) for _ in some]:
                pass_on(reply)
                if isinstance(reply, ReplyError):
                    refused.setdefault(tag, reply.text)
    return refused


def _until(lane: NodeConnection, tags: Sequence[bytes]) -> Iterator[int]:
    """Yield until when each set lives: 0 for one that is not there."""
    clock, *ttls = lane.pipeline([("TIME",), *(("PTTL", tag) for tag in tags)])
    for reply in (clock, *ttls):
        check(reply)
    now = milliseconds(clock)
    for ttl in ttls:
        yield now + ttl if ttl >= 0 else (NEVER if ttl == -1 else 0)


def _commands(tag: bytes, membership: Membership, until: int) -> list[Command]:
    commands = membership.commands(tag)
    if until == NEVER:
        return commands
    if membership.until == NEVER:
        return [*commands, ("PERSIST", tag)]
    return [*commands, ("PEXPIREAT", tag, max(until, membership.until))]
