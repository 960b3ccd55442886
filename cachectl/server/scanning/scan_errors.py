"""What a node's errors mean: they are about a key, about now, or about a command."""

from __future__ import annotations

from collections.abc import Sequence

from cachectl.errors import (
    CachectlError,
    CannotConnectError,
    PermissionDeniedError,
    RefusedError,
    UsageError,
)
from cachectl.server.wire.resp import ReplyError

MOVED_CODES = frozenset({"MOVED", "ASK"})
WAIT_CODES = frozenset({"LOADING", "MASTERDOWN", "BUSY", "CLUSTERDOWN", "TRYAGAIN", "NOAUTH"})
"""Refusals that end by waiting, or (a login that expired) by logging in again."""


class NotNowError(Exception):
    """The node cannot answer now (LOADING, MASTERDOWN, BUSY, …); it may in a while."""

    def __init__(self, reply: ReplyError) -> None:
        super().__init__(reply.text)
        self.reply = reply


def is_about_key(reply: ReplyError) -> bool:
    """Return whether an error says that this login may not read this key (not: the command)."""
    if reply.code != "NOPERM":
        return False
    return "access a key" in reply.text or "one of the keys" in reply.text


def why_refused(command: Sequence[str], reply: ReplyError) -> tuple[str, str | None]:
    """Return (reason, remedy) for a command that the server refuses for every key."""
    name = " ".join(command)
    text = reply.text
    if reply.code == "NOPERM":
        return (
            f"this login may not run {name}",
            f"allow it with the ACL rule +{'|'.join(command).lower()}",
        )
    if "LFU maxmemory policy is selected" in text:
        return "the server keeps no idle times under an LFU policy", "ask for the frequency"
    if "LFU maxmemory policy is not selected" in text:
        return "the server counts no frequencies without an LFU policy", "ask for the idle time"
    if "unknown" in text.lower():
        return f"the server does not know {name}", None
    return f"the server refuses {name}: {text}", None


def as_failure(error: CachectlError | ReplyError | NotNowError, node: str) -> CachectlError:
    """Return the error to show for what ended a pass."""
    if isinstance(error, CachectlError):
        return error
    if isinstance(error, NotNowError):
        return CannotConnectError(
            f"{node} cannot answer now: {error.reply.text}",
            hint="try again when it is ready",
            target=node,
        )
    if error.code == "NOPERM":
        return PermissionDeniedError(
            f"this login may not run SCAN on {node}",
            hint="allow it with the ACL rule +scan",
            target=node,
        )
    if "unknown type" in error.text:
        return UsageError(f"{node} knows no such type: {error.text}", target=node)
    if "unknown command" in error.text:
        return RefusedError(
            f"SCAN is unavailable on {node}: it was renamed or disabled",
            hint="keys cannot be listed without it; KEYS would block the server",
            target=node,
        )
    return RefusedError(f"{node} refuses SCAN: {error.text}", target=node)
