"""What `memory` learns from the keys: bytes by namespace and by type, and how large they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cachectl.cli.memory_pass import KeyPass, Work, notes_of
from cachectl.errors import RefusedError

if TYPE_CHECKING:
    from cachectl.analysis.valuesizes import SizeBin
    from cachectl.model import Unavailable
    from cachectl.views.memory import KeysMemory

    _Found = tuple[KeyPass, KeysMemory, tuple[SizeBin, ...]]


def where(work: Work, by: str, depth: int | None) -> _Found:
    """Read the keys once. Raises CachectlError when none can be read."""
    from cachectl.analysis.keyspace import KeyspaceAccumulator
    from cachectl.analysis.valuesizes import MemorySizes
    from cachectl.server.columns import Field
    from cachectl.views.memory import KeysMemory

    spaces = KeyspaceAccumulator(by, depth=depth or 1, largest=1)
    types = KeyspaceAccumulator("type", largest=1)
    sizes = MemorySizes()
    done = work.read(frozenset({Field.TYPE, Field.BYTES}), [spaces, types, sizes])
    if done.drawn is not None:
        return _estimated(done, by, depth)
    found = spaces.result(depth=depth if by == "template" else None)
    return (
        done,
        KeysMemory(
            found.whole,
            found.namespaces,
            types.result().namespaces,
            by,
            notes=notes_of(done),
            unavailable=done.facts.unavailable,
            partial=not done.facts.complete,
        ),
        sizes.bins(),
    )


def _estimated(done: KeyPass, by: str, depth: int | None) -> _Found:
    from cachectl.analysis.sampling import summarise_sample
    from cachectl.analysis.valuesizes import from_sample
    from cachectl.views.memory import KeysMemory

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
            sample=done.about,
            notes=notes_of(done),
            unavailable=done.facts.unavailable,
            partial=not done.facts.complete,
        ),
        from_sample(pages, strata),
    )


def refused(error: RefusedError) -> Unavailable:
    """Return the gap that a login leaves which may not read keys."""
    from cachectl.model import Unavailable

    return Unavailable("the memory of keys", error.message, error.hint)
