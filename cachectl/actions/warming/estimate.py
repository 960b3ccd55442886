"""What a warming would take: keys, memory and time, from the first rows of each source.

Some keys of the sample are written under names of ours and removed again within one transaction,
which is how their memory is known without knowing how this server lays them out. What is there
already takes nothing, or only the difference. The sample is taken from the beginning: if the rest
of a source is unlike it, so is the estimate, and the watch over the server's memory is what holds.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from cachectl.actions.planning.changes import sibling
from cachectl.actions.warming.headroom import Room, rooms
from cachectl.analysis.estimates.intervals import exact
from cachectl.analysis.estimates.sizes import Moments, mean_size, total_size
from cachectl.config.manifest import Entry, Manifest
from cachectl.errors import RefusedError
from cachectl.model.figures import Estimate
from cachectl.model.values import LogicalValue
from cachectl.server.pace import Pace
from cachectl.server.topology.handle import Server
from cachectl.server.topology.lanes import Lanes
from cachectl.server.transactions.locks import OWN_PREFIX
from cachectl.server.transactions.setting import LARGE, size_of
from cachectl.server.values.logical import Abilities, Command, write_commands
from cachectl.server.wire.connection import NodeConnection
from cachectl.sources.entries import Renderer
from cachectl.sources.interface import RowBatch, Source, SourceError
from cachectl.sources.rendered import Rendered

MEASURED = 50
"""Keys of an entry whose memory is measured."""
_SHORT_LIFE = 10_000
_TABLE = 16
"""Bytes of hash table that a key adds; MEMORY USAGE leaves it out."""
_EXPIRY = 40
"""Bytes that an expiry time adds; MEMORY USAGE leaves it out, too."""
_OF_KEY, _OF_ELEMENT = 64, 24
"""Bytes that servers add to a key and to an element, about."""
_KEY_SECONDS = 8e-6
"""Seconds of work that a key costs us and the server together, measured on one machine."""


@dataclass(frozen=True, slots=True)
class EntryEstimate:
    """What one entry comes to.

    rows: of its source; keys, bytes: None when nobody can say how many rows there are. growth:
    bytes that a key adds, on average. there: share of the sample that is in the cache already.
    is_measured: whether the server was asked, or sizes are only added up. problems: of the sample.
    """

    entry: str
    source: str
    rows: int | None
    keys: int | None
    there: float
    growth: float
    bytes: Estimate | None
    is_measured: bool
    problems: int = 0


@dataclass(frozen=True, slots=True)
class WarmEstimate:
    """What a manifest comes to. seconds: at the pace; None: not known."""

    entries: tuple[EntryEstimate, ...]
    seconds: float | None
    rooms: tuple[Room, ...]
    threshold: float

    @property
    def keys(self) -> int | None:
        """All keys; None when one of the entries can't tell."""
        found = [one.keys for one in self.entries if one.keys is not None]
        return sum(found) if len(found) == len(self.entries) else None

    @property
    def rows(self) -> int | None:
        """Rows of all sources; None when one of them can't tell."""
        found = {one.source: one.rows for one in self.entries}
        known = [rows for rows in found.values() if rows is not None]
        return sum(known) if len(known) == len(found) else None

    @property
    def bytes(self) -> Estimate | None:
        """Memory that all of it takes, as far as it is known."""
        known = [one.bytes for one in self.entries if one.bytes is not None]
        if not known:
            return None
        value = sum(one.value for one in known)
        down = sum((one.value - one.low) ** 2 for one in known) ** 0.5
        up = sum((one.high - one.value) ** 2 for one in known) ** 0.5
        return Estimate(value, value - down, value + up)

    @property
    def evictions(self) -> int:
        """About how many keys would have to go."""
        more = self.bytes.value if self.bytes else 0.0
        return sum(room.evictions(more * room.share) for room in self.rooms)

    def check(self) -> None:
        """Refuse what would leave a node without headroom. Raises RefusedError."""
        more = self.bytes.value if self.bytes else 0.0
        for room in self.rooms:
            left = room.left(self.threshold)
            if left is None:
                raise RefusedError(
                    f"how much memory {room.node} has left is not known",
                    hint="allow the login INFO, or give --allow-evictions to go on without",
                    target=room.node,
                )
            if more and more * room.share > left:
                raise RefusedError(self._too_much(room, more * room.share), hint=_HINT)

    def _too_much(self, room: Room, more: float) -> str:
        assert room.used is not None  # noqa: S101 - its rest is known
        assert room.limit is not None  # noqa: S101
        what = "maxmemory" if room.is_capped else "memory"
        share = 100 * (room.used + more) / room.limit
        text = (
            f"about {more:,.0f} bytes more would fill {share:.0f} % of the {what} of {room.node}, "
            f"above the {100 * self.threshold:.0f} % of `thresholds.memory`"
        )
        gone = room.evictions(more)
        if gone:
            return f"{text}, and about {gone:,} keys would be evicted"
        if room.is_capped and not room.evicts and share > 100:
            return f"{text}, and the server would refuse the rest (noeviction)"
        return text


_HINT = "make room, warm less, or give --allow-evictions"


def estimate(
    server: Server,
    manifest: Manifest,
    sources: Mapping[str, Source],
    pace: Pace,
    *,
    writes: bool,
) -> WarmEstimate:
    """Return what warming would take. writes: whether keys may be written to measure them.

    Raises RefusedError for what a source may not read.
    """
    found = tuple(rooms(server))
    threshold = server.target.thresholds.memory
    is_tight = any((room.left(threshold) or 0) <= 0 for room in found)
    entries: list[EntryEstimate] = []
    seconds: float | None = 0.0
    for name, source in sources.items():
        sample = _first_rows(source)
        entries += [
            _entry(server, entry, sample, measures=writes and not is_tight)
            for entry in manifest.entries_of(name)
        ]
        if seconds is not None:
            per_row = sample.seconds / max(1, len(sample.batch))
            seconds = None if sample.rows is None else seconds + sample.rows * per_row
    keys = sum(one.keys or 0 for one in entries)
    work = sum(_work(entry) * (one.keys or 0) for entry, one in _pairs(manifest, entries))
    if seconds is not None:
        seconds = max(seconds, work * _KEY_SECONDS / pace.gear.share)
        if pace.cap.rate:
            seconds = max(seconds, keys / pace.cap.rate)
    return WarmEstimate(tuple(entries), seconds, found, threshold)


def _pairs(
    manifest: Manifest, estimates: Iterable[EntryEstimate]
) -> Iterator[tuple[Entry, EntryEstimate]]:
    entries = {entry.name: entry for entry in manifest.entries}
    for one in estimates:
        yield entries[one.entry], one


def _work(entry: Entry) -> int:
    """Return about how many times the work of one SET a key is: collections take six commands."""
    is_choosy = entry.existing.rule not in ("keep", "replace")
    return (1 if entry.type == "string" else 4) + 3 * len(entry.tags) + 5 * is_choosy


@dataclass(frozen=True, slots=True)
class _Sample:
    """rows: of the whole source, as far as it is known; is_whole: the sample is all there is."""

    batch: RowBatch
    rows: int | None
    is_whole: bool
    seconds: float


def _first_rows(source: Source) -> _Sample:
    """Read the beginning of a source. One that fails is unknown: the warming will say why."""
    begun = time.monotonic()
    try:
        with closing(source.batches()) as batches:
            batch = next(batches, RowBatch([], []))
            seconds = time.monotonic() - begun
            seen = len(batch) + len(batch.problems)
            rows = source.count()
            is_whole = (rows is None or rows <= seen) and next(batches, None) is None
    except SourceError:
        return _Sample(RowBatch([], []), None, False, 0.0)
    return _Sample(batch, seen if is_whole else rows, is_whole, seconds)


def _entry(server: Server, entry: Entry, sample: _Sample, *, measures: bool) -> EntryEstimate:
    renderer = Renderer(entry)
    parts = [renderer.render(sample.batch)]
    if sample.is_whole:
        parts.append(renderer.finish())
    problems = sum(len(part.problems) for part in parts)
    seen = sum(len(part) for part in parts)
    sizes, there, is_measured = _sizes(server, entry, _some(parts), measures=measures)
    keys = None
    if sample.is_whole:
        keys = seen
    elif sample.rows is not None:
        keys = round(seen * sample.rows / max(1, len(sample.batch) + len(sample.batch.problems)))
    total = None
    if keys is not None and sizes:
        total = total_growth(sizes, keys)
    elif keys == 0:
        total = exact(0.0)
    return EntryEstimate(
        entry.name,
        entry.source,
        sample.rows,
        keys,
        there / max(1, len(sizes)),
        sum(sizes) / max(1, len(sizes)),
        total,
        is_measured,
        problems,
    )


def total_growth(sizes: Sequence[int], keys: int) -> Estimate:
    """Return the bytes that so many keys add, from what some of them do, with a 95 % interval."""
    moments = Moments()
    moments.add_sizes(sizes)
    rest = max(0.0, 1 - len(sizes) / max(1, keys))
    return total_size(exact(keys), mean_size(moments, len(sizes), rest, moments, effect=1.0), 0.0)


def _some(parts: Iterable[Rendered]) -> list[tuple[bytes, LogicalValue]]:
    """Return up to MEASURED keys with their values, evenly spread over the sample."""
    keys = [(warm.key, warm.value) for part in parts for warm in part.warm_keys()]
    step = max(1, len(keys) // MEASURED)
    return keys[::step][:MEASURED]


def _sizes(
    server: Server, entry: Entry, keys: Sequence[tuple[bytes, LogicalValue]], *, measures: bool
) -> tuple[list[int], int, bool]:
    """Return what each key adds, how many are there already, and whether all were measured."""
    grown: list[int] = []
    there = 0
    extra = _TABLE + (_EXPIRY if entry.ttl.kind != "never" else 0)
    with Lanes(server) as lanes:
        abilities = Abilities.of(server.primaries[0].connection)
        for key, value in keys:
            lane = lanes.lane(server.node_of(key))
            size = _measured(lane, key, value, abilities) if measures else None
            if size is None:
                measures = False
                size = _added_up(key, value)
            before = lane.pipeline([("MEMORY", "USAGE", key)])[0]
            if isinstance(before, int):
                there += 1
                is_kept = entry.existing.rule == "keep"
                grown.append(0 if is_kept else max(0, size + extra - before))
            else:
                grown.append(size + extra)
    return grown, there, measures


def _measured(
    lane: NodeConnection, key: bytes, value: LogicalValue, abilities: Abilities
) -> int | None:
    """Return the memory that a key would take, None when that can't be found out.

    Nobody ever sees the key: it is written and removed within one transaction.
    """
    if size_of(value) > LARGE:
        return None
    name = sibling(key, OWN_PREFIX + b"warm:sample:")
    written = list(write_commands(name, value, abilities, 0))
    if value.type == "string":  # a string that was appended to has room to grow
        written = [("SET", name, b"".join(value.elements))]
    commands: list[Command] = [
        ("MULTI",),
        *written,
        ("PEXPIRE", name, _SHORT_LIFE),
        ("MEMORY", "USAGE", name),
        ("UNLINK", name),
        ("EXEC",),
    ]
    done = lane.pipeline(commands)[-1]
    if not isinstance(done, list) or not isinstance(done[-2], int):
        return None
    return int(done[-2]) - (len(name) - len(key))


def _added_up(key: bytes, value: LogicalValue) -> int:
    """Return about what a key takes: what it holds, and what servers usually add to it."""
    return _OF_KEY + len(key) + size_of(value) + _OF_ELEMENT * len(value.elements)
