"""Sizes and ratios as people write them: `64mb`, `2GiB`, `80%`.

The one home of reading them (profiles, policies, options). Units are those of redis.conf, where
`mb` is 1024 × 1024 bytes and `m` is 1,000,000; `MiB` says the first without doubt.
"""

from __future__ import annotations

import re

_UNITS = {
    "": 1,
    "b": 1,
    "k": 1000,
    "m": 1000**2,
    "g": 1000**3,
    "t": 1000**4,
    "kb": 1024,
    "mb": 1024**2,
    "gb": 1024**3,
    "tb": 1024**4,
    "kib": 1024,
    "mib": 1024**2,
    "gib": 1024**3,
    "tib": 1024**4,
}
_SIZE = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,9}))?\s*([a-z]{0,3})", re.IGNORECASE | re.ASCII)
_PERCENT = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*%")


def parse_size(text: str) -> int:
    """Return the bytes that `text` means, a plain number being bytes.

    Raises ValueError with a sentence that does not repeat the text.

    >>> parse_size("64mb"), parse_size("1.5 KiB"), parse_size("10k")
    (67108864, 1536, 10000)
    """
    match = _SIZE.fullmatch(text.strip())
    whole, fraction, unit = match.groups(default="") if match else ("", "", "")
    if not whole or unit.lower() not in _UNITS:
        raise ValueError("must be a size: write it like 512, 64kb, 10mb or 2gb")
    bytes_and_fraction: int = int(whole + fraction) * _UNITS[unit.lower()]
    return bytes_and_fraction // int("1" + "0" * len(fraction))


def parse_percent(text: str) -> float:
    """Return the number before the percent sign, 0–100.

    >>> parse_percent("80%")
    80.0
    """
    match = _PERCENT.fullmatch(text.strip())
    if match is None or float(match.group(1)) > 100:
        raise ValueError("must be a percentage from 0% to 100%")
    return float(match.group(1))
