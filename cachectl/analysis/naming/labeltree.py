"""The tree of labels that groups of keys hang in, and which names of one position are alike."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cachectl.analysis.naming.templates import Labels

PLACEHOLDERS = frozenset(
    b"{%s}" % kind
    for kind in (
        b"id",
        b"ts",
        b"date",
        b"uuid",
        b"hex",
        b"token",
        b"ip",
        b"email",
        b"num",
        b"version",
        b"binary",
        b"ticker",
        b"*",
    )
)

_ENDS = frozenset(b":/|;.-_")
_TICKER = re.compile(rb"[A-Z^][A-Z0-9]{0,11}(?:[.\-_=][A-Z0-9]{1,6})?").fullmatch
_DIGITS = re.compile(rb"\d+")

FoldClass = tuple[bytes, str]
"""Names that fold together: the label that they become, and why: alike, ticker, word or all."""

ALL: FoldClass = (b"{*}", "all")
"""The rule that makes whatever stands below one group."""


class NameParts(NamedTuple):
    """A label in pieces: the brace that opens or closes a hash tag, the core, its separator."""

    opening: bytes
    core: bytes
    closing: bytes
    end: bytes

    def around(self, core: bytes) -> bytes:
        """Return the label with another core."""
        return self.opening + core + self.closing + self.end

    @property
    def place(self) -> tuple[bytes, bytes, bytes]:
        """What must be equal for two labels to stand for the same kind of thing."""
        return self.opening, self.closing, self.end


def name_parts(name: bytes) -> NameParts:
    """Take a label apart; braces of placeholders belong to the core, those of hash tags do not."""
    body, end = (name[:-1], name[-1:]) if name and name[-1] in _ENDS else (name, b"")
    if body in PLACEHOLDERS or (b"{" not in body and b"}" not in body):
        return NameParts(b"", body, b"", end)
    opened, closed = body.count(b"{"), body.count(b"}")
    if opened > closed and body.startswith(b"{"):
        return NameParts(b"{", body[1:], b"", end)
    if closed > opened and body.endswith(b"}"):
        return NameParts(b"", body[:-1], b"}", end)
    inner = body[1:-1]
    if (
        body.startswith(b"{")
        and body.endswith(b"}")
        and not 0 <= inner.find(b"}") < (inner.find(b"{") % (len(inner) + 1))
    ):
        return NameParts(b"{", inner, b"}", end)
    return NameParts(b"", body, b"", end)


def fold_classes(name: bytes) -> tuple[FoldClass, ...]:
    """Return the classes that a label can fold in, the narrowest first; none for placeholders."""
    parts = name_parts(name)
    if parts.core in PLACEHOLDERS:
        return ()
    found: list[FoldClass] = []
    skeleton = _DIGITS.sub(b"{id}", parts.core)
    if skeleton != parts.core:
        found.append((parts.around(skeleton), "alike"))
    if _TICKER(parts.core):
        found.append((parts.around(b"{ticker}"), "ticker"))
    found.append((parts.around(b"{*}"), "word"))
    return tuple(found)


class Node:
    """A position in the tree; a group ends here when `gid` is not negative.

    kids: label → node below. rules: what was folded here for good, so that names that come later
    fold at once. keys: of the whole subtree, valid while folding. folded: how many names were
    folded into this one, as far as they were counted.
    """

    __slots__ = ("folded", "gid", "keys", "kids", "rules")

    def __init__(self) -> None:
        self.kids: dict[bytes, Node] = {}
        self.rules: set[FoldClass] | None = None
        self.gid = -1
        self.keys = 0
        self.folded = 0

    def descend(self, path: Sequence[bytes]) -> tuple[Node, Labels]:
        """Return the node at the end of a path, made if need be, and the path that rules made."""
        node = self
        taken = []
        for name in path:
            kid = node.kids.get(name)
            if kid is None:
                if node.rules:
                    if ALL in node.rules:
                        taken.append(ALL[0])
                        return node.kids.setdefault(ALL[0], Node()), tuple(taken)
                    name = folded_name(node.rules, name)
                    kid = node.kids.get(name)
                if kid is None:
                    kid = node.kids[name] = Node()
            taken.append(name)
            node = kid
        return node, tuple(taken)

    def walk(self, path: Labels = ()) -> Iterator[tuple[Labels, Node]]:
        """Yield (labels, node) of this subtree, parents first."""
        yield path, self
        for name, kid in self.kids.items():
            yield from kid.walk((*path, name))

    def copy(self) -> Node:
        """Return a copy of the subtree that can be folded without touching this one."""
        twin = Node()
        twin.gid, twin.folded = self.gid, self.folded
        twin.rules = set(self.rules) if self.rules else None
        twin.kids = {name: kid.copy() for name, kid in self.kids.items()}
        return twin


def folded_name(rules: set[FoldClass], name: bytes) -> bytes:
    """Return what a name that comes late is called where these rules stand."""
    parts = name_parts(name)
    if parts.core in PLACEHOLDERS:
        return name
    # The classes of fold_classes in their order, but no further than the first that has a rule.
    if not parts.core.isalpha():
        skeleton = parts.around(_DIGITS.sub(b"{id}", parts.core))
        if skeleton != name and (skeleton, "alike") in rules:
            return skeleton
    if _TICKER(parts.core):
        ticker = parts.around(b"{ticker}")
        if (ticker, "ticker") in rules:
            return ticker
    star = parts.around(b"{*}")
    return star if (star, "word") in rules else name
