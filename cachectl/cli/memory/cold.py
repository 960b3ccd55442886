"""What `memory cold` does: idle times of all keys, or of a sample, summed by namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cachectl.cli.memory.memory_pass import KeyPass, Work

if TYPE_CHECKING:
    from cachectl.analysis.keyspace.cold import ColdSummary
    from cachectl.server.topology.handle import Server


def cold_of(work: Work, by: str, depth: int | None) -> tuple[KeyPass, ColdSummary]:
    """Return the pass and what it found. Raises CachectlError when no key can be read."""
    from cachectl.analysis.keyspace.cold import ColdKeys, cold_of_sample
    from cachectl.server.scanning.columns import Field

    found = ColdKeys(by, depth=depth)
    # The server keeps one of the two, as its policy wants it.
    done = work.read(frozenset({Field.BYTES, Field.IDLE, Field.FREQ}), [found])
    if done.drawn is None:
        return done, found.result()
    return done, cold_of_sample(done.drawn.pages, done.strata, by, depth=depth)


def notes_on(server: Server, summary: ColdSummary) -> list[str]:
    """Return what people should know of idle times on this server."""
    from cachectl.analysis.keyspace.cold import LFU_LEVELS
    from cachectl.model.figures import value_of
    from cachectl.output.units import show_duration
    from cachectl.server.introspection.memory import setting
    from cachectl.server.wire.info import number

    if summary.levels == LFU_LEVELS:
        minutes = setting(server, "lfu-decay-time")
        steps = "lfu-decay-time" if minutes is None else f"{minutes} min (lfu-decay-time)"
        return [
            "under an LFU policy the server keeps no idle times, but counters that lose one for "
            f"each {steps} without use: at 0, a key has not been used for one such step at least"
        ]
    uptimes = [number(node.info, "uptime_in_seconds") for node in server.primaries]
    known = [up for up in uptimes if up is not None]
    blind = [
        level
        for level, size in zip(summary.levels, summary.whole.cold_bytes, strict=True)
        if known and (level.seconds or 0) > min(known) and not value_of(size)
    ]
    if not blind:
        return []
    return [
        f"up for {show_duration(min(known))}: what was not used before the start is not known, "
        "unless the data was loaded with its idle times"
    ]
