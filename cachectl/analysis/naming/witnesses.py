"""Names that fit a pattern, with everything in its open places that could make a difference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, product
from math import prod
from random import Random

from cachectl import glob
from cachectl.keypatterns import compiled, pieces

MOST = 400
"""Names of one pattern."""
_MEMBERS = 8
"""Bytes of a class that are tried."""
_STAR = (b"", b"\x01", b"7", b"x:\x01:7")
_FREE = (b"\x01", b"7", b"x-7.\x01")
_OF_KIND: dict[bytes, tuple[bytes, ...]] = {
    b"id": (b"7", b"1234567890"),
    b"uuid": (b"0b2f1c3e-9d8a-4c55-8f00-444455556666",),
    b"hex": (b"deadbeef01", b"DEADBEEF", b"12345678"),
    b"token": (b"q8Zk2LmN9x_Q", b"abcdefghijklmnop"),
    b"date": (b"2026-11-25", b"20261125", b"2026-W48"),
    b"ts": (b"1790000000", b"2026-11-25T10:00:00Z"),
    b"ip": (b"10.0.0.1",),
    b"email": (b"a.b@example.com",),
    b"num": (b"1.5",),
    b"version": (b"1.2.3", b"v1.2.3"),
    b"ticker": (b"AAPL", b"BRK.B"),
    b"java": (b"\xac\xed\x00\x05t\x00\x04",),
    b"*": (b"", *_FREE),
}


def witnesses(pattern: bytes) -> list[bytes]:
    """Return names that fit a pattern, at most MOST; none when it fits nothing."""
    places: list[tuple[bytes, ...]] = []
    for text, name in pieces(pattern):
        if name is not None:
            places.append(_OF_KIND.get(name, _FREE))
            continue
        places += [_STAR if isinstance(t, str) else _of_set(t) for t in glob.tokens(text)]
    fits = compiled(pattern).fits
    return list(islice(filter(fits, _combined(places)), MOST))


def _combined(places: Sequence[tuple[bytes, ...]]) -> Iterator[bytes]:
    """Yield every combination, or where they are too many, of each place all, and some by lot."""
    if prod(map(len, places)) <= MOST:
        yield from map(b"".join, product(*places))
        return
    for at, options in enumerate(places):
        for one in options:
            yield b"".join((*(p[0] for p in places[:at]), one, *(p[0] for p in places[at + 1 :])))
    draw = Random(len(places))  # noqa: S311 - the same names each time
    for _ in range(MOST):
        yield b"".join(draw.choice(options) for options in places)


def _of_set(allowed: frozenset[int]) -> tuple[bytes, ...]:
    if len(allowed) == 256:
        return (b"\x01", b"7", b":")
    ordered = sorted(allowed)
    step = max(1, len(ordered) // _MEMBERS)
    return tuple(bytes([byte]) for byte in {*ordered[::step], *ordered[-1:]})
