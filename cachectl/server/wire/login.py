"""Logging in: one flight of commands, one attempt, and what each refusal means."""

from __future__ import annotations

from typing import Any

from cachectl.config.target import Address, Login
from cachectl.errors import (
    AuthenticationError,
    CachectlError,
    CannotConnectError,
    ConfigError,
    PermissionDeniedError,
    RefusedError,
)
from cachectl.server.wire import refusals
from cachectl.server.wire.resp import Argument, ReplyError, as_text

CLIENT_NAME = "cachectl"

Command = tuple[Argument, ...]


def greeting(login: Login, protocol: int, database: int) -> list[Command]:
    """Return the commands that log in and make us a polite client; the last one is PING."""
    password = login.password.reveal() if login.password else None
    user = login.username
    commands: list[Command] = []
    if protocol == 3:
        auth = ("AUTH", user or "default", password) if password is not None else ()
        commands.append(("HELLO", "3", *auth))
    elif password is not None:
        commands.append(("AUTH", user, password) if user else ("AUTH", password))
    commands.append(("CLIENT", "SETNAME", CLIENT_NAME))
    commands.append(("CLIENT", "NO-TOUCH", "ON"))
    if database:
        commands.append(("SELECT", database))
    commands.append(("PING",))
    return commands


def is_hello_unknown(reply: Any) -> bool:
    """Return whether the server does not know HELLO, or not the protocol asked for."""
    return isinstance(reply, ReplyError) and (reply.code == "NOPROTO" or reply.is_unknown_command)


def is_loading(replies: list[Any]) -> bool:
    """Return whether the server is still loading its data."""
    return any(isinstance(reply, ReplyError) and reply.code == "LOADING" for reply in replies)


def refusal(command: Command, reply: Any, address: Address, login: Login) -> CachectlError | None:
    """Return the error that a reply of the login amounts to, or None when it does not matter."""
    if not isinstance(reply, ReplyError):
        return None
    return (
        _turned_away(reply, address)
        or _not_serving(reply, address)
        or _not_logged_in(command, reply, address, login)
        or (_no_database(command, reply, address) if command[0] == "SELECT" else None)
    )


def _turned_away(reply: ReplyError, address: Address) -> CachectlError | None:
    """What a server says before it closes the connection."""
    if "max number of clients" in reply.text:
        return CannotConnectError(
            f"{address} has reached its maximum number of clients",
            hint="close idle clients, or raise `maxclients` on the server",
            target=str(address),
        )
    if reply.code == "DENIED":
        return CannotConnectError(
            f"{address} is in protected mode: it takes connections from its own host alone",
            hint="set a password on the server, or connect from there",
            target=str(address),
        )
    return None


def _not_logged_in(
    command: Command, reply: ReplyError, address: Address, login: Login
) -> CachectlError | None:
    where = str(address)
    if reply.code == "NOAUTH" or "authenticated already" in reply.text:
        return AuthenticationError(
            f"{where} requires a password, and none was given",
            hint="add `password` to the profile, or set REDISCLI_AUTH",
            target=where,
        )
    if command[0] not in ("AUTH", "HELLO"):
        return None
    if "without any password configured" in reply.text:
        return AuthenticationError(
            f"{where} has no password for the default user, and the profile gives one",
            hint="is this the right server? if so, leave the password out",
            target=where,
        )
    if reply.code in ("WRONGPASS", "ERR") and login.password is not None:
        who = f"user {login.username}" if login.username else "the default user"
        return AuthenticationError(
            f"{where} refused the login of {who}: wrong password, or the user is disabled",
            hint="one attempt was made; check `username` and `password` in the profile",
            target=where,
        )
    return CannotConnectError(f"{where} refused the greeting: {reply.text}", target=where)


def _no_database(command: Command, reply: ReplyError, address: Address) -> CachectlError | None:
    database, where = as_text(command[1]), str(address)
    if reply.code == "LOADING":
        return None
    if reply.code == "NOPERM":
        return PermissionDeniedError(
            f"this login may not choose database {database} on {where}",
            hint="allow it with the ACL rule +select, or use database 0",
            target=where,
        )
    if "cluster mode" in reply.text:
        return ConfigError(
            f"{where} is a node of a cluster, which has database 0 alone, not {database}",
            hint="leave `database` out of the profile, and the number out of the URL",
            target=where,
        )
    if reply.is_unknown_command:
        return RefusedError(
            f"{where} does not let anyone choose a database (SELECT is disabled)",
            hint="use database 0",
            target=where,
        )
    return ConfigError(
        f"{where} does not have a database {database}",
        hint="the server's setting `databases` says how many there are, counted from 0",
        target=where,
    )


def _not_serving(reply: ReplyError, address: Address) -> CachectlError | None:
    """What a server says to any command while it answers none."""
    where = str(address)
    if reply.code == "MASTERDOWN":
        return refusals.masterdown(address)
    if reply.code == "BUSY":
        return CannotConnectError(
            f"{where} is busy running a script",
            hint="wait for it to end; SCRIPT KILL ends one that has not written yet",
            target=where,
        )
    return None
