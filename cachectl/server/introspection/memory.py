"""What the nodes say of their memory: MEMORY STATS and INFO, asked together.

MEMORY STATS has other fields on each version; they are passed on as they are. It walks no key.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from cachectl.errors import CachectlError
from cachectl.model.counters import MemorySample
from cachectl.model.findings import Unavailable
from cachectl.server.introspection.stats import everything
from cachectl.server.scanning.scan_errors import why_refused
from cachectl.server.topology.handle import Server
from cachectl.server.topology.node import Node
from cachectl.server.topology.parallel import run_all
from cachectl.server.wire.resp import ReplyError, as_float, as_int, as_pairs, as_text

_DATABASE = "db."


@dataclass(frozen=True, slots=True)
class MemorySamples:
    """One sample a node, in the order of the primaries, and what could not be had."""

    nodes: tuple[MemorySample, ...]
    unavailable: tuple[Unavailable, ...] = ()


def memory_samples(server: Server) -> MemorySamples:
    """Ask every primary at once. Raises CachectlError when none could be asked."""
    nodes = server.primaries
    results = run_all([partial(_of_node, node) for node in nodes])
    samples, gaps = [], list(server.unavailable)
    errors = []
    for node, result in zip(nodes, results, strict=True):
        if isinstance(result, CachectlError):
            errors.append(result)
            gaps.append(Unavailable("memory", result.message, result.hint, node.name))
        else:
            sample, refused = result
            samples.append(sample)
            gaps += refused
    if not samples:
        raise errors[0]
    return MemorySamples(tuple(samples), tuple(gaps))


def _of_node(node: Node) -> tuple[MemorySample, list[Unavailable]]:
    reply = node.connection.pipeline([("MEMORY", "STATS")])[0]
    info = everything(node.connection)
    if isinstance(reply, ReplyError):
        reason, remedy = why_refused(("MEMORY", "STATS"), reply)
        gap = Unavailable("the overhead by database", reason, remedy, node.name)
        return MemorySample(node.name, info), [gap]
    stats, databases = read_stats(reply)
    return MemorySample(node.name, info, stats, databases), []


def read_stats(reply: Any) -> tuple[dict[str, float], dict[int, dict[str, float]]]:
    """Return the figures of a MEMORY STATS reply, and those of each database in it."""
    stats: dict[str, float] = {}
    databases: dict[int, dict[str, float]] = {}
    for raw, value in as_pairs(reply):
        name = as_text(raw)
        number = as_int(name.removeprefix(_DATABASE)) if name.startswith(_DATABASE) else None
        if number is not None and not isinstance(value, int | float):
            databases[number] = _figures(value)
        elif (figure := as_float(value)) is not None:
            stats[name] = figure
    return stats, databases


def _figures(reply: Any) -> dict[str, float]:
    found = ((as_text(name), as_float(value)) for name, value in as_pairs(reply))
    return {name: value for name, value in found if value is not None}


def setting(server: Server, name: str) -> str | None:
    """Return one setting of the first node; None when this login, or the service, won't tell."""
    reply = server.primaries[0].connection.pipeline([("CONFIG", "GET", name)])[0]
    if isinstance(reply, ReplyError):
        return None
    return {as_text(one): as_text(value) for one, value in as_pairs(reply)}.get(name)


_LIMITS = ("*max-listpack*", "*max-ziplist*", "set-max-intset-entries")


def encoding_settings(server: Server) -> tuple[dict[str, str], Unavailable | None]:
    """Return the limits of compact encodings by their names, or why they are not to be had."""
    replies = server.primaries[0].connection.pipeline([("CONFIG", "GET", one) for one in _LIMITS])
    found: dict[str, str] = {}
    for reply in replies:
        if isinstance(reply, ReplyError):
            reason, remedy = why_refused(("CONFIG", "GET"), reply)
            return {}, Unavailable("the limits of compact encodings", reason, remedy)
        found |= {as_text(name): as_text(value) for name, value in as_pairs(reply)}
    return found, None
