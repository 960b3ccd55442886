"""What a login may do on one node, found out without changing anything.

First ACL DRYRUN is asked (7.0 and newer, where the login may), which leaves no trace in ACL LOG.
What it allows, and everything where there is no DRYRUN, is then tried in a form that can't do
anything: on a name that does not exist, or with an argument that is refused after the permissions
were looked at. Source of that order: processCommand in Redis' server.c checks existence, arity,
ACL, then the state of the server, and runs the command last. What has no harmless form (MONITOR)
is queued in a transaction that is then discarded.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from cachectl.server.wire.connection import NodeConnection
from cachectl.server.wire.login import Command
from cachectl.server.wire.resp import ReplyError, as_text

KEY = "<key>"
"""Stands for the name that does not exist."""


class Verdict(Enum):
    """What came of asking for one command."""

    ALLOWED = auto()
    DENIED = auto()  # the ACL forbids the command
    KEY_DENIED = auto()  # it allows the command, but not on that key: on others, maybe
    CHANNEL_DENIED = auto()  # it allows the command, but not that channel
    UNKNOWN = auto()  # the server does not have the command
    FULL = auto()  # the ACL allows the command, and the server has no memory left for it
    BLOCKED = auto()  # it refuses for another reason
    UNTESTED = auto()  # there was no harmless way to find out


@dataclass(frozen=True, slots=True)
class Probe:
    """One command in a form that can't do anything.

    words: how many of its words name it (MEMORY USAGE: 2). fails: part of the error that the form
    always leads to. harmless: False for a command that may not be sent at all. own_connection: it
    changes what the connection is for.
    """

    command: Command
    words: int = 1
    fails: str = ""
    harmless: bool = True
    own_connection: bool = False

    @property
    def name(self) -> str:
        """The command's name, as people write it."""
        return " ".join(as_text(word) for word in self.command[: self.words]).upper()

    @property
    def rule(self) -> str:
        """The ACL rule that allows the command."""
        return "+" + self.name.lower().replace(" ", "|")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one probe; text: the server's own words, when they say more."""

    verdict: Verdict
    text: str = ""


def user_of(connection: NodeConnection) -> str:
    """Return the name that the server knows this login by."""
    try:
        return as_text(connection.call("ACL", "WHOAMI"))
    except ReplyError:
        return connection.login.username or "default"


def ask(connection: NodeConnection, probes: Iterable[Probe], user: str) -> dict[Probe, Answer]:
    """Return what this login may do. The connection may be left in another mode: close it then.

    Raises ConnectionLostError.
    """
    wanted = list(dict.fromkeys(probes))
    key = f"cachectl:probe:{secrets.token_hex(16)}"
    forms = {probe: tuple(key if a is KEY else a for a in probe.command) for probe in wanted}
    answers = _dry_run(connection, user, forms)
    if not answers:
        answers = _queue(connection, {p: f for p, f in forms.items() if not p.harmless})
    open_ones = (Verdict.ALLOWED, Verdict.UNTESTED)
    direct = [
        probe
        for probe in wanted
        if probe.harmless and (probe not in answers or answers[probe].verdict in open_ones)
    ]
    answers.update(_try(connection, direct, forms))
    return {probe: answers.get(probe, Answer(Verdict.UNTESTED)) for probe in wanted}


def _dry_run(
    connection: NodeConnection, user: str, forms: dict[Probe, Command]
) -> dict[Probe, Answer]:
    """Return what ACL DRYRUN says; nothing at all when it is not to be had."""
    try:
        connection.call("ACL", "DRYRUN", user, "PING")
    except ReplyError:
        return {}
    replies = connection.pipeline(("ACL", "DRYRUN", user, *form) for form in forms.values())
    return {probe: _of_dry_run(reply) for probe, reply in zip(forms, replies, strict=True)}


def _of_dry_run(reply: Any) -> Answer:
    if isinstance(reply, ReplyError):
        missing = "not found" in reply.text or reply.is_unknown_command
        return Answer(Verdict.UNKNOWN if missing else Verdict.UNTESTED, reply.text)
    text = as_text(reply)
    return Answer(Verdict.ALLOWED) if text == "OK" else Answer(_denial(text), text)


def _denial(text: str) -> Verdict:
    # "… no permissions to run the 'x' command" · "… to access a key / one of the keys / the 'x'
    # key" · "… to access one of the channels / the 'x' channel"
    if "access" not in text:
        return Verdict.DENIED
    return Verdict.CHANNEL_DENIED if "channel" in text else Verdict.KEY_DENIED


def _queue(connection: NodeConnection, forms: dict[Probe, Command]) -> dict[Probe, Answer]:
    """Return what the server says to commands that are queued and then discarded."""
    if not forms:
        return {}
    try:
        if connection.call("MULTI") != b"OK":
            return {}
    except ReplyError:
        return {}  # and nothing may follow: outside of a transaction it would be executed
    replies = connection.pipeline([*forms.values(), ("DISCARD",)])
    return {probe: _of_reply(probe, reply) for probe, reply in zip(forms, replies, strict=False)}


def _try(
    connection: NodeConnection, probes: Sequence[Probe], forms: dict[Probe, Command]
) -> dict[Probe, Answer]:
    # What takes the connection over comes last, when nothing else is asked any more.
    ordered = sorted(probes, key=lambda probe: probe.own_connection)
    replies = connection.pipeline(forms[probe] for probe in ordered)
    return {probe: _of_reply(probe, reply) for probe, reply in zip(ordered, replies, strict=True)}


def _of_reply(probe: Probe, reply: Any) -> Answer:
    if not isinstance(reply, ReplyError):
        return Answer(Verdict.ALLOWED)
    if reply.code == "NOPERM":
        return Answer(_denial(reply.text), reply.text)
    if reply.is_unknown_command:
        return Answer(Verdict.UNKNOWN, reply.text)
    if "inside a transaction" in reply.text:
        return Answer(Verdict.UNTESTED, reply.text)
    # What is looked at after the permissions: where the key is, and whether there is memory.
    if reply.code in ("MOVED", "ASK") or (probe.fails and probe.fails in reply.text):
        return Answer(Verdict.ALLOWED)
    if reply.code == "OOM":
        return Answer(Verdict.FULL, reply.text)
    return Answer(Verdict.BLOCKED, reply.text)
