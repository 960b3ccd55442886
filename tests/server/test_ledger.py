"""What a cluster's scan remembers: keys that came, readers of slots, what to read again."""

from __future__ import annotations

import pytest

from cachectl.config.target import Address
from cachectl.server.scanning import ledger as module
from cachectl.server.scanning.ledger import Ledger
from cachectl.server.topology.slots import Shard, SlotMap, slot_of


def slot_map(*owners: tuple[str, int, int]) -> SlotMap:
    address = Address()
    return SlotMap(
        tuple(Shard(name, address, address, ((low, high),)) for name, low, high in owners)
    )


START = slot_map(("a", 0, 8000), ("b", 8001, 16_383))


def test_nothing_moved() -> None:
    assert Ledger(START).moved(START) == {}


def test_slots_with_another_owner_are_read_there_once() -> None:
    book = Ledger(START)
    now = slot_map(("a", 0, 7990), ("b", 7991, 16_383))
    assert book.moved(now) == {"b": set(range(7991, 8001))}
    book.take_over(range(7991, 8001), now)
    assert book.moved(now) == {}
    assert book.moved(START) == {"a": set(range(7991, 8001))}


def test_a_node_that_took_over_as_a_whole_has_read_its_slots() -> None:
    book = Ledger(START)
    book.read_by("a", "replica-of-a")
    assert book.moved(slot_map(("replica-of-a", 0, 8000), ("b", 8001, 16_383))) == {}


def test_foreign_keys_are_sifted_out_and_make_their_slots_suspect() -> None:
    book = Ledger(START)
    keys = [b"k%d" % i for i in range(100)]
    own = [key for key in keys if slot_of(key) <= 8000]
    assert book.sifter("a")(keys) == own
    assert book.suspects == {slot_of(key) for key in keys if key not in own}
    assert set().union(*book.moved(START).values()) == book.suspects


def test_what_came_does_not_come_again_until_its_node_starts_over() -> None:
    book = Ledger(START)
    book.note("a", [b"1", b"2"])
    book.note("b", [b"3"])
    assert book.unseen([b"4", b"3", b"2", b"4"]) == [b"4"]
    book.forget("a")
    assert book.unseen([b"1", b"3"]) == [b"1"]


def test_too_many_keys_to_remember(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_REMEMBERED", 5)
    book = Ledger(START)
    book.note("a", [b"%d" % i for i in range(5)])
    assert not book.overflowed
    book.note("b", [b"x"])
    assert book.overflowed
