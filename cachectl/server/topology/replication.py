"""How far replicas are behind, and whether a node takes writes at all."""

from __future__ import annotations

from cachectl.server.wire.connection import NodeConnection
from cachectl.server.wire.info import Info, parse_info
from cachectl.server.wire.resp import ReplyError


def lag_of(info: Info) -> int:
    """Return by how many bytes the slowest online replica is behind; 0 without replicas.

    info: of INFO replication. Source: master_repl_offset and each slaveN's offset.
    """
    try:
        written = int(info.get("master_repl_offset", "0"))
    except ValueError:
        return 0
    behind = 0
    for name, value in info.items():
        if not (name.startswith("slave") and name[5:].isdigit()):
            continue
        fields = dict(pair.partition("=")[::2] for pair in value.split(","))
        if fields.get("state") == "online" and fields.get("offset", "").isdigit():
            behind = max(behind, written - int(fields["offset"]))
    return behind


def read_lag(connection: NodeConnection) -> int:
    """Ask a primary for the lag of its replicas in bytes; 0 when this login may not ask."""
    try:
        return lag_of(parse_info(connection.call("INFO", "replication")))
    except ReplyError:
        return 0
