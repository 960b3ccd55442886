"""The array in a JSON text, element by element, so that a file of any size needs little memory."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator
from typing import Any

from cachectl.sources.interface import SourceError
from cachectl.sources.ndjson import no_constant

_KEPT = 256 * 1024
_NEAR_THE_END = 12
"""Characters: an error this close to the end of what was read may be for want of the rest."""

_GOES_ON = ("", ".", "e", "E")
"""What may follow a number that was cut: the decoder takes `0.` for 0 and something else."""


class JsonArray:
    """Finds the array at `root` (`data.items`; None: the text is the array) in a stream of JSON.

    longest: characters of one element, and of everything beside the array that is passed over.
    Iteration raises SourceError for what is not JSON, not an array, or cut off.
    """

    def __init__(self, chunks: Iterable[bytes], root: str | None, longest: int) -> None:
        self._chunks = iter(chunks)
        self._steps = root.split(".") if root else []
        self._longest = longest
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._raw = json.JSONDecoder(parse_constant=no_constant).raw_decode
        self._text = ""
        self._at = 0
        self._ended = False

    def __iter__(self) -> Iterator[Any]:
        """Yield the array's elements."""
        self._find()
        self._expect("[", "is not an array of rows")
        if self._peek() == "]":
            return
        while True:
            yield self._value()
            sign = self._peek()
            self._at += 1
            if sign == "]":
                return
            if sign != ",":
                raise self._wrong()

    def _find(self) -> None:
        for number, step in enumerate(self._steps):
            path = ".".join(self._steps[: number + 1])
            self._expect("{", f"has no `{path}`: there is no object around it")
            while True:
                if self._peek() == "}":
                    raise SourceError(f"has no `{path}`")
                name = self._value()
                self._expect(":", "is not JSON")
                if name == step:
                    break
                self._value()
                if self._peek() == ",":
                    self._at += 1
        if not self._steps and self._peek() == "{":
            raise SourceError(
                "begins with an object and not with an array",
                hint="say where its array is: `root: data.items`",
            )

    def _expect(self, sign: str, otherwise: str) -> None:
        if self._peek() != sign:
            raise SourceError(otherwise)
        self._at += 1

    def _peek(self) -> str:
        """Return the next character that is no blank, without taking it."""
        while True:
            rest = self._text[self._at : self._at + 64]
            stripped = rest.lstrip(" \t\r\n")
            self._at += len(rest) - len(stripped)
            if stripped:
                return stripped[0]
            if not rest and not self._more(1):
                raise SourceError("ends in the middle of its JSON", retryable=True)

    def _value(self) -> Any:
        self._peek()
        wanted = _KEPT
        while True:
            try:
                value, end = self._raw(self._text, self._at)
            except json.JSONDecodeError as error:
                if not self._cut_off(error) or not self._more(wanted):
                    raise self._wrong() from None
            except (ValueError, RecursionError):
                raise self._wrong() from None
            else:
                if (
                    isinstance(value, str | list | dict)
                    or self._text[end : end + 1] not in _GOES_ON
                    or not self._more(wanted)
                ):
                    self._check_length(end - self._at)
                    self._at = end
                    return value
            wanted *= 2
            self._check_length(len(self._text) - self._at - wanted)

    def _check_length(self, length: int) -> None:
        if length > self._longest:
            raise SourceError(f"has an element of more than max_row ({self._longest:,} bytes)")

    def _cut_off(self, error: json.JSONDecodeError) -> bool:
        near = error.pos >= len(self._text) - _NEAR_THE_END
        return near or error.msg.startswith("Unterminated string")

    def _more(self, wanted: int) -> bool:
        """Read on until so many characters have been added; whether any were."""
        if self._at > _KEPT:
            self._text, self._at = self._text[self._at :], 0
        pieces: list[str] = []
        got = 0
        while got < wanted and not self._ended:
            chunk = next(self._chunks, b"")
            self._ended = not chunk
            try:
                piece = self._decode(chunk, final=self._ended)
            except UnicodeDecodeError:
                raise SourceError("holds bytes that are not UTF-8") from None
            pieces.append(piece)
            got += len(piece)
        self._text += "".join(pieces)
        return got > 0

    def _wrong(self) -> SourceError:
        if self._ended:
            return SourceError("is not JSON, or ends in the middle of it")
        return SourceError("is not JSON")
