"""The pattern language of policies: what fits, what a digit may decide, and no pattern for ever."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachectl import glob
from cachectl.keypatterns import KINDS, LONGEST_NAME, PatternError, compiled

UUID = b"0b2f1c3e-9d8a-4c55-8f00-444455556666"


@pytest.mark.parametrize(
    ("pattern", "fitting", "other"),
    [
        (b"user:{id}:profile", b"user:123:profile", b"user:alice:profile"),
        (b"user:{id}:profile", b"user:0:profile", b"user::profile"),
        (b"user:{name}:profile", b"user:alice:profile", b"user:al:ice:profile"),
        (b"user:{name}:profile", b"user:\xff\n:profile", b"user::profile"),
        (b"user:{*}:profile", b"user::profile", b"user:a:b:profile"),
        (b"user:{id}:*", b"user:1:a:b", b"user:x:a"),
        (b"{user:{id}}:cart", b"{user:42}:cart", b"user:42:cart"),
        (b"session:{uuid}", b"session:" + UUID, b"session:" + UUID[:-1]),
        (b"{hex}", b"deadbeef01", b"deadbeeg01"),
        (b"tok:{token}", b"tok:q8Zk2LmN9x", b"tok:abc"),
        (b"day:{date}", b"day:2026-11-25", b"day:26-11-25"),
        (b"at:{ts}", b"at:2026-11-25T10:00:00Z", b"at:123"),
        (b"ip:{ip}", b"ip:10.0.0.1", b"ip:10.0.0"),
        (b"by:{email}", b"by:a.b@example.com", b"by:a.b"),
        (b"v:{version}", b"v:v1.20.3", b"v:1.2"),
        (b"px:{ticker}", b"px:BRK.B", b"px:brk"),
        (b"{first}-{second}", b"a-b", b"a-"),
        (b"{name}.json", b"list.json", b"a.b.json"),
        (b"{app}_x", b"shop_x", b"my_shop_x"),
        (b"*:lock:{id}", b"a:b:lock:7", b"a:b:lock:x"),
        (b"\\{flash\\}:*", b"{flash}:1", b"sale:1"),
        (b"{Big}:x", b"{Big}:x", b"Big:x"),
        (b"a[0-4]*", b"a3x", b"a7x"),
        (b"*", b"", None),
        (b"**", b"x", b""),
    ],
)
def test_examples(pattern: bytes, fitting: bytes, other: bytes | None) -> None:
    found = compiled(pattern)
    assert found.fits(fitting)
    if other is not None:
        assert not found.fits(other)


ALPHABET = st.sampled_from([b"a", b"b", b"7", b"*", b"?", b"[", b"]", b"^", b"-", b"\\", b":"])


@given(st.lists(ALPHABET, min_size=1, max_size=8), st.lists(ALPHABET, max_size=8))
def test_without_a_placeholder_it_is_a_glob(pattern: list[bytes], name: list[bytes]) -> None:
    text = b"".join(pattern)
    assert compiled(text).fits(b"".join(name)) is bool(glob.matcher(text)(b"".join(name)))


PIECES = st.sampled_from(
    [
        *(b"{%s}" % kind for kind in KINDS),
        b"{x}",
        b"{*}",
        b"*",
        b"?",
        b"[0-9]",
        b"[2-4]",
        b":",
        b"a7",
    ]
)
NAMES = st.lists(st.sampled_from([*b"a7:-.Tz"]), max_size=30).map(bytes)


@given(st.lists(PIECES, min_size=1, max_size=5), NAMES, st.randoms(use_true_random=False))
def test_behind_exact_any_digit_does(pieces: list[bytes], name: bytes, rng: object) -> None:
    """The law that lets the rules of a policy be remembered by the shape of a name."""
    try:
        pattern = compiled(b"".join(pieces))
    except PatternError:
        return
    if pattern.exact is None:
        return
    head, rest = name[: pattern.exact], name[pattern.exact :]
    other = head + bytes(
        rng.choice(b"0123456789") if 48 <= byte <= 57 else byte  # type: ignore[attr-defined]
        for byte in rest
    )
    assert pattern.fits(name) is pattern.fits(other)


@pytest.mark.parametrize(
    ("pattern", "exact"),
    [(b"a:{id}", 0), (b"v2:{id}", 2), (b"[0-9]x", 0), (b"[1-9]x", 1), (b"{id}:v2", None)],
)
def test_where_digits_decide(pattern: bytes, exact: int | None) -> None:
    assert compiled(pattern).exact == exact


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        (b"", "must not be empty"),
        (b"x" * 1025, "must not be longer than 1024 bytes"),
        (b"*{a}-*{b}-*x", "has more than 2 stars and placeholders with an open end"),
    ],
)
def test_what_is_refused(pattern: bytes, sentence: str) -> None:
    with pytest.raises(PatternError, match=sentence):
        compiled(pattern)


def test_a_hostile_name_takes_no_time() -> None:
    pattern = compiled(b"{a}-{b}-{c}:{d}:*")
    begun = time.process_time()
    for byte in b"-a7:.":
        pattern.fits(bytes([byte]) * LONGEST_NAME)
        pattern.fits(bytes([byte]) * 1_000_000)
    assert time.process_time() - begun < 5
    assert not compiled(b"{a}").fits(b"x" * (LONGEST_NAME + 1))
