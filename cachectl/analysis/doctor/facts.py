"""Everything that the rules of `doctor` look at, and what could not be had of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from cachectl.analysis.doctor.names import Names
from cachectl.model.findings import Finding, Unavailable
from cachectl.model.servers import UserRights


class Part(StrEnum):
    """A part of the facts; a rule that needs one is not asked when it is missing."""

    INFO = "the figures of INFO"
    SETTINGS = "settings"
    DEFAULT_USER = "the default user"
    PERMISSIONS = "what this login may do"
    DOOR = "whether the server asks for a password"
    TRAFFIC = "traffic"
    LATENCY = "latency"
    SLOW = "slow commands"
    CLIENTS = "who is connected"
    KEYS = "the keys"
    TTLS = "TTLs of keys"
    SIZES = "sizes of keys"
    IDLE = "idle times of keys"
    VALUES = "values of keys"


SETTINGS = (
    *("save", "appendfsync", "stop-writes-on-bgsave-error", "disable-thp", "maxmemory-samples"),
    *("client-output-buffer-limit", "repl-backlog-size", "replica-read-only"),
    *("notify-keyspace-events", "timeout", "tcp-keepalive", "bind", "protected-mode", "tls-port"),
    *("lazyfree-lazy-eviction", "lazyfree-lazy-expire", "lazyfree-lazy-user-del"),
    *("slowlog-log-slower-than", "commandlog-execution-slower-than"),
    *("enable-debug-command", "enable-module-command", "enable-protected-configs"),
)
"""What the rules want to know; a server has those that its version knows."""


@dataclass(frozen=True, slots=True)
class NodeState:
    """One node. info: all sections of INFO; settings: by CONFIG GET, those that it has.

    written: bytes a second that replication has carried in the window, None when not known.
    """

    node: str
    flavour: str
    version: str
    info: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    lag: int = 0
    written: float | None = None
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """A namespace: keys, those of them without a TTL, and bytes (None: not known).

    decided: whether rules of a policy say of all its keys if they have to expire.
    """

    namespace: bytes
    keys: float
    no_ttl: float
    bytes: float | None
    decided: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a server.

    local: whether it is talked to over loopback or a Unix socket; encrypted: by TLS. open_door:
    whether it lets anybody in without a password. dangerous: commands among the dangerous ones
    that this login may run. reported: findings of other analyses, by the part that they are of.
    missing: part → why it could not be looked at.
    """

    nodes: Sequence[NodeState]
    topology: str = "standalone"
    local: bool = True
    encrypted: bool = False
    production: bool = False
    user: str = "default"
    default_user: UserRights | None = None
    open_door: bool | None = None
    dangerous: Sequence[str] = ()
    replica_lag: int | None = None
    names: Names | None = None
    namespaces: Sequence[Group] = ()
    reported: Mapping[str, Sequence[Finding]] = field(default_factory=dict)
    missing: Mapping[Part, Unavailable] = field(default_factory=dict)

    def settings(self, name: str) -> Iterable[tuple[NodeState, str]]:
        """Yield each node that has a setting, with its value."""
        for node in self.nodes:
            if (value := node.settings.get(name)) is not None:
                yield node, value


@dataclass(frozen=True, slots=True)
class Covered:
    """In place of findings: there is nothing to say here, neither well nor ill, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that is looked at. id: also the finding's, or the area of several.

    well: what to say when nothing is found. needs: parts without which it can't be said.
    """

    id: str
    well: str
    needs: tuple[Part, ...]
    find: Callable[[Facts], Iterable[Finding] | Covered]

    @property
    def area(self) -> str:
        """Where it stands on the page: security, settings, traffic or keys."""
        return _AREAS.get(self.id.partition(".")[0], "settings")


_AREAS = {
    "security": "security",
    **dict.fromkeys(("stats", "commands", "latency", "slow", "clients"), "traffic"),
    **dict.fromkeys(("keys", "giants", "ttl", "cold", "storms", "poisoned"), "keys"),
}
