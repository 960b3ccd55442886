"""Elements of values survive being archived."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from cachectl.errors import DamagedError
from cachectl.model.values import LogicalValue, PendingEntry, StreamGroup, StreamState
from cachectl.storage.elements import pack_value, unpack_value

ids = st.tuples(st.integers(0, 2**63), st.integers(0, 2**63))
pairs = st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=9)), max_size=3).map(tuple)
scores = st.floats(allow_nan=False)


@st.composite
def groups(draw):
    names = tuple(draw(st.lists(st.binary(max_size=5), unique=True, min_size=1, max_size=3)))
    pending = tuple(
        PendingEntry(i, draw(st.sampled_from(names)), draw(st.integers(0, 2**50)), 3)
        for i in draw(st.lists(ids, max_size=3))
    )
    read = draw(st.none() | st.integers(0, 2**60))
    return StreamGroup(draw(st.binary(max_size=5)), draw(ids), read, names, pending)


states = st.builds(
    StreamState,
    ids,
    st.none() | ids,
    st.none() | st.integers(0, 2**60),
    st.lists(groups(), max_size=2).map(tuple),
)
values = st.one_of(
    st.builds(
        LogicalValue, st.sampled_from(["string", "list", "set"]), st.lists(st.binary(max_size=20))
    ),
    st.builds(LogicalValue, st.just("zset"), st.lists(st.tuples(st.binary(max_size=9), scores))),
    st.builds(
        LogicalValue,
        st.just("hash"),
        st.lists(st.tuples(st.binary(max_size=9), st.binary(), st.none() | st.integers(0, 2**60))),
    ),
    st.builds(LogicalValue, st.just("stream"), st.lists(st.tuples(ids, pairs), max_size=5), states),
)


@given(values)
def test_a_value_comes_back_as_it_was(value):
    again = unpack_value(pack_value(value))
    assert again == value
    assert list(map(repr, again.elements)) == list(map(repr, value.elements))  # -0.0 stays -0.0


@given(values, st.data())
def test_damage_is_noticed_or_harmless(value, data):
    raw = bytearray(pack_value(value))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(DamagedError):
        unpack_value(bytes(raw))
