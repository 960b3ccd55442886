"""Advice from what a scan tells of keys: their names, TTLs and idle times."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

from cachectl.analysis.keyspace.cold import COLD_SHARE, IDLE_LEVELS
from cachectl.analysis.memory.advice import Advice, Drawn, Savings, about
from cachectl.analysis.memory.keycosts import KeyCosts
from cachectl.analysis.naming.templates import Labels
from cachectl.model.figures import value_of
from cachectl.model.keys import NO_TTL

SHORT = 2
"""Letters that are left of a word of a name."""
_WORD = re.compile(rb"[A-Za-z_-]{5,}")
_WEEK = IDLE_LEVELS[-1].seconds or 0


def names_advice(drawn: Drawn, costs: KeyCosts) -> Iterable[Advice]:
    """Yield advice for each namespace whose names would be shorter with short words."""
    savings = Savings()
    short: dict[Labels, bytes] = {}
    for at, (page, spaces) in enumerate(zip(drawn.pages, drawn.spaces, strict=True)):
        for row, (key, space) in enumerate(zip(page.keys, spaces, strict=True)):
            if space not in short:
                short[space] = shorter(b"".join(space))
            less = len(b"".join(space)) - len(short[space])
            if less:
                saved = costs.name(len(key)) - costs.name(len(key) - less)
                savings.add(at, row, space, saved)
    for space, (saves, keys) in savings.totals(drawn).items():
        new = short[space].decode("utf-8", "backslashreplace")
        yield about(
            space,
            Advice(
                "memory.names",
                f"names would be shorter as {new}",
                saves,
                "the lengths of the names, and what names of each length cost on this server",
                "readers and writers have to change together; shorter names say less",
                "write new keys under the new names, and let the old ones expire",
                keys=keys,
            ),
        )


def shorter(name: bytes) -> bytes:
    """Return the name of a namespace with its long words cut down to two letters.

    >>> shorter(b"portfolio:{id}:value")
    b'po:{id}:va'
    """
    parts = re.split(rb"(\{[^{}]*\}|\*)", name)
    return b"".join(
        part if at % 2 else _WORD.sub(lambda word: word[0][:SHORT], part)
        for at, part in enumerate(parts)
    )


def ttl_advice(drawn: Drawn) -> Iterable[Advice]:
    """Yield advice for each namespace most of whose keys expire, but not all."""
    savings = Savings()
    counts: dict[Labels, list[int]] = {}
    for at, (page, spaces) in enumerate(zip(drawn.pages, drawn.spaces, strict=True)):
        if page.ttls is None or page.sizes is None:
            return
        for row, (ttl, size, space) in enumerate(zip(page.ttls, page.sizes, spaces, strict=True)):
            seen = counts.setdefault(space, [0, 0])
            seen[ttl == NO_TTL] += 1
            if ttl == NO_TTL and size is not None:
                savings.add(at, row, space, size)
    for space, (saves, keys) in savings.totals(drawn).items():
        expiring, eternal = counts[space]
        if expiring <= eternal:
            continue
        name = shlex.quote(b"".join(space).decode("utf-8", "backslashreplace"))
        yield about(
            space,
            Advice(
                "memory.ttl",
                "keys have no TTL, though most of their namespace expires",
                saves,
                f"MEMORY USAGE of these keys; {expiring:,} of {expiring + eternal:,} that were "
                "seen expire",
                "what never expired may be meant to stay: look at some first",
                f"cachectl keys list --namespace {name} --no-ttl; then give them the TTL of "
                "the others, and find out who writes them",
                keys=keys,
            ),
        )


def unread_advice(drawn: Drawn) -> Iterable[Advice]:
    """Yield advice for each namespace of which nearly nothing was touched for a week."""
    savings = Savings()
    bytes_of: dict[Labels, int] = {}
    cold: dict[Labels, int] = {}
    for at, (page, spaces) in enumerate(zip(drawn.pages, drawn.spaces, strict=True)):
        if page.idles is None or page.sizes is None:
            return
        for row, (idle, size, space) in enumerate(zip(page.idles, page.sizes, spaces, strict=True)):
            bytes_of[space] = bytes_of.get(space, 0) + (size or 0)
            if idle is not None and idle >= _WEEK and size is not None:
                cold[space] = cold.get(space, 0) + size
                savings.add(at, row, space, size)
    for space, (saves, keys) in savings.totals(drawn).items():
        if cold[space] < COLD_SHARE * bytes_of[space] or not value_of(saves):
            continue
        name = shlex.quote(b"".join(space).decode("utf-8", "backslashreplace"))
        yield about(
            space,
            Advice(
                "memory.unread",
                "nobody has used this namespace for a week",
                saves,
                f"MEMORY USAGE of keys that were idle for a week; they are "
                f"{cold[space] / bytes_of[space]:.0%} of the namespace",
                "rare readers (monthly jobs, failovers) would miss",
                f"cachectl invalidate --namespace {name} --dry-run; what is removed can be put "
                "back with cachectl undo",
                keys=keys,
            ),
        )
