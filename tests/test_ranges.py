"""Ranges of monitoring plugins, against the table of their guidelines."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cachectl.ranges import parse_range

# Monitoring Plugins Development Guidelines, "Example ranges", and values on both sides of each end.
CASES = [
    ("10", [-1, 11], [0, 5, 10]),
    ("10:", [9, -1], [10, 11, 1e9]),
    ("~:10", [11], [-1e9, 0, 10]),
    ("10:20", [9.99, 20.01], [10, 15, 20]),
    ("@10:20", [10, 15, 20], [9.99, 20.01]),
    ("-5:-1", [-6, 0], [-5, -1]),
    (":7", [-1, 8], [0, 7]),
    ("0", [1, -1], [0]),
    ("99.5:", [99.4], [99.5]),
    ("@~:3", [3, -100], [4]),
]


@pytest.mark.parametrize(("text", "alerts", "fine"), CASES)
def test_ranges(text: str, alerts: list[float], fine: list[float]) -> None:
    range_ = parse_range(text)
    assert [value for value in alerts if not range_.alerts(value)] == []
    assert [value for value in fine if range_.alerts(value)] == []
    assert range_.text == text


@pytest.mark.parametrize(
    "text", ["", "@", "~", "a", "1e3", "10:5", "1:2:3", "10 20", "~10", "80%", "--1", "nan:"]
)
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(ValueError, match="must be a range"):
        parse_range(text)


@given(st.integers(-1000, 1000), st.integers(0, 1000), st.integers(-3000, 3000))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_inside_and_outside_are_opposites(low: int, width: int, value: int) -> None:
    text = f"{low}:{low + width}"
    assert parse_range(text).alerts(value) is not parse_range("@" + text).alerts(value)
    assert parse_range(text).alerts(value) is not (low <= value <= low + width)
