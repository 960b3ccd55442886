"""LogicalValue → bytes and back, for keys that are archived as elements."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any

from cachectl.errors import DamagedError
from cachectl.model.values import LogicalValue, PendingEntry, StreamGroup, StreamState

_LENGTH = struct.Struct("<Q")


def pack_value(value: LogicalValue) -> bytes:
    """Return one piece of a value as bytes: a JSON head, then byte strings with their lengths."""
    strings: list[bytes] = []
    numbers: list[Any] = []
    match value.type:
        case "string" | "list" | "set":
            strings = list(value.elements)
        case "zset":
            strings = [member for member, _ in value.elements]
            numbers = [repr(score) for _, score in value.elements]
        case "hash":
            strings = [part for name, text, _ in value.elements for part in (name, text)]
            numbers = [expires_at for _, _, expires_at in value.elements]
        case "stream":
            for entry_id, pairs in value.elements:
                numbers.append([*entry_id, len(pairs)])
                strings += [part for pair in pairs for part in pair]
    state = None if value.stream is None else _pack_state(value.stream, strings)
    head = {"type": value.type, "numbers": numbers, "stream": state}
    parts = [json.dumps(head, ensure_ascii=True).encode(), *strings]
    return b"".join(_LENGTH.pack(len(part)) + part for part in parts)


def unpack_value(raw: bytes) -> LogicalValue:
    """Return the piece that `pack_value` packed. Raises DamagedError."""
    try:
        head_bytes, *strings = _split(raw)
        head = json.loads(head_bytes)
        return _value(head, strings)
    except (ValueError, KeyError, IndexError, TypeError, struct.error) as error:
        raise DamagedError("an archived value does not hold what its head says") from error


def _split(raw: bytes) -> list[bytes]:
    parts: list[bytes] = []
    at = 0
    while at < len(raw):
        (length,) = _LENGTH.unpack_from(raw, at)
        at += _LENGTH.size
        if at + length > len(raw):
            raise ValueError("a part is longer than the whole")
        parts.append(raw[at : at + length])
        at += length
    return parts


def _value(head: dict[str, Any], strings: list[bytes]) -> LogicalValue:
    kind, numbers = head["type"], head["numbers"]
    elements: list[Any] = []
    match kind:
        case "string" | "list" | "set":
            elements = strings
        case "zset":
            scores = [float(score) for score in numbers]
            elements = list(zip(strings, scores, strict=True))
        case "hash":
            elements = list(zip(strings[::2], strings[1::2], numbers, strict=True))
        case "stream":
            at = 0
            for milliseconds, sequence, width in numbers:
                flat = strings[at : at + 2 * width]
                at += 2 * width
                pairs = tuple(zip(flat[::2], flat[1::2], strict=True))
                elements.append(((milliseconds, sequence), pairs))
            strings = strings[at:]
        case _:
            raise ValueError("an unknown type")
    state = head["stream"]
    return LogicalValue(kind, elements, _unpack_state(state, strings) if state else None)


def _pack_state(state: StreamState, strings: list[bytes]) -> dict[str, Any]:
    groups = []
    for group in state.groups:
        strings += [group.name, *group.consumers]
        names = list(group.consumers)
        groups.append(
            {
                "last_id": group.last_id,
                "entries_read": group.entries_read,
                "consumers": len(names),
                "pending": [
                    [*entry.id, names.index(entry.consumer), entry.delivered_at, entry.deliveries]
                    for entry in group.pending
                ],
            }
        )
    return {
        "last_id": state.last_id,
        "max_deleted_id": state.max_deleted_id,
        "entries_added": state.entries_added,
        "groups": groups,
    }


def _unpack_state(state: dict[str, Any], strings: Sequence[bytes]) -> StreamState:
    groups: list[StreamGroup] = []
    at = 0
    for group in state["groups"]:
        name = strings[at]
        names = tuple(strings[at + 1 : at + 1 + group["consumers"]])
        at += 1 + len(names)
        pending = tuple(
            PendingEntry((ms, sequence), names[who], delivered_at, deliveries)
            for ms, sequence, who, delivered_at, deliveries in group["pending"]
        )
        first, second = group["last_id"]
        groups.append(StreamGroup(name, (first, second), group["entries_read"], names, pending))
    deleted = state["max_deleted_id"]
    return StreamState(
        (state["last_id"][0], state["last_id"][1]),
        (deleted[0], deleted[1]) if deleted else None,
        state["entries_added"],
        tuple(groups),
    )
