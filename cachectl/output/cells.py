"""One cell → text for people, or → plain data for machines. All formats share these two."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from cachectl.model.figures import Estimate
from cachectl.output import units
from cachectl.output.escape import escape, escape_text
from cachectl.output.report import Column, Indented, Kind

_BLOCKS = " ▁▂▃▄▅▆▇█"
_EIGHTHS = " ▏▎▍▌▋▊▉█"
BAR_WIDTH = 6
EMPTY_NAME = "(empty)"
"""What people read for the key that has no name; machines get the empty string."""

RIGHT_ALIGNED = frozenset(
    {
        Kind.COUNT,
        Kind.BYTES,
        Kind.RATIO,
        Kind.RATE,
        Kind.SECONDS,
        Kind.TTL,
        Kind.NUMBER,
        Kind.SIGNED_COUNT,
        Kind.SIGNED_BYTES,
    }
)


def for_people(column: Column, value: Any) -> str:
    """Return one line of harmless text. NaN says "not known" where None says "none" (a TTL)."""
    if value is None:
        return "none" if column.kind is Kind.TTL else column.missing
    if type(value) in _ORDINARY:
        return _SHOWN[column.kind](value)
    if isinstance(value, float) and not math.isfinite(value):
        return column.missing
    if isinstance(value, Estimate):
        return _estimate(_SHOWN[column.kind], value)
    if isinstance(value, Indented):
        return "  " * value.level + _SHOWN[column.kind](value.name)
    return _SHOWN[column.kind](value)


_ORDINARY = frozenset({bytes, int, str})
"""What nearly every cell of a long list holds."""


def _estimate(show: Callable[[float], str], value: Estimate) -> str:
    """`~1,200 ±40` where the interval is symmetric enough to say so, `~1,200 (900–1,900)` else."""
    below, above = value.value - value.low, value.high - value.value
    if below == above == 0:
        return show(value.value)
    if abs(above - below) <= 0.1 * max(above, below):
        return f"~{show(value.value)} ±{show(max(above, below))}"
    return f"~{show(value.value)} ({show(value.low)}–{show(value.high)})"


def _counts(value: dict[str, int]) -> str:
    """`hash` when there is one kind, `hash 91 %, string 9 %` when there are more."""
    total = sum(value.values())
    ordered = sorted(value.items(), key=lambda item: -item[1])
    if len(ordered) == 1:
        return escape_text(ordered[0][0])
    shown = [f"{escape_text(name)} {_share(count, total)}" for name, count in ordered[:3]]
    return ", ".join(shown) + (", …" if len(ordered) > 3 else "")


def _share(count: float, total: float) -> str:
    share = count / total if total else 0.0
    return "<1 %" if 0 < share < 0.005 else f"{share * 100:.0f} %"


def bar(ratio: float, width: int) -> str:
    """Return a bar of at most `width` cells for a ratio of 0–1, in eighths of a cell."""
    eighths = round(max(0.0, min(1.0, ratio)) * width * 8)
    if ratio > 0 and eighths == 0:
        eighths = 1
    full, rest = divmod(eighths, 8)
    return "█" * full + (_EIGHTHS[rest] if rest else "")


def sparkline(values: Any) -> str:
    """Return one character a value, scaled from zero to the greatest; a gap for None."""
    finite = [v for v in values if v is not None and math.isfinite(v)]
    top = max(finite, default=0.0)
    if top <= 0:
        return "".join(" " if v is None else _BLOCKS[1] for v in values)
    return "".join(
        " " if v is None or not math.isfinite(v) else _BLOCKS[max(1, math.ceil(v / top * 8))]
        for v in values
    )


def for_machines(column: Column, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield (field, plain value): one field, or several for estimates and keys beyond UTF-8."""
    name = column.name
    match value:
        case Indented():
            yield from for_machines(column, value.name)
        case Estimate():
            yield name, _plain(column.kind, value.value)
            yield f"{name}_low", _plain(column.kind, value.low)
            yield f"{name}_high", _plain(column.kind, value.high)
        case bytes():
            yield from _bytes_fields(name, value)
        case _:
            yield name, _plain(column.kind, value)


def _plain(kind: Kind, value: Any) -> Any:
    if kind is Kind.SEVERITY and value is not None:
        return str(value)
    if kind in (Kind.COUNT, Kind.BYTES) and isinstance(value, float) and math.isfinite(value):
        return round(value)
    return plain_data(value)


def plain_data(value: Any) -> Any:
    """Return a value as nothing but dict, list, str, int, float, bool and None.

    Infinite and NaN become None, and text that is not Unicode (bytes, a lone surrogate) is
    escaped: so JSON and YAML hold the same, and every parser reads them. Bytes in a mapping bring
    their base64 with them when they are not UTF-8, as everywhere.
    """
    match value:
        case None | bool():
            return value
        case str():
            return _text(value)
        case bytes():
            return escape(value)
        case int():
            return int(value)
        case float():
            return float(value) if math.isfinite(value) else None
        case Mapping():
            return {
                field: plain
                for name, item in value.items()
                for field, plain in _member(str(plain_data(name)), item)
            }
        case Iterable():
            return [plain_data(item) for item in value]
    return _text(str(value))


def _member(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, bytes):
        return _bytes_fields(name, value)
    return iter([(name, plain_data(value))])


def _text(value: str) -> str:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return escape_text(value)
    return str(value)


def _bytes_fields(name: str, value: bytes) -> Iterator[tuple[str, str]]:
    try:
        yield name, value.decode("utf-8")
    except UnicodeDecodeError:
        yield name, escape(value)
        yield f"{name}_b64", base64.b64encode(value).decode("ascii")


def _data(value: Any) -> str:
    return json.dumps(plain_data(value), ensure_ascii=False)


def _signed(show: Callable[[float], str]) -> Callable[[float], str]:
    return lambda value: ("+" if value > 0 else "") + show(value)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


_SHOWN: dict[Kind, Callable[[Any], str]] = {
    Kind.TEXT: lambda value: escape_text(str(value)),
    Kind.KEY: lambda value: escape(value) or EMPTY_NAME,
    Kind.NAMESPACE: lambda value: escape(value) or EMPTY_NAME,
    Kind.COUNT: units.show_count,
    Kind.BYTES: units.show_bytes,
    Kind.RATIO: units.show_ratio,
    Kind.RATE: units.show_rate,
    Kind.SECONDS: units.show_duration,
    Kind.TTL: units.show_duration,
    Kind.TIME: units.show_time,
    Kind.BOOL: lambda value: "yes" if value else "no",
    Kind.NUMBER: _number,
    Kind.SPARK: sparkline,
    Kind.BAR: lambda value: bar(value, BAR_WIDTH),
    Kind.COUNTS: _counts,
    Kind.DATA: lambda value: escape_text(value if isinstance(value, str) else _data(value)),
    Kind.SEVERITY: str,
    Kind.SIGNED_COUNT: _signed(units.show_count),
    Kind.SIGNED_BYTES: _signed(units.show_bytes),
}
