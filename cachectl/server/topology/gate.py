"""The gate that a loop of look-ups passes, so that another process can read a settled count.

    gate.enter()                       # before commands leave
    ...
    gate.note(hits, misses, commands)  # some are answered, more are under way
    gate.leave(hits, misses, commands) # all of them are answered, and counted
    gate.wanted                        # somebody waits for us to come to such a point

Who counts hits and misses of a server (`stats`) has to subtract those of our own scans exactly.
Nobody can while a flight is on its way: its look-ups are in the server's counters already, and not
yet in ours. The gate that is shared between processes lives in storage; this one lets all pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Gate(Protocol):
    """What a loop of look-ups does besides its work. Not thread-safe: one loop, one gate."""

    @property
    def wanted(self) -> bool:
        """Whether somebody waits until nothing is under way."""
        ...

    def enter(self) -> None:
        """Say that commands are about to leave; wait while somebody reads. Harmless twice."""
        ...

    def note(self, hits: int, misses: int, commands: int) -> None:
        """Say what the answers came to so far, since the gate was made."""
        ...

    def leave(self, hits: int, misses: int, commands: int) -> None:
        """Say the same, and that everything is answered."""
        ...

    def close(self) -> None:
        """The work has ended; whatever is under way is not waited for."""
        ...


class OpenGate:
    """A gate that nobody watches."""

    wanted = False

    def enter(self) -> None:
        """Pass."""

    def note(self, hits: int, misses: int, commands: int) -> None:
        """Pass."""

    def leave(self, hits: int, misses: int, commands: int) -> None:
        """Pass."""

    def close(self) -> None:
        """Pass."""


Gates = Callable[[str, str], Gate]
"""(the node's run id, the address that we work from) → the gate of one loop."""


def open_gate(run_id: str, address: str) -> Gate:
    """Return a gate that nobody watches."""
    del run_id, address
    return OpenGate()
