"""What `memory advise` does: draw keys, look into some values, and work out what would help."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cachectl.cli.memory.memory_pass import KeyPass, Work, notes_of, strata_of
from cachectl.errors import CachectlError

if TYPE_CHECKING:
    from cachectl.analysis.memory.advice import Advice, Drawn
    from cachectl.model.counters import MemorySample
    from cachectl.model.findings import Unavailable
    from cachectl.model.keys import KeyDetails
    from cachectl.model.values import LogicalValue
    from cachectl.server.topology.handle import Server

_LEAST = 512
"""Bytes that a value counts for at least: looking costs more than what comes back."""
_MOST_GIANTS = 10
_SUSPECT = 1024 * 1024
"""Bytes from which on a key is looked at: it may have the elements of a giant."""


@dataclass(slots=True)
class Advised:
    """What came of it. used: used_memory of all nodes; read: values and bytes looked into."""

    advice: list[Advice]
    used: int
    values_read: int = 0
    bytes_read: int = 0
    done: KeyPass | None = None
    unavailable: list[Unavailable] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    partial: bool = False


def advise(work: Work, most_bytes: int) -> Advised:
    """Return advice. most_bytes: of values that may be read, 0 for none.

    Raises CachectlError when no key can be read.
    """
    from cachectl.analysis.memory.advice import worth_giving
    from cachectl.analysis.memory.parts import all_memory, node_memory
    from cachectl.analysis.memory.settings import process_advice, settings_advice
    from cachectl.server.introspection.memory import memory_samples

    server = work.server
    taken = memory_samples(server)
    memory = all_memory([node_memory(sample) for sample in taken.nodes])
    found = Advised([], memory.used, unavailable=list(taken.unavailable))
    fragmentation = work.app.target.thresholds.fragmentation
    for sample in taken.nodes:
        found.advice += settings_advice(sample)
        found.advice += process_advice(sample, fragmentation=fragmentation)
    _of_keys(work, found, most_bytes, taken.nodes[0])
    found.advice = worth_giving(found.advice, memory.used)
    complete = found.done is not None and found.done.facts.complete
    found.partial = bool(found.unavailable) or not complete
    return found


def _of_keys(work: Work, found: Advised, most_bytes: int, sample: MemorySample) -> None:
    """Add the advice that keys give."""
    from cachectl.analysis.memory.giant_advice import giants_advice
    from cachectl.analysis.memory.key_advice import names_advice, ttl_advice, unread_advice
    from cachectl.analysis.memory.keycosts import KeyCosts
    from cachectl.analysis.memory.limit_advice import limits_advice
    from cachectl.analysis.memory.value_advice import compression_advice, hashes_advice
    from cachectl.server.introspection.memory import encoding_settings
    from cachectl.values.packing import packers

    drawn = _draw(work, found)
    read = _look_into(work, found, drawn, most_bytes)
    settings, refused = encoding_settings(work.server)
    found.unavailable += [refused] if refused else []
    costs = KeyCosts(read, sample.info.get("mem_allocator", ""), settings)
    found.advice += [
        *limits_advice(read, costs, settings),
        *compression_advice(read, costs, packers()),
        *hashes_advice(read, costs),
        *names_advice(drawn, costs),
        *ttl_advice(drawn),
        *unread_advice(drawn),
        *giants_advice(_giants(work.server, drawn, look=bool(most_bytes)), costs),
    ]


def _draw(work: Work, found: Advised) -> Drawn:
    from cachectl.analysis.keyspace.sampling import group_pages
    from cachectl.analysis.memory.advice import Drawn
    from cachectl.server.scanning.columns import Field

    fields = {Field.TYPE, Field.TTL, Field.BYTES, Field.IDLE, Field.FREQ, Field.ENCODING}
    done, drawn = work.draw(frozenset(fields))
    found.done = done
    found.unavailable += done.facts.unavailable
    pages = [page for page in drawn.pages if page.keys]
    return Drawn(pages, strata_of(drawn), group_pages(pages).paths)


def _look_into(work: Work, found: Advised, drawn: Drawn, most_bytes: int) -> Drawn:
    """Read values of whole pages in random order until the budget is spent."""
    from cachectl.analysis.memory.advice import thinned
    from cachectl.model.findings import Unavailable
    from cachectl.server.values.peeking import Peeker

    values: dict[int, list[LogicalValue | None]] = {}
    order = list(range(len(drawn.pages)))
    random.shuffle(order)
    spent = refused = skipped = 0
    with (
        Peeker(work.server) as peeker,
        work.app.progress("looking into values", unit="bytes") as progress,
    ):
        for at in order if most_bytes else ():
            if spent >= most_bytes:
                break
            peeked = peeker.values(drawn.pages[at])
            values[at] = peeked.values
            found.bytes_read += peeked.read
            count = sum(value is not None for value in peeked.values)
            found.values_read += count
            spent += max(peeked.read, _LEAST * count)
            refused += peeked.refused
            skipped += peeked.skipped
            if peeked.forbidden and not count:  # asking for more would fill the server's ACL LOG
                gap = Unavailable("what is in values", peeked.forbidden, "see cachectl help acl")
                found.unavailable.append(gap)
                break
            progress.update(spent, most_bytes)
    chosen = sorted(values)
    read = thinned(drawn, chosen)
    read.values = [values[at] for at in chosen]
    if peeker.touched and found.values_read:
        found.notes.append(
            f"looking into {found.values_read:,} values has reset their idle times: the server "
            "has no CLIENT NO-TOUCH; --no-values leaves them alone"
        )
    if skipped:
        found.notes.append(f"{skipped:,} collections were too large to look into")
    if refused:
        found.notes.append(f"{refused:,} values may not be read by this login")
    return read


def _giants(server: Server, drawn: Drawn, *, look: bool) -> list[KeyDetails]:
    """Look at the largest keys that were drawn, where they may be giants."""
    from cachectl.server.values.details import key_details

    sized = [
        (size, key)
        for page in drawn.pages
        for key, size in zip(page.keys, page.sizes or (), strict=False)
        if size is not None and size >= _SUSPECT
    ]
    found = []
    for _, key in sorted(sized, reverse=True)[:_MOST_GIANTS]:
        try:
            details = key_details(server, key, value=look, elements=500)
        except CachectlError:
            continue  # the login may not read it, or it has gone
        if details is not None:
            found.append(details)
    return found


def said(found: Advised) -> Sequence[str]:
    """Return what people are told of how it was found out."""
    notes = list(found.notes)
    if found.values_read:
        notes.append(
            f"{found.values_read:,} values were looked into, {found.bytes_read:,} bytes of them"
        )
    if found.done is not None:
        hint = "giants that were not drawn are missing, cachectl memory keys finds them all"
        notes += notes_of(found.done, hint=hint)
    return notes
