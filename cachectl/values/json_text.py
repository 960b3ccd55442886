"""JSON: checked, indented without changing a digit, and explained when it does not parse.

The text is indented token by token, because going through Python's objects would respell numbers,
drop duplicate keys and recurse. Grammar: RFC 8259, with NaN and the infinities that Python and
others write although it forbids them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

from cachectl.values.plain import clean, number, plain, shorten
from cachectl.values.sample import Found, Limits, Sample, listed

_BLANK = " \t\r\n"
# Possessive, so that a hostile text cannot make the pattern go back.
_TOKEN = re.compile(
    r"[ \t\r\n]*+(?:(?P<mark>[{}\[\],:])"
    r'|(?P<string>"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+")'
    r"|(?P<number>-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?)(?![0-9.eE+-])"
    r"|(?P<word>true|false|null|NaN|-?Infinity))"
)
_CUT_OFF = re.compile(
    r'[ \t\r\n]*(?:"(?:[^"\\\x00-\x1f]++|\\.)*+\\?'
    r"|[a-zA-Z]{0,8}|-?[0-9.eE+-]*)"
)
_LOG_LINE = re.compile(r"\[[A-Z][A-Za-z]*\]\s")
_PYTHON = re.compile(r"[\[{(]\s*'|[\[{,:]\s*(?:None|True|False)\b")
_HIGHEST_EXACT = 2**53
_LONGEST_INTEGER = 4000


@dataclass(slots=True)
class _Reading:
    """What the parser's hooks notice on the way."""

    duplicates: list[str] = field(default_factory=list)
    constants: list[str] = field(default_factory=list)
    inexact: bool = False
    unprintable: bool = False

    def mapping(self, pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) < len(pairs) and len(self.duplicates) < 100:
            seen: set[str] = set()
            for key, _ in pairs:
                if key in seen:
                    self.duplicates.append(shorten(key, 40))
                seen.add(key)
        return found

    def integer(self, digits: str) -> object:
        if len(digits) > _LONGEST_INTEGER:
            self.unprintable = True
            return f"integer of {len(digits.lstrip('-')):,} digits"
        value = int(digits)
        self.inexact = self.inexact or abs(value) > _HIGHEST_EXACT
        return value

    def real(self, digits: str) -> object:
        value = number(float(digits))
        return value if isinstance(value, float) else digits

    def constant(self, name: str) -> str:
        self.constants.append(name)
        return name

    def notes(self) -> list[str]:
        notes = []
        if self.duplicates:
            notes.append(
                f"Duplicate keys: {listed(self.duplicates, 5)}; most readers keep the last"
            )
        if self.constants:
            notes.append(f"{listed(self.constants)} is not JSON; strict readers refuse the value")
        if self.inexact:
            notes.append("Integers beyond 2^53 lose digits in JavaScript and other readers")
        if self.unprintable:
            notes.append(
                f"Integers of more than {_LONGEST_INTEGER:,} digits are named, not decoded"
            )
        return notes

    def decoder(self) -> json.JSONDecoder:
        return json.JSONDecoder(
            object_pairs_hook=self.mapping,
            parse_int=self.integer,
            parse_float=self.real,
            parse_constant=self.constant,
        )


def decode(sample: Sample) -> Found | None:
    """Recognise objects, arrays, strings in quotes, and JSON lines; say why others do not parse."""
    if sample.data.lstrip(b" \t\r\n\xef\xbb\xbf")[:1] not in (b"{", b"[", b'"'):
        return None
    if sample.text is None:
        return _not_utf8(sample)
    text = sample.text.removeprefix("\ufeff")
    body = text.strip(_BLANK)
    if body[:1] not in ("{", "[", '"'):
        return None
    notes = (
        ["Begins with a byte order mark; strict readers refuse it"] if text != sample.text else []
    )
    if body[0] == '"':
        return _string(body, sample, notes)
    if not sample.complete:
        return _prefix(body, sample, notes)
    reading = _Reading()
    try:
        tree, more = plain(reading.decoder().decode(text), sample.limits)
    except json.JSONDecodeError as error:
        return _unparsable(text, error, sample)
    except RecursionError:
        return _too_deep(text, sample, notes)
    rendered, _ = indent(body, sample.limits)
    notes += [*reading.notes(), *more]
    return Found("json", "JSON", rendered, tree, tuple(notes))


def indent(text: str, limits: Limits) -> tuple[str, int | None]:
    """Return the JSON text with one member a line, and the offset of the first error or None.

    Words and brackets are checked, not the places of commas and colons: json.loads does that.
    Nesting beyond `limits.depth` stays on one line, for its indentation would grow as the square
    of the depth. Stops at `limits.text` characters.
    """
    out: list[str] = []
    room = limits.text
    open_marks: list[str] = []
    position = 0
    fresh = False
    while room > 0:
        match = _TOKEN.match(text, position)
        if match is None or (not open_marks and position):
            rest = text[position:]
            return "".join(out), position if rest.strip(_BLANK) or open_marks else None
        word = match.group(match.lastgroup or 0)
        if word in ("}", "]"):
            if not open_marks or open_marks.pop() != word:
                return "".join(out), position
            piece = word if fresh else _line(len(open_marks), limits) + word
            fresh = False
        else:
            piece = _line(len(open_marks), limits) if fresh else ""
            fresh = word in ("{", "[")
            if fresh:
                open_marks.append("}" if word == "{" else "]")
            piece += _spelled(word)
            if word == ",":
                piece += _line(len(open_marks), limits) or " "
            elif word == ":":
                piece += " "
        out.append(piece)
        room -= len(piece)
        position = match.end()
    out.append("…")
    return "".join(out), None


def _line(depth: int, limits: Limits) -> str:
    return "\n" + "  " * depth if depth <= limits.depth else ""


def _spelled(token: str) -> str:
    r"""Show `\u043f` as the letter it is; keep every other escape."""
    if "\\u" not in token:
        return token
    return json.dumps(json.loads(token), ensure_ascii=False)


def _string(body: str, sample: Sample, notes: list[str]) -> Found | None:
    if not sample.complete or body[-1:] != '"':
        return None
    try:
        text = json.loads(body)
    except json.JSONDecodeError:
        return None
    if not isinstance(text, str):
        return None
    text = clean(text)
    if text.lstrip(_BLANK)[:1] in ("{", "["):
        notes.append("JSON inside a JSON string: it was probably encoded twice")
        return Found("json", "JSON string", notes=tuple(notes), inner=sample.inside(text.encode()))
    return Found("json", "JSON string", text, text, tuple(notes))


def _prefix(body: str, sample: Sample, notes: list[str]) -> Found:
    rendered, wrong = indent(body, sample.limits)
    if wrong is None or _CUT_OFF.fullmatch(body, wrong):
        return Found("json", "JSON, its beginning", rendered, None, tuple(notes))
    if lines := _lines(body.rpartition("\n")[0], sample):
        return lines
    where = _place(body, wrong)
    damaged = f"looks like JSON but does not parse: unexpected text at {where}"
    return Found("utf8", "text that begins like JSON", body, damaged=damaged)


def _too_deep(text: str, sample: Sample, notes: list[str]) -> Found:
    rendered, wrong = indent(text, sample.limits)
    notes.append("Nested too deeply to decode and check; many readers refuse it")
    if wrong is None:
        return Found("json", "JSON", rendered, None, tuple(notes))
    damaged = f"looks like JSON but does not parse: unexpected text at {_place(text, wrong)}"
    return Found("utf8", "text that begins like JSON", text, notes=tuple(notes), damaged=damaged)


def _unparsable(text: str, error: json.JSONDecodeError, sample: Sample) -> Found | None:
    if error.msg == "Extra data" and (lines := _lines(text, sample)):
        return lines
    if _LOG_LINE.match(text.lstrip(_BLANK)):
        return None
    place = f"line {error.lineno}, column {error.colno}"
    reason = error.msg.removesuffix(" at")
    damaged = f"looks like JSON but does not parse: {reason} at {place}"
    if text.strip(_BLANK) == "[object Object]":
        damaged = "a JavaScript object turned into text: what it held was never stored"
    elif _PYTHON.search(text, 0, 4096):
        damaged += " (written as Python's repr, not as JSON?)"
    elif error.msg.startswith("Unterminated") or not text[error.pos :].strip(_BLANK):
        damaged += " (cut off?)"
    return Found("utf8", "text that begins like JSON", text, damaged=damaged)


def _lines(text: str, sample: Sample) -> Found | None:
    lines = [line for line in text.split("\n") if line.strip(_BLANK)]
    if not lines:
        return None
    reading = _Reading()
    try:
        decoder = reading.decoder()
        values = [decoder.decode(line) for line in lines]
    except (json.JSONDecodeError, RecursionError):
        return None
    tree, notes = plain(values, sample.limits)
    title = f"JSON lines, {len(lines):,} of them"
    return Found("ndjson", title, text, tree, (*reading.notes(), *notes))


def _not_utf8(sample: Sample) -> Found | None:
    """Poisoned JSON is worth a word, but a bitmap that happens to begin with a bracket is not."""
    data = sample.data
    head = data[:1024]
    readable = sum(0x20 <= byte < 0x7F or byte in b"\t\r\n" for byte in head)
    if data.lstrip()[:1] not in (b"{", b"[") or readable < 0.8 * len(head) or len(head) < 4:
        return None
    try:
        data.decode()
    except UnicodeDecodeError as error:
        damaged = f"looks like JSON but is not UTF-8: byte 0x{data[error.start]:02x} at offset "
        text = data.decode("utf-8", "replace")
        return Found(
            "binary", "bytes that begin like JSON", text, damaged=damaged + f"{error.start:,}"
        )
    return None


def _place(text: str, offset: int) -> str:
    line_start = text.rfind("\n", 0, offset) + 1
    return f"line {text.count(chr(10), 0, offset) + 1}, column {offset - line_start + 1}"
