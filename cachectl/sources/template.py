"""Templates, compiled once and rendered for many rows at a time.

A batch is rendered column by column, because that is several times as fast as row by row; where
some row is not what the fast way expects, the batch goes the careful way, which finds out whom.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

from cachectl.config.placeholders import Part, Placeholder, parse_template
from cachectl.sources.interface import Row
from cachectl.sources.scalars import RowFault, as_bytes, as_json, as_text, encoded

Faults = dict[int, str]
"""Index of a row in its batch → what is wrong with it."""

_FAST_TYPES = frozenset({str, int})


class Template:
    """`product:{id}`, ready to be rendered."""

    def __init__(self, text: str | Sequence[Part]) -> None:
        parts = parse_template(text) if isinstance(text, str) else text
        self._parts = [_compiled(part) for part in parts]
        holes = [part for part in parts if isinstance(part, Placeholder)]
        simple = not any(hole.filters or "." in hole.column for hole in holes)
        self._names = [hole.column for hole in holes] if simple else None
        self._format, self._format_of_ints = (
            "".join(part.replace("%", "%%") if isinstance(part, str) else hole for part in parts)
            for hole in ("%s", "%d")
        )

    def column(self, rows: Sequence[Row]) -> tuple[list[bytes], Faults]:
        """Return what each row gives, and what is wrong with those that give nothing (b"")."""
        quick = self._quickly(rows)
        if quick is not None:
            return quick, {}
        return carefully(self.one, rows, b"")

    def one(self, row: Row) -> bytes:
        """Return what one row gives. Raises RowFault."""
        return b"".join([part if isinstance(part, bytes) else part(row) for part in self._parts])

    def _quickly(self, rows: Sequence[Row]) -> list[bytes] | None:
        """Return all rows' texts, or None when one of them needs a look."""
        names = self._names
        if not names:
            return None
        try:
            columns = [[row[name] for row in rows] for name in names]
            if not all(_FAST_TYPES.issuperset(map(type, column)) for column in columns):
                return None
            pattern = self._format
            if len(columns) == 1 and len(kinds := set(map(type, columns[0]))) == 1:
                if kinds == {int}:
                    return list(map(self._format_of_ints.encode().__mod__, columns[0]))
                if pattern == "%s":
                    return list(map(str.encode, columns[0]))
            return [(pattern % values).encode() for values in zip(*columns, strict=True)]
        except (KeyError, UnicodeEncodeError):
            return None


def carefully(
    function: Callable[[Row], Any], rows: Sequence[Row], empty: Any
) -> tuple[list[Any], Faults]:
    """Return function(row) of each row, with `empty` and a fault where it raises RowFault."""
    values, faults = [], {}
    for i, row in enumerate(rows):
        try:
            values.append(function(row))
        except RowFault as fault:
            values.append(empty)
            faults[i] = str(fault)
    return values, faults


def lookup(column: str) -> Callable[[Row], Any]:
    """Return the function that takes a column, or a member inside one (`user.id`), out of a row.

    It raises RowFault when there is no such column.
    """
    first, *inside = column.split(".")

    def look(row: Row) -> Any:
        if column in row:
            return row[column]
        value: Any = row.get(first, _MISSING)
        for step in inside:
            if isinstance(value, dict):
                value = value.get(step, _MISSING)
            elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
                value = value[int(step)]
            else:
                value = _MISSING
        if value is _MISSING:
            raise RowFault(f"has no column `{_shown(column)}`")
        return value

    return look


_MISSING = object()


def _shown(column: str) -> str:
    return column if len(column) <= 40 else column[:37] + "…"


def about(column: str, fault: RowFault) -> RowFault:
    """Return the fault of a column's value, told of the row."""
    return RowFault(f"has a column `{_shown(column)}` that {fault}")


def _compiled(part: Part) -> bytes | Callable[[Row], bytes]:
    if isinstance(part, str):
        return encoded(part)
    column = part.column
    look = lookup(column)
    filters = [_FILTERS[name](argument) for name, argument in part.filters]
    default = next((text for name, text in part.filters if name == "default"), None)

    def render(row: Row) -> bytes:
        try:
            value = look(row)
        except RowFault:
            if default is None:
                raise
            value = None
        try:
            for one in filters:
                value = one(value)
            return as_bytes(value)
        except RowFault as fault:
            raise about(column, fault) from None

    return render


def _text(function: Callable[[str], str]) -> Callable[[str], Callable[[Any], Any]]:
    return lambda _argument: lambda value: function(as_text(value))


def _digest(name: str) -> Callable[[str], Callable[[Any], Any]]:
    return lambda _argument: (
        lambda value: hashlib.new(name, as_bytes(value), usedforsecurity=False).hexdigest()
    )


def _without(prefix: str) -> Callable[[Any], Any]:
    raw = prefix.encode()
    return lambda value: as_bytes(value).removeprefix(raw)


_FILTERS: dict[str, Callable[[str], Callable[[Any], Any]]] = {
    "lower": _text(str.lower),
    "upper": _text(str.upper),
    "trim": _text(str.strip),
    "url": _text(lambda text: quote(text, safe="")),
    "json": lambda _argument: as_json,
    "md5": _digest("md5"),
    "sha1": _digest("sha1"),
    "sha256": _digest("sha256"),
    "default": lambda text: lambda value: text if value is None else value,
    "without": _without,
}
