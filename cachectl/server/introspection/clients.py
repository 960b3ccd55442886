"""Who is connected: CLIENT LIST as records, and what limits clients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cachectl.model.findings import Unavailable
from cachectl.server.introspection.asked import Ask, plainly
from cachectl.server.introspection.stats import client_fields, info_refused
from cachectl.server.topology.node import Node
from cachectl.server.wire.info import number, parse_info
from cachectl.server.wire.resp import ReplyError, as_dict, as_int

_SETTINGS = ("maxclients", "timeout", "tcp-keepalive")


@dataclass(frozen=True, slots=True)
class Client:
    """One connection. Ages and idle times in seconds, memory in bytes; None: not said.

    host: of its address, without the port; library: what it said by CLIENT SETINFO. flags: as in
    CLIENT LIST (b: blocked, S: replica, M: primary, P: pub/sub, x: in a transaction, O: monitor).
    output: bytes of answers that wait to be read; memory: all that the server holds for it.
    """

    id: int
    address: str
    host: str
    name: str
    user: str
    library: str
    age: int
    idle: int
    flags: str
    database: int
    command: str
    subscriptions: int = 0
    query: int = 0
    output: int = 0
    memory: int | None = None
    commands: int | None = None


@dataclass(frozen=True, slots=True)
class ClientsOfNode:
    """All connections of one node at a moment, the one that asked left out.

    received: connections since the start; settings: maxclients, timeout, tcp-keepalive, where this
    login may ask. run_id: whose counters they are.
    """

    node: str
    clients: tuple[Client, ...]
    connected: int | None
    received: int | None
    rejected: int | None
    run_id: str = ""
    settings: Mapping[str, int] = field(default_factory=dict)
    unavailable: tuple[Unavailable, ...] = ()


def clients_of(node: Node, ask: Ask = plainly) -> ClientsOfNode:
    """Ask one node. Raises ConnectionLostError, PermissionDeniedError without INFO."""
    connection = node.connection
    listed, raw, *settings = ask(
        connection,
        [("CLIENT", "LIST"), ("INFO",), *(("CONFIG", "GET", name) for name in _SETTINGS)],
    )
    if isinstance(raw, ReplyError):
        raise info_refused(connection, raw)
    info = parse_info(raw)
    gaps = []
    if isinstance(listed, ReplyError):
        denied = listed.code == "NOPERM"
        reason = "this login may not run CLIENT LIST" if denied else listed.text
        remedy = "allow it with +client|list" if denied else None
        gaps.append(Unavailable("who is connected", reason, remedy, node.name))
        listed = b""
    known = {}
    for name, reply in zip(_SETTINGS, settings, strict=True):
        value = None if isinstance(reply, ReplyError) else as_int(as_dict(reply).get(name))
        if value is not None:
            known[name] = value
    # INFO says it too, to who may not ask for settings.
    if "maxclients" not in known and (most := number(info, "maxclients")) is not None:
        known["maxclients"] = most
    own = connection.local_address
    clients = [client_of(client_fields(line)) for line in listed.splitlines() if line]
    return ClientsOfNode(
        node=node.name,
        clients=tuple(one for one in clients if not own or one.address != own),
        connected=number(info, "connected_clients"),
        received=number(info, "total_connections_received"),
        rejected=number(info, "rejected_connections"),
        run_id=info.get("run_id", ""),
        settings=known,
        unavailable=tuple(gaps),
    )


def client_of(fields: Mapping[str, str]) -> Client:
    """Return one line of CLIENT LIST; fields that this server does not have are empty or None."""
    address = fields.get("addr", "")
    library = " ".join(filter(None, (fields.get("lib-name"), fields.get("lib-ver"))))
    return Client(
        id=number(fields, "id") or 0,
        address=address,
        host=address.rpartition(":")[0] or address,
        name=fields.get("name", ""),
        user=fields.get("user", ""),
        library=library,
        age=number(fields, "age") or 0,
        idle=number(fields, "idle") or 0,
        flags=fields.get("flags", ""),
        database=number(fields, "db") or 0,
        command=fields.get("cmd", ""),
        subscriptions=sum(number(fields, one) or 0 for one in ("sub", "psub", "ssub")),
        query=number(fields, "qbuf") or 0,
        # What fits in the fixed buffer of a client is in obl, the list of replies in omem.
        output=(number(fields, "omem") or 0) + (number(fields, "obl") or 0),
        memory=number(fields, "tot-mem"),
        commands=number(fields, "tot-cmds"),
    )
