"""Giant keys: copied piece by piece, since one DUMP of them would hold up everybody else."""

from __future__ import annotations

from collections.abc import Callable

from cachectl.actions.planning.alike import Fingerprint
from cachectl.model.changes import KeyCopy
from cachectl.server.transactions.transaction import Group
from cachectl.storage.elements import pack_value
from cachectl.storage.spool import Copies, SpoolWriter


def copy_in_pieces(
    group: Group,
    copy: KeyCopy,
    archive: SpoolWriter[Copies] | None,
    guard: bytes,
    before_each: Callable[[], None],
) -> bool:
    """Copy the one key of a group that WATCHes it. Return whether it is what a plan saw.

    guard: the plan's digest of its value, empty when there is none. archive: None keeps no copy.
    Raises UnknownTypeError, ReplyError, MovedError, ConnectionLostError; some pieces are in the
    archive then.
    """
    if archive is None and not guard:
        return True
    fingerprint = Fingerprint()
    waiting: KeyCopy | None = None
    for number, piece in enumerate(group.pieces(copy)):
        if guard:
            fingerprint.add(piece)
        if archive is None:
            continue
        if waiting is not None:
            archive.add([waiting._replace(extra={"piece": number - 1, "more": True})])
        before_each()
        waiting = copy._replace(how="pieces", data=pack_value(piece), extra={"piece": number})
    if waiting is not None and archive is not None:
        archive.add([waiting])
    return not guard or fingerprint.digest() == guard
