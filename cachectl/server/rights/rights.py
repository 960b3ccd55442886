"""Who may come in and what they may do, found out without doing any of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cachectl.config.target import Login
from cachectl.errors import AuthenticationError, CachectlError
from cachectl.model.findings import Unavailable
from cachectl.model.servers import UserRights
from cachectl.server.rights.probing import user_of
from cachectl.server.scanning.scan_errors import why_refused
from cachectl.server.topology.handle import Server
from cachectl.server.topology.node import Node
from cachectl.server.wire.connection import NodeConnection
from cachectl.server.wire.resp import ReplyError, as_dict, as_text

_ARGUMENTS = {
    "CONFIG SET": ("cachectl-no-such-setting", "1"),
    "KEYS": ("*",),
    "DEBUG": ("SLEEP", "0"),
    "REPLICAOF": ("no", "one"),
    "MODULE LOAD": ("none",),
    "ACL SETUSER": ("none",),
    "MIGRATE": ("host", "1", "none", "0", "1"),
}


def open_door(server: Server, node: Node) -> bool | None:
    """Return whether a node lets anybody in without a password; None when that can't be told.

    A login that gives no password and is in has found out already. Otherwise a connection without
    one is opened and asked for PING, which is no attempt to log in.
    """
    if server.target.login.password is None and server.target.login.username is None:
        return True
    try:
        NodeConnection(server.target, node.address, login=Login(), database=0).open().close()
    except AuthenticationError:
        return False
    except CachectlError:
        return None
    return True


def rights_of(node: Node, user: str) -> UserRights | Unavailable:
    """Return what a user may do, by ACL GETUSER. Raises ConnectionLostError."""
    reply = node.connection.pipeline([("ACL", "GETUSER", user)])[0]
    if isinstance(reply, ReplyError):
        reason, remedy = why_refused(("ACL", "GETUSER"), reply)
        return Unavailable(f"the user {user}", reason, remedy)
    fields = as_dict(reply)
    flags = {as_text(flag) for flag in fields.get("flags") or ()}
    return UserRights(
        user,
        "on" in flags,
        "nopass" in flags,
        as_text(fields.get("commands")),
        _patterns(fields.get("keys")),
    )


def _patterns(keys: Any) -> str:
    """Return key patterns as 7.0 writes them; 6.2 lists them, without the tilde."""
    if isinstance(keys, list | tuple):
        return " ".join(f"~{as_text(pattern)}" for pattern in keys)
    return as_text(keys)


def allowed_of(node: Node, commands: Iterable[str]) -> tuple[str, list[str] | Unavailable]:
    """Return who we are there, and which of some commands we may run.

    By ACL DRYRUN, or where that is not to be had by our own rules when those allow everything.
    Raises ConnectionLostError.
    """
    connection = node.connection
    user = user_of(connection)
    wanted = list(commands)
    replies = connection.pipeline(
        ("ACL", "DRYRUN", user, *name.split(), *_ARGUMENTS.get(name, ())) for name in wanted
    )
    if not any(_is_missing(reply) for reply in replies):
        allowed = [name for name, reply in zip(wanted, replies, strict=True) if _says_yes(reply)]
        return user, allowed
    own = rights_of(node, user)
    if isinstance(own, UserRights) and own.is_all_powerful:
        return user, wanted
    refused = next(reply for reply in replies if isinstance(reply, ReplyError))
    reason, remedy = why_refused(("ACL", "DRYRUN"), refused)
    return user, Unavailable("what this login may do", reason, remedy)


def _is_missing(reply: Any) -> bool:
    """Whether it is DRYRUN that there is not, rather than the command that it is asked about."""
    if not isinstance(reply, ReplyError):
        return False
    return reply.code == "NOPERM" or reply.is_unknown_command or "ACL" in reply.text


def _says_yes(reply: Any) -> bool:
    return not isinstance(reply, ReplyError) and as_text(reply) == "OK"


def latency_doctor(node: Node) -> str:
    """Return what LATENCY DOCTOR advises; nothing where this login may not ask."""
    reply = node.connection.pipeline([("LATENCY", "DOCTOR")])[0]
    return "" if isinstance(reply, ReplyError) else as_text(reply)
