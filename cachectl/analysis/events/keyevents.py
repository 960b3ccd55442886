"""Events of keys: what each means, and counts of them by kind and namespace.

The names are those of the servers' own notifications (notifyKeyspaceEvent in their sources, and the
documentation of keyspace notifications), each with the letter of `notify-keyspace-events` that
switches it on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from cachectl.analysis.keyspace.keyspace import folding_of
from cachectl.analysis.naming.groups import GroupIndex
from cachectl.analysis.naming.shapes import TemplateIndex
from cachectl.model.events import EventBatch, EventGap, EventMark
from cachectl.model.keys import Page


class Kind(StrEnum):
    """What befell a key, as people ask about it. In the order in which reports show them."""

    EXPIRED = "expired"
    EVICTED = "evicted"
    MISSED = "missed"
    NEW = "new"
    SET = "set"
    DELETED = "deleted"
    OTHER = "other"


KINDS = tuple(Kind)

_NAMES: dict[Kind, dict[str, str]] = {
    Kind.EXPIRED: {"x": "expired"},
    Kind.EVICTED: {"e": "evicted"},
    Kind.MISSED: {"m": "keymiss"},
    Kind.NEW: {"n": "new"},
    Kind.SET: {
        "$": "set setrange append incrby incrbyfloat setbit pfadd",
        "l": "lpush rpush linsert lset sortstore",
        "s": "sadd sinterstore sunionstore sdiffstore",
        "h": "hset hincrby hincrbyfloat",
        "z": "zadd zincr zunionstore zinterstore zdiffstore zrangestore geosearchstore "
        "georadiusstore",
        "t": "xadd",
        "g": "restore copy_to",
    },
    Kind.DELETED: {"g": "del"},
    Kind.OTHER: {
        "g": "expire persist rename_from rename_to move_from move_to",
        "l": "lpop rpop lrem ltrim",
        "s": "srem spop",
        "h": "hdel hexpire hexpired hpersist",
        "z": "zrem zremrangebyscore zremrangebyrank zremrangebylex zrembyscore zrembyrank "
        "zpopmin zpopmax",
        "t": "xdel xtrim xsetid xgroup-create xgroup-createconsumer xgroup-delconsumer "
        "xgroup-destroy xgroup-setid",
    },
}
KIND_OF: dict[str, Kind] = {
    name: kind
    for kind, by_letter in _NAMES.items()
    for names in by_letter.values()
    for name in names.split()
}
"""A server's name for an event → its kind."""
LETTER_OF: dict[str, str] = {
    name: letter
    for by_letter in _NAMES.values()
    for letter, names in by_letter.items()
    for name in names.split()
}
"""A server's name for an event → the letter that switches it on (besides E)."""

COUNTED: dict[Kind, str] = {
    Kind.EXPIRED: "expired_keys",
    Kind.EVICTED: "evicted_keys",
    Kind.MISSED: "keyspace_misses",
}
"""Kinds of which INFO keeps a count of its own, over all databases: what it says is complete."""


def names_of(kinds: Iterable[Kind]) -> list[str]:
    """Return the servers' names for events of these kinds."""
    wanted = set(kinds)
    return [name for name, kind in KIND_OF.items() if kind in wanted]


def letters_of(kinds: Iterable[Kind]) -> str:
    """Return the letters of `notify-keyspace-events` that publish events of these kinds."""
    return "E" + "".join(dict.fromkeys(LETTER_OF[name] for name in names_of(kinds)))


def kinds_without(kinds: Iterable[Kind], missing: str) -> tuple[list[Kind], list[Kind]]:
    """Return the kinds of which nothing, and of which only a part, comes without these letters."""
    none, some = [], []
    for kind in kinds:
        letters = set(_NAMES[kind])
        if "E" in missing or letters <= set(missing):
            none.append(kind)
        elif letters & set(missing):
            some.append(kind)
    return none, some


@dataclass(frozen=True, slots=True)
class NamespaceEvents:
    """How many events befell the keys of one namespace, by kind, and by the labels that whoever
    listens has given some of them (see EventTally.label)."""

    namespace: bytes
    counts: Mapping[str, int]

    @property
    def total(self) -> int:
        """Events of all kinds."""
        return sum(self.counts.get(kind, 0) for kind in KINDS)


@dataclass(frozen=True, slots=True)
class NodeEvents:
    """What one node published in a window.

    counts: by kind, of the profile's database; elsewhere: of other databases. counted: kind → what
    INFO counted meanwhile, over all databases; empty where it could not be asked. lost: of those
    that INFO counted, events that never came, None where that can't be told. dropped: events that
    came faster than they could be counted here. gap: seconds in which nobody listened, with the
    reasons. listening: whether somebody does at the end. whole: the kinds whose events were all
    published and listened to, so that none seen means none.
    """

    node: str
    counts: Mapping[Kind, int]
    elsewhere: Mapping[Kind, int]
    counted: Mapping[Kind, int]
    lost: int | None
    dropped: int
    gap: float
    reasons: tuple[str, ...]
    listening: bool
    whole: frozenset[Kind] = frozenset()

    @property
    def complete(self) -> bool:
        """Whether every event was seen, as far as can be told."""
        return self.listening and not (self.lost or self.dropped or self.gap)


@dataclass(frozen=True, slots=True)
class EventWindow:
    """The events of a window. seconds: its length; namespaces: the busiest first."""

    seconds: float
    namespaces: tuple[NamespaceEvents, ...]
    nodes: tuple[NodeEvents, ...]

    @property
    def counts(self) -> dict[Kind, int]:
        """Events by kind, of all namespaces."""
        return {kind: sum(one.counts.get(kind, 0) for one in self.namespaces) for kind in KINDS}

    @property
    def total(self) -> int:
        """Events of all kinds and namespaces."""
        return sum(one.total for one in self.namespaces)

    @property
    def lost(self) -> int | None:
        """Events that never came, or came too fast; None where it can't be told for some node."""
        known = [one.lost for one in self.nodes]
        dropped = sum(one.dropped for one in self.nodes)
        return None if None in known and not dropped else sum(one or 0 for one in known) + dropped

    @property
    def whole(self) -> frozenset[Kind]:
        """The kinds of which every node's events were all to be seen."""
        sets = [one.whole for one in self.nodes]
        return sets[0].intersection(*sets[1:]) if sets else frozenset()

    @property
    def gap(self) -> float:
        """Seconds in which some node was not listened to: the longest of any node."""
        return max((one.gap for one in self.nodes), default=0.0)

    @property
    def complete(self) -> bool:
        """Whether every event was seen, as far as can be told."""
        return all(one.complete for one in self.nodes)


_AT = {name: KINDS.index(kind) for name, kind in KIND_OF.items()}


@dataclass(slots=True)
class _Node:
    counts: Counter[int] = field(default_factory=Counter)
    elsewhere: Counter[int] = field(default_factory=Counter)
    before: Mapping[str, str] | None = None
    now: Mapping[str, str] | None = None
    marked: bool = False
    listening: bool = True
    dropped: int = 0
    gap: float = 0.0
    reasons: list[str] = field(default_factory=list)


class EventTally:
    """Counts events window by window, in bounded memory.

    A window begins at the mark that ended the one before, at every node: what comes before the
    first mark belongs to none. published: node → the kinds whose events are all published there,
    so that what is missing of them is lost. labels: what else keys can be counted as.
    """

    def __init__(self, index: GroupIndex | None = None, labels: Sequence[str] = ()) -> None:
        self.published: Mapping[str, frozenset[Kind]] = {}
        self._columns: tuple[str, ...] = (*KINDS, *labels)
        self._stride = len(self._columns)
        self._index = index or TemplateIndex()
        self._index.attach(self)
        self._counts: Counter[int] = Counter()
        self._nodes: dict[str, _Node] = {}

    def begin(self, items: Iterable[EventBatch | EventGap | EventMark]) -> None:
        """Forget what these items say, and begin a window at their marks."""
        for item in items:
            self.add(item)
        self._turn()

    def add(self, item: EventBatch | EventGap | EventMark) -> None:
        """Count what one item says."""
        node = self._nodes.setdefault(item.node, _Node())
        if isinstance(item, EventBatch):
            self._add_batch(node, item)
        elif isinstance(item, EventGap):
            node.gap += item.seconds
            node.reasons.append(item.reason)
        else:
            node.marked, node.listening, node.now = True, item.listening, item.info

    def label(self, label: str, keys: Sequence[bytes]) -> None:
        """Count keys under a label of their namespace as well."""
        if keys:
            self._count(keys, [self._columns.index(label)] * len(keys))

    def end(self, seconds: float) -> EventWindow:
        """Return the window that ends at the last marks, and begin the next one there."""
        window = EventWindow(
            seconds,
            tuple(self._namespaces()),
            tuple(
                _node_events(name, node, seconds, self.published.get(name, frozenset()))
                for name, node in self._nodes.items()
            ),
        )
        self._turn()
        return window

    def _add_batch(self, node: _Node, batch: EventBatch) -> None:
        node.dropped += batch.dropped
        for name, count in batch.elsewhere.items():
            node.elsewhere[_AT[name]] += count
        if not batch.keys:
            return
        kinds = [_AT[name] for name in batch.names]
        node.counts.update(kinds)
        self._count(batch.keys, kinds)

    def _count(self, keys: Sequence[bytes], columns: Sequence[int]) -> None:
        gids = self._index.gids(Page("", list(keys)))
        width = self._stride
        self._counts.update(gid * width + at for gid, at in zip(gids, columns, strict=True))
        self._index.shrink()

    def _namespaces(self) -> list[NamespaceEvents]:
        totals = [0] * self._index.size
        self.add_counts(totals)
        folding = folding_of(self._index, "template", totals)
        names = {node.gid: b"".join(path) for path, node in folding.root.walk() if node.gid >= 0}
        found: dict[bytes, Counter[str]] = {}
        for packed, count in self._counts.items():
            gid, kind = divmod(packed, self._stride)
            name = names[folding.merged.get(gid, gid)]
            found.setdefault(name, Counter())[self._columns[kind]] += count
        rows = [NamespaceEvents(name, counts) for name, counts in found.items()]
        return sorted(rows, key=lambda one: (-one.total, one.namespace))

    def _turn(self) -> None:
        self._counts.clear()
        self._nodes = {
            name: _Node(before=node.now, listening=node.listening)
            for name, node in self._nodes.items()
            if node.marked
        }

    # What the index asks of those who count by its gids

    def add_counts(self, counts: list[int]) -> None:
        """Add the events of each group to `counts`, which is indexed by gid."""
        for packed, count in self._counts.items():
            counts[packed // self._stride] += count

    def remap(self, merged: dict[int, int]) -> None:
        """Move the counts of each gid in `merged` to the gid that took it."""
        moved = [packed for packed in self._counts if packed // self._stride in merged]
        for packed in moved:
            gid, kind = divmod(packed, self._stride)
            self._counts[merged[gid] * self._stride + kind] += self._counts.pop(packed)


def _node_events(name: str, node: _Node, seconds: float, published: frozenset[Kind]) -> NodeEvents:
    counted: dict[Kind, int] = {}
    lost: int | None = None
    if node.before is not None and node.now is not None:
        counted = _counted(node.before, node.now)
        comparable = counted.keys() & published
        if comparable:
            seen = {kind: _of(node.counts, kind) + _of(node.elsewhere, kind) for kind in comparable}
            lost = sum(max(0, counted[kind] - seen[kind]) for kind in comparable)
            # Those that were dropped here came, and are counted as that.
            lost = max(0, lost - node.dropped)
    return NodeEvents(
        node=name,
        counts={kind: _of(node.counts, kind) for kind in KINDS},
        elsewhere={kind: _of(node.elsewhere, kind) for kind in COUNTED},
        counted=counted,
        lost=lost,
        dropped=node.dropped,
        gap=min(seconds, node.gap) if node.listening else seconds,
        reasons=tuple(dict.fromkeys(node.reasons)),
        listening=node.listening,
        whole=published,
    )


def _of(counts: Mapping[int, int], kind: Kind) -> int:
    return counts.get(KINDS.index(kind), 0)


def _counted(before: Mapping[str, str], now: Mapping[str, str]) -> dict[Kind, int]:
    """Return what INFO counted in between; nothing where its counters began anew."""
    found = {}
    for kind, name in COUNTED.items():
        then, after = before.get(name, ""), now.get(name, "")
        if not (then.isdigit() and after.isdigit()):
            continue
        if int(after) < int(then):
            return {}
        found[kind] = int(after) - int(then)
    return found
