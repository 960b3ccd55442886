"""Keys by namespace, rule and what was found of them: what the audits against a policy count by.

Everything is counted by C code over whole columns, as in columns.py: the group of a key, its rule
and a code of the audit's own (the bin of its TTL, say) are packed into one number, its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import repeat
from operator import add, mul

from cachectl.analysis.audits.rule_tally import Tally
from cachectl.analysis.keyspace.keyspace import folding_of
from cachectl.analysis.naming.groups import GroupIndex
from cachectl.analysis.naming.shapes import TemplateIndex
from cachectl.model.keys import Page
from cachectl.policy import Policy


class RulePlaces:
    """Tallies of nodes by place. stride: more than the codes of a rule.

    Not safe for several threads at once.
    """

    def __init__(self, policy: Policy, stride: int, index: GroupIndex | None = None) -> None:
        self.policy = policy
        self.index = index or TemplateIndex()
        self._stride = stride
        self._width = stride * (len(policy.rules) + 1)
        self._nodes: dict[str, Tally] = {}
        self.index.attach(self)

    def drop(self, node: str) -> None:
        """Forget what this node said: it is scanned again from the start."""
        self._nodes.pop(node, None)

    def add_counts(self, counts: list[int]) -> None:
        """Add the keys of each group to `counts`, which is indexed by gid."""
        for tally in self._nodes.values():
            for place, keys in tally.keys.items():
                counts[place // self._width] += keys

    def remap(self, merged: dict[int, int]) -> None:
        """Follow the index when groups merge."""
        for name, tally in self._nodes.items():
            self._nodes[name] = Tally()
            self._nodes[name].take(tally, lambda place: self.moved(place, merged))

    def folded(self) -> tuple[Tally, dict[int, bytes], Mapping[int, int]]:
        """Return all counts with names that vary folded, the groups' names, and who merged."""
        counts = [0] * self.index.size
        self.add_counts(counts)
        folding = folding_of(self.index, "template", counts)
        names = {node.gid: b"".join(path) for path, node in folding.root.walk() if node.gid >= 0}
        total = Tally()
        for tally in self._nodes.values():
            total.take(tally, lambda place: self.moved(place, folding.merged))
        return total, names, folding.merged

    def moved(self, place: int, merged: Mapping[int, int]) -> int:
        """Return where a place is after groups have merged."""
        gid, code = divmod(place, self._width)
        return merged.get(gid, gid) * self._width + code

    def gid_of(self, place: int) -> int:
        """Return the group of a place."""
        return place // self._width

    def rule_of(self, place: int) -> int:
        """Return the number of a place's rule, NO_RULE for none."""
        return place % self._width // self._stride - 1

    def _count(self, page: Page, numbers: list[int], codes: list[int]) -> tuple[list[int], Tally]:
        """Count the keys of a page; return their places, and the tally of their node.

        numbers: of their rules; codes: rule and code, packed.
        """
        gids = self.index.gids(page)
        places = list(map(add, map(mul, gids, repeat(self._width)), codes))
        tally = self._nodes.get(page.node)
        if tally is None:
            tally = self._nodes[page.node] = Tally()
        tally.keys.update(places)
        if page.sizes is not None:
            tally.add_sizes(numbers, page.sizes)
        return places, tally

    def _settle(self) -> None:
        """Fold names when there are too many groups."""
        if self.index.live > self.index.limit:
            self.index.shrink()
