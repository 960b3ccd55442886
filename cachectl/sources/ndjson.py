"""NDJSON: one JSON value a line, read in chunks and parsed a page at a time.

msgspec reads whole pages at a fifth of the standard library's time. Where it finds a row that it
does not take (a lone surrogate is one, which JSON allows), the page is read line by line by the
standard library, which has the last word on what is JSON and what its value is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NoReturn

import msgspec

from cachectl.sources.interface import BATCH_ROWS
from cachectl.sources.paging import Page

NOT_JSON = "is not JSON"


def no_constant(name: str) -> NoReturn:
    """Refuse NaN and Infinity, which Python reads and JSON does not have."""
    raise ValueError(name)


_DECODER = json.JSONDecoder(parse_constant=no_constant)
_quickly = msgspec.json.Decoder().decode
_BLANKS = b" \t\r"


class Lines:
    """Splits a stream into lines, without their ends.

    longest: bytes. A longer line comes cut off at that, with one byte more: no memory is spent on
    what is left of it.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that a chunk completes."""
        first, newline, others = chunk.partition(b"\n")
        if len(self._rest) <= self._longest:
            self._rest += first
        if not newline:
            return []
        lines = others.split(b"\n")
        lines.insert(0, self._rest)
        self._rest = lines.pop()
        longest = self._longest
        return [line if len(line) <= longest else line[: longest + 1] for line in lines]

    def end(self) -> list[bytes]:
        """Return the last line, when no line break ended it."""
        return [self._rest[: self._longest + 1]] if self._rest else []


def pages_of(lines: list[bytes], longest: int) -> Iterator[Page]:
    """Yield the rows of some lines in pages."""
    for at in range(0, len(lines), BATCH_ROWS):
        yield page_of(lines[at : at + BATCH_ROWS], longest)


def page_of(lines: list[bytes], longest: int) -> Page:
    """Return the rows of some lines; those that are blank are no rows."""
    lines = [line.strip(_BLANKS) for line in lines]
    if not all(lines):
        lines = [line for line in lines if line]
    if not lines or len(max(lines, key=len)) <= longest:
        try:
            rows = list(map(_quickly, lines))
        except (ValueError, RecursionError):
            return _carefully(lines, longest)
        if {dict}.issuperset(map(type, rows)):
            return Page(rows, lines)
    return _carefully(lines, longest)


def _carefully(lines: list[bytes], longest: int) -> Page:
    page = Page([], [])
    assert page.texts is not None  # noqa: S101 - it was made a line above
    for i, line in enumerate(lines):
        if len(line) > longest:
            page.bad[i] = f"is longer than max_row ({longest:,} bytes)"
            continue
        try:
            row = parse(line)
        except ValueError as error:
            page.bad[i] = str(error)
            continue
        page.rows.append(row)
        page.texts.append(line)
    return page


def parse(data: bytes) -> Any:
    """Return one JSON value as a row. Raises ValueError with a sentence without its subject."""
    try:
        return as_row(_DECODER.decode(data.decode()))
    except UnicodeDecodeError:
        raise ValueError("holds bytes that are not UTF-8") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except ValueError:
        raise ValueError(NOT_JSON) from None


def as_row(value: Any) -> Any:
    """Return a JSON value as a row: an object has columns, anything else is the column `value`."""
    return value if isinstance(value, dict) else {"value": value}
