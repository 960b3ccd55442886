"""Which events of keys a server publishes: its setting `notify-keyspace-events`, read and changed.

CONFIG GET does not tell all of it: where the letter A is set (all classes that there were in 2.8)
the letters n, o and c are left out of the answer, set or not (measured on Redis 7.0 and 8.2, Valkey
8.1 and 9.1; keyspaceEventsFlagsToString in notify.c). What is hidden is found out by making a key
and listening for what is said about it: writing back what was read would switch it off for good.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from cachectl.errors import RefusedError
from cachectl.server.introspection.asked import Ask, plainly
from cachectl.server.topology.handle import Server
from cachectl.server.topology.node import Node
from cachectl.server.topology.slots import slot_of
from cachectl.server.transactions.locks import OWN_PREFIX
from cachectl.server.wire.connection import NodeConnection
from cachectl.server.wire.resp import ReplyError, as_dict, as_text

SETTING = "notify-keyspace-events"
ALL = "g$lshzxetd"
"""What the letter A stands for."""
_HIDDEN = {"new": "n", "overwritten": "o", "type_changed": "c"}
"""Event → its letter, where CONFIG GET leaves that out beside A."""
_OPTIONAL = "oncdm"
"""Letters that old servers refuse, in the order in which they are given up."""
_MOST_TRIES = 200_000


def letters(setting: str) -> frozenset[str]:
    """Return the letters of a setting, those that A stands for among them."""
    found = set(setting)
    return frozenset(found | set(ALL) if "A" in found else found)


def missing_from(setting: str, wanted: Iterable[str]) -> str:
    """Return the wanted letters that a setting does not have, in their order."""
    had = letters(setting)
    return "".join(dict.fromkeys(one for one in wanted if one not in had))


def may_hide(shown: str) -> str:
    """Return the letters that CONFIG GET leaves out of such an answer, set or not."""
    return "".join(_HIDDEN.values()) if "A" in shown else ""


def read_setting(connection: NodeConnection, ask: Ask = plainly) -> str | None:
    """Return the setting as the server shows it; None when this login, or a service, refuses."""
    reply = ask(connection, [("CONFIG", "GET", SETTING)])[0]
    if isinstance(reply, ReplyError):
        return None
    found = as_dict(reply)
    return as_text(found[SETTING]) if SETTING in found else None


def write_setting(connection: NodeConnection, setting: str) -> None:
    """Change the setting to exactly this. Raises ReplyError."""
    connection.call("CONFIG", "SET", SETTING, setting)


def add_letters(connection: NodeConnection, setting: str, extra: str) -> str:
    """Add letters to the setting, those that this server knows; return which were added.

    setting: what holds, hidden letters included: nothing of it is taken away, not even for a
    moment. Raises ReplyError when the server refuses all of it.
    """
    added = extra
    while True:
        try:
            write_setting(connection, setting + added)
        except ReplyError as error:
            given_up = next((one for one in _OPTIONAL if one in added), None)
            if given_up is None or error.code == "NOPERM" or error.is_unknown_command:
                raise
            added = added.replace(given_up, "")
        else:
            return added


def whole_setting(server: Server, node: Node, shown: str) -> str:
    """Return the setting with the letters that CONFIG GET hides. shown: what CONFIG GET said.

    Where it may hide some, a key `cachectl:probe:…` is made and removed again in one transaction,
    and what the server says about it tells. Raises RefusedError when that can't be done.
    """
    if "A" not in shown:
        return shown
    if "E" not in shown and "K" not in shown:
        raise RefusedError(
            f"{SETTING} is {shown!r} on {node.name}, which may hide letters (n, o, c) that nothing "
            "can show as long as neither E nor K is set",
            hint=f"set it to what it is meant to be first: CONFIG SET {SETTING} …",
            target=node.name,
        )
    said = _said_about_a_new_key(server, node, by_event="E" in shown)
    return shown + "".join(letter for event, letter in _HIDDEN.items() if event in said)


def _said_about_a_new_key(server: Server, node: Node, *, by_event: bool) -> set[str]:
    key, database = _own_key(node), server.target.database
    with server.new_connection(node) as listener, server.new_connection(node) as writer:
        try:
            if by_event:
                channels = [f"__keyevent@{database}__:{event}" for event in _HIDDEN]
            else:
                channels = [f"__keyspace@{database}__:{key.decode()}"]
            for channel in channels:
                listener.call("SUBSCRIBE", channel)
            replies = writer.pipeline(
                [
                    ("MULTI",),
                    ("SET", key, "", "PX", 10_000),  # new
                    ("SET", key, ""),  # overwritten
                    ("UNLINK", key),
                    ("RPUSH", key, ""),
                    ("SET", key, "", "PX", 10_000),  # type_changed
                    ("UNLINK", key),
                    ("EXEC",),
                ]
            )
        except ReplyError as error:
            raise _cannot_tell(node, error) from error
        refusals = [one for one in replies if isinstance(one, ReplyError)]
        refusals += [one for one in replies[-1] or () if isinstance(one, ReplyError)]
        if refusals:
            raise _cannot_tell(node, refusals[0])
        return _heard(listener, key, by_event=by_event)


def _heard(listener: NodeConnection, key: bytes, *, by_event: bool) -> set[str]:
    """Return the events of the key that were published before the PING that we send now."""
    listener.send(b"*1\r\n$4\r\nPING\r\n")
    said: set[str] = set()
    while True:
        reply = listener.receive(1)[0]
        if not isinstance(reply, list) or reply[0] == b"pong":
            return said
        if reply[0] == b"message":
            if not by_event:
                said.add(as_text(reply[2]))
            elif reply[2] == key:
                said.add(as_text(reply[1]).rpartition(":")[2])


def _own_key(node: Node) -> bytes:
    """Return a name of ours that belongs to this node of a cluster."""
    token = secrets.token_hex(6)
    for number in range(_MOST_TRIES):
        key = OWN_PREFIX + f"probe:{token}:{number}".encode()
        if not node.slots or any(a <= slot_of(key) <= b for a, b in node.slots):
            return key
    raise RefusedError(f"{node.name} serves no slots", target=node.name)


def _cannot_tell(node: Node, error: ReplyError) -> RefusedError:
    return RefusedError(
        f"what {SETTING} hides on {node.name} can't be found out: {error.text}",
        hint="it takes the ACL rules +set +rpush +unlink +multi +exec ~cachectl:* +subscribe "
        "&__keyevent@* &__keyspace@*",
        target=node.name,
    )
