"""Keys from a file or stdin: lines, NUL-separated, or NDJSON as `keys list` prints it."""

from __future__ import annotations

import base64
import binascii
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from cachectl.errors import UsageError
from cachectl.output.terminal import Terminal

_PIECE = 64 * 1024
_LONGEST = 512 * 1024 * 1024


def read_keys(terminal: Terminal, path: Path, how: str) -> Iterator[bytes]:
    """Yield the keys in a file, `-` for stdin. how: lines, nul or ndjson. Raises UsageError."""
    if str(path) == "-":
        if terminal.stdin.isatty():
            raise UsageError("--keys-from - reads keys from stdin, which is the terminal here")
        yield from _keys(sys.stdin.buffer, how, "stdin")
        return
    try:
        with path.open("rb") as file:
            yield from _keys(file, how, str(path))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {(error.strerror or '').lower()}") from error


def _keys(file: BinaryIO, how: str, name: str) -> Iterator[bytes]:
    if how == "nul":
        yield from (key for key in _split(file, b"\0") if key)
        return
    for number, line in enumerate(_split(file, b"\n"), start=1):
        text = line.removesuffix(b"\r") if how == "ndjson" else line
        if text:
            yield _of_json(text, f"{name}, line {number}") if how == "ndjson" else text


def _split(file: BinaryIO, separator: bytes) -> Iterator[bytes]:
    rest = b""
    while piece := file.read(_PIECE):
        *whole, rest = (rest + piece).split(separator)
        yield from whole
        if len(rest) > _LONGEST:
            raise UsageError("a key is longer than any server takes: is the format right?")
    if rest:
        yield rest


def _of_json(line: bytes, where: str) -> bytes:
    """Return the key of one record; `key_b64` is exact where `key` can't be."""
    try:
        record = json.loads(line)
        if isinstance(record, str):
            return record.encode("utf-8", "surrogateescape")
        if "key_b64" in record:
            return base64.b64decode(record["key_b64"], validate=True)
        key: str = record["key"]
        return key.encode("utf-8", "surrogateescape")
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise UsageError(f"{where}: not a record with a `key`") from error
