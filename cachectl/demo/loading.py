"""Fill the demo's server: pre-packed pipelines, two flights in the air, every reply looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING

from cachectl.demo.entries import Entry, Value, bulk, restored, written
from cachectl.errors import InternalError
from cachectl.server.wire.resp import ReplyError, pack

if TYPE_CHECKING:
    from cachectl.server.wire.connection import NodeConnection

_FLIGHT = 128 * 1024
_PAGE = 1_000
_SCRATCH = b"cachectl:demo:scratch"

OnLoaded = Callable[[int], None]


def load(
    connection: NodeConnection,
    entries: Iterable[Entry],
    *,
    ages: bool = True,
    on_loaded: OnLoaded = lambda _: None,
) -> int:
    """Write the entries and return how many there were.

    ages: whether the server can be told idle times (RESTORE … IDLETIME). on_loaded: called with the
    number of entries sent so far. Raises InternalError when the server refuses one.
    """
    loader = _Loader(connection)
    count = 0
    remaining = iter(entries)
    while page := list(islice(remaining, _PAGE)):
        if ages:
            loader.learn({entry.value for entry in page if entry.idle})
        for entry in page:
            loader.add(entry)
        count += len(page)
        on_loaded(count)
    loader.finish()
    return count


class _Loader:
    def __init__(self, connection: NodeConnection) -> None:
        self._connection = connection
        self._packed: list[bytes] = []
        self._size = 0
        self._commands = 0
        self._in_the_air = 0
        self._payloads: dict[Value, bytes] = {}

    def add(self, entry: Entry) -> None:
        """Write an entry: with its idle time when its value is a learned one."""
        payload = self._payloads.get(entry.value)
        if payload is not None:
            packed = restored(entry, payload)
            self._commands += 1
        else:
            packed = written(entry)
            self._commands += entry.commands
        self._packed.append(packed)
        self._size += len(packed)
        if self._size >= _FLIGHT:
            self._send()

    def learn(self, values: set[Value]) -> None:
        """Have the server serialise the values that are new: one DUMP each, in one flight."""
        new = [value for value in values if value not in self._payloads]
        if not new:
            return
        self.finish()
        ask = pack("DUMP", _SCRATCH) + pack("UNLINK", _SCRATCH)
        self._connection.send(b"".join(value.packed(_SCRATCH) + ask for value in new))
        for value in new:
            *_, payload, _ = self._checked(len(value.commands) + 2)
            self._payloads[value] = bulk(payload)

    def finish(self) -> None:
        """Send what is left and wait for all replies."""
        self._send()
        self._land()

    def _send(self) -> None:
        # The next flight leaves before the replies of the last one are read: the server, and we,
        # always have something to do.
        self._connection.send(b"".join(self._packed))
        before, self._in_the_air = self._in_the_air, self._commands
        self._packed.clear()
        self._size = self._commands = 0
        self._checked(before)

    def _land(self) -> None:
        self._checked(self._in_the_air)
        self._in_the_air = 0

    def _checked(self, count: int) -> list[bytes]:
        replies = self._connection.receive(count) if count else []
        for reply in replies:
            if isinstance(reply, ReplyError):
                raise InternalError(f"the demo's server refused a command: {reply.text}")
        return replies
