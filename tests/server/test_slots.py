"""Slots of keys, and maps of who serves them, as the three commands tell them."""

from __future__ import annotations

import itertools

import pytest
from filling import key_slot
from hypothesis import given
from hypothesis import strategies as st
from targets import target_of

from cachectl.config.target import Address
from cachectl.errors import CannotConnectError, ConfigError, PermissionDeniedError
from cachectl.server.topology.cluster import read_slot_map
from cachectl.server.topology.slots import Shard, SlotMap, count_of, describe, ranges_of, slot_of
from cachectl.server.wire.addresses import parse_address, reachable
from cachectl.server.wire.resp import ReplyError


@pytest.mark.parametrize(
    ("key", "slot"),
    [
        # From the cluster specification and its examples.
        (b"123456789", 12739),
        (b"foo", 12182),
        (b"bar", 5061),
        (b"", 0),
    ],
)
def test_known_slots(key: bytes, slot: int) -> None:
    assert slot_of(key) == slot


@pytest.mark.parametrize(
    ("key", "same_as"),
    [
        (b"{user1000}.following", b"user1000"),
        (b"foo{{bar}}zap", b"{bar"),
        (b"foo{bar}{zap}", b"bar"),
        (b"{a}{b}", b"a"),
        (b"}{x}", b"x"),
    ],
)
def test_hash_tags(key: bytes, same_as: bytes) -> None:
    assert slot_of(key) == slot_of(same_as)


@pytest.mark.parametrize("key", [b"foo{}{bar}", b"{}", b"{}x", b"{open", b"x}y"])
def test_no_hash_tag_means_the_whole_name(key: bytes) -> None:
    assert slot_of(key) == key_slot(key)
    assert slot_of(key) != slot_of(b"")  # not of the empty text between the braces


@given(st.binary(max_size=40) | st.text("{}ab", max_size=8).map(str.encode))
def test_slots_equal_those_of_another_implementation(key: bytes) -> None:
    assert slot_of(key) == key_slot(key)


def shard(name: str, *slots: tuple[int, int]) -> Shard:
    where = Address(name, 1)
    return Shard(name, where, where, slots)


def test_uncovered_and_moved() -> None:
    before = SlotMap((shard("a", (0, 8000)), shard("b", (8001, 16383))))
    after = SlotMap((shard("a", (0, 7000), (9000, 9001)), shard("b", (8001, 8999), (9002, 16382))))
    assert before.uncovered == ()
    assert after.uncovered == ((7001, 8000), (16383, 16383))
    assert after.moved_since(before) == {"a": [9000, 9001]}
    assert before.moved_since(before) == {}


@given(st.sets(st.integers(0, 16383), max_size=60))
def test_ranges_hold_the_same_slots(slots: set[int]) -> None:
    ranges = ranges_of(sorted(slots))
    assert {slot for first, last in ranges for slot in range(first, last + 1)} == slots
    assert count_of(ranges) == len(slots)
    assert all(b + 1 < c for (_, b), (c, _) in itertools.pairwise(ranges))


def test_describe() -> None:
    assert describe(((0, 5), (7, 7))) == "0-5, 7"
    assert describe([(i, i) for i in range(0, 20, 2)], most=2) == "0, 2 and 8 more ranges"


def test_a_cluster_without_slots_is_a_sentence() -> None:
    with pytest.raises(CannotConnectError, match="no node serves any slot"):
        read(slots=[])


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("cache.example", Address("cache.example", 6379)),
        ("cache.example:7000", Address("cache.example", 7000)),
        ("[::1]:7000", Address("::1", 7000)),
        ("[::1]", Address("::1", 6379)),
        ("::1", Address("::1", 6379)),
    ],
)
def test_parse_address(text: str, address: Address) -> None:
    assert parse_address(text, 6379) == address


def test_address_map_prefers_the_port() -> None:
    mapping = {"10.0.0.1:7000": "outside:17000", "10.0.0.1": "outside", "fd00::1": "six:1"}
    assert reachable(mapping, "10.0.0.1", 7000) == Address("outside", 17000)
    assert reachable(mapping, "10.0.0.1", 7001) == Address("outside", 7001)
    assert reachable(mapping, "fd00::1", 7001) == Address("six", 1)
    assert reachable(mapping, "10.0.0.2", 7001) == Address("10.0.0.2", 7001)


class Asked:
    """A connection to a node whose answers are given."""

    def __init__(self, **replies: object) -> None:
        self.target = target_of(address_map={"10.0.0.9": "mapped"})
        self.address = Address("seed", 7000)
        self.replies = replies

    def pipeline(self, commands: list[tuple[str, str]]) -> list[object]:
        unknown = ReplyError("ERR unknown subcommand")
        return [self.replies.get(command.lower(), unknown) for _, command in commands]

    def call(self, *command: str) -> object:
        reply = self.pipeline([command])[0]  # type: ignore[list-item]
        if isinstance(reply, ReplyError):
            raise reply
        return reply


def read(**replies: object) -> SlotMap:
    return read_slot_map(Asked(**replies))  # type: ignore[arg-type]


SLOTS_REPLY = [
    [5, 9, [b"10.0.0.9", 7001, b"bb", []], [b"10.0.0.8", 7003, b"cc", []]],
    [0, 4, [b"", 7000, b"aa", []]],
    [11, 11, [b"10.0.0.9", 7001, b"bb", []], [b"10.0.0.8", 7003, b"cc", []]],
]
SHARDS_REPLY = [
    [
        b"slots", [5, 9, 11, 11],
        b"nodes", [
            [b"id", b"cc", b"port", 7003, b"ip", b"10.0.0.8", b"endpoint", b"10.0.0.8",
             b"role", b"replica", b"health", b"online"],
            [b"id", b"bb", b"port", 7001, b"ip", b"1.2.3.4", b"endpoint", b"10.0.0.9",
             b"role", b"master", b"health", b"online"],
        ],
    ],
    [
        b"slots", [0, 4],
        b"nodes", [[b"id", b"aa", b"tls-port", 7000, b"ip", b"", b"endpoint", b"?",
                    b"role", b"master"]],
    ],
    [b"slots", [], b"nodes", [[b"id", b"dd", b"port", 1, b"endpoint", b"x", b"role", b"master"]]],
]  # fmt: skip
NODES_REPLY = (
    b"aa :7000@17000 myself,master - 0 0 1 connected 0-4 [6->-bb]\n"
    b"bb 10.0.0.9:7001@17001,name.example master - 0 0 2 connected 5-9 11\n"
    b"cc 10.0.0.8:7003@17003 slave bb 0 0 2 connected\n"
    b"ee 10.0.0.7:7003@17003 slave,fail bb 0 0 2 connected\n"
    b"dd 10.0.0.5:7003@17003 master - 0 0 3 connected\n"
)


@pytest.mark.parametrize(
    "replies", [{"slots": SLOTS_REPLY}, {"shards": SHARDS_REPLY}, {"nodes": NODES_REPLY}]
)
def test_three_commands_tell_the_same_map(replies: dict[str, object]) -> None:
    """Null endpoints mean the seed; announced addresses go through the map; empty nodes go."""
    here = Address("seed", 7000)
    assert read(**replies).shards == (
        Shard("aa", here, here, ((0, 4),)),
        Shard(
            "bb",
            Address("mapped", 7001),
            Address("10.0.0.9", 7001),
            ((5, 9), (11, 11)),
            (Address("10.0.0.8", 7003),),
        ),
    )


def test_replicas_that_slots_leaves_out() -> None:
    bare = [entry[:3] for entry in SLOTS_REPLY]
    assert read(slots=bare).shards[1].replicas == ()
    assert read(slots=bare, nodes=NODES_REPLY) == read(slots=SLOTS_REPLY)


def test_shards_as_resp3_maps() -> None:
    as_maps = [
        {b"slots": entry[1], b"nodes": [dict(zip(n[::2], n[1::2], strict=True)) for n in entry[3]]}
        for entry in SHARDS_REPLY
    ]
    assert read(shards=as_maps) == read(shards=SHARDS_REPLY)


@pytest.mark.parametrize(
    ("text", "kind", "hint"),
    [
        ("ERR This instance has cluster support disabled", ConfigError, "topology: standalone"),
        ("NOPERM User x has no permissions", PermissionDeniedError, "+cluster|slots"),
        ("ERR unknown command 'CLUSTER'", CannotConnectError, "topology: standalone"),
    ],
)
def test_no_map_is_a_sentence(text: str, kind: type[Exception], hint: str) -> None:
    with pytest.raises(kind) as caught:
        read(slots=ReplyError(text))
    assert hint in caught.value.hint  # type: ignore[attr-defined]
