"""Durations as people write them: `500ms`, `3s`, `1h30m`, `7d`, or a plain number of seconds.

The one home of reading a duration (profiles, policies, manifests, options) and of writing one so
that it can be read back. output.units shows durations rounded, which is for the eye only.
"""

from __future__ import annotations

import re

_UNITS = {
    "w": 604_800_000_000,
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
    "us": 1,
}
"""Unit → microseconds, longest first."""

# Not \d, which takes digits of every script. The lengths keep all sums exact and far from overflow.
_PART = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,9}))?\s*(ms|us|[wdhms])\s*")
_SECONDS = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?")

LONGEST = 100 * 365 * 86_400.0
"""Seconds (100 years): a longer duration is a slip of the pen."""

EXAMPLES = "write it like 500ms, 3s, 5m, 1h30m or 7d"


def parse_duration(text: str) -> float:
    """Return the seconds that `text` means; a plain number is seconds, as in EXPIRE.

    Units: w, d, h, m (minutes), s, ms, us, each at most once and the longest first.
    Raises ValueError with a sentence that does not repeat the text.

    >>> parse_duration("1h30m"), parse_duration("500ms"), parse_duration("90")
    (5400.0, 0.5, 90.0)
    """
    stripped = text.strip()
    seconds = float(stripped) if _SECONDS.fullmatch(stripped) else _sum_of_parts(stripped)
    if seconds > LONGEST:
        raise ValueError("must be shorter than 100 years")
    return seconds


def _sum_of_parts(text: str) -> float:
    microseconds = 0.0
    rest = list(_UNITS)
    end = 0
    while match := _PART.match(text, end):
        whole, fraction, unit = match.groups(default="")
        if unit not in rest:
            raise ValueError("must have each unit once, the longest first, like 1h30m")
        rest = rest[rest.index(unit) + 1 :]
        microseconds += int(whole + fraction) * _UNITS[unit] / 10 ** len(fraction)
        end = match.end()
    if end == 0 or end != len(text):
        raise ValueError(f"must be a duration: {EXAMPLES}")
    return microseconds / 1e6


def format_duration(seconds: float) -> str:
    """Return a duration exactly (to the microsecond), as `parse_duration` reads it.

    seconds: at least 0. Raises ValueError for a negative one.

    >>> format_duration(5400), format_duration(0.5), format_duration(0)
    ('1h30m', '500ms', '0s')
    """
    if seconds < 0:
        raise ValueError("a duration cannot be negative")
    rest = round(seconds * 1e6)
    parts: list[str] = []
    for unit, length in _UNITS.items():
        amount, rest = divmod(rest, length)
        if amount:
            parts.append(f"{amount}{unit}")
    return "".join(parts) or "0s"
