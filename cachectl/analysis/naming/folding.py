"""Folding: names of groups that only vary become one group, over all names seen.

Where more names stand side by side at one position than people would tell apart, they are folded
into one: `user{id}` for words that differ in their digits alone, `{ticker}` for words in capitals,
`{*}` for the rest. A word that holds at least a hundredth of its parent's keys stays as it is; its
count is exact, and `{*}` means all others. The result depends on the names and their counts, not
on their order. What stands under names that are folded is merged: all their `:cart` and all their
`:profile` stay two groups.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from cachectl.analysis.naming.labeltree import (
    ALL,
    PLACEHOLDERS,
    FoldClass,
    Node,
    fold_classes,
    name_parts,
)
from cachectl.analysis.naming.templates import MAX_SEGMENTS

_HEXISH = re.compile(rb"[0-9a-f]{8,}|[0-9A-F]{8,}").fullmatch
_TOKENISH = re.compile(
    rb"(?=.*[0-9]|.*[a-z].*[A-Z].*[a-z].*[A-Z])[A-Za-z0-9_+\-]{10,}={0,2}"
).fullmatch

# (what most are, what a few only look like, the largest share of these): random numbers of ten
# digits look like a time once in eight, of eight digits like a date once in 3,000; of 16 random
# hex digits none is a letter once in 1,800 times, of eight once in 43.
_SUSPICIONS = (
    (b"{id}", b"{ts}", 0.25),
    (b"{id}", b"{date}", 0.05),
    (b"{hex}", b"{id}", 0.05),
    (b"{hex}", b"{ts}", 0.05),
    (b"{hex}", b"{date}", 0.05),
    (b"{token}", b"{id}", 0.05),
    (b"{token}", b"{hex}", 0.05),
)
_LOOKALIKES = ((b"{hex}", _HEXISH), (b"{token}", _TOKENISH))


@dataclass(frozen=True, slots=True)
class Limits:
    """How many names may stand side by side before they fold, and which ones never do.

    ends: words that end a name (each is one key). inner, root: words with something behind them,
    below the root and at it. alike: words that differ in their digits alone, or in capitals.
    heavy_share, heavy_keys: a word with at least this share of its parent's keys, and at least so
    many, is kept. depth: what stands deeper becomes `{*}`.
    """

    ends: int = 16
    inner: int = 100
    root: int = 500
    alike: int = 8
    heavy_share: float = 0.01
    heavy_keys: int = 10
    depth: int = MAX_SEGMENTS

    def tighter(self) -> Limits:
        """Return limits that fold more: fewer names, then heavy ones too, then less depth."""
        if self.root > 1:
            return replace(
                self,
                ends=max(self.ends // 4, 1),
                inner=max(self.inner // 4, 1),
                root=max(self.root // 4, 1),
                alike=max(self.alike // 4, 1),
            )
        if self.heavy_share < 1:
            return replace(self, heavy_share=2.0)
        return replace(self, depth=max(self.depth // 2, 1))


NEVER = Limits(ends=2**62, inner=2**62, root=2**62, alike=2**62)
"""Nothing folds."""


def fold(root: Node, counts: Sequence[int], limits: Limits, *, final: bool) -> dict[int, int]:
    """Fold a tree in place; return the merged groups as gid → gid of the group that took them.

    counts: keys by gid; groups without keys are dropped. final: the tree is a result, so that
    suspicions are settled (a few numbers beside many hex digests are digests too) and no rules
    need be kept for names that come later.
    """
    folder = _Folder(counts, limits, final)
    folder.run(root)
    return folder.merged()


def graft(root: Node, other: Node) -> dict[int, int]:
    """Merge another tree, whose gids differ, into this one; return merged groups as fold() does."""
    folder = _Folder((), Limits(), final=False)
    folder.graft(root, other)
    return folder.merged()


class _Folder:
    def __init__(self, counts: Sequence[int], limits: Limits, final: bool) -> None:
        self._counts = counts
        self._limits = limits
        self._final = final
        self._merged: dict[int, int] = {}
        self._tickers: set[bytes] = set()

    def run(self, root: Node) -> None:
        self._count(root)
        self._visit(root, 0)
        if self._final and self._tickers:
            self._fold_known_tickers(root, self._tickers.copy())

    def graft(self, root: Node, other: Node) -> None:
        self._merge(root, other)

    def merged(self) -> dict[int, int]:
        found = {}
        for gid, target in self._merged.items():
            while target in self._merged:
                target = self._merged[target]
            found[gid] = target
        return found

    def _count(self, node: Node) -> int:
        if node.gid >= 0 and not self._counts[node.gid]:
            node.gid = -1
        keys = self._counts[node.gid] if node.gid >= 0 else 0
        for name, kid in list(node.kids.items()):
            below = self._count(kid)
            keys += below
            if not below:
                del node.kids[name]
        node.keys = keys
        return keys

    def _visit(self, node: Node, depth: int) -> None:
        if depth + 1 >= self._limits.depth:
            self._flatten(node)
            return
        if len(node.kids) > 1:
            if self._final:
                _settle(node, self._merge)
            for why in ("alike", "ticker", "word"):
                self._fold_class_of_names(node, why, depth)
        for kid in node.kids.values():
            self._visit(kid, depth + 1)

    def _fold_class_of_names(self, node: Node, why: str, depth: int) -> None:
        heavy = max(node.keys * self._limits.heavy_share, self._limits.heavy_keys)
        classes: dict[FoldClass, list[bytes]] = {}
        for name, kid in node.kids.items():
            if why == "word" and kid.keys >= heavy and self._limits.heavy_share <= 1:
                continue
            for fold_class in fold_classes(name):
                if fold_class[1] == why:
                    classes.setdefault(fold_class, []).append(name)
        for fold_class, names in classes.items():
            known = node.rules is not None and fold_class in node.rules
            if known or len(names) > self._limit(why, node.kids[names[0]], depth):
                self._fold_names(node, fold_class, names)

    def _limit(self, why: str, example: Node, depth: int) -> int:
        if why != "word":
            return self._limits.alike
        if example.kids:
            return self._limits.inner if depth else self._limits.root
        return self._limits.ends

    def _fold_names(self, node: Node, fold_class: FoldClass, names: list[bytes]) -> None:
        star = node.kids.get(fold_class[0])
        if star is None:
            star = node.kids[fold_class[0]] = Node()
        for name in names:
            if name == fold_class[0]:
                continue
            if fold_class[1] == "ticker":
                self._tickers.add(name_parts(name).core)
            kid = node.kids.pop(name)
            star.folded += kid.folded or 1
            self._merge(star, kid)
        if not self._final:
            node.rules = (node.rules or set()) | {fold_class}

    def _merge(self, into: Node, other: Node) -> None:
        into.keys += other.keys
        if into.rules or other.rules:
            self._match_rules(into, other)
        if other.gid >= 0:
            if into.gid >= 0:
                self._merged[other.gid] = into.gid
            else:
                into.gid = other.gid
        for name, kid in other.kids.items():
            mine = into.kids.get(name)
            if mine is None:
                into.kids[name] = kid
            else:
                mine.folded += kid.folded
                self._merge(mine, kid)

    def _match_rules(self, into: Node, other: Node) -> None:
        """Keep counts beside `{*}` exact: a name stays if neither side can have folded it."""
        mine, theirs = set(into.kids), set(other.kids)
        for rules, node, kept in ((other.rules, into, theirs), (into.rules, other, mine)):
            for rule in sorted(rules or ()):
                doubtful = [
                    name for name in node.kids if name not in kept and rule in fold_classes(name)
                ]
                if doubtful:
                    self._fold_names(node, rule, doubtful)
        into.rules = (into.rules or set()) | (other.rules or set())

    def _flatten(self, node: Node) -> None:
        below = [kid for path, kid in node.walk() if path and kid.gid >= 0]
        if len(below) < 2:
            return
        star = Node()
        star.gid = below[0].gid
        star.keys = sum(kid.keys for kid in node.kids.values())
        star.folded = len(below)
        self._merged.update((kid.gid, star.gid) for kid in below[1:])
        node.kids = {ALL[0]: star}
        if not self._final:
            node.rules = {ALL}

    def _fold_known_tickers(self, root: Node, known: set[bytes]) -> None:
        """Call tickers so where only a few stand, when the same ones were many elsewhere."""
        stack = list(root.kids.values())
        while stack:
            node = stack.pop()
            classes: dict[FoldClass, list[bytes]] = {}
            for name in node.kids:
                for fold_class in fold_classes(name):
                    if fold_class[1] == "ticker":
                        classes.setdefault(fold_class, []).append(name)
            for fold_class, names in classes.items():
                if all(name_parts(name).core in known for name in names):
                    self._fold_names(node, fold_class, names)
            stack.extend(node.kids.values())


def _settle(node: Node, merge: Callable[[Node, Node], None]) -> None:
    """Merge what only looks like something else into what most of its siblings are."""
    places: dict[tuple[bytes, bytes, bytes], dict[bytes, list[bytes]]] = {}
    for name in node.kids:
        parts = name_parts(name)
        if parts.core in PLACEHOLDERS:
            places.setdefault(parts.place, {})[parts.core] = [name]
    for place, kinds in places.items():
        for better, worse, share in _SUSPICIONS:
            if better in kinds and worse in kinds:
                _absorb(node, kinds[better][0], kinds[worse], share, merge)
        for better, looks_like in _LOOKALIKES:
            if better in kinds:
                names = [
                    name
                    for name in node.kids
                    if (parts := name_parts(name)).place == place and looks_like(parts.core)
                ]
                _absorb(node, kinds[better][0], names, 0.25, merge)


def _absorb(
    node: Node,
    better: bytes,
    names: list[bytes],
    share: float,
    merge: Callable[[Node, Node], None],
) -> None:
    names = [name for name in names if name in node.kids]
    target = node.kids.get(better)
    if target is None or sum(node.kids[name].keys for name in names) > target.keys * share:
        return
    for name in names:
        merge(target, node.kids.pop(name))
