from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachectl.config.durations import LONGEST, format_duration, parse_duration
from cachectl.config.sizes import parse_percent, parse_size


@given(st.integers(0, int(LONGEST * 1e6)))
def test_what_is_written_is_read_back_to_the_microsecond(microseconds: int) -> None:
    seconds = microseconds / 1e6
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, abs=5e-7, rel=1e-12)


@given(st.integers(0, int(LONGEST)))
def test_whole_seconds_come_back_exactly(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds
    assert parse_duration(str(seconds)) == seconds


@given(st.text(max_size=12))
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert 0 <= parse_duration(text) <= LONGEST


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("3s", 3),
        ("0.5s", 0.5),
        ("1.5h", 5400),
        ("1h30m", 5400),
        (" 1h 30m ", 5400),
        ("7d", 604_800),
        ("2w", 1_209_600),
        ("250us", 0.00025),
        ("90", 90),
        ("0.1", 0.1),
        ("0s", 0),
        ("1m 5ms", 60.005),
    ],
)
def test_reading(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "s", "5x", "-5s", "+5s", "5m1h", "5s5s", "1m30", "1e3", "5 s s", "1:30"),
        *("٣s", "५s", "1__0s", "nan", "inf", "1h\x00", "3S", "101000d", "9" * 15, "9" * 400),
    ],
)
def test_not_a_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must "):
        parse_duration(text)


def test_a_negative_duration_is_not_written() -> None:
    with pytest.raises(ValueError, match="negative"):
        format_duration(-1)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("512", 512),
        ("1k", 1000),
        ("1kb", 1024),
        ("1KiB", 1024),
        ("64mb", 64 * 1024**2),
        ("1.5 GB", 3 * 512 * 1024**2),
        ("2t", 2 * 1000**4),
    ],
)
def test_sizes_have_the_units_of_redis_conf(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "mb", "-1", "1 mbit", "1e6", "٣mb", "1,000", "9" * 400])
def test_not_a_size(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be a size"):
        parse_size(text)


@given(st.integers(0, 2**40), st.sampled_from(["", "b", "k", "KB", "MiB"]))
def test_a_size_grows_with_its_number(number: int, unit: str) -> None:
    assert parse_size(f"{number}{unit}") == number * parse_size(f"1{unit}")


def test_percentages() -> None:
    assert parse_percent(" 12.5 % ") == 12.5
    for text in ("101%", "5", "-1%", "%"):
        with pytest.raises(ValueError, match="percentage"):
            parse_percent(text)
