"""Python pickles, of any protocol: shown from their opcodes, never loaded."""

from __future__ import annotations

import pickletools

from cachectl.values.pickle_machine import Machine, follow
from cachectl.values.plain import plain, render
from cachectl.values.sample import Found, Sample, listed

_CACHELIB = b"!"
_SHORTEST_TEXTUAL = 5
_CONVINCING = 3


def decode(sample: Sample) -> Found | None:
    """Recognise a pickle of any protocol, also behind the "!" that cachelib puts before it."""
    marked = sample.data.startswith(_CACHELIB + b"\x80")
    data = sample.data[1:] if marked else sample.data
    binary = len(data) > 2 and data[0] == 0x80 and 2 <= data[1] <= _newest()
    if not binary and not (
        len(data) >= _SHORTEST_TEXTUAL and data.endswith(b".") and sample.complete
    ):
        return None
    machine, problem = follow(data, sample.limits)
    finished = machine.end is not None and len(machine.stack) == 0
    if not binary and not (finished and machine.end == len(data)):
        return None
    if problem and machine.opcodes < _CONVINCING:
        return None
    return _found(sample, machine, problem, data, marked=marked)


def _newest() -> int:
    return max(opcode.proto for opcode in pickletools.opcodes)


def _found(
    sample: Sample, machine: Machine, problem: str | None, data: bytes, *, marked: bool
) -> Found:
    protocol = data[1] if data[0] == 0x80 else "0 or 1"
    notes = _notes(machine, len(data), marked=marked)
    tree: object = None
    parts = []
    if machine.end is not None:
        tree, more = plain(machine.result, sample.limits)
        notes += more
        parts.append(render(tree, sample.limits))
    shown = f"Opcodes, the first {len(machine.listing)}:"
    all_shown = machine.end is not None and machine.opcodes == len(machine.listing)
    parts.append("\n".join(["Opcodes:" if all_shown else shown, *machine.listing]))
    damaged = f"pickle does not parse: {problem}" if problem and sample.complete else None
    title = f"pickle, protocol {protocol}"
    return Found("pickle", title, "\n\n".join(parts), tree, tuple(notes), damaged)


def _notes(machine: Machine, size: int, *, marked: bool) -> list[str]:
    notes = ["Shown from its opcodes; it was not loaded"]
    if machine.imports:
        verb = "import and call" if machine.calls else "import"
        notes.append(f"Loading it would {verb}: {listed(machine.imports)}")
    if machine.end is not None and machine.end < size:
        notes.append(f"{size - machine.end:,} bytes follow its end")
    if machine.end is None:
        notes.append(f"Only the first {machine.opcodes:,} opcodes were followed")
    if marked:
        notes.append("The “!” before it is the mark of cachelib (Flask-Caching)")
    return notes
