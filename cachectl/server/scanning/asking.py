"""What a request means on one node: what its SCAN is told, and which columns it can answer."""

from __future__ import annotations

from cachectl import glob
from cachectl.server.scanning.columns import Columns, Field, Tally
from cachectl.server.scanning.flights import Question, Sift
from cachectl.server.scanning.scan_types import ScanRequest
from cachectl.server.topology.node import Node
from cachectl.server.wire.connection import NodeConnection


def question_for(node: Node, request: ScanRequest, sift: Sift | None = None) -> Question:
    """Return what to tell SCAN on this node, and what to filter on this side instead.

    sift: a filter besides the request's own (slots). A pattern that could hang the node is not
    sent: its literal prefix is, and the rest is matched here. Where SCAN's own TYPE would count a
    lookup for keys that we never hear of, the type is filtered here as well.
    """
    match = request.match
    if request.sift is not None:
        sift = _both(request.sift, sift)
    if match is not None and not glob.is_safe(match, linear=_matches_in_bounded_time(node)):
        sift = _both(_matching(match), sift)
        match = glob.prefix_pattern(match)
    if match == b"*":
        match = None
    sends_type = request.type is not None and _scans_types_uncounted(node)
    return Question(
        match=match,
        type=request.type if sends_type else None,
        sift=sift,
        only_type=None if sends_type else request.type,
    )


def columns_for(
    node: Node, connection: NodeConnection, request: ScanRequest, tally: Tally
) -> Columns:
    """Return the columns to ask of this node; what it cannot answer is noted in `unavailable`."""
    fields = set(request.fields)
    columns = Columns(fields, node.name, tally, also=_implied(request))
    policy = node.facts.policy
    if policy is not None:
        lfu = "lfu" in policy
        hopeless = Field.IDLE if lfu else Field.FREQ
        if hopeless in columns.fields and {Field.IDLE, Field.FREQ} <= fields:
            columns.fields.remove(hopeless)  # asked for either, and the other one is there
        elif hopeless in columns.fields:
            kept = "frequencies, not idle times" if lfu else "idle times, not frequencies"
            columns.drop(hopeless, f"the server keeps {kept}, under the policy {policy}")
    if columns.elements and not connection.no_touch:
        columns.drop(
            Field.ELEMENTS,
            "asking would reset the idle time of every key: the server has no CLIENT NO-TOUCH",
            "Redis 7.2 or Valkey, and a login with +client|no-touch",
        )
    return columns


def _implied(request: ScanRequest) -> set[Field]:
    needs_type = Field.ELEMENTS in request.fields or request.type is not None
    return {Field.TYPE} if needs_type else set()


def _matching(pattern: bytes) -> Sift:
    matches = glob.matcher(pattern)
    return lambda keys: [key for key in keys if matches(key)]


def _both(one: Sift, other: Sift | None) -> Sift:
    return one if other is None else lambda keys: other(one(keys))


def _version(node: Node) -> tuple[int, ...]:
    return tuple(int(part) for part in node.facts.version.split(".") if part.isdigit())


_FIXED: dict[tuple[int, ...], tuple[int, ...]] = {(6, 0): (6, 0, 18), (6, 2): (6, 2, 11)}


def _matches_in_bounded_time(node: Node) -> bool:
    """Whether CVE-2022-36021 is fixed: with many stars the older matcher takes exponential time."""
    if node.facts.flavour == "valkey":
        return True
    version = _version(node)
    if node.facts.flavour != "redis" or not version:
        return False
    return version >= _FIXED.get(version[:2], (7, 0, 9))


def _scans_types_uncounted(node: Node) -> bool:
    """Whether SCAN's TYPE leaves keyspace_hits alone (measured: not on 6.2 and 7.0)."""
    if node.facts.flavour == "valkey":
        return True
    return node.facts.flavour == "redis" and _version(node) >= (8,)
