"""Figures as people read them. Machines get the plain numbers and never pass here."""

from __future__ import annotations

from datetime import UTC, datetime

_BYTE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_DURATION_UNITS = (("w", 604_800), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def show_bytes(count: float) -> str:
    """Return bytes with three significant digits: `0 B`, `812 B`, `1.21 MiB`, `-3.00 KiB`.

    >>> show_bytes(1258291)
    '1.20 MiB'
    """
    size = abs(float(count))
    sign = "-" if count < 0 else ""
    for unit in _BYTE_UNITS:
        if size < 999.5 or unit == _BYTE_UNITS[-1]:
            break
        size /= 1024
    if unit == "B":
        return f"{sign}{size:.0f} B"
    digits = 2 if size < 9.995 else 1 if size < 99.95 else 0
    return f"{sign}{size:.{digits}f} {unit}"


def show_count(count: float) -> str:
    """Return a count with thousands separated: `1,234,567`."""
    return f"{count:,.0f}"


def show_duration(seconds: float) -> str:
    """Return a duration with its two largest units: `340 ms`, `2m 5s`, `3d 4h`.

    >>> show_duration(273904)
    '3d 4h'
    """
    if seconds < 0:
        return "-" + show_duration(-seconds)
    if seconds == 0:
        return "0s"
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 10:
        return f"{seconds:.3g}s"
    rest = round(seconds)
    parts: list[str] = []
    for unit, length in _DURATION_UNITS:
        amount, rest = divmod(rest, length)
        if amount:
            parts.append(f"{amount}{unit}")
        elif parts:
            break
        if len(parts) == 2:
            break
    return " ".join(parts)


def show_ratio(ratio: float) -> str:
    """Return a ratio of 0–1 as a percentage: `83.4 %`; tiny but not zero is `<0.1 %`."""
    if 0 < ratio < 0.0005:
        return "<0.1 %"
    return f"{ratio * 100:.1f} %"


def show_rate(per_second: float) -> str:
    """Return a rate: `1,234/s`, `0.25/s`."""
    if per_second and abs(per_second) < 10:
        return f"{per_second:.2g}/s"
    return f"{per_second:,.0f}/s"


def show_time(unix_seconds: float) -> str:
    """Return a point in time as UTC, ISO 8601 to the second: `2026-11-23T04:35:00Z`."""
    try:
        moment = datetime.fromtimestamp(unix_seconds, UTC)
    except (OverflowError, OSError, ValueError):
        return f"{unix_seconds:.0f}"
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
