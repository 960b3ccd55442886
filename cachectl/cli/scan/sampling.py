"""`scan --sample`: the answer from some keys, or from all where there are few."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cachectl.output.report import Report
    from cachectl.server.scanning.sample import Sample
    from cachectl.server.scanning.scan_types import ScanRequest
    from cachectl.server.topology.handle import Server
    from cachectl.views.keys.scan import ScanFacts, Shape

FIRST_LOOK = 20_000
"""Keys of the sample that comes before a long scan."""
MOST = 200_000
"""Keys that are kept in memory at once."""


def sampled(server: Server, request: ScanRequest, shape: Shape, n: int) -> Report:
    """Return the report from n keys. Raises CachectlError when no node answers."""
    from cachectl.analysis.estimates.intervals import Stratum
    from cachectl.analysis.keyspace.keyspace import summarise
    from cachectl.analysis.keyspace.sampling import summarise_sample
    from cachectl.server.scanning.sample import sample
    from cachectl.views.keys.sample import sample_report
    from cachectl.views.keys.scan import scan_report

    drawn = sample(server, n, request)
    facts = facts_of(drawn)
    if drawn.drawn >= drawn.size:
        summary = summarise(drawn.pages, shape.by, depth=shape.depth)
        return scan_report(summary, facts, server.facts, shape)
    strata = {node.node: Stratum(node.size, node.drawn) for node in drawn.nodes}
    estimates = summarise_sample(drawn.pages, strata, shape.by, depth=shape.depth)
    return sample_report(estimates, facts, server.facts, shape)


def facts_of(drawn: Sample) -> ScanFacts:
    """Return what the report says of the drawing."""
    from cachectl.views.keys.scan import ScanFacts

    tallies = [node.tally for node in drawn.nodes]
    return ScanFacts(
        keys=sum(len(page) for page in drawn.pages),
        duplicates=sum(tally.duplicates for tally in tallies),
        vanished=sum(tally.vanished for tally in tallies),
        unreadable=sum(tally.unreadable for tally in tallies),
        arrived=0,
        own_lookups=drawn.hits,
        own_misses=drawn.misses,
        seconds=drawn.seconds,
        complete=not drawn.errors,
        errors=tuple(drawn.errors),
        unavailable=tuple(drawn.unavailable),
    )
