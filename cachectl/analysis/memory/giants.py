"""Keys so big that single commands on them are felt by everybody."""

from __future__ import annotations

from collections.abc import Iterable

from cachectl.analysis.keyspace.biggest import BigKey
from cachectl.model.findings import Finding, Severity

GIANT_BYTES = 10 * 1024 * 1024
GIANT_ELEMENTS = 100_000
"""From these on a key is a giant: reading or deleting it whole keeps everybody waiting for tens of
milliseconds (measured on a hash of a million fields: DEL 0.8 s, DUMP 1.1 s)."""
UNCOUNTED_BYTES = 4 * 1024 * 1024
"""Where elements could not be counted, a collection of so many bytes is taken to have too many."""
_MOST = 10


def is_giant(key: BigKey) -> bool:
    """Whether a key is a giant, by bytes or by elements; a string has no elements to walk."""
    size = key.bytes or 0
    if size >= GIANT_BYTES or key.type == "string":
        return size >= GIANT_BYTES
    return size >= UNCOUNTED_BYTES if key.elements is None else key.elements >= GIANT_ELEMENTS


def giant_findings(keys: Iterable[BigKey]) -> list[Finding]:
    """Return a finding for each giant among some keys, and one for those beyond the tenth."""
    giants = {key.key: key for key in keys if is_giant(key)}
    found = [
        Finding(
            "memory.giant",
            Severity.WARNING,
            f"this {key.type} is a giant: reading or deleting it whole blocks the server",
            _size(key),
            "split it into several keys, read it in parts (HSCAN, LRANGE, GETRANGE), "
            "remove it with UNLINK",
            key.key.decode("utf-8", "surrogateescape"),
        )
        for key in giants.values()
    ]
    if len(found) > _MOST:
        rest = len(found) - _MOST
        found[_MOST:] = [
            Finding("memory.giants", Severity.WARNING, f"{rest:,} more keys are giants")
        ]
    return found


def _size(key: BigKey) -> str:
    parts = []
    if key.bytes is not None:
        parts.append(f"{key.bytes:,} bytes")
    if key.elements is not None and key.type != "string":
        parts.append(f"{key.elements:,} elements")
    return ", ".join(parts)
