"""What changed between two scans: what grew, shrank, appeared, went, and lost its TTL."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from cachectl.analysis.keyspace.keyspace import KeyspaceAccumulator, folding_of
from cachectl.analysis.keyspace.summary import KeyspaceSummary, NamespaceSummary
from cachectl.analysis.naming.namespaces import Grouper
from cachectl.model.keys import Page

LOST_TTL_SHARE = 0.01
"""A namespace lost its TTL when the share of its keys without one rose by at least so much."""


class Change(StrEnum):
    """What became of a namespace, by its bytes (by its keys where sizes are not known)."""

    APPEARED = "appeared"
    WENT = "went"
    GREW = "grew"
    SHRANK = "shrank"
    SAME = "same"


@dataclass(frozen=True, slots=True)
class NamespaceChange:
    """One namespace before and after; None where it was not there.

    keys, bytes, no_ttl: after less before (bytes, no_ttl: None unless both scans asked for them).
    lost_ttl: more of its keys never expire than did, in number and in share.
    """

    namespace: bytes
    change: Change
    before: NamespaceSummary | None
    after: NamespaceSummary | None
    keys: int
    bytes: int | None
    no_ttl: int | None
    lost_ttl: bool


@dataclass(frozen=True, slots=True)
class KeyspaceDiff:
    """Two scans compared. changes: every namespace, the largest difference first."""

    before: NamespaceSummary
    after: NamespaceSummary
    changes: tuple[NamespaceChange, ...]

    @property
    def keys(self) -> int:
        """Keys after less keys before."""
        return self.after.keys - self.before.keys

    @property
    def bytes(self) -> int | None:
        """Bytes after less bytes before; None unless both scans asked for them."""
        return _less(self.after.bytes, self.before.bytes)

    @property
    def lost_ttl(self) -> tuple[NamespaceChange, ...]:
        """The namespaces that lost their TTL."""
        return tuple(change for change in self.changes if change.lost_ttl)

    def of(self, change: Change) -> tuple[NamespaceChange, ...]:
        """Return the namespaces that this happened to."""
        return tuple(found for found in self.changes if found.change is change)


def diff(before: KeyspaceSummary, after: KeyspaceSummary) -> KeyspaceDiff:
    """Compare two summaries with the same grouping, namespace by namespace.

    Summaries that were folded apart may call the same keys differently: diff_pages folds them
    together.
    """
    old = {namespace.namespace: namespace for namespace in before.namespaces}
    new = {namespace.namespace: namespace for namespace in after.namespaces}
    changes = [_change(name, old.get(name), new.get(name)) for name in old.keys() | new.keys()]
    changes.sort(key=_order)
    return KeyspaceDiff(before.whole, after.whole, tuple(changes))


def diff_pages(
    before: Iterable[Page],
    after: Iterable[Page],
    by: str | Grouper = "template",
    *,
    depth: int | None = None,
) -> KeyspaceDiff:
    """Compare two scans, each streamed once in pages, with the same names folded in both.

    by, depth: as in KeyspaceAccumulator; memory does not depend on the number of keys.
    """
    first = KeyspaceAccumulator(by, depth=depth or 1)
    second = KeyspaceAccumulator(by, index=first.index)
    for page in before:
        first.add(page)
    for page in after:
        second.add(page)
    counts = [0] * first.index.size
    first.add_counts(counts)
    second.add_counts(counts)
    folding = folding_of(first.index, first.by, counts)
    to = depth if by == "template" else None
    return diff(first.summarise(folding, depth=to), second.summarise(folding, depth=to))


def _change(
    name: bytes, before: NamespaceSummary | None, after: NamespaceSummary | None
) -> NamespaceChange:
    keys = (after.keys if after else 0) - (before.keys if before else 0)
    size = _difference(before, after, "bytes")
    no_ttl = _difference(before, after, "no_ttl")
    difference = keys if size is None else size
    if before is None:
        change = Change.APPEARED
    elif after is None:
        change = Change.WENT
    elif difference == 0:
        change = Change.SAME
    else:
        change = Change.GREW if difference > 0 else Change.SHRANK
    return NamespaceChange(
        namespace=name,
        change=change,
        before=before,
        after=after,
        keys=keys,
        bytes=size,
        no_ttl=no_ttl,
        lost_ttl=_lost_ttl(before, after, no_ttl),
    )


def _lost_ttl(
    before: NamespaceSummary | None, after: NamespaceSummary | None, no_ttl: int | None
) -> bool:
    if before is None or after is None or no_ttl is None or no_ttl <= 0:
        return False
    return (after.no_ttl_share or 0.0) - (before.no_ttl_share or 0.0) >= LOST_TTL_SHARE


def _difference(
    before: NamespaceSummary | None, after: NamespaceSummary | None, field: str
) -> int | None:
    """Return what a field rose by; a namespace that is not there has 0 of everything."""
    old = getattr(before, field) if before else 0
    new = getattr(after, field) if after else 0
    return _less(new, old)


def _less(new: int | None, old: int | None) -> int | None:
    return None if new is None or old is None else new - old


def _order(change: NamespaceChange) -> tuple[int, int, bytes]:
    return -abs(change.bytes or 0), -abs(change.keys), change.namespace
