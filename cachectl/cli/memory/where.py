"""What `memory` learns from the keys: bytes by namespace and by type, and how large they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cachectl.cli.memory.memory_pass import KeyPass, Work, notes_of
from cachectl.cli.scan.scanning import Accumulator
from cachectl.errors import RefusedError

if TYPE_CHECKING:
    from cachectl.analysis.keyspace.layers import LayerGrouper
    from cachectl.analysis.keyspace.valuesizes import SizeBin
    from cachectl.model.findings import Unavailable
    from cachectl.policy import Policy
    from cachectl.views.memory.where import KeysMemory

    _Found = tuple[KeyPass, KeysMemory, tuple[SizeBin, ...]]


def where(work: Work, by: str, depth: int | None, policy: Policy | None = None) -> _Found:
    """Read the keys once; with a policy that names layers, sum those too. Raises CachectlError."""
    from cachectl.analysis.keyspace.keyspace import KeyspaceAccumulator
    from cachectl.analysis.keyspace.layers import LayerGrouper, names_layers
    from cachectl.analysis.keyspace.valuesizes import MemorySizes
    from cachectl.server.scanning.columns import Field
    from cachectl.views.memory.where import KeysMemory

    spaces = KeyspaceAccumulator(by, depth=depth or 1, largest=1)
    types = KeyspaceAccumulator("type", largest=1)
    sizes = MemorySizes()
    grouper = LayerGrouper(policy) if policy and names_layers(policy) else None
    layers = KeyspaceAccumulator("layer", largest=1, index=grouper.index()) if grouper else None
    parts: list[Accumulator] = [spaces, types, sizes, *([layers] if layers else [])]
    done = work.read(frozenset({Field.TYPE, Field.BYTES}), parts)
    if done.drawn is not None:
        return _estimated(done, by, depth, grouper)
    found = spaces.result(depth=depth if by == "template" else None)
    return (
        done,
        KeysMemory(
            found.whole,
            found.namespaces,
            types.result().namespaces,
            by,
            layers=layers.result().namespaces if layers else (),
            notes=notes_of(done),
            unavailable=done.facts.unavailable,
            partial=not done.facts.complete,
        ),
        sizes.bins(),
    )


def _estimated(done: KeyPass, by: str, depth: int | None, grouper: LayerGrouper | None) -> _Found:
    from cachectl.analysis.keyspace.sampling import summarise_sample
    from cachectl.analysis.keyspace.valuesizes import from_sample
    from cachectl.views.memory.where import KeysMemory

    assert done.drawn is not None  # noqa: S101 - as the caller has seen
    pages, strata = done.drawn.pages, done.strata
    found = summarise_sample(pages, strata, by, depth=depth)
    return (
        done,
        KeysMemory(
            found.whole,
            found.namespaces,
            summarise_sample(pages, strata, "type").namespaces,
            by,
            layers=summarise_sample(pages, strata, grouper).namespaces if grouper else (),
            sample=done.about,
            notes=notes_of(done),
            unavailable=done.facts.unavailable,
            partial=not done.facts.complete,
        ),
        from_sample(pages, strata),
    )


def refused(error: RefusedError) -> Unavailable:
    """Return the gap that a login leaves which may not read keys."""
    from cachectl.model.findings import Unavailable

    return Unavailable("the memory of keys", error.message, error.hint)
