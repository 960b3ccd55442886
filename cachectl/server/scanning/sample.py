"""A sample of keys, drawn by random cursors over all nodes in proportion to their keys.

A draw is one SCAN from a random place: it returns whole buckets, so every key has the same chance
whatever its content, size or age (measured: intervals of 95 % held in 94–96 % of the draws).
Keys of a draw lie side by side in the table; where each slot has its own table they tend to share
hash tags. Each draw is therefore a page of its own: an interval can be taken between pages.
"""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass, field, replace
from functools import partial

from cachectl.errors import CachectlError
from cachectl.model.findings import Unavailable
from cachectl.model.keys import Page
from cachectl.server.pace import Pace, RateCap
from cachectl.server.scanning.drawing import Drawer, NodeSample
from cachectl.server.scanning.scan import Scan
from cachectl.server.scanning.scan_types import Restarted, ScanRequest, merged
from cachectl.server.topology.handle import Server
from cachectl.server.topology.node import Node
from cachectl.server.topology.parallel import run_all


@dataclass(slots=True)
class Sample:
    """Keys drawn with equal chance, without repetition.

    nodes: what came from where. exact: the keyspace is so small that all of it was read.
    errors: nodes that could not be sampled, one sentence each. seconds: how long it took.
    A figure for all keys of a node is its figure in the pages times `size / drawn`.
    """

    nodes: list[NodeSample]
    exact: bool = False
    errors: list[str] = field(default_factory=list)
    unavailable: list[Unavailable] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def pages(self) -> list[Page]:
        """One page a draw, of all nodes."""
        return [page for node in self.nodes for page in node.pages]

    @property
    def size(self) -> int:
        """How many keys there are (DBSIZE of all nodes)."""
        return sum(node.size for node in self.nodes)

    @property
    def drawn(self) -> int:
        """How many keys were looked at, before filters."""
        return sum(node.drawn for node in self.nodes)

    @property
    def hits(self) -> int:
        """What the sample added to the servers' keyspace_hits."""
        return sum(node.tally.hits for node in self.nodes)

    @property
    def misses(self) -> int:
        """What the sample added to the servers' keyspace_misses."""
        return sum(node.tally.misses for node in self.nodes)


def sample(
    server: Server, n: int, request: ScanRequest | None = None, *, seed: int | None = None
) -> Sample:
    """Draw about n keys. request: which fields, and match and type to filter what was drawn.

    Reads everything when n is half of the keys or more. Raises CachectlError when no node answers.
    """
    request = request or ScanRequest()
    begun = time.monotonic()
    sizes = _sizes(server)
    if n * 2 >= sum(sizes):
        result = _all_of_it(server, request)
    else:
        result = _drawn(server, n, request, sizes, random.Random(seed))  # noqa: S311
    result.unavailable += server.unavailable
    result.seconds = time.monotonic() - begun
    return result


def thinned(whole: Sample, n: int) -> Sample:
    """Return about n keys of a sample: every so-manieth of its pages, for who computes on each key.

    Pages come in the order of hashes, so that any of them is as good as another.
    """
    step = whole.drawn // n
    if step < 2:
        return whole
    nodes = []
    for node in whole.nodes:
        pages = node.pages[::step]
        kept = sum(len(page) for page in pages)
        had = sum(len(page) for page in node.pages)
        share = kept / had if had else 0.0
        # Of what was drawn and gone or filtered out again, a part as large belongs to it.
        nodes.append(replace(node, pages=pages, drawn=round(node.drawn * share)))
    return replace(whole, nodes=nodes, exact=False)


def _drawn(
    server: Server, n: int, request: ScanRequest, sizes: list[int], rng: random.Random
) -> Sample:
    """Draw from all nodes at once, from each as many as its share of the keys."""
    total = sum(sizes)
    pace = request.pace or server.target.pace
    cap = RateCap(request.max_rate or server.target.limits.max_rate)

    def draw(node: Node, size: int, own: random.Random) -> NodeSample:
        drawer = Drawer(server, node, request, Pace.of(server.target.limits, pace, cap), own)
        return drawer.draw(math.ceil(n * size / total), size)

    calls = [
        partial(draw, node, size, random.Random(rng.random()))  # noqa: S311
        for node, size in zip(server.primaries, sizes, strict=True)
        if size
    ]
    results = run_all(calls)
    nodes = [one for one in results if isinstance(one, NodeSample)]
    failures = [one for one in results if isinstance(one, CachectlError)]
    if failures and not nodes:
        raise failures[0]
    gaps = merged([one.unavailable for one in nodes])
    return Sample(nodes, errors=[one.message for one in failures], unavailable=gaps)


def _sizes(server: Server) -> list[int]:
    def size(node: Node) -> int:
        with server.new_connection(node) as connection:
            reply = connection.pipeline([("DBSIZE",)])[0]
        return reply if isinstance(reply, int) else node.facts.keys or 0

    sizes = run_all([partial(size, node) for node in server.primaries])
    failures = [one for one in sizes if isinstance(one, CachectlError)]
    if len(failures) == len(sizes):
        raise failures[0]
    return [0 if isinstance(one, CachectlError) else one for one in sizes]


def _all_of_it(server: Server, request: ScanRequest) -> Sample:
    nodes: dict[str, NodeSample] = {}
    scan = Scan(server, request)
    with scan:
        for item in scan:
            if isinstance(item, Restarted):
                nodes.pop(item.node, None)
            else:
                nodes.setdefault(item.node, NodeSample(item.node, 0)).pages.append(item)
    for outcome in scan.outcome.nodes:
        one = nodes.setdefault(outcome.node, NodeSample(outcome.node, 0))
        one.size = one.drawn = outcome.visited
        one.tally = outcome.tally
    gaps = [gap for gap in scan.outcome.unavailable if gap not in server.unavailable]
    return Sample([*nodes.values()], scan.outcome.complete, scan.outcome.errors, gaps)
