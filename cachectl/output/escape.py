r"""Escaping: the one home of "nothing that a server sent reaches a terminal as it is".

Reversible: `unescape(escape(key)) == key` for every bytes value. A byte that is not UTF-8 or is an
ASCII control becomes `\xNN`; a character that moves the cursor, hides, reorders text or cannot be
told from a space becomes `\uNNNN`; the backslash itself is doubled; a space at either end becomes
`\x20`, since nobody sees it and every table strips it.
"""

from __future__ import annotations

import re
import unicodedata

# C0, DEL and C1 controls; the backslash; every space but the ASCII one; every format character
# (category Cf: zero width, bidirectional marks, tags); line and paragraph separators; surrogates
# (from surrogateescape); fillers and variation selectors that draw nothing; non-characters.
_DANGEROUS = re.compile(
    "[\x00-\x1f\x7f-\xa0\\\\\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2"
    "\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800"
    "\u3000\u3164\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff\ud800-\udfff\U000110bd"
    "\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)
_ESCAPED = re.compile(
    r"\\(?:(?P<plain>[\\\"'])|(?P<letter>[nrtab])|x(?P<byte>[0-9a-fA-F]{2})"
    r"|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8}))"
)
_LETTERS = {"n": b"\n", "r": b"\r", "t": b"\t", "a": b"\a", "b": b"\b"}
_EDGE_SPACE = re.compile(r"\A +| +\Z")


def _replace(match: re.Match[str]) -> str:
    return _escaped(match.group())


def _escaped(character: str) -> str:
    code = ord(character)
    if character == "\\":
        return "\\\\"
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape's way to carry a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def escape(key: bytes) -> str:
    """Return a key as one line of harmless text, from which `unescape` gets the bytes back."""
    return escape_text(key.decode("utf-8", "surrogateescape"))


def escape_text(text: str) -> str:
    """Return any other text of a server (an error, a client's name) as one harmless line."""
    text = _DANGEROUS.sub(_replace, text)
    if text[:1] == " " or text[-1:] == " ":
        text = _EDGE_SPACE.sub(lambda match: "\\x20" * len(match.group()), text)
    return text if text.isascii() else _without_loose_marks(text)


def escape_lines(text: str) -> str:
    """Return text of several lines with line breaks and tabs kept and all else made harmless.

    Backslashes stay single: this is for values and messages, which nobody reads back.
    """
    return _DANGEROUS.sub(
        lambda match: match.group() if match.group() in "\n\t\\" else _replace(match), text
    )


def escape_unencodable(text: str, encoding: str) -> str:
    r"""Return escaped text with what this encoding can't carry as `\uNNNN`, for `unescape` too."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return "".join(c if _fits(c, encoding) else _escaped(c) for c in text)
    return text


def escape_formula(text: str) -> str:
    r"""Return escaped text that no spreadsheet takes for a formula (CWE-1236): `=1+1` → `\x3d1+1`.

    `unescape` gets the original back, which an added apostrophe would not allow.
    """
    return _escape_first(text) if text.startswith(("=", "+", "-", "@")) else text


def unescape(shown: str) -> bytes:
    r"""Return the key that `escape` showed; raises ValueError when it can't be one.

    Takes also what redis-cli and people write: `\n`, `\r`, `\t`, `\a`, `\b`, `\"`, `\xFF`.
    """
    pieces: list[bytes] = []
    end = 0
    for match in _ESCAPED.finditer(shown):
        pieces.append(_plain(shown[end : match.start()], shown))
        pieces.append(_unescaped(match))
        end = match.end()
    pieces.append(_plain(shown[end:], shown))
    return b"".join(pieces)


def _unescaped(match: re.Match[str]) -> bytes:
    if match["byte"]:
        return bytes([int(match["byte"], 16)])
    if match["plain"]:
        return match["plain"].encode()
    if match["letter"]:
        return _LETTERS[match["letter"]]
    try:
        return chr(int(match["short"] or match["long"], 16)).encode("utf-8")
    except (ValueError, OverflowError) as error:
        raise ValueError(f"not a character: {match.group()}") from error


def _plain(text: str, shown: str) -> bytes:
    if "\\" in text:
        raise ValueError(f"not an escaped name, a backslash in it stands alone: {shown}")
    return text.encode("utf-8", "surrogateescape")


def _without_loose_marks(text: str) -> str:
    """Escape combining marks that would be drawn over what stands before the text, or pile up."""
    pieces: list[str] = []
    marks = _MOST_MARKS
    for character in text:
        if unicodedata.category(character) in ("Mn", "Me", "Mc"):
            marks += 1
            pieces.append(character if marks <= _MOST_MARKS else _escaped(character))
        else:
            marks = 0
            pieces.append(character)
    return "".join(pieces)


_MOST_MARKS = 4
"""No living script needs more marks on one letter; a pile of them reaches over other lines."""


def _fits(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _escape_first(text: str) -> str:
    return _escaped(text[0]) + text[1:]
