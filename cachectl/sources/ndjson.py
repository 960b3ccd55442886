"""NDJSON: one JSON value a line, read in chunks and parsed as fast as the standard library can."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NoReturn

from cachectl.sources.interface import BATCH_ROWS
from cachectl.sources.paging import Page

NOT_JSON = "is not JSON"


def no_constant(name: str) -> NoReturn:
    """Refuse NaN and Infinity, which Python reads and JSON does not have."""
    raise ValueError(name)


_DECODER: Any = json.JSONDecoder(parse_constant=no_constant)
# The scanner under `decode`, which is half as fast because of what it looks for around the value.
_SCAN = _DECODER.scan_once
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
    rows: list[Any] = []
    try:
        text = b"\n".join(lines).decode()
        at, end = 0, len(text)
        while at < end:  # a row that ends elsewhere than its line leaves fewer rows than lines
            row, at = _SCAN(text, at)
            if type(row) is not dict or (at < end and text[at] != "\n"):
                break
            rows.append(row)
            at += 1
    except (ValueError, StopIteration, RecursionError):
        pass
    if len(rows) == len(lines) and (not lines or len(max(lines, key=len)) <= longest):
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
