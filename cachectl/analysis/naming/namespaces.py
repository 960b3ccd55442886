"""Namespaces: which group each key of a page belongs to, by its name, its type or its node."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import Protocol

from cachectl.analysis.naming import templates
from cachectl.analysis.naming.groups import DEFAULT_LIMIT, GroupIndex
from cachectl.analysis.naming.shapes import TemplateIndex
from cachectl.model.keys import Page


class Grouper(Protocol):
    """Says which group a key belongs to: a policy's rules do, and so do the classes below."""

    def group(self, key: bytes) -> bytes:
        """Return the name of the key's group; the same for the same key, always."""
        ...


class TemplateGrouper:
    """Groups keys by the template of their name, judged key by key: nothing is folded."""

    def group(self, key: bytes) -> bytes:
        """Return `user:{id}:profile` for `user:123:profile`."""
        return templates.template(key)


class PrefixGrouper:
    """Groups keys by their first `depth` segments, literally."""

    def __init__(self, depth: int = 1) -> None:
        self._depth = max(depth, 1)
        head = rb"(?:[^:/|;]*[:/|;]){1,%d}" % self._depth
        self._head = re.compile(head).match

    def group(self, key: bytes) -> bytes:
        """Return `user:*` for `user:123:profile`; `*` for a name that nothing separates."""
        head = self._head(key)
        if head is not None:
            return head[0] + b"*"
        parts = templates.weak_segments(key)
        return b"".join(parts[: min(self._depth, len(parts) - 1)]) + b"*"


class NamedIndex(GroupIndex):
    """An index over group names that are had cheaply: types, nodes, or what a Grouper says."""

    def __init__(
        self,
        names: Callable[[Page], Iterable[bytes]],
        cut: Callable[[bytes], Sequence[bytes]],
        limit: int = DEFAULT_LIMIT,
    ) -> None:
        super().__init__(limit)
        self._names = names
        self._cut = cut
        self._gid_of: dict[bytes, int] = {}

    def gids(self, page: Page) -> list[int]:
        """Return the gid of every key of a page."""
        known = self._gid_of
        found = []
        for name in self._names(page):
            gid = known.get(name)
            if gid is None:
                gid = self.resolve(self._cut(name))[0]
                if len(known) < 4 * self.limit:
                    known[name] = gid
            found.append(gid)
        return found

    def _reset_caches(self) -> None:
        self._gid_of.clear()


def index_by(by: str, *, depth: int = 1, limit: int = DEFAULT_LIMIT) -> GroupIndex:
    """Return the index for `--by`: template, prefix (of `depth` segments), type or node."""
    if by == "template":
        return TemplateIndex(limit)
    if by == "prefix":
        return index_of(PrefixGrouper(depth), limit=limit)
    if by == "type":
        return NamedIndex(_types, _whole, limit)
    if by == "node":
        return NamedIndex(lambda page: repeat(page.node.encode(), len(page)), _whole, limit)
    raise ValueError(f"no such grouping: {by}")


def index_of(grouper: Grouper, *, limit: int = DEFAULT_LIMIT) -> GroupIndex:
    """Return an index over what a Grouper says; its names are cut at separators for the tree."""
    group = grouper.group
    return NamedIndex(lambda page: map(group, page.keys), templates.segments, limit)


def _types(page: Page) -> Iterable[bytes]:
    return repeat(b"unknown", len(page)) if page.types is None else map(str.encode, page.types)


def _whole(name: bytes) -> tuple[bytes, ...]:
    return (name,)
