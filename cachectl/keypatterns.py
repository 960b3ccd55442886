r"""Patterns of a policy's rules: globs in which `{…}` stands for a part of the name that varies.

    user:{id}:profile     {id} is what `scan` calls so: a run of decimal digits
    session:{uuid}        and so on: uuid, hex, token, date, ts, ip, email, num, version, ticker
    cart:{customer}:*     any other word stands for one segment, whatever it says; so does {*},
                          which may be empty; the rest is a glob
    \{flash\}:*           a backslash takes the braces literally

Braces around anything else are themselves, as in `{user:{id}}:cart`, where they mark a hash tag.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cachectl import glob

LONGEST_NAME = 1024
"""Bytes: a longer name fits no pattern with a placeholder, so that matching takes bounded time."""
MOST_WILD = 2
"""Stars and placeholders of one pattern that can end in more than one place."""

_PLACEHOLDER = re.compile(rb"\\.|\{(\*|[a-z][a-z0-9_]{0,30})\}", re.DOTALL)
_STRONG, _DOT, _WEAK = b":/|;", b".", b"-_"

KINDS: dict[bytes, bytes] = {
    b"id": rb"[0-9]++",
    b"uuid": rb"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
    b"hex": rb"(?>[0-9a-f]{8,}|[0-9A-F]{8,})",
    b"token": (
        rb"(?>(?=[A-Za-z_+.\-]*[0-9])[A-Za-z0-9_+.\-]{10,}={0,2}|[A-Za-z0-9_+.\-]{16,}={0,2})"
    ),
    b"date": rb"(?>[0-9]{4}[\-._]?[0-9]{2}[\-._]?[0-9]{2}|[0-9]{4}-W?[0-9]{2})",
    b"ts": (
        rb"(?>[0-9]{10,19}|[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}(?::?[0-9]{2}){0,2}"
        rb"(?:[.,][0-9]+)?(?:Z|[+\-][0-9]{2}:?[0-9]{2})?)"
    ),
    b"ip": rb"[0-9]{1,3}(?:\.[0-9]{1,3}){3}",
    b"email": rb"[A-Za-z0-9._%+\-]{1,64}@[A-Za-z0-9.\-]++",
    b"num": rb"[0-9]++\.[0-9]++",
    b"version": rb"[vV]?[0-9]++\.[0-9]++\.[0-9]++",
    b"ticker": rb"[A-Z^][A-Z0-9]{0,11}(?:[.\-_=][A-Z0-9]{1,6})?",
    b"java": rb"\xac\xed\x00\x05t..",
}
"""What `scan` puts in place of a varying part → what that matches.

Each takes a run as long as it can and looks at no digit's value, so that names which differ in
digits alone fit alike.
"""


_UUID = rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_DIGEST = rb"(?=[0-9]*[a-f])[0-9a-f]{16,128}"
# Whole segments only, in a page of names joined by newlines.
_UUIDS = re.compile(rb"(?<![^:/|;{\n])" + _UUID + rb"(?![^:/|;}\n])")
_DIGESTS = re.compile(rb"(?<![^:/|;{\n])" + _DIGEST + rb"(?![^:/|;}\n])")
UUID_MASK, DIGEST_MASK = b"\x01", b"\x02"
_SHORTEST_DIGEST = 16
_OF_DIGESTS = frozenset(b"0123456789abcdef-")
# What may stand for anything within braces, or for more than one segment.
_UNBOUND = (b"java", b"ts")


class PatternError(ValueError):
    """A pattern that cannot be used; the message is a sentence without its subject."""


@dataclass(frozen=True, slots=True)
class KeyPattern:
    """A pattern, compiled.

    text: as it was written. expression: a regular expression for DOTALL and the whole name, without
    groups. simple: whether it is a glob without placeholders. exact: how many bytes at the start
    of a name have to be looked at digit by digit; behind them one digit is as good as another.
    None: one is not, and nobody can say where. prefix: what every name that fits begins with.
    blind: whether a segment that is a UUID or a digest (see `masked`) is as good as any other such.
    """

    text: bytes
    expression: bytes
    simple: bool
    exact: int | None
    prefix: bytes
    blind: bool

    def fits(self, key: bytes) -> bool:
        """Return whether a name fits the pattern."""
        if not self.simple and len(key) > LONGEST_NAME:
            return False
        return re.fullmatch(self.expression, key, re.DOTALL) is not None


def compiled(text: bytes) -> KeyPattern:
    """Return the pattern that `text` writes. Raises PatternError."""
    if not text:
        raise PatternError("must not be empty")
    if len(text) > glob.MAX_LENGTH:
        raise PatternError(f"must not be longer than {glob.MAX_LENGTH} bytes")
    parts = list(pieces(text))
    simple = all(name is None for _, name in parts)
    if simple:
        # A lone star matches even the empty name, as `glob.matcher` has it.
        expression = b".*" if text == b"*" else glob.regex(text)
    else:
        expression = _expression(parts, _separators(text))
    first, placeholder = parts[0]
    prefix = b"" if placeholder else glob.literal_prefix(first)
    return KeyPattern(text, expression, simple, _exact(parts), prefix, _is_blind(parts))


def pieces(text: bytes) -> Iterator[tuple[bytes, bytes | None]]:
    """Yield (glob, None) and (placeholder as written, its name), in order."""
    at = 0
    for match in _PLACEHOLDER.finditer(text):
        if match[1] is None:
            continue
        if match.start() > at:
            yield text[at : match.start()], None
        yield match[0], match[1]
        at = match.end()
    if at < len(text):
        yield text[at:], None


def _separators(text: bytes) -> bytes:
    """Return what ends a segment in such names: weak separators where no other stands."""
    literal = b"".join(piece for piece, name in pieces(text) if name is None)
    if any(byte in literal for byte in _STRONG):
        return _STRONG
    return _STRONG + (_DOT if _DOT in literal else _WEAK)


def _expression(parts: list[tuple[bytes, bytes | None]], separators: bytes) -> bytes:
    wild = 0
    inside = b"[^" + re.escape(separators) + b"]"
    found: list[bytes] = []
    for number, (piece, name) in enumerate(parts):
        last = number == len(parts) - 1
        if name is None:
            listed = list(glob.tokens(piece))
            stars = listed.count(glob.STAR) - (last and listed[-1] == glob.STAR)
            wild += stars
            found += (b".*" if isinstance(t, str) else glob.one_byte(t) for t in listed)
        elif name in KINDS:
            found.append(KINDS[name])
        else:
            ends = last or parts[number + 1][0][0] in separators
            wild += not ends
            least = b"*" if name == b"*" else b"+"
            found.append(inside + least + (b"+" if ends else b""))
    if wild > MOST_WILD:
        raise PatternError(f"has more than {MOST_WILD} stars and placeholders with an open end")
    return b"".join(found)


def _exact(parts: list[tuple[bytes, bytes | None]]) -> int | None:
    """Return KeyPattern.exact."""
    digits = frozenset(b"0123456789")
    at, fixed, exact = 0, True, 0
    for piece, name in parts:
        if name is not None:
            fixed = False
            continue
        for token in glob.tokens(piece):
            if isinstance(token, str):
                fixed = False
                continue
            at += 1
            if token & digits and not token >= digits:
                if not fixed:
                    return None
                exact = at
    return exact


def masked(keys: list[bytes]) -> list[bytes]:
    """Return the names with segments that are UUIDs or digests replaced by one byte each.

    A page in which this could not be undone (a name has a newline or such a byte) is returned as
    it is.
    """
    last = _last_masked[0]
    if keys == last[0]:  # an audit asks of each page for the namespaces, and for the rules
        return last[1]
    found = _masked(keys)
    _last_masked[0] = keys, found
    return found


_last_masked: list[tuple[list[bytes], list[bytes]]] = [([], [])]


def _masked(keys: list[bytes]) -> list[bytes]:
    text = b"\n".join(keys)
    if UUID_MASK in text or DIGEST_MASK in text:
        return keys
    if text.count(b"-") >= 4:
        text = _UUIDS.sub(UUID_MASK, text)
    found = _DIGESTS.sub(DIGEST_MASK, text).split(b"\n")
    return found if len(found) == len(keys) else keys


def _is_blind(parts: Sequence[tuple[bytes, bytes | None]]) -> bool:
    """Return KeyPattern.blind; False where it would take long to say."""
    segments = _segments(parts)
    return segments is not None and all(map(_passes_over, segments))


_Segment = list[bytes | None]
"""A star (None), placeholders with their braces, and runs of literal bytes."""


def _segments(parts: Sequence[tuple[bytes, bytes | None]]) -> list[_Segment] | None:
    """Return the segments of a pattern; None when it has classes or braces of its own."""
    segments: list[_Segment] = [[]]
    for piece, name in parts:
        if name is not None:
            if name in _UNBOUND:
                return None
            segments[-1].append(b"{" + name + b"}")
            continue
        run = b""
        for token in (*glob.tokens(piece), None):
            byte = b""
            if token is not None and not isinstance(token, str):
                if len(token) != 1 or token & frozenset(b"{}\n"):
                    return None
                byte = bytes(token)
            if byte and byte not in _STRONG:
                run += byte
                continue
            if run:
                segments[-1].append(run)
                run = b""
            if byte:
                segments.append([])
            elif token is not None:
                segments[-1].append(None)
    return segments


def _passes_over(segment: _Segment) -> bool:
    """Return whether a segment fits all UUIDs and digests, or none of them."""
    literals = [one for one in segment if one is not None and not one.startswith(b"{")]
    if len(segment) == 1 and not literals:  # a star, or a placeholder
        return True
    if None not in segment and len(literals) == len(segment):
        whole = b"".join(literals)
        return len(whole) < _SHORTEST_DIGEST or not _OF_DIGESTS.issuperset(whole)
    stars = segment.count(None)
    placeholders = len(segment) - len(literals) - stars
    if placeholders > (0 if stars else 1):
        return False
    # No run of it can stand within one; but there may be one in braces, as a hash tag, beside it.
    return bool(literals) and not any(map(_OF_DIGESTS.issuperset, literals))


def pattern_of(namespace: bytes) -> bytes:
    """Return the pattern for a namespace as `scan` shows it; bytes beyond UTF-8 become `?`."""
    parts = re.split(rb"(\{(?:%s|binary|\*)\})" % b"|".join(KINDS), namespace)
    return b"".join(part if number % 2 else _literal(part) for number, part in enumerate(parts))


def _literal(text: bytes) -> bytes:
    try:
        text.decode()
    except UnicodeDecodeError:
        text = text.decode("ascii", "replace").replace("\ufffd", "\0").encode()
    escaped = glob.escape(text).replace(b"\0", b"?")
    return _PLACEHOLDER.sub(
        lambda match: match[0] if match[1] is None else b"\\{" + match[1] + b"\\}", escaped
    )
