"""How many bytes the compact encodings of Redis and Valkey take, from the elements themselves.

Listpacks: listpack.c (and its README by S. Sanfilippo, 2017); before Redis 7.0 ziplists:
ziplist.c; integer sets: intset.c. What the allocator makes of it: jemalloc's size classes (four
to each doubling, 16 bytes apart below 128) and glibc's chunks of 16 bytes with 8 of a header.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

Rounding = Callable[[int], int]
"""Bytes asked for → bytes that used_memory counts."""

LISTPACK_HEAD = 7
_ZIPLIST_HEAD = 11
_INTSET_HEAD = 8


def roundings_of(allocator: str) -> tuple[Rounding, ...]:
    """Return how an allocator may round, as INFO names it: `jemalloc-5.3.0`, `libc`.

    The jemalloc that Redis and Valkey bring along has classes 8 bytes apart up to 64
    (--with-lg-quantum=3), that of most systems 16 bytes.
    """
    if allocator.startswith("jemalloc"):
        return _jemalloc_bundled, _jemalloc
    return (_glibc,) if allocator == "libc" else (_sixteens,)


def _jemalloc(size: int) -> int:
    if size <= 8:
        return 8
    if size <= 128:
        return -(-size // 16) * 16
    step = 1 << ((size - 1).bit_length() - 3)
    return -(-size // step) * step


def _jemalloc_bundled(size: int) -> int:
    return -(-max(size, 1) // 8) * 8 if size <= 64 else _jemalloc(size)


def _glibc(size: int) -> int:
    return max(24, -(-(size + 8) // 16) * 16 - 8)


def _sixteens(size: int) -> int:
    return -(-size // 16) * 16


def integer_of(data: bytes) -> int | None:
    """Return the 64-bit integer that a text is stored as, None when it is kept as text."""
    if not data or len(data) > 20:
        return None
    digits = data[1:] if data[:1] == b"-" else data
    if not digits.isdigit() or (digits[:1] == b"0" and data != b"0"):
        return None
    value = int(data)
    return value if -(2**63) <= value < 2**63 else None


def listpack(elements: Iterable[bytes]) -> int:
    """Return the bytes of a listpack with these elements."""
    return LISTPACK_HEAD + sum(map(listpack_entry, elements))


def listpack_entry(data: bytes) -> int:
    """Return the bytes that one element takes in a listpack."""
    value = integer_of(data)
    if value is None:
        length = len(data)
        size = length + (1 if length < 64 else 2 if length < 4096 else 5)
    elif 0 <= value <= 127:
        size = 1
    else:
        bits = (value if value >= 0 else ~value).bit_length() + 1
        size = 2 if bits <= 13 else next(1 + width for width in (2, 3, 4, 8) if bits <= 8 * width)
    return size + _back_length(size)


def _back_length(size: int) -> int:
    return 1 if size < 128 else 2 if size < 16_383 else 3 if size < 2_097_151 else 4


def ziplist(elements: Iterable[bytes]) -> int:
    """Return the bytes of a ziplist with these elements."""
    total, before = _ZIPLIST_HEAD, 0
    for data in elements:
        before = (1 if before < 254 else 5) + _ziplist_body(data)
        total += before
    return total


def _ziplist_body(data: bytes) -> int:
    value = integer_of(data)
    if value is None:
        length = len(data)
        return length + (1 if length < 64 else 2 if length < 16_384 else 5)
    if 0 <= value <= 12:
        return 1
    bits = (value if value >= 0 else ~value).bit_length() + 1
    return next(1 + width for width in (1, 2, 3, 4, 8) if bits <= 8 * width)


def intset(values: Iterable[int]) -> int:
    """Return the bytes of a set of these integers."""
    count, bits = 0, 0
    for value in values:
        count += 1
        bits = max(bits, (value if value >= 0 else ~value).bit_length() + 1)
    width = 2 if bits <= 16 else 4 if bits <= 32 else 8
    return _INTSET_HEAD + count * width


def text(length: int) -> int:
    """Return the bytes of a string of so many bytes with its header (sds.h)."""
    head = 1 if length < 32 else 3 if length < 256 - 3 else 5 if length < 65_536 - 5 else 9
    return length + head + 1
