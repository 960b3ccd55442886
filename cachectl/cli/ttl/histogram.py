"""What `ttl histogram` does: one pass over the TTLs of all keys, or a sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cachectl.cli.memory.memory_pass import KeyPass, Work
from cachectl.cli.ttl.pages import NeedsTtls, with_ttls

if TYPE_CHECKING:
    from cachectl.analysis.audits.ttl_distribution import Distributions


def distributed(work: Work, by: str, depth: int | None) -> tuple[KeyPass, Distributions]:
    """Return the pass and what it found. Raises CachectlError when no key can be read."""
    from cachectl.analysis.audits.ttl_distribution import counted, estimated
    from cachectl.analysis.keyspace.keyspace import KeyspaceAccumulator
    from cachectl.server.scanning.columns import Field

    seen = KeyspaceAccumulator(by, depth=depth or 1, largest=1)
    done = work.read(frozenset({Field.TTL}), [NeedsTtls(seen)])
    if done.drawn is not None:
        pages = [with_ttls(page) for page in done.drawn.pages]
        return done, estimated(pages, done.strata, by, depth=depth)
    return done, counted(seen, depth if by == "template" else None)
