"""Switching on the events that a command needs, and putting the setting back exactly.

    with Notifications(server, "Exem") as switched:
        ...

The note on the disk comes before the change, so that whatever ends this process, the next command
that meets the node puts the setting back (`recover`). A setting that somebody else has changed
meanwhile is theirs: it is left alone, and said. Commands that need the same node share a note, and
the last one to end puts the setting back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cachectl.actions.planning.guards import check_target
from cachectl.errors import CachectlError, PermissionDeniedError, RefusedError
from cachectl.server.events.notifications import (
    SETTING,
    add_letters,
    may_hide,
    missing_from,
    read_setting,
    whole_setting,
    write_setting,
)
from cachectl.server.topology.connect import NodeConnection
from cachectl.server.topology.handle import Server
from cachectl.server.topology.node import Node
from cachectl.server.transactions.locks import Owner
from cachectl.server.wire.resp import ReplyError
from cachectl.storage import borrowed
from cachectl.storage.borrowed import Note

MANAGED = (
    f"on a managed service, set {SETTING} in its parameter group or configuration, where CONFIG "
    "is not allowed"
)


@dataclass(frozen=True, slots=True)
class NodeState:
    """What one node publishes. setting: as CONFIG GET shows it, None when it may not be asked.
    missing: the wanted letters that it lacks; hidden: those that it may have without showing it."""

    node: str
    setting: str | None
    missing: str = ""
    hidden: str = ""


def states(server: Server, wanted: str) -> list[NodeState]:
    """Ask every primary which of the wanted letters it lacks. Raises CannotConnectError."""
    found = []
    for node in server.primaries:
        setting = read_setting(node.connection)
        if setting is None:
            found.append(NodeState(node.name, None))
            continue
        missing = missing_from(setting, wanted)
        hidden = "".join(one for one in missing if one in may_hide(setting))
        missing = "".join(one for one in missing if one not in hidden)
        found.append(NodeState(node.name, setting, missing, hidden))
    return found


class Notifications:
    """The letters of `wanted` switched on at every primary, as a context.

    changes: node → (what the setting was, what it is now), for those that were changed. problems:
    sentences about what could not be put back; known when the context has ended.
    """

    def __init__(self, server: Server, wanted: str) -> None:
        self._server = server
        self._wanted = wanted
        self._me = Owner.this_process(f"events of {server.target.name}").pack().decode()
        self._used: list[tuple[Node, str]] = []
        self.changes: dict[str, tuple[str, str]] = {}
        self.problems: list[str] = []

    def __enter__(self) -> Notifications:
        """Switch on. What was switched on is off again when a node refuses.

        Raises RefusedError, PermissionDeniedError, StorageError, CannotConnectError.
        """
        check_target(self._server)
        try:
            for node in self._server.primaries:
                self._switch_on(node)
        except BaseException:
            self.put_back()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.put_back()

    def put_back(self) -> None:
        """Put every setting back that nobody else needs any more. Harmless twice."""
        while self._used:
            node, key = self._used.pop()
            problem = _leave(self._server, node, key, self._me)
            if problem:
                self.problems.append(problem)

    def _switch_on(self, node: Node) -> None:
        key = _key_of(node)
        with borrowed.locked(key):
            shown = read_setting(node.connection)
            if shown is None:
                raise _not_allowed(node, f"this login may not read {SETTING}")
            note = borrowed.load(key)
            if note is not None and note.shown not in ("", shown):
                note = None  # somebody has changed the setting since, and it is theirs now
            if note is None:
                if not missing_from(shown, self._wanted):
                    return
                whole = whole_setting(self._server, node, shown)
                note = Note(key, node.name, SETTING, whole, whole, shown)
            extra = missing_from(note.ours, self._wanted)
            users = (*(one for one in note.users if _is_alive(one)), self._me)
            if extra or note.users:
                self._change(node, note, replace(note, users=users, ours=note.ours + extra), extra)

    def _change(self, node: Node, before: Note, after: Note, extra: str) -> None:
        """Add letters to a node's setting, with the note written first."""
        borrowed.save(replace(after, shown=""))
        self._used.append((node, after.node))
        try:
            added = add_letters(node.connection, before.ours, extra) if extra else ""
        except ReplyError as error:
            # Nothing was changed, so there is nothing to put back.
            self._used.pop()
            if before.users:
                borrowed.save(before)
            else:
                borrowed.drop(before.node)
            raise _refused(node, error) from error
        now = read_setting(node.connection) or ""
        borrowed.save(replace(after, ours=before.ours + added, shown=now))
        if added:
            self.changes[node.name] = (before.shown, now)


def recover(server: Server) -> list[str]:
    """Put back what commands that were killed left at these nodes. Return sentences about it."""
    notes = {note.node: note for note in borrowed.all_notes()}
    if not notes:
        return []
    said = []
    for node in server.primaries:
        key = _key_of(node)
        try:
            if key in notes:
                said += _recover(server, node, key)
            else:
                said += _forget_restarted(
                    node, [one for one in notes.values() if one.address == node.name]
                )
        except CachectlError as error:
            said.append(f"{SETTING} of {node.name} may not be as it was: {error.message}")
    return said


def _recover(server: Server, node: Node, key: str) -> list[str]:
    with borrowed.locked(key):
        note = borrowed.load(key)
        if note is None or any(_is_alive(one) for one in note.users):
            return []
        with server.new_connection(node) as connection:
            problem = _restore(connection, node, note)
    if problem:
        return [problem]
    return [
        f"{SETTING} of {node.name} is {note.before!r} again: a cachectl that was killed had "
        f"switched events on ({note.ours!r})"
    ]


def _forget_restarted(node: Node, notes: Sequence[Note]) -> list[str]:
    """Drop notes about a process that another one has taken the place of: its setting went too.

    Unless somebody had it written to the configuration file; what is there now may be meant.
    """
    said = []
    for note in notes:
        if any(_is_alive(one) for one in note.users):
            continue
        now = read_setting(node.connection)
        if now and now == note.shown:
            said.append(
                f"{SETTING} of {node.name} is {now!r} after a restart, as a cachectl that was "
                f"killed had set it before; it was {note.before!r}. It was left alone"
            )
        with borrowed.locked(note.node):
            borrowed.drop(note.node)
    return said


def _leave(server: Server, node: Node, key: str, me: str) -> str | None:
    """Stop using a node's setting; put it back when nobody else does. Return a problem, or None."""
    try:
        with borrowed.locked(key):
            note = borrowed.load(key)
            if note is None:
                return None
            others = tuple(one for one in note.users if one != me and _is_alive(one))
            if others:
                borrowed.save(replace(note, users=others))
                return None
            # A connection of its own: the node may no longer be a primary, or have hung up on us.
            with NodeConnection(server.target, node.address) as connection:
                return _restore(connection, node, note)
    except CachectlError as error:
        return (
            f"{SETTING} of {node.name} could not be put back ({error.message}): the next cachectl "
            "command that connects to it will do it"
        )


def _restore(connection: NodeConnection, node: Node, note: Note) -> str | None:
    """Put the setting back, whole. Return what is to be said when that was not possible."""
    now = read_setting(connection)
    if now is not None and note.shown and now != note.shown:
        borrowed.drop(note.node)
        return (
            f"{SETTING} of {node.name} is {now!r}: somebody else has changed it, so it was not put "
            f"back to {note.before!r}"
        )
    try:
        write_setting(connection, note.before)
    except ReplyError as error:
        return (
            f"{SETTING} of {node.name} could not be put back to {note.before!r}: {error.text}; "
            f"whoever may, run: CONFIG SET {SETTING} '{note.before}'"
        )
    borrowed.drop(note.node)
    return None


def _refused(node: Node, error: ReplyError) -> RefusedError:
    if error.code == "NOPERM" or error.is_unknown_command:
        return _not_allowed(node, error.text)
    return RefusedError(
        f"{node.name} refuses to change {SETTING}: {error.text}", hint=MANAGED, target=node.name
    )


def _not_allowed(node: Node, reason: str) -> PermissionDeniedError:
    return PermissionDeniedError(
        f"events cannot be switched on at {node.name}: {reason}",
        hint=f"allow it with the ACL rules +config|get +config|set; {MANAGED}",
        target=node.name,
    )


def _key_of(node: Node) -> str:
    return node.facts.run_id or node.name


def _is_alive(packed: str) -> bool:
    owner = Owner.unpack(packed.encode())
    return owner is not None and not owner.is_dead
