"""Redis's glob patterns, matched on this side exactly as the server would, in bounded time.

The meaning is that of `stringmatchlen` in the servers' util.c (same from Redis 6.2 to 8.2 and
Valkey 9.1): `*`, `?`, `[a-z]`, `[^a-z]`, and a backslash that takes the next byte literally, on
bytes. Oddities are kept: a class that is never closed ends with the pattern, `[]` matches nothing,
a closing bracket can end a range, and only the lone `*` matches the empty name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

STAR = "*"
MAX_LENGTH = 1024
"""Longer patterns crash servers that lack the fix for CVE-2024-31228; they are never sent."""
MAX_STARS = 2
"""More stars can block servers that lack the fix for CVE-2022-36021 for minutes."""

Token = str | frozenset[int]
_ANY = frozenset(range(256))


def matcher(pattern: bytes) -> Callable[[bytes], object]:
    """Return a function that says (by truth value) whether a name matches the whole pattern."""
    if pattern == b"*":
        return lambda _name: True
    return re.compile(regex(pattern), re.DOTALL).fullmatch


def regex(pattern: bytes) -> bytes:
    """Return the regular expression (for DOTALL, to match a whole name) that a pattern means."""
    return _regex(list(tokens(pattern)))


def tokens(pattern: bytes) -> Iterator[Token]:
    """Yield STAR, or the set of byte values that may stand in one place, in order."""
    at, end = 0, len(pattern)
    while at < end:
        match pattern[at : at + 1]:
            case b"*":
                yield STAR
            case b"?":
                yield _ANY
            case b"[":
                allowed, at = _class(pattern, at + 1)
                yield allowed
            case b"\\" if at + 1 < end:
                at += 1
                yield frozenset((pattern[at],))
            case literal:
                yield frozenset(literal)
        at += 1


def _class(pattern: bytes, at: int) -> tuple[frozenset[int], int]:
    """Return the bytes that a class allows, and where its last byte stands."""
    end = len(pattern)
    negated = pattern[at : at + 1] == b"^"
    at += negated
    allowed: set[int] = set()
    while at < end and pattern[at] != ord("]"):
        if pattern[at] == ord("\\") and at + 1 < end:
            at += 1
            allowed.add(pattern[at])
        elif at + 2 < end and pattern[at + 1] == ord("-"):
            allowed.update(_range(pattern[at], pattern[at + 2]))
            at += 2
        else:
            allowed.add(pattern[at])
        at += 1
    return frozenset(_ANY - allowed if negated else allowed), min(at, end - 1)


def _range(first: int, last: int) -> Iterator[int]:
    # The server compares `char`, which is signed on x86: 0x80–0xff lie before 0x00.
    low, high = sorted((_signed(first), _signed(last)))
    return (value % 256 for value in range(low, high + 1))


def _signed(value: int) -> int:
    return value - 256 if value > 127 else value


def _regex(parts: list[Token]) -> bytes:
    """Return a regular expression without exponential backtracking.

    What stands between two stars is best matched as early as possible, so each such piece is an
    atomic group: once found it is never given up (the idea of the standard library's fnmatch).
    """
    pieces: list[list[frozenset[int]]] = [[]]
    for part in parts:
        if isinstance(part, str):
            pieces.append([])
        else:
            pieces[-1].append(part)
    first, *middle = (b"".join(map(one_byte, piece)) for piece in pieces)
    if not middle:
        return first
    *middle, last = middle
    groups = b"".join(b"(?>.*?" + piece + b")" for piece in middle if piece)
    # The server's loop does not run on an empty name, so not even stars match it there.
    return b"(?!\\Z)" + first + groups + b".*" + last


def one_byte(allowed: frozenset[int]) -> bytes:
    """Return the regular expression for one byte out of these."""
    if len(allowed) == 256:
        return b"."
    if not allowed:
        return b"(?!)"
    if len(allowed) == 1:
        return b"\\x%02x" % min(allowed)
    return b"[" + b"".join(b"\\x%02x" % value for value in sorted(allowed)) + b"]"


def literal_prefix(pattern: bytes) -> bytes:
    """Return the bytes that every matching name starts with."""
    prefix = bytearray()
    for token in tokens(pattern):
        if isinstance(token, str) or len(token) != 1:
            break
        prefix += bytes(token)
    return bytes(prefix)


def escape(name: bytes) -> bytes:
    r"""Return the pattern that matches this name only: `a[1]*` becomes `a\[1\]\*`."""
    return re.sub(rb"([*?\[\]\\])", rb"\\\1", name)


def is_safe(pattern: bytes, *, linear: bool) -> bool:
    """Return whether a server may be sent this pattern without risk of hanging or crashing.

    linear: the server is known to match in bounded time (CVE-2022-36021 is fixed there).
    """
    if len(pattern) > MAX_LENGTH:
        return False
    return linear or sum(token == STAR for token in tokens(pattern)) <= MAX_STARS


def prefix_pattern(pattern: bytes) -> bytes:
    """Return a harmless pattern that matches all that `pattern` does: its prefix and a star."""
    return escape(literal_prefix(pattern)[: MAX_LENGTH // 2 - 1]) + b"*"
