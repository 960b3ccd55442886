"""Keys that have expired and are still counted: DBSIZE has them until somebody meets them."""

from __future__ import annotations

from dataclasses import dataclass

from cachectl.server.scanning.scan_types import NodeOutcome, ScanOutcome
from cachectl.server.topology.handle import Server
from cachectl.server.wire.info import number, parse_info
from cachectl.server.wire.resp import ReplyError


@dataclass(frozen=True, slots=True)
class ExpiredCounted:
    """keys: about how many a scan of all keys came across, None when it can't be told.

    stale_percent: the server's own estimate of such keys among those with a TTL, the highest of
    all nodes; None when it does not say.
    """

    keys: int | None
    stale_percent: float | None


def expired_counted(server: Server, outcome: ScanOutcome | None) -> ExpiredCounted:
    """Return what is known of them. outcome: of a scan of all keys that has ended, or None.

    A SCAN leaves them out, and on a primary removes them: they are what DBSIZE had said beyond the
    keys that came. Keys that were deleted meanwhile are not meant, so there can be no more than
    the server has counted as expired since we connected.
    """
    after = {node.name: _stats(server, node.name) for node in server.primaries}
    stale = [percent for info in after.values() if (percent := _percent(info)) is not None]
    keys = None
    if outcome is not None and outcome.complete:
        before = {node.name: number(node.info, "expired_keys") for node in server.primaries}
        found = [
            _missing(one, before.get(one.node), number(after.get(one.node, {}), "expired_keys"))
            for one in outcome.nodes
        ]
        keys = None if None in found else sum(one or 0 for one in found)
    return ExpiredCounted(keys, max(stale, default=None))


def _missing(outcome: NodeOutcome, before: int | None, after: int | None) -> int | None:
    if outcome.size_before is None or before is None or after is None:
        return None
    tally = outcome.tally
    came = outcome.keys + tally.vanished + tally.unreadable + tally.moved
    return max(0, min(outcome.size_before - came, after - before))


def _stats(server: Server, name: str) -> dict[str, str]:
    node = next(node for node in server.primaries if node.name == name)
    reply = node.connection.pipeline([("INFO", "stats")])[0]
    return {} if isinstance(reply, ReplyError) else parse_info(reply)


def _percent(info: dict[str, str]) -> float | None:
    try:
        return float(info["expired_stale_perc"])
    except (KeyError, ValueError):
        return None
