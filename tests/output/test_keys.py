"""Keys as terminals send them, however the bytes are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachectl.output.keys import KeyReader

KEYS = {
    b"q": "q",
    b"\t": "tab",
    b"\x1b[Z": "shift-tab",
    b"\x1b[A": "up",
    b"\x1bOB": "down",
    b"\x1b[5~": "page up",
    b"\x1b[6~": "page down",
    b"\x1b[H": "home",
    "é".encode(): "é",
    b" ": " ",
}


@pytest.mark.parametrize("data", KEYS)
def test_each_key(data: bytes) -> None:
    assert KeyReader().feed(data) == [KEYS[data]]


@given(st.lists(st.sampled_from(sorted(KEYS)), max_size=8), st.data())
def test_sequences_cut_anywhere(parts: list[bytes], data: st.DataObject) -> None:
    typed = b"".join(parts)
    reader, keys = KeyReader(), []
    while typed:
        length = data.draw(st.integers(1, len(typed)))
        keys += reader.feed(typed[:length])
        typed = typed[length:]
    assert keys + reader.flush() == [KEYS[part] for part in parts]


def test_escape_is_a_key_when_nothing_follows() -> None:
    reader = KeyReader()
    assert reader.feed(b"\x1b") == []
    assert reader.patience < 1
    assert reader.flush() == ["escape"]
    assert reader.feed(b"q") == ["q"]


@given(st.binary(max_size=60))
def test_any_bytes_end_and_leave_the_next_key_whole(data: bytes) -> None:
    reader = KeyReader()
    if data:
        reader.feed(data)
    reader.flush()
    assert reader.feed(b"q")[-1:] == ["q"]


def test_the_end_of_the_input() -> None:
    assert KeyReader().feed(b"") == ["end of input"]
    assert KeyReader().feed(b"\x04") == ["end of input"]


def test_sequences_that_mean_nothing_here_are_left_out() -> None:
    assert KeyReader().feed(b"\x1b[200~\x1b[1;5Cq\x00") == ["q"]
