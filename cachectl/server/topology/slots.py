"""Hash slots of a cluster: which slot a key belongs to, and which node serves it.

Source: the Redis Cluster specification (16384 slots, CRC16-XMODEM of the key or its hash tag).
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cachectl.config.target import Address

SLOTS = 16384

SlotRange = tuple[int, int]
"""First and last slot, both included."""


def slot_of(key: bytes) -> int:
    """Return the slot of a key: of the text in its first `{…}` when that is not empty."""
    opening = key.find(b"{")
    if opening >= 0:
        closing = key.find(b"}", opening + 1)
        if closing > opening + 1:
            key = key[opening + 1 : closing]
    return crc_hqx(key, 0) % SLOTS


@dataclass(frozen=True, slots=True)
class Shard:
    """One primary of a cluster with its slots and replicas.

    primary, replicas: where they are reached from here; announced: what the cluster calls the
    primary's address; id: its node id.
    """

    id: str
    primary: Address
    announced: Address
    slots: tuple[SlotRange, ...]
    replicas: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True)
class SlotMap:
    """Who serves which slots, as one node of the cluster sees it."""

    shards: tuple[Shard, ...]

    @property
    def owners(self) -> list[str | None]:
        """The node id that serves each of the 16384 slots, None for nobody."""
        owners: list[str | None] = [None] * SLOTS
        for shard in self.shards:
            for first, last in shard.slots:
                owners[first : last + 1] = [shard.id] * (last + 1 - first)
        return owners

    @property
    def uncovered(self) -> tuple[SlotRange, ...]:
        """The slots that nobody serves."""
        return ranges_of(slot for slot, owner in enumerate(self.owners) if owner is None)

    def moved_since(self, earlier: SlotMap) -> dict[str, list[int]]:
        """Return node id → slots that it serves now and did not serve in `earlier`."""
        moved: dict[str, list[int]] = {}
        for slot, (before, now) in enumerate(zip(earlier.owners, self.owners, strict=True)):
            if now is not None and now != before:
                moved.setdefault(now, []).append(slot)
        return moved


def count_of(ranges: Iterable[SlotRange]) -> int:
    """Return how many slots the ranges hold."""
    return sum(last + 1 - first for first, last in ranges)


def ranges_of(slots: Iterable[int]) -> tuple[SlotRange, ...]:
    """Return ascending slots as ranges."""
    return tuple(_ranges(slots))


def _ranges(slots: Iterable[int]) -> Iterator[SlotRange]:
    first = last = -2
    for slot in slots:
        if slot != last + 1:
            if first >= 0:
                yield first, last
            first = slot
        last = slot
    if first >= 0:
        yield first, last


def describe(ranges: Sequence[SlotRange], most: int = 8) -> str:
    """Return ranges for people: `0-99, 5461`; of many the first ones and how many more."""
    shown = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges[:most])
    more = len(ranges) - most
    return f"{shown} and {more} more ranges" if more > 0 else shown
