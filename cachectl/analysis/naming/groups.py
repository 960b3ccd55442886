"""Groups of keys in bounded memory: each has a small number, its gid, while it lives.

At most `limit` groups live at once. Beyond that, names that vary are folded for good
(folding.py), and names that come later fall into the folded group at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cachectl.analysis.naming.folding import Limits, fold, graft
from cachectl.analysis.naming.labeltree import Node
from cachectl.analysis.naming.templates import Labels
from cachectl.model.keys import Page

DEFAULT_LIMIT = 10_000
"""Groups that live at once. One costs about 1.5 kB with its statistics."""


class Listener(Protocol):
    """Keeps columns by gid, and so must know when groups merge."""

    def add_counts(self, counts: list[int]) -> None:
        """Add the keys of each group to `counts`, which is indexed by gid."""
        ...

    def remap(self, merged: dict[int, int]) -> None:
        """Add what is known of each gid in `merged` to the gid that took it, and forget it."""
        ...


@dataclass(frozen=True, slots=True)
class Folding:
    """Groups as a report shows them: the folded tree, and gid → gid of the group that took it."""

    root: Node
    merged: Mapping[int, int]


class GroupIndex(ABC):
    """Group names in a bounded tree; the base of what maps keys, types or nodes to gids."""

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self.limit = limit
        self.root = Node()
        self.live = 0
        self.size = 0
        self.capped = False
        self._free: list[int] = []
        self._listeners: list[Listener] = []

    @abstractmethod
    def gids(self, page: Page) -> list[int]:
        """Return the gid of every key of a page, in their order."""

    def attach(self, listener: Listener) -> None:
        """Tell this listener of groups that merge."""
        self._listeners.append(listener)

    def resolve(self, path: Sequence[bytes]) -> tuple[int, Labels]:
        """Return the gid of the group with these labels, made if need be, and its labels now."""
        node, taken = self.root.descend(path)
        if node.gid < 0:
            self._open(node)
        return node.gid, taken

    def shrink(self) -> None:
        """Fold when more than `limit` groups live, until half of them are left."""
        if self.live <= self.limit:
            return
        self.capped = True
        counts = [0] * self.size
        for listener in self._listeners:
            listener.add_counts(counts)
        limits = Limits()
        while self.live > self.limit // 2:
            merged = fold(self.root, counts, limits, final=False)
            for source, target in merged.items():
                counts[target] += counts[source]
                counts[source] = 0
            for listener in self._listeners:
                listener.remap(merged)
            self._forget()
            if limits.depth == 1:
                break
            limits = limits.tighter()
        self._reset_caches()

    def folding(self, counts: Sequence[int], limits: Limits) -> Folding:
        """Return the groups folded by these limits, for a report; the index stays as it is."""
        root = self.root.copy()
        return Folding(root, fold(root, counts, limits, final=True))

    def absorb(self, other: GroupIndex) -> dict[int, int]:
        """Add the groups of another index; return its gids → the gids of the same groups here."""
        if other is self:
            return {gid: gid for gid in range(self.size)}
        twin = other.root.copy()
        gid_of = {}
        for _, node in twin.walk():
            if node.gid >= 0:
                theirs = node.gid
                self._open(node)
                gid_of[theirs] = node.gid
        merged = graft(self.root, twin)
        for listener in self._listeners:
            listener.remap(merged)
        self.capped = self.capped or other.capped
        self._forget()
        self._reset_caches()
        return {theirs: merged.get(gid, gid) for theirs, gid in gid_of.items()}

    def _open(self, node: Node) -> None:
        if self._free:
            node.gid = self._free.pop()
        else:
            node.gid = self.size
            self.size += 1
        self.live += 1

    def _forget(self) -> None:
        live = {node.gid for _, node in self.root.walk() if node.gid >= 0}
        self._free = [gid for gid in range(self.size) if gid not in live]
        self.live = len(live)

    @abstractmethod
    def _reset_caches(self) -> None:
        """Forget gids that were remembered outside the tree."""
