"""Our matcher of the servers' globs, against the servers themselves and in bounded time."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers import TestServer

from cachectl import glob

ALPHABET = [b"a", b"b", b"z", b"*", b"?", b"[", b"]", b"^", b"-", b"\\", b"\x00", b"\x80", b"\xff"]


def text(rng: random.Random, longest: int) -> bytes:
    return b"".join(rng.choices(ALPHABET, k=rng.randrange(longest + 1)))


def test_same_answers_as_the_server(server: TestServer) -> None:
    """1,500 random patterns over 2,000 random names, each judged by the server's own KEYS."""
    rng = random.Random(4)
    names = {text(rng, 5) for _ in range(2000)} | {b""}
    client = server.client()
    client.mset(dict.fromkeys(names, b"1"))
    wrong = []
    for _ in range(1500):
        pattern = text(rng, 7)
        matches = glob.matcher(pattern)
        if {name for name in names if matches(name)} != set(client.keys(pattern)):
            wrong.append(pattern)
    assert wrong == []


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        (b"user:*:cart", b"user:1:cart", b"user:1:carts"),
        (b"a[b-d]e", b"ace", b"afe"),
        (b"a[d-b]e", b"ace", b"afe"),
        (b"a[^b]c", b"axc", b"abc"),
        (b"a\\*c", b"a*c", b"abc"),
        (b"[]", b"", b"[]"),
        (b"a[bc", b"ab", b"a[bc"),
        (b"a\\", b"a\\", b"a"),
        (b"h?llo\n", b"hello\n", b"hello"),
    ],
)
def test_examples(pattern: bytes, matching: bytes, other: bytes) -> None:
    matches = glob.matcher(pattern)
    assert bool(matches(matching)) is (pattern != b"[]")
    assert not matches(other)


@pytest.mark.parametrize("stars", [3, 12, 300])
def test_many_stars_take_no_time(stars: int) -> None:
    matches = glob.matcher(b"a*" * stars + b"b")
    begun = time.monotonic()
    assert not matches(b"a" * 10_000)
    assert matches(b"a" * 10_000 + b"b")
    assert time.monotonic() - begun < 1


@given(st.binary(max_size=30))
def test_an_escaped_name_matches_itself_alone(name: bytes) -> None:
    matches = glob.matcher(glob.escape(name))
    assert matches(name)
    assert not matches(name + b"x")
    assert glob.literal_prefix(glob.escape(name)) == name


@given(st.lists(st.sampled_from(ALPHABET), max_size=12).map(b"".join), st.binary(max_size=8))
def test_the_prefix_pattern_matches_at_least_as_much(pattern: bytes, name: bytes) -> None:
    wide = glob.prefix_pattern(pattern)
    assert glob.is_safe(wide, linear=False)
    if glob.matcher(pattern)(name):
        assert glob.matcher(wide)(name)
        assert name.startswith(glob.literal_prefix(pattern))


@pytest.mark.parametrize(
    ("pattern", "linear", "safe"),
    [
        (b"a*b*", False, True),
        (b"a*b*c*", False, False),
        (b"a*b*c*", True, True),
        (b"\\*\\*\\*\\*", False, True),
        (b"[***]", False, True),
        (b"x" * 1024, False, True),
        (b"x" * 1025, True, False),
    ],
)
def test_what_may_be_sent(pattern: bytes, linear: bool, safe: bool) -> None:
    assert glob.is_safe(pattern, linear=linear) is safe
