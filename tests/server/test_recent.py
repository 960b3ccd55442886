"""The window that catches SCAN's duplicates, against a hash table that shrinks as real ones."""

from __future__ import annotations

import random

import pytest

from cachectl.server.scanning.recent import RecentKeys


def test_repetitions_are_dropped_in_order() -> None:
    recent = RecentKeys()
    assert recent.sift([b"a", b"b", b"a", b"c"]) == [b"a", b"b", b"c"]
    assert recent.sift([b"d", b"b", b"e"]) == [b"d", b"e"]
    recent.forget([b"d"])
    assert recent.sift([b"d", b"e"]) == [b"d"]


def test_memory_is_bounded_and_the_last_generation_is_kept() -> None:
    recent = RecentKeys(generation=100)
    for at in range(0, 10_000, 10):
        page = [b"%d" % i for i in range(at, at + 10)]
        assert recent.sift(page) == page
        assert len(recent._new) + len(recent._old) <= 200
    last = [b"%d" % i for i in range(9900, 10_000)]
    assert recent.sift(last) == []


def reverse_bits(value: int, width: int) -> int:
    return int(f"{value:0{width}b}"[::-1], 2)


def walk(hashes: dict[bytes, int], shrinks: dict[int, int], width: int) -> list[list[bytes]]:
    """Scan a table as dictScan does. shrinks: step → bits that the table has from then on."""
    pages, cursor, step = [], 0, 0
    while True:
        width = shrinks.get(step, width)
        mask = (1 << width) - 1
        pages.append([key for key, value in hashes.items() if value & mask == cursor & mask])
        # Increment the reversed cursor: set the bits above the mask, reverse, add one, reverse.
        cursor = reverse_bits((reverse_bits(cursor | (~mask & (2**32 - 1)), 32) + 1) % 2**32, 32)
        step += 1
        if cursor == 0:
            return pages


@pytest.mark.parametrize("seed", range(20))
def test_a_window_of_the_shrink_factor_catches_all(seed: int) -> None:
    """What a shrink by a factor repeats was seen at most that many buckets ago."""
    rng = random.Random(seed)
    hashes = {b"%d" % i: rng.getrandbits(32) for i in range(400)}
    shrinks = {rng.randrange(1, 900): 7, rng.randrange(901, 1000): 5}
    pages = walk(hashes, shrinks, 10)
    recent = RecentKeys(generation=64)
    found = [key for page in pages for key in recent.sift(page)]
    assert sorted(found) == sorted(hashes)


def test_the_walk_does_repeat() -> None:
    rng = random.Random(1)
    hashes = {b"%d" % i: rng.getrandbits(32) for i in range(400)}
    repeated = 0
    for at in range(1, 900, 7):
        pages = walk(hashes, {at: 5}, 10)
        repeated += sum(map(len, pages)) - 400
    assert repeated > 100
