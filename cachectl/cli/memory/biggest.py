"""What `memory keys` does: one pass that keeps the biggest keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cachectl.cli.memory.memory_pass import KeyPass, Work

if TYPE_CHECKING:
    from cachectl.analysis.keyspace.biggest import Biggest


def biggest_of(
    work: Work, by: str, depth: int | None, *, keep: int, per_namespace: int, elements: bool
) -> tuple[KeyPass, Biggest]:
    """Return the pass and what it found. Raises CachectlError when no key can be read."""
    from cachectl.analysis.keyspace.biggest import BiggestKeys
    from cachectl.analysis.naming.namespaces import index_by
    from cachectl.server.scanning.columns import Field

    index = index_by(by, depth=depth or 1)
    found = BiggestKeys(index, by, keep=keep, per_namespace=per_namespace)
    fields = {Field.TYPE, Field.BYTES} | ({Field.ELEMENTS} if elements else set())
    done = work.read(frozenset(fields), [found])
    for page in done.drawn.pages if done.drawn else ():
        found.add(page)
    return done, found.result()
