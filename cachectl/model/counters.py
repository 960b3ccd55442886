"""Counters of nodes, as samples of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class OwnWork:
    """What jobs of ours on this machine have added to one node's counters so far.

    hits, misses: of keyspace_hits and keyspace_misses; commands: of the commands. lost: jobs whose
    last answers never came, so that they added more than they know. settled: no job was in the
    middle of something. addresses: the client addresses (host:port) that they work from.
    """

    hits: int = 0
    misses: int = 0
    commands: int = 0
    lost: int = 0
    settled: bool = True
    addresses: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class NodeSample:
    """What one node's counters said at one moment.

    at: Unix seconds by our clock; clock: seconds of this process's monotonic clock, None for a
    sample of another process. info: the fields of INFO, all sections. own: see OwnWork. asked: name
    of a command → how often the measuring itself had sent it before, and refused: code of an error
    → how often it was the answer. strangers: address → commands so far of connections that call
    themselves cachectl and are none of this machine's jobs (None: the server does not say how
    many).
    """

    node: str
    at: float
    clock: float | None
    info: Mapping[str, str]
    own: OwnWork = OwnWork()
    asked: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    strangers: Mapping[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MemorySample:
    """What one node says of its memory at one moment.

    info: the fields of INFO. stats: the figures of MEMORY STATS by their names, empty where it is
    not to be had; databases: database → the figures of it that MEMORY STATS has.
    """

    node: str
    info: Mapping[str, str]
    stats: Mapping[str, float] = field(default_factory=dict)
    databases: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
