"""Who answered: servers, their nodes, their users."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What one node says of itself (INFO server, replication, memory, keyspace).

    address: host:port or socket path. role: primary or replica. keys: of the chosen database.
    used_memory, maxmemory: bytes (maxmemory 0: unlimited; None: not to be had).
    """

    address: str
    role: str
    run_id: str
    version: str
    flavour: str
    replid: str = ""
    keys: int | None = None
    used_memory: int | None = None
    maxmemory: int | None = None
    policy: str | None = None
    slots: int | None = None


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """Who answered behind a profile.

    topology: standalone, sentinel or cluster. flavour: redis, valkey, dragonfly, keydb or unknown;
    version: that flavour's own version, not the compatibility number of redis_version.
    """

    name: str
    topology: str
    flavour: str
    version: str
    nodes: tuple[NodeFacts, ...]
    database: int = 0


@dataclass(frozen=True, slots=True)
class UserRights:
    """An ACL user. commands, keys: its rules as the server shows them (`+@all`, `~*`)."""

    name: str
    enabled: bool
    no_password: bool
    commands: str
    keys: str

    @property
    def is_all_powerful(self) -> bool:
        """Whether it may run everything on every key."""
        everything = "+@all" in self.commands.split() and " -" not in f" {self.commands}"
        return self.enabled and everything and "~*" in self.keys.split()
