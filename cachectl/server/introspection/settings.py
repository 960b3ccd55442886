"""Settings of a node by CONFIG GET, where this login and this service let anybody ask."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cachectl.model.findings import Unavailable
from cachectl.server.scanning.scan_errors import why_refused
from cachectl.server.topology.node import Node
from cachectl.server.wire.resp import ReplyError, as_dict, as_text


@dataclass(frozen=True, slots=True)
class Settings:
    """Name → value as the node says it; names that it does not have are absent. gap: why none."""

    node: str
    values: Mapping[str, str] = field(default_factory=dict)
    gap: Unavailable | None = None


def settings_of(node: Node, names: Iterable[str]) -> Settings:
    """Ask one node for some settings. Raises ConnectionLostError."""
    wanted = list(names)
    # One command a name: several in one came with Redis 7.0.
    replies = node.connection.pipeline([("CONFIG", "GET", name) for name in wanted])
    values: dict[str, str] = {}
    refused: ReplyError | None = None
    for reply in replies:
        if isinstance(reply, ReplyError):
            refused = reply
        else:
            values |= {name: as_text(value) for name, value in as_dict(reply).items()}
    if refused is None or values:
        return Settings(node.name, values)
    reason, remedy = why_refused(("CONFIG", "GET"), refused)
    return Settings(node.name, gap=Unavailable("settings", reason, remedy, node.name))
