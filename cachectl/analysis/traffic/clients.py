"""Connections by who they belong to, and the pools that leak, are exhausted, or change too fast."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cachectl.model.findings import Finding, Severity

GROUPINGS = ("name", "address", "library", "user", "database")

IDLE = 300
"""Seconds without a command after which a connection counts as idle."""
LEAKED_IDLE = 600
"""A pool that works gives its connections back and uses them again within minutes."""
LEAK_LEAST = 20
LEAK_SHARE = 0.8
CROWDED = 0.8
FULL = 0.95
BACKLOG = 8 * 1024 * 1024
"""Bytes of unread answers of one connection that are worth a finding."""
CHURN = 20.0
CHURN_SHARE = 0.5
BLOCKED_SHARE = 0.9
BLOCKED_LEAST = 10


class ClientLike(Protocol):
    """What server.clients.Client is."""

    @property
    def id(self) -> int: ...  # noqa: D102
    @property
    def address(self) -> str: ...  # noqa: D102
    @property
    def host(self) -> str: ...  # noqa: D102
    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def user(self) -> str: ...  # noqa: D102
    @property
    def library(self) -> str: ...  # noqa: D102
    @property
    def age(self) -> int: ...  # noqa: D102
    @property
    def idle(self) -> int: ...  # noqa: D102
    @property
    def flags(self) -> str: ...  # noqa: D102
    @property
    def database(self) -> int: ...  # noqa: D102
    @property
    def command(self) -> str: ...  # noqa: D102
    @property
    def subscriptions(self) -> int: ...  # noqa: D102
    @property
    def query(self) -> int: ...  # noqa: D102
    @property
    def output(self) -> int: ...  # noqa: D102
    @property
    def memory(self) -> int | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Group:
    """Connections that belong together.

    idle: of them, without a command for so long; idle_p50, idle_max, age_max: seconds;
    blocked: waiting in BLPOP and the like; subscribed: to channels. memory: bytes that the server
    holds for them, output: of it, answers that wait to be read. came, went: in the window.
    """

    label: str
    clients: int
    idle: int
    idle_p50: float
    idle_max: int
    age_max: int
    blocked: int
    subscribed: int
    memory: int | None
    output: int
    came: int = 0
    went: int = 0
    commands: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodeClients:
    """The clients of one node at the end of a window, and how they changed.

    seconds: of the window. came: connections that were opened in it, those that are gone again
    included (None: the server does not say); rejected: turned away.
    """

    node: str
    clients: tuple[ClientLike, ...]
    connected: int | None
    maxclients: int | None
    seconds: float
    came: int | None
    rejected: int | None
    timeout: int | None = None


def label_of(client: ClientLike, by: str) -> str:
    """Return what a client is grouped under. by: one of GROUPINGS."""
    match by:
        case "name":
            return client.name or f"(unnamed, {client.host})"
        case "library":
            return client.library or "(not said)"
        case "user":
            return client.user or "(not said)"
        case "database":
            return str(client.database)
    return client.host


def grouped(
    now: Sequence[ClientLike], before: Sequence[ClientLike], by: str, idle: float = IDLE
) -> list[Group]:
    """Return the groups of the clients that are there now, the largest first.

    idle: seconds without a command from which on a connection counts as idle. Replicas and
    primaries (replication's own connections) are left out.
    """
    now, before = _ordinary(now), _ordinary(before)
    known, still = {one.id for one in before}, {one.id for one in now}
    came = _per_label((one for one in now if one.id not in known), by)
    went = _per_label((one for one in before if one.id not in still), by)
    members: dict[str, list[ClientLike]] = {}
    for client in now:
        members.setdefault(label_of(client, by), []).append(client)
    groups = [
        _group(label, clients, came.get(label, 0), went.get(label, 0), idle)
        for label, clients in members.items()
    ]
    groups += [
        Group(label, 0, 0, 0.0, 0, 0, 0, 0, None, 0, went=count)
        for label, count in went.items()
        if label not in members
    ]
    return sorted(groups, key=lambda one: (-one.clients, one.label))


def _ordinary(clients: Sequence[ClientLike]) -> list[ClientLike]:
    return [one for one in clients if not set(one.flags) & set("SM")]


def _per_label(clients: Iterable[ClientLike], by: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for client in clients:
        label = label_of(client, by)
        counts[label] = counts.get(label, 0) + 1
    return counts


def _group(label: str, clients: Sequence[ClientLike], came: int, went: int, idle: float) -> Group:
    idles = sorted(one.idle for one in clients)
    memories = [one.memory for one in clients if one.memory is not None]
    commands: dict[str, int] = {}
    for one in clients:
        commands[one.command] = commands.get(one.command, 0) + 1
    return Group(
        label=label,
        clients=len(clients),
        idle=sum(one >= idle for one in idles),
        idle_p50=float(idles[len(idles) // 2]),
        idle_max=idles[-1],
        age_max=max(one.age for one in clients),
        blocked=sum("b" in one.flags for one in clients),
        subscribed=sum(one.subscriptions > 0 for one in clients),
        memory=sum(memories) if memories else None,
        output=sum(one.output for one in clients),
        came=came,
        went=went,
        commands=commands,
    )


# --- findings -------------------------------------------------------------------------------------


def findings(node: NodeClients, by: str = "name", unused: float = LEAKED_IDLE) -> list[Finding]:
    """Return the pools of one node that leak, are exhausted, or change too fast.

    unused: seconds without a command from which on a connection counts as forgotten.
    """
    found = [*_of_limit(node), *_of_backlog(node)]
    for group in grouped(node.clients, (), by):
        found += _of_group(node, group, unused)
    return found


def _of_limit(node: NodeClients) -> Iterable[Finding]:
    if node.rejected:
        yield Finding(
            "clients.rejected",
            Severity.CRITICAL,
            "connections are turned away: the server has its maximum number of clients",
            f"{node.rejected:,} in {node.seconds:.1f} s, maxclients {node.maxclients or '?'}",
            "see which group below holds too many; CONFIG SET maxclients raises the limit",
            node.node,
        )
    connected, most = node.connected, node.maxclients
    if connected is not None and most and connected > CROWDED * most:
        yield Finding(
            "clients.maxclients",
            Severity.CRITICAL if connected > FULL * most else Severity.WARNING,
            f"{connected / most:.0%} of maxclients are connected",
            f"{connected:,} of {most:,}",
            "see which group below holds too many; CONFIG SET maxclients raises the limit",
            node.node,
        )
    if node.came is not None and node.seconds > 0 and connected:
        rate = node.came / node.seconds
        if rate > CHURN and node.came > CHURN_SHARE * connected:
            yield Finding(
                "clients.churn",
                Severity.WARNING,
                f"{rate:,.0f} connections a second are opened: clients do not keep them",
                f"{node.came:,} in {node.seconds:.1f} s, {connected:,} are connected",
                "use a connection pool; each connection costs a login and a round trip",
                node.node,
            )


def _of_backlog(node: NodeClients) -> Iterable[Finding]:
    for client in node.clients:
        if client.output > BACKLOG and "S" not in client.flags:
            yield Finding(
                "clients.backlog",
                Severity.WARNING,
                f"{client.name or client.address} does not read its answers",
                f"{client.output:,} bytes wait in the server, last command {client.command}",
                f"CLIENT KILL ID {client.id} ends it; client-output-buffer-limit caps it",
                node.node,
            )


def _of_group(node: NodeClients, group: Group, unused: float) -> Iterable[Finding]:
    # Waiting for messages or for work is what such connections are for.
    waiting = group.subscribed + group.blocked
    pooled = group.clients - waiting
    forgotten = sum(
        one.idle >= unused and not one.subscriptions and "b" not in one.flags
        for one in _ordinary(node.clients)
        if label_of(one, "name") == group.label
    )
    if forgotten >= LEAK_LEAST and forgotten >= LEAK_SHARE * pooled:
        yield Finding(
            "clients.leak",
            Severity.WARNING,
            f"{group.label} holds {forgotten:,} connections that it does not use",
            f"idle for {_minutes(unused)} or more, {group.clients:,} in all, "
            f"the longest {group.idle_max:,} s",
            "close connections or shrink the pool; CONFIG SET timeout 900 closes the forgotten"
            if not node.timeout
            else "close connections or shrink the pool",
            node.node,
        )
    if group.blocked >= BLOCKED_LEAST and group.blocked >= BLOCKED_SHARE * group.clients:
        yield Finding(
            "clients.exhausted",
            Severity.WARNING,
            f"all but {group.clients - group.blocked:,} connections of {group.label} are blocked",
            f"{group.blocked:,} of {group.clients:,} wait in blocking commands",
            "give blocking commands a pool of their own",
            node.node,
        )


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:g} minutes" if seconds >= 120 else f"{seconds:g} s"
