"""Advice on keys that are too big for one key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from cachectl.analysis.keyspace.biggest import BigKey
from cachectl.analysis.memory import encodings
from cachectl.analysis.memory.advice import Advice
from cachectl.analysis.memory.giants import is_giant
from cachectl.analysis.memory.keycosts import KeyCosts, parts_of
from cachectl.analysis.memory.value_advice import BUCKET
from cachectl.model.findings import Severity
from cachectl.model.keys import KeyDetails
from cachectl.model.values import LogicalValue

_COMPACT = frozenset({"hash", "set", "zset"})
_WIDEST = 64
"""Bytes of an element that compact encodings let in, by default."""


def giants_advice(details: Sequence[KeyDetails], costs: KeyCosts) -> Iterable[Advice]:
    """Yield advice for each giant among these keys."""
    for one in details:
        record = one.record
        key = BigKey(record.key, b"", record.type, record.bytes, record.elements, record.node)
        if is_giant(key):
            yield _advice(key, one.sample, costs)


def _advice(key: BigKey, sample: LogicalValue | None, costs: KeyCosts) -> Advice:
    saves = 0 if sample is None else _saved(key, sample, costs)
    size = f"{key.bytes or 0:,} bytes"
    if key.elements is not None and key.type != "string":
        size += f", {key.elements:,} elements"
    advice = Advice(
        "memory.split",
        f"a {key.type} is a giant: reading or deleting it whole keeps everybody waiting",
        saves,
        size,
        "readers and writers have to change; what changed in one command no longer does",
        "keep its parts in keys of their own, by a hash of the element, say; remove the old one "
        "with UNLINK",
        key.key,
        severity=Severity.WARNING,
        protects=True,
    )
    if not saves or sample is None:
        return advice
    return replace(
        advice,
        basis=f"{size}; {len(sample.elements):,} of its elements, laid out in compact keys of "
        f"{BUCKET}",
    )


def _saved(key: BigKey, sample: LogicalValue, costs: KeyCosts) -> int:
    """Return what small keys with compact encodings would save; 0 where there are none."""
    if key.type not in _COMPACT or not sample.elements or key.elements is None or not key.bytes:
        return 0
    parts = list(parts_of(sample))
    if max(map(len, parts)) > _WIDEST:
        return 0
    entry = sum(map(encodings.listpack_entry, parts)) / len(sample.elements)
    bucket = costs.base(len(key.key) + 6) + costs.packed(round(BUCKET * entry))
    # What MEMORY USAGE leaves out of a table, it does for each element of it.
    known = sample.elements[: key.elements]
    share = key.elements / len(known)
    part = round(key.bytes / share)
    now = costs.loose(part, len(key.key), LogicalValue(key.type, known)) * share
    return max(0, round(now - key.elements / BUCKET * bucket))
