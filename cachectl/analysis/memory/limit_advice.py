"""Advice on the limits of compact encodings, against the elements that there are.

A hash, set or sorted set within its limits is one block of memory, beyond them a table or tree
with an allocation for each element. What a key would cost below a higher limit is worked out from
its elements.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cachectl.analysis.memory import encodings
from cachectl.analysis.memory.advice import Advice, Drawn, Savings
from cachectl.analysis.memory.keycosts import KeyCosts, parts_of
from cachectl.model.figures import value_of
from cachectl.model.values import LogicalValue

_LOOSE = frozenset({"hashtable", "skiplist"})
ENTRIES = (128, 256, 512, 1024)
WIDTHS = (64, 128, 256, 512)
INTEGERS = (512, 1024, 2048)
"""Limits that may be suggested: beyond them, walking costs more than the memory is worth."""
_ENOUGH = 0.9


@dataclass(frozen=True, slots=True)
class _Loose:
    """A key whose value is not in its compact encoding, and what it would be there."""

    page: int
    row: int
    kind: str
    entries: int
    width: int
    saved: int
    integers: bool


def limits_advice(drawn: Drawn, costs: KeyCosts, settings: Mapping[str, str]) -> Iterable[Advice]:
    """Yield advice for each type whose limits could be higher. settings: as CONFIG GET has them."""
    found = list(_loose(drawn, costs))
    for kind in ("hash", "zset", "set"):
        mine = [one for one in found if one.kind == kind and not one.integers]
        if mine:
            yield from _for_type(kind, mine, drawn, settings)
    integers = [one for one in found if one.integers]
    if integers:
        yield from _for_integers(integers, drawn, settings)
    yield from _for_lists(drawn, costs, settings)


def _loose(drawn: Drawn, costs: KeyCosts) -> Iterable[_Loose]:
    for at, (page, values) in enumerate(zip(drawn.pages, drawn.values, strict=True)):
        for row, value in enumerate(values):
            encoding = page.encodings[row] if page.encodings else None
            used = page.sizes[row] if page.sizes else None
            if value is None or used is None or not value.elements:
                continue
            integers = _integers(value)
            if integers is not None and encoding != "intset":
                new = costs.packed(encodings.intset(integers))
            elif encoding in _LOOSE:
                new = costs.compact(value)
            else:
                continue
            name = len(page.keys[row])
            now = costs.loose(used, name, value) if encoding in _LOOSE else used
            saved = now - costs.base(name) - new
            if saved > 0:
                width = max(map(len, _texts(value)))
                yield _Loose(
                    at, row, value.type, len(value.elements), width, saved, integers is not None
                )


def _integers(value: LogicalValue) -> list[int] | None:
    if value.type != "set":
        return None
    found = [encodings.integer_of(member) for member in value.elements]
    return None if None in found else [one for one in found if one is not None]


def _texts(value: LogicalValue) -> Iterable[bytes]:
    """Yield what the limit of lengths is about: members, or fields and values, no scores."""
    if value.type == "zset":
        return (element[0] for element in value.elements)
    return parts_of(value)


def _for_type(
    kind: str, loose: list[_Loose], drawn: Drawn, settings: Mapping[str, str]
) -> Iterable[Advice]:
    entries_name = _setting(settings, f"{kind}-max-listpack-entries", f"{kind}-max-ziplist-entries")
    width_name = _setting(settings, f"{kind}-max-listpack-value", f"{kind}-max-ziplist-value")
    if kind == "set" and entries_name not in settings:
        return  # before Redis 7.2 sets of texts have no compact encoding
    now = int(settings.get(entries_name, 128)), int(settings.get(width_name, 64))
    possible = [
        (entries, width)
        for entries in sorted({now[0], *(one for one in ENTRIES if one > now[0])})
        for width in sorted({now[1], *(one for one in WIDTHS if one > now[1])})
    ]

    def below(limit: tuple[int, int]) -> list[_Loose]:
        return [one for one in loose if one.entries <= limit[0] and one.width <= limit[1]]

    most = sum(one.saved for one in below(possible[-1]))
    chosen = next(
        limit
        for limit in sorted(possible, key=lambda one: one[0] * one[1])
        if sum(one.saved for one in below(limit)) >= _ENOUGH * most
    )
    if not most or chosen == now:
        return
    commands = [
        f"CONFIG SET {name} {value}"
        for name, value, before in zip((entries_name, width_name), chosen, now, strict=True)
        if value != before
    ]
    yield from _advice(
        f"memory.listpack_{kind}",
        f"{_PLURALS[kind]} just above the limits of the compact encoding",
        below(chosen),
        drawn,
        commands,
        f"commands walk up to {chosen[0]:,} elements of a key instead of looking one up: watch "
        "the latency of the commands on them",
    )


_PLURALS = {"hash": "hashes are", "zset": "sorted sets are", "set": "sets are"}


def _for_integers(
    loose: list[_Loose], drawn: Drawn, settings: Mapping[str, str]
) -> Iterable[Advice]:
    name = "set-max-intset-entries"
    now = int(settings.get(name, 512))
    possible = [now, *(one for one in INTEGERS if one > now)]

    def below(limit: int) -> list[_Loose]:
        return [one for one in loose if one.entries <= limit]

    most = sum(one.saved for one in below(possible[-1]))
    chosen = next(
        limit for limit in possible if sum(one.saved for one in below(limit)) >= _ENOUGH * most
    )
    if most and chosen != now:
        yield from _advice(
            "memory.intset",
            "sets of integers are just above the limit of the compact encoding",
            below(chosen),
            drawn,
            [f"CONFIG SET {name} {chosen}"],
            f"adding to a set moves up to {chosen:,} integers; looking up stays quick (binary "
            "search)",
        )


def _for_lists(drawn: Drawn, costs: KeyCosts, settings: Mapping[str, str]) -> Iterable[Advice]:
    """Yield advice when the nodes of lists are kept smaller than by default (8 KiB)."""
    name = _setting(settings, "list-max-listpack-size", "list-max-ziplist-size")
    now = int(settings.get(name, _DEFAULT_NODE))
    if not (now > 0 or now == _SMALL_NODE):
        return
    found = []
    for at, (page, values) in enumerate(zip(drawn.pages, drawn.values, strict=True)):
        for row, value in enumerate(values):
            used = page.sizes[row] if page.sizes else None
            quick = page.encodings is not None and page.encodings[row] == "quicklist"
            if value is None or used is None or not quick:
                continue
            base = costs.base(len(page.keys[row]))
            small = [costs.compact(node) for node in _nodes(value, now)]
            large = [costs.compact(node) for node in _nodes(value, _DEFAULT_NODE)]
            # What a node costs besides its elements is learnt from the list itself.
            a_node = costs.packed(max(0, round((used - base - sum(small)) / len(small))))
            saved = sum(small) - sum(large) + a_node * (len(small) - len(large))
            if saved > 0:
                found.append(_Loose(at, row, "list", len(value.elements), 0, saved, integers=False))
    yield from _advice(
        "memory.listpack_list",
        "lists are cut into smaller nodes than they need be",
        found,
        drawn,
        [f"CONFIG SET {name} {_DEFAULT_NODE}"],
        "commands in the middle of a list move up to 8 KiB; at its ends nothing changes",
        "pushed anew (LRANGE, DEL, RPUSH); RESTORE and restarts keep the nodes as they are",
    )


_DEFAULT_NODE, _SMALL_NODE = -2, -1
_NODE_BYTES = {-1: 4096, -2: 8192}


def _nodes(value: LogicalValue, limit: int) -> Iterable[LogicalValue]:
    """Cut a list into nodes of so many elements, or (a negative limit) of so many bytes."""
    if limit > 0:
        for at in range(0, len(value.elements), limit):
            yield LogicalValue("list", value.elements[at : at + limit])
        return
    most, node, size = _NODE_BYTES[limit] - encodings.LISTPACK_HEAD, list[bytes](), 0
    for element in value.elements:
        entry = encodings.listpack_entry(element)
        if node and size + entry > most:
            yield LogicalValue("list", node)
            node, size = [], 0
        node.append(element)
        size += entry
    yield LogicalValue("list", node)


def _advice(
    identifier: str,
    title: str,
    loose: list[_Loose],
    drawn: Drawn,
    commands: list[str],
    risk: str,
    anew: str = "written anew (DUMP and RESTORE), or when a restart loads it",
) -> Iterable[Advice]:
    savings = Savings()
    for one in loose:
        savings.add(one.page, one.row, (b"all",), one.saved)
    for saves, keys in savings.totals(drawn).values():
        if value_of(saves) > 0:
            yield Advice(
                identifier,
                title,
                saves,
                "the elements of the keys, laid out in the compact encoding",
                risk,
                f"{'; '.join(commands)}; what is there already changes when it is {anew}",
                keys=keys,
            )


def _setting(settings: Mapping[str, str], *names: str) -> str:
    return next((name for name in names if name in settings), names[0])
