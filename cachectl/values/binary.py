"""What is left: HyperLogLogs, which Redis keeps in strings, and bytes of unknown meaning."""

from __future__ import annotations

import uuid

from cachectl.values.hexdump import hexdump
from cachectl.values.sample import Found, Sample

_HLL = b"HYLL"
_HLL_HEADER = 16
_HLL_DENSE = _HLL_HEADER + 16_384 * 6 // 8
_ENCODINGS = {0: "dense", 1: "sparse"}
_COUNTED = 1 << 20


def decode_hyperloglog(sample: Sample) -> Found | None:
    """Recognise a HyperLogLog (header: Redis' hyperloglog.c) and read its cached cardinality."""
    data = sample.data
    if not data.startswith(_HLL) or len(data) < _HLL_HEADER or data[4] not in _ENCODINGS:
        return None
    encoding = _ENCODINGS[data[4]]
    damaged = None
    if encoding == "dense" and sample.total != _HLL_DENSE:
        damaged = f"dense HyperLogLog of {len(data):,} bytes instead of {_HLL_DENSE:,}"
    stale = bool(data[15] & 0x80)
    cardinality = None if stale else int.from_bytes(data[8:16], "little")
    if cardinality is None:
        note = "The cached cardinality is out of date; PFCOUNT computes it anew"
    else:
        note = f"Cached cardinality: {cardinality:,} (standard error 0.81 %)"
    tree = {"encoding": encoding, "cardinality": cardinality}
    text = f"HyperLogLog, {encoding} encoding\n{note}"
    return Found("hyperloglog", f"HyperLogLog, {encoding}", text, tree, (note,), damaged)


def decode_empty(sample: Sample) -> Found | None:
    """Recognise the empty value."""
    return Found("empty", "empty", "") if sample.complete and not sample.data else None


def decode_binary(sample: Sample) -> Found:
    """Show bytes of unknown meaning in hexadecimal, with what short ones could mean."""
    data = sample.data
    notes = []
    if sample.complete and len(data) in (2, 4, 8):
        little, big = int.from_bytes(data, "little"), int.from_bytes(data)
        notes.append(f"As an integer: {little:,} little-endian, {big:,} big-endian")
    if sample.complete and len(data) == 16:
        notes.append(f"As a UUID: {uuid.UUID(bytes=data)}")
    if sample.complete and 0 < len(data) <= _COUNTED:
        bits = int.from_bytes(data).bit_count()
        notes.append(f"As a bitmap: {bits:,} of {len(data) * 8:,} bits set")
    dump = hexdump(data, most=sample.limits.hexdump)
    return Found("binary", "binary", dump, notes=tuple(notes))
