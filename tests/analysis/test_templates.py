"""Names to templates: what people see in the first column of a scan."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cachectl.analysis.naming.templates import MAX_SEGMENTS, labels, segments, template

UUID = b"550e8400-e29b-41d4-a716-446655440000"
DIGEST = b"9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c"


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"user:123:profile", b"user:{id}:profile"),
        (b"{user:42}:cart", b"{user:{id}}:cart"),
        (b"{42}:cart", b"{{id}}:cart"),
        (b"session:" + DIGEST, b"session:{hex}"),
        (b"session:" + DIGEST.upper(), b"session:{hex}"),
        (b"order:" + UUID + b":lines", b"order:{uuid}:lines"),
        (UUID, b"{uuid}"),
        (b"celery-task-meta-" + UUID, b"celery-task-meta-{uuid}"),
        (b"report:2024-01-31", b"report:{date}"),
        (b"report:20240131", b"report:{date}"),
        (b"report:48291733", b"report:{id}"),
        (b"w:2024-W05", b"w:{date}"),
        (b"at:2024-01-31T10:00:00.123Z:x", b"at:{ts}:x"),
        (b"candle:5m:1700000000", b"candle:5m:{ts}"),
        (b"candle:1d:1700000000123", b"candle:1d:{ts}"),
        (b"rate:10.0.0.1", b"rate:{ip}"),
        (b"rate:ann@example.com:5m", b"rate:{email}:5m"),
        (b"geo:-12.5,33.25", b"geo:-{num},{num}"),
        (b"asset:1.2.3:js", b"asset:{version}:js"),
        (b"token:V1StGXR8Z5jdHi6BmyT9aQ", b"token:{token}"),
        (b"auth:eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.SflKxwRJSMeKKF2", b"auth:{token}"),
        (b"api:v2:users", b"api:v2:users"),
        (b"price:AAPL", b"price:AAPL"),
        (b"hash:sha256", b"hash:sha256"),
        (b"user_123_profile", b"user_{id}_profile"),
        (b"com.acme.user.123", b"com.acme.user.{id}"),
        (b"cache:GET:/items?page=3", b"cache:GET:/items?page={id}"),
        (b"session:gitlab:2::" + DIGEST, b"session:gitlab:{id}::{hex}"),
        (b"\xac\xed\x00\x05t\x00\x08user:123", b"{java}user:{id}"),
        (b"user:\x00\x01\x02", b"user:{binary}"),
        (b"user:\xff\xfe", b"user:{binary}"),
        ("straße:12".encode(), "straße:{id}".encode()),
        (b"a::b:", b"a::b:"),
        (b"", b""),
        (b"x" * 10_000, b"{token}"),
        (b"x\x00" * 5_000, b"{binary}"),
    ],
)
def test_what_varies_is_replaced_by_what_it_is(key: bytes, expected: bytes) -> None:
    assert template(key) == expected


def test_words_that_people_gave_stay() -> None:
    for key in (
        b"x:UserAccountServiceV2Impl",
        b"x:thisIsAVeryLongCamelCaseName",
        b"x:HTTPSConnectionPoolManager2",
        b"x:my-service-name-of-eu-west",
        b"x:SCREAMING_SNAKE_CASE",
        b"facade:decade",
    ):
        assert template(key) == key


def test_a_name_of_many_segments_ends_in_a_star() -> None:
    found = labels(b"a:" * 5_000)
    assert len(found) == MAX_SEGMENTS
    assert found[-1] == b"{*}"


# Pieces that names are made of, so that the search finds more than noise.
PIECES = st.one_of(
    st.sampled_from(
        [
            b"user",
            b"AAPL",
            b"v2",
            b"{",
            b"}",
            b"{id}",
            b"{*}",
            b"\xff",
            b"\xac\xed\x00\x05t\x00\x08",
        ]
    ),
    st.sampled_from(
        [UUID, DIGEST, b"2024-01-31", b"10.0.0.1", b"1.5", b"a@b.cc", b"T10:00Z", b"@"]
    ),
    st.integers(0, 10**20).map(lambda number: b"%d" % number),
    st.text("abcdefXYZ0123456789-_.", max_size=30).map(str.encode),
    st.binary(max_size=4),
)
NAMES = st.lists(
    st.tuples(PIECES, st.sampled_from([b":", b"/", b"|", b";", b"-", b"_", b".", b""])), max_size=8
).map(lambda pieces: b"".join(piece + end for piece, end in pieces))


@given(NAMES)
@settings(max_examples=500)
@example(b"1-" * 128)
def test_a_template_is_its_own_template(name: bytes) -> None:
    once = template(name)
    assert template(once) == once


@given(NAMES)
def test_segments_join_to_the_name(name: bytes) -> None:
    assert b"".join(segments(name)) == name


@given(NAMES)
@settings(max_examples=300)
def test_a_template_is_bounded(name: bytes) -> None:
    found = labels(name)
    assert 1 <= len(found) <= MAX_SEGMENTS
    assert all(len(part) < 300 for part in found)
