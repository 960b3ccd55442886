"""Events of keys, as they happen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Events of one node in the order in which they happened: names[i] befell keys[i].

    names: as the server has them (`expired`, `keymiss`). elsewhere: name → how many befell keys of
    other databases. dropped: events that came faster than they were taken, and were let go.
    """

    node: str
    names: Sequence[str] = ()
    keys: Sequence[bytes] = ()
    elsewhere: Mapping[str, int] = field(default_factory=dict)
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class EventGap:
    """A time in which nobody listened to a node. seconds: how long; reason: why, as a phrase."""

    node: str
    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class EventMark:
    """A place in the events of a node: whatever came before it happened before it.

    info: what INFO stats said at exactly this place, None where it can't be asked in between.
    listening: whether the node is being listened to.
    """

    node: str
    info: Mapping[str, str] | None = None
    listening: bool = True
