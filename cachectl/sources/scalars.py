"""What stands in a row, as text, bytes and JSON.

The same value gives the same bytes on every machine: verifying compares them. So JSON is always
written by the standard library, in one form: no blanks, no escapes for what is not ASCII.
"""

from __future__ import annotations

import json
import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID


class RowFault(ValueError):  # noqa: N818 - no error of the program: a value that does not fit
    """A row that cannot be used; the message is a sentence without its subject."""


def as_text(value: Any) -> str:
    """Return a value as text: numbers and truth as JSON has them, dates as ISO 8601.

    Raises RowFault for NULL and for bytes that are not UTF-8.
    """
    if isinstance(value, str):
        return value
    if value is None:
        raise RowFault("is null")
    if isinstance(value, bool | float | list | dict | tuple):
        return as_json(value)
    if isinstance(value, bytes | bytearray | memoryview):
        try:
            return bytes(value).decode()
        except UnicodeDecodeError:
            raise RowFault("holds bytes that are not UTF-8") from None
    return _plain(value)


def as_bytes(value: Any) -> bytes:
    """Return a value as bytes: bytes as they are, all else as its text in UTF-8.

    Raises RowFault.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    return encoded(as_text(value))


def encoded(text: str) -> bytes:
    """Return text in UTF-8. Raises RowFault for half a character (`"\\ud83d"` in JSON)."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise RowFault("holds half a character, which UTF-8 does not have") from None


def as_number(value: Any) -> float:
    """Return a value as a number. Raises RowFault."""
    if isinstance(value, datetime):
        return value.timestamp()
    if not isinstance(value, bool):
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isnan(number):
            return number
    raise RowFault("is not a number")


def as_json(value: Any) -> str:
    """Return a value as JSON. Raises RowFault for what JSON does not have."""
    try:
        return _ENCODER.encode(value)
    except (TypeError, ValueError, RecursionError):
        raise RowFault("cannot be written as JSON") from None


def simple(value: Any) -> Any:
    """Return a value as JSON and MessagePack know it: of dates, decimals and bytes the text."""
    if isinstance(value, bytes | bytearray | memoryview):
        return as_text(value)
    return _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return as_json(value.total_seconds())
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, int | UUID):
        return str(value)
    raise RowFault(f"is of a type that has no text ({type(value).__name__})")


_ENCODER = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=simple
)
