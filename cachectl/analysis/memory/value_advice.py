"""Advice from what is in the values: compress them, or keep many small ones in one hash."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from statistics import mean

from cachectl.analysis.memory import encodings
from cachectl.analysis.memory.advice import Advice, Drawn, Savings, about, name_of
from cachectl.analysis.memory.keycosts import KeyCosts
from cachectl.analysis.naming.templates import Labels
from cachectl.model.figures import Estimate, value_of
from cachectl.model.keys import NO_TTL
from cachectl.model.values import LogicalValue

Packer = Callable[[bytes], int]
"""Bytes → how many they are when compressed."""

COMPRESSIBLE = 100
"""Bytes of a string below which compressing it is not worth its time."""
_GAIN = 0.9
SMALL = 64
"""Bytes of a value up to which hash-max-listpack-value, by default, lets it into a compact hash."""
BUCKET = 100
"""Fields of a hash that takes the place of as many keys."""
_MANY = 1_000
_NEARLY_ALL = 0.95


def compression_advice(
    drawn: Drawn, costs: KeyCosts, packers: Mapping[str, Packer]
) -> Iterable[Advice]:
    """Yield advice for each namespace of strings that compress. packers: name → how much."""
    savings = {name: Savings() for name in packers}
    ratios: dict[tuple[str, Labels], list[float]] = {}
    for at, row, space, value in _strings(drawn):
        data: bytes = value.elements[0]
        used = _used(drawn, at, row)
        if len(data) < COMPRESSIBLE or used is None:
            continue
        whole = max(len(data), used - costs.base(len(drawn.pages[at].keys[row])))
        for name, pack in packers.items():
            ratio = pack(data) / len(data)
            ratios.setdefault((name, space), []).append(ratio)
            # Of a long string only the beginning was read: the rest is taken to be like it.
            length = len(data) if whole < 2 * len(data) else whole
            saved = costs.text(length) - costs.text(round(length * ratio))
            if ratio < _GAIN and saved > 0:
                savings[name].add(at, row, space, saved)
    best: dict[Labels, Advice] = {}
    for name, one in savings.items():
        for space, (saves, keys) in one.totals(drawn).items():
            advice = _compressed(name, space, saves, keys, ratios)
            if space not in best or value_of(saves) > value_of(best[space].saves):
                best[space] = advice
    yield from best.values()


def _compressed(
    packer: str,
    space: Labels,
    saves: int | Estimate,
    keys: int | Estimate,
    ratios: Mapping[tuple[str, Labels], list[float]],
) -> Advice:
    every = ", ".join(
        f"{name} to {mean(found):.0%}" for (name, path), found in ratios.items() if path == space
    )
    sampled = len(ratios[packer, space])
    return about(
        space,
        Advice(
            "memory.compress",
            f"values compress with {packer}",
            saves,
            f"{sampled:,} values, compressed: {every} in the mean",
            "reading and writing cost the application CPU; nobody can append to, or count in, a "
            "compressed value; all readers have to change first",
            f"compress values of {COMPRESSIBLE} bytes or more with {packer} where they are "
            "written, and mark them, so that readers know",
            keys=keys,
        ),
    )


def hashes_advice(drawn: Drawn, costs: KeyCosts) -> Iterable[Advice]:
    """Yield advice for each namespace of many small strings that never expire.

    That the table of keys shrinks as well, sooner or later, is not counted.
    """
    spaces = _small(drawn)
    savings = Savings()
    for at, row, space, value in _strings(drawn):
        used = _used(drawn, at, row)
        key = drawn.pages[at].keys[row]
        if space not in spaces or used is None or len(value.elements[0]) > SMALL:
            continue
        fixed = len(name_of(space[:-1]))
        rest = key[fixed:]
        field = rest[-2:] if rest.isdigit() else rest
        entry = encodings.listpack_entry(field) + encodings.listpack_entry(value.elements[0])
        # The hash itself, and half a size class that the allocator rounds up, over its fields.
        of_hash = (costs.base(len(key)) + costs.packed(BUCKET * entry) - BUCKET * entry) / BUCKET
        saved = used - entry - of_hash
        if saved > 0:
            savings.add(at, row, space, round(saved))
    for space, (saves, keys) in savings.totals(drawn).items():
        if value_of(keys) < _MANY:
            continue
        yield about(
            space,
            Advice(
                "memory.hashes",
                "many small keys would take less room as fields of few hashes",
                saves,
                f"names and values of sampled keys, laid out as hashes of {BUCKET} fields",
                "fields do not expire by themselves (before Redis 7.4 and Valkey 9), are not "
                "evicted one by one, and readers have to use HGET",
                f"HSET {_bucket(space)} for the name without its last two digits, with these as "
                "the field; keep hash-max-listpack-entries at 100 or more",
                keys=keys,
            ),
        )


def _bucket(space: Labels) -> str:
    return name_of(space[:-1]).decode("utf-8", "backslashreplace") + "BUCKET FIELD VALUE"


def _small(drawn: Drawn) -> set[Labels]:
    """Return namespaces of small strings without TTLs whose names end in what varies."""
    seen: dict[Labels, list[int]] = {}
    for at, (page, values) in enumerate(zip(drawn.pages, drawn.values, strict=True)):
        for row, value in enumerate(values):
            ttl = page.ttls[row] if page.ttls else NO_TTL
            small = (
                value is not None
                and value.type == "string"
                and len(value.elements[0]) <= SMALL
                and ttl == NO_TTL
            )
            counts = seen.setdefault(drawn.spaces[at][row], [0, 0])
            counts[0] += 1
            counts[1] += small
    return {
        space
        for space, (all_of_it, small) in seen.items()
        if small >= _NEARLY_ALL * all_of_it and len(space) > 1 and space[-1].startswith(b"{")
    }


def _strings(drawn: Drawn) -> Iterable[tuple[int, int, Labels, LogicalValue]]:
    for at, values in enumerate(drawn.values):
        for row, value in enumerate(values):
            if value is not None and value.type == "string":
                yield at, row, drawn.spaces[at][row], value


def _used(drawn: Drawn, at: int, row: int) -> int | None:
    sizes = drawn.pages[at].sizes
    return sizes[row] if sizes else None
