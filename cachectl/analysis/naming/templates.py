"""The name of a key → its template: what varies is replaced by what it is.

`user:123:profile` → `user:{id}:profile`, `{user:42}:cart` → `{user:{id}}:cart`. Pure and without
memory: each key is judged alone, so a word that merely happens to vary (`user:alice`) stays here
and is folded later, over all names (folding.py).

A template is a tuple of labels, one for each segment, each with the separator that ends it; the
last one ends the key and has none. `b"".join(labels)` is the template as people see it. A template
is its own template.
"""

from __future__ import annotations

import re

SEPARATORS = b":/|;"
"""They structure a name wherever they stand. `.`, `-` and `_` do so only in names without them."""

MAX_SEGMENTS = 12
MAX_SEGMENT_BYTES = 256

Labels = tuple[bytes, ...]

_SEGMENTS = re.compile(rb"[^:/|;]*[:/|;]?")
_WEAK_SEGMENTS = re.compile(rb"[^\-_]*[\-_]?")
_DOTTED_SEGMENTS = re.compile(rb"[^.]*\.?")
_HAS_SEPARATOR = re.compile(rb"[:/|;]")

_START, _END = rb"(?<![0-9A-Za-z])", rb"(?![0-9A-Za-z])"
_MOMENT = re.compile(
    _START + rb"\d{4}-\d\d-\d\d[T ]\d\d(?::?\d\d){0,2}(?:[.,]\d+)?(?:Z|[+\-]\d\d:?\d\d)?" + _END
)
_JAVA = re.compile(rb"\xac\xed\x00\x05t[\x00-\xff]{2}", re.DOTALL)
"""How Java serialises a string: Spring's default for keys. The two bytes are its length."""

# Groups in the order of _COMPOSITE_NAMES. They depend on the shape of a name alone, that is, not
# on which digits stand where digits stand.
_COMPOSITES = re.compile(
    _START
    + rb"(?:([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})"
    + rb"|([A-Za-z0-9._%+\-]{1,64}@[A-Za-z0-9\-]{1,63}(?:\.[A-Za-z0-9\-]{1,63}){1,8})"
    + rb"|(\d{4}([\-._])\d\d\4\d\d|\d{4}-W?\d\d)"
    + rb"|(\d{1,3}(?:\.\d{1,3}){3})"
    + rb"|([vV]?\d+\.\d+\.\d+)"
    + rb"|(\d+\.\d+)"
    + rb"|(eyJ[A-Za-z0-9_\-]{8,}(?:\.[A-Za-z0-9_\-]{4,}){1,2}))"
    + _END
)
_COMPOSITE_NAMES = {
    1: b"{uuid}",
    2: b"{email}",
    3: b"{date}",
    5: b"{ip}",
    6: b"{version}",
    7: b"{num}",
    8: b"{token}",
}
# Not beside a placeholder: what was a digest a moment ago must not make the rest look random.
_OPAQUE = re.compile(rb"(?<![0-9A-Za-z_+\-}])[A-Za-z0-9_+\-]{16,}={0,2}(?![0-9A-Za-z_+\-={])")
_WORDS = re.compile(rb"[0-9A-Za-z]+")
# Words of letters, none so long that it may be a digest or drawn by lot.
_PLAIN = re.compile(rb"[_.\-{}*]*(?:[A-Za-z]{1,15}[_.\-{}*]+)*[A-Za-z]{0,15}").fullmatch
_DIGIT_RUNS = re.compile(rb"[0-9]+")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_HEX = re.compile(rb"(?:[0-9a-f]+|[0-9A-F]+)").fullmatch
_LETTERS_THEN_DIGITS = re.compile(rb"[A-Za-z]+\d+").fullmatch
_PIECES = re.compile(rb"[_+\-=]")
_KINDS = bytes.maketrans(
    bytes([*range(97, 123), *range(65, 91), *range(48, 58)]), b"a" * 26 + b"A" * 26 + b"0" * 10
)
_DIGITS = b"0123456789"

# Digests are as long as this, also when chance made one of decimal digits alone.
_DIGEST_LENGTHS = frozenset({24, 32, 40, 56, 64, 96, 128})
_LEAST_HEX = 8
_LEAST_TOKEN = 16
_LONGEST_WORD = 40

MOMENT_RANGES: dict[int, tuple[bytes, bytes]] = {
    8: (b"19700101", b"21000101"),
    10: (b"1000000000", b"2200000000"),
    13: (b"1000000000000", b"2200000000000"),
    14: (b"19700101000000", b"21000101000000"),
    16: (b"1000000000000000", b"2200000000000000"),
    19: (b"1000000000000000000", b"2200000000000000000"),
}
"""Length of a decimal number → [low, high) of what may be a date or a time of 1970–2100: days,
Unix seconds, milliseconds, calendar seconds, microseconds, nanoseconds."""


def template(key: bytes) -> bytes:
    """Return the template of a key name (any bytes)."""
    return b"".join(labels(key))


def labels(key: bytes) -> Labels:
    """Return the template of a key name as labels, at least one and at most MAX_SEGMENTS."""
    prefix = b""
    if key.startswith(b"\xac\xed"):
        bare = _JAVA.sub(b"", key, count=1)
        prefix, key = (b"{java}", bare) if bare != key else (b"", key)
    if b"-" in key:
        key = _MOMENT.sub(b"{ts}", key)
    if _HAS_SEPARATOR.search(key):
        found = [_label_of_segment(part) for part in segments(key)]
    else:
        found = weak_segments(key)
    if prefix:
        found[0] = prefix + found[0]
    return tuple(found)


def segments(key: bytes) -> list[bytes]:
    """Cut a name after its separators; the last part ends the name and may be empty.

    Whatever follows the first MAX_SEGMENTS - 1 parts is one part.
    """
    return _capped(_SEGMENTS.findall(key), SEPARATORS)


def weak_segments(key: bytes) -> list[bytes]:
    """Cut a name that has no separators at `.`, else at `-` and `_`, but not UUIDs and the like."""
    text = label(key)
    if b"." in text:
        return _capped(_DOTTED_SEGMENTS.findall(text), b".")
    return _capped(_WEAK_SEGMENTS.findall(text), b"-_")


def _capped(parts: list[bytes], separators: bytes) -> list[bytes]:
    # findall ends with an empty match, which is a segment only where a separator ends the name.
    if len(parts) > 1 and parts[-2][-1] not in separators:
        parts.pop()
    if len(parts) > MAX_SEGMENTS:
        parts[MAX_SEGMENTS - 1 :] = [b"".join(parts[MAX_SEGMENTS - 1 :])]
    return parts


def _label_of_segment(part: bytes) -> bytes:
    if part and part[-1] in SEPARATORS:
        if _HAS_SEPARATOR.search(part, 0, len(part) - 1):
            return b"{*}"
        return label(part[:-1]) + part[-1:]
    if _HAS_SEPARATOR.search(part):
        return b"{*}"
    return label(part)


def label(text: bytes) -> bytes:
    """Return what stands for one segment (without its separator) in a template."""
    if len(text) <= MAX_SEGMENT_BYTES and _PLAIN(text):
        return text
    if len(text) > MAX_SEGMENT_BYTES:
        return b"{token}" if text.isascii() and not _CONTROL.search(text) else b"{binary}"
    if text.isalnum():
        return _label_of_word(text)
    if _is_binary(text):
        return b"{binary}"
    text = _OPAQUE.sub(_opaque, _COMPOSITES.sub(_composite, text))
    found = _WORDS.sub(_word, text)
    return found if len(found) <= MAX_SEGMENT_BYTES else b"{token}"


def _is_binary(text: bytes) -> bool:
    if _CONTROL.search(text):
        return True
    if text.isascii():
        return False
    try:
        text.decode()
    except UnicodeDecodeError:
        return True
    return False


def _composite(match: re.Match[bytes]) -> bytes:
    return _COMPOSITE_NAMES[match.lastindex or 0]


def _opaque(match: re.Match[bytes]) -> bytes:
    # base64url uses `-` and `_` as digits: one random piece between them gives the whole away.
    text = match[0]
    longest = max(_PIECES.split(text), key=len)
    if len(longest) == len(text) or (len(longest) >= _LEAST_HEX and _HEX(longest)):
        return text
    return b"{token}" if len(longest) >= 10 and _is_strewn(longest) else text


def _word(match: re.Match[bytes]) -> bytes:
    return _label_of_word(match[0])


def _label_of_word(text: bytes) -> bytes:
    """Return the label of letters and digits with nothing else between."""
    if text.isdigit():
        return number_label(text)
    length = len(text)
    if length < _LEAST_HEX:
        return text
    if _HEX(text):
        if length >= _LEAST_TOKEN:
            return b"{hex}"
        digits = length - len(text.translate(None, _DIGITS))
        return text if digits < 2 or _LETTERS_THEN_DIGITS(text) else b"{hex}"
    return b"{token}" if length > _LONGEST_WORD or looks_random(text) else text


def number_label(text: bytes) -> bytes:
    """Return `{id}`, `{date}`, `{ts}` or `{hex}` for a run of decimal digits.

    A number that could be a time is only a suspicion: where plain ids stand beside it in greater
    numbers, folding makes it one of them.
    """
    length = len(text)
    bounds = MOMENT_RANGES.get(length)
    if bounds is not None and bounds[0] <= text < bounds[1] and _is_calendar(text, length):
        return b"{date}" if length == 8 else b"{ts}"
    return b"{hex}" if length in _DIGEST_LENGTHS else b"{id}"


def _is_calendar(text: bytes, length: int) -> bool:
    if length not in (8, 14):
        return True
    return b"01" <= text[4:6] <= b"12" and b"01" <= text[6:8] <= b"31"


def looks_random(text: bytes) -> bool:
    """Say whether a run of letters and digits looks drawn by lot; under 16 characters never.

    Names that people give keep capitals at the head of words and digits in one place; in random
    text they are strewn about. What escapes (a tenth of 16 random characters, a twentieth of 22)
    folding catches, because it stands beside what did not.
    """
    return len(text) >= _LEAST_TOKEN and _is_strewn(text)


def _is_strewn(text: bytes) -> bool:
    kinds = text.translate(_KINDS)
    runs = 1 + sum(map(kinds.count, (b"aA", b"Aa", b"a0", b"0a", b"A0", b"0A")))
    if b"a" in kinds and b"A" in kinds:
        return runs * 2.1 >= len(text)
    return runs >= 4 and runs * 4 >= len(text)


def digit_runs(name: bytes) -> list[tuple[int, int]]:
    """Return (start, end) of each run of digits outside of dates, UUIDs, addresses and the like."""
    for composite in (_MOMENT, _COMPOSITES):
        name = composite.sub(lambda match: b"." * len(match[0]), name)
    return [match.span() for match in _DIGIT_RUNS.finditer(name)]
