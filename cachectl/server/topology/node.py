"""One node: connected, asked who it is, and recognised when it is met again."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from cachectl.config.target import Address, Target
from cachectl.model.servers import NodeFacts
from cachectl.server.topology.slots import SlotRange, count_of
from cachectl.server.wire import refusals
from cachectl.server.wire.connection import NodeConnection, connect
from cachectl.server.wire.info import Info, node_facts, parse_info
from cachectl.server.wire.resp import ReplyError, as_dict, as_text

_ROLES = {"master": "primary", "slave": "replica"}


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes a node the same process with the same data: a cursor is valid only there.

    Empty fields mean that the login may not ask for them.
    """

    run_id: str
    replid: str
    role: str

    @property
    def is_known(self) -> bool:
        """Whether the node could be asked at all; one that can't is never recognised."""
        return bool(self.run_id)

    def change_from(self, earlier: Identity) -> str | None:
        """Return what happened to the node since `earlier`, as a phrase; None: it is the same."""
        if not (self.is_known and earlier.is_known):
            return "cannot be recognised (this login may not run INFO)"
        if self.run_id != earlier.run_id:
            return "was restarted or replaced by another server"
        if self.role != earlier.role:
            return f"was {earlier.role} and is {self.role} now"
        if self.replid != earlier.replid:
            return "has another replication history now"
        return None


@dataclass(slots=True)
class Node:
    """One primary: its address, its main connection, and what INFO said when it was opened.

    slots: what it serves in a cluster; id: its node id there.
    """

    address: Address
    connection: NodeConnection
    info: Info
    facts: NodeFacts
    slots: tuple[SlotRange, ...] = ()
    id: str = ""

    @property
    def name(self) -> str:
        """host:port, as reports show it."""
        return str(self.address)

    @property
    def identity(self) -> Identity:
        """Who this was when it was opened."""
        return Identity(self.facts.run_id, self.facts.replid, self.facts.role)

    def serve(self, slots: tuple[SlotRange, ...]) -> None:
        """Note which slots of a cluster the node serves."""
        self.slots = slots
        self.facts = replace(self.facts, slots=count_of(slots))


def open_node(target: Target, address: Address, **options: Any) -> Node:
    """Connect to one node and ask who it is. options: of NodeConnection.

    A login that may not run INFO gets what ROLE and HELLO tell. Raises CannotConnectError.
    """
    connection = connect(target, address, **options)
    began = time.monotonic()
    try:
        node = identify(connection)
        connection.durations["info"] = time.monotonic() - began
        return node
    except BaseException:
        connection.close()
        raise


def identify(connection: NodeConnection) -> Node:
    """Return the node at the other end of an open connection. Raises CannotConnectError."""
    address = connection.address
    questions = [("INFO",), ("ROLE",), ("DBSIZE",)]
    raw, role, size = replies = connection.pipeline(questions)
    connection.opened_with(questions, replies)
    if isinstance(size, ReplyError) and size.code == "MASTERDOWN":
        raise refusals.masterdown(address)
    info = {} if isinstance(raw, ReplyError) else parse_info(raw)
    facts = node_facts(str(address), info, connection.database)
    if not info:
        facts = _facts_without_info(connection, facts)
    if facts.role == "unknown" and isinstance(role, list) and role:
        facts = replace(facts, role=_ROLES.get(as_text(role[0]), "unknown"))
    if facts.keys is None and isinstance(size, int):
        facts = replace(facts, keys=size)
    return Node(address, connection, info, facts)


def _facts_without_info(connection: NodeConnection, facts: NodeFacts) -> NodeFacts:
    try:
        hello = as_dict(connection.call("HELLO"))
    except ReplyError:
        return facts
    return replace(
        facts,
        flavour=as_text(hello.get("server")) or facts.flavour,
        version=as_text(hello.get("version")) or facts.version,
        role=_ROLES.get(as_text(hello.get("role")), facts.role),
    )


def read_info(connection: NodeConnection, *sections: str) -> dict[str, str]:
    """Return INFO, all default sections or the named ones; raises ReplyError when not allowed."""
    return parse_info(connection.call("INFO", *sections))


def identity_of(connection: NodeConnection) -> Identity:
    """Ask who is at the other end of a connection now; empty fields when INFO is not allowed."""
    try:
        facts = node_facts("", read_info(connection, "default"))
    except ReplyError:
        return Identity("", "", "unknown")
    return Identity(facts.run_id, facts.replid, facts.role)


def replica_facts(address: Address) -> NodeFacts:
    """Return what is known of a replica that was heard of, not asked."""
    return NodeFacts(
        address=str(address), role="replica", run_id="", version="", flavour="", keys=None
    )
