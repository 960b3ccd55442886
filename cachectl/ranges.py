"""Ranges in the syntax of monitoring plugins: outside of them, an alert.

    80:      below 80             10:20   outside of 10 to 20
    10       below 0 or above 10  @10:20  within 10 to 20
    ~:10     above 10

Both ends belong to the range. Source: the Monitoring Plugins Development Guidelines, "Threshold and
Ranges".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import inf

_RANGE = re.compile(
    r"(?P<inside>@)?(?:(?P<low>~|-?[0-9]{1,18}(?:\.[0-9]{1,9})?)?:)?"
    r"(?P<high>-?[0-9]{1,18}(?:\.[0-9]{1,9})?)?"
)
EXAMPLES = "write it like 80:, 10, 10:20, ~:5 or @10:20"


@dataclass(frozen=True, slots=True)
class Range:
    """low, high: both included. inside: a value within alerts, not one outside. text: as given."""

    low: float
    high: float
    inside: bool
    text: str

    def alerts(self, value: float) -> bool:
        """Return whether a value is a reason to alert."""
        return (self.low <= value <= self.high) is self.inside


def parse_range(text: str) -> Range:
    """Return the range that `text` means.

    Raises ValueError with a sentence that does not repeat the text.

    >>> parse_range("80:").alerts(79), parse_range("@10:20").alerts(20), parse_range("5").alerts(5)
    (True, True, False)
    """
    text = text.strip()
    match = _RANGE.fullmatch(text)
    if match is None or not (match["high"] or ":" in text):
        raise ValueError(f"must be a range: {EXAMPLES}")
    low = -inf if match["low"] == "~" else float(match["low"] or 0)
    high = inf if match["high"] is None else float(match["high"])
    if low > high:
        raise ValueError("must be a range whose start is not above its end")
    return Range(low, high, bool(match["inside"]), text)
