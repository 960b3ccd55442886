"""The log of slow commands, grouped by shape."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from cachectl.analysis.naming.commandshape import shape_of
from cachectl.analysis.traffic.commandmix import BLOCKING
from cachectl.model.findings import Finding, Severity

LATELY = 3600.0
"""Seconds back to which an entry is a finding: the log keeps what happened long ago as well."""
MANY_BYTES = 16 * 1024 * 1024


class Logged(Protocol):
    """What server.slowlog.LoggedCommand is."""

    @property
    def why(self) -> str: ...  # noqa: D102
    @property
    def node(self) -> str: ...  # noqa: D102
    @property
    def at(self) -> float: ...  # noqa: D102
    @property
    def seconds(self) -> float | None: ...  # noqa: D102
    @property
    def size(self) -> int | None: ...  # noqa: D102
    @property
    def arguments(self) -> tuple[bytes, ...]: ...  # noqa: D102
    @property
    def client(self) -> str: ...  # noqa: D102
    @property
    def address(self) -> str: ...  # noqa: D102


@dataclass(slots=True)
class SlowShape:
    """Commands of one shape. why: slow, large-request or large-reply.

    seconds: in all, worst: of one (slow alone); size: bytes of the largest (the others). first,
    last: Unix seconds. clients: name, or host where it gave none → entries. nodes: → entries.
    """

    why: str
    shape: bytes
    namespace: bytes
    count: int = 0
    seconds: float = 0.0
    worst: float | None = None
    size: int | None = None
    first: float = 0.0
    last: float = 0.0
    clients: dict[str, int] = field(default_factory=dict)
    nodes: dict[str, int] = field(default_factory=dict)


def slow_shapes(entries: Iterable[Logged], since: float = 0.0) -> list[SlowShape]:
    """Return the shapes of all entries from `since` (Unix seconds) on, the most expensive first."""
    found: dict[tuple[str, bytes], SlowShape] = {}
    for entry in entries:
        if entry.at < since:
            continue
        shape, namespace = shape_of(entry.arguments)
        group = found.setdefault(
            (entry.why, shape), SlowShape(entry.why, shape, namespace, first=entry.at)
        )
        _add(group, entry)
    order = {"slow": 0, "large-reply": 1, "large-request": 2}
    return sorted(
        found.values(),
        key=lambda one: (order.get(one.why, 9), -one.seconds, -(one.size or 0), one.shape),
    )


def _add(group: SlowShape, entry: Logged) -> None:
    group.count += 1
    group.first, group.last = min(group.first, entry.at), max(group.last, entry.at)
    if entry.seconds is not None:
        group.seconds += entry.seconds
        group.worst = max(group.worst or 0.0, entry.seconds)
    if entry.size is not None:
        group.size = max(group.size or 0, entry.size)
    client = entry.client or entry.address.rpartition(":")[0] or entry.address
    group.clients[client] = group.clients.get(client, 0) + 1
    group.nodes[entry.node] = group.nodes.get(entry.node, 0) + 1


def findings(shapes: Iterable[SlowShape], *, limit: float, now: float) -> list[Finding]:
    """Return the shapes that lately took longer than `limit` seconds, or were huge."""
    found = []
    for one in shapes:
        if now - one.last > LATELY:
            continue
        text = one.shape.decode("utf-8", "surrogateescape")
        if one.worst is not None and one.worst > limit:
            command = text.partition(" ")[0].lower()
            found.append(
                Finding(
                    "slow.command",
                    Severity.WARNING,
                    f"{text} blocked the server for {one.worst * 1e3:,.0f} ms",
                    f"{one.count:,} logged, {one.seconds:.2f} s in all",
                    BLOCKING.get(command, "work on fewer elements at a time"),
                )
            )
        elif one.size is not None and one.size > MANY_BYTES:
            found.append(
                Finding(
                    "slow.large",
                    Severity.WARNING,
                    f"{text}: a {one.why.partition('-')[2]} of {one.size:,} bytes",
                    f"{one.count:,} logged",
                    "read or write large values in parts",
                )
            )
    return found
