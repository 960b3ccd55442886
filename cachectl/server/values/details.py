"""One key inside out: what its server says of it, and some of its value, in a few bounded commands.

Nothing here walks a collection: of a hash of a million fields a few hundred are looked at, of a
string its first megabyte.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cachectl.errors import PermissionDeniedError, RefusedError
from cachectl.model.findings import Unavailable
from cachectl.model.keys import FieldExpiries, GroupFacts, KeyDetails, KeyRecord, StreamFacts
from cachectl.model.values import LogicalValue
from cachectl.server.clock import milliseconds
from cachectl.server.scanning.columns import COMMANDS, LENGTHS, Field
from cachectl.server.scanning.scan_errors import is_about_key, why_refused
from cachectl.server.topology.handle import Server
from cachectl.server.topology.onekey import OneKey
from cachectl.server.topology.slots import slot_of
from cachectl.server.values.logical import Command, UnknownTypeError, read_value
from cachectl.server.wire.resp import ReplyError, as_dict, as_int

LOOK = 1024 * 1024
"""Bytes of a string that are read, and about how many of a collection's elements."""
_FIELDS = 500
"""Fields whose TTLs are asked for: all of a small hash, some of a large one."""
_DETAILS = (Field.TYPE, Field.TTL, Field.BYTES, Field.ENCODING, Field.IDLE, Field.FREQ)
_TOUCHING = "asking would reset the key's idle time: the server has no CLIENT NO-TOUCH"
_REMEDY = "Redis 7.2 or Valkey, and a login with +client|no-touch"


def key_details(
    server: Server, key: bytes, *, value: bool = True, elements: int = 20
) -> KeyDetails | None:
    """Return what there is to know of a key; None when it does not exist.

    value: read some of the value, at most `elements` of a collection's. Without it a server that
    has no CLIENT NO-TOUCH is not asked anything that resets the idle time. Raises
    PermissionDeniedError when the login may not read this key, CannotConnectError.
    """
    with OneKey(server, key) as one:
        return _Look(server, one).details(value=value, elements=elements)


class _Look:
    def __init__(self, server: Server, one: OneKey) -> None:
        self._server = server
        self._one = one
        self._gaps: list[Unavailable] = []

    def details(self, *, value: bool, elements: int) -> KeyDetails | None:
        """See key_details."""
        key = self._one.key
        questions: list[Command] = [(*COMMANDS[field], key) for field in _DETAILS]
        *replies, clock = self._one.ask(*questions, ("TIME",))
        found = self._take(dict(zip(_DETAILS, replies, strict=True)))
        if found is None:
            return None
        kind = found.get(Field.TYPE, b"").decode("utf-8", "backslashreplace")
        may_touch = value or self._one.no_touch
        count = self._count(kind) if may_touch else None
        if not may_touch:
            self._gaps.append(Unavailable("elements", _TOUCHING, _REMEDY))
        sample = None
        if value:
            sample = self._sample(kind, found.get(Field.BYTES), count, elements)
        record = KeyRecord(
            key=key,
            type=kind,
            ttl_ms=found.get(Field.TTL),
            bytes=found.get(Field.BYTES),
            idle=found.get(Field.IDLE),
            freq=found.get(Field.FREQ),
            encoding=_text(found.get(Field.ENCODING)),
            elements=count,
            node=self._one.node.name,
        )
        return KeyDetails(
            record,
            now=None if isinstance(clock, ReplyError) else milliseconds(clock),
            slot=slot_of(key) if self._server.slot_map is not None else None,
            expiries=self._expiries() if kind == "hash" and may_touch else None,
            stream=self._stream() if kind == "stream" and may_touch else None,
            sample=sample,
            touched=value and not self._one.no_touch,
            unavailable=tuple(self._gaps),
        )

    def _take(self, replies: dict[Field, Any]) -> dict[Field, Any] | None:
        """Return what was answered; None when the key is not there."""
        found = {f: r for f, r in replies.items() if not isinstance(r, ReplyError)}
        refused = {f: r for f, r in replies.items() if isinstance(r, ReplyError)}
        if about_key := [r for r in refused.values() if is_about_key(r)]:
            raise PermissionDeniedError(
                f"this login may not read this key: {about_key[0].text}",
                hint="ACL SETUSER … %R~PATTERN",
                target=self._one.node.name,
            )
        gone = (found.get(Field.TYPE) == b"none", found.get(Field.TTL) == -2)
        if any(gone) or (Field.BYTES in found and found[Field.BYTES] is None):
            return None
        if not found:
            first = next(iter(refused.values()))
            reason, remedy = why_refused(COMMANDS[Field.TYPE], first)
            raise RefusedError(f"cannot look at this key: {reason}", hint=remedy)
        for field, reply in refused.items():
            # The server keeps one of these, as its policy wants it.
            if field in (Field.IDLE, Field.FREQ) and "maxmemory policy" in reply.text:
                continue
            self._gaps.append(Unavailable(str(field), *why_refused(COMMANDS[field], reply)))
        return found

    def _count(self, kind: str) -> int | None:
        if kind not in LENGTHS:
            return None
        return as_int(self._answer("elements", (LENGTHS[kind], self._one.key)))

    def _answer(self, what: str, command: Command, *, quiet: bool = False) -> Any:
        """Return the reply to one command; None, and a gap unless quiet, when it is refused."""
        reply = self._one.ask(command)[0]
        if not isinstance(reply, ReplyError):
            return reply
        if not quiet and reply.code != "WRONGTYPE":
            words = [str(word) for word in command[:2] if word != self._one.key]
            words = words if command[0] in ("XINFO", "OBJECT", "MEMORY") else words[:1]
            self._gaps.append(Unavailable(what, *why_refused(words, reply)))
        return None

    def _expiries(self) -> FieldExpiries | None:
        """Ask for the TTLs of fields, where the server has them (Redis 7.4, Valkey 9)."""
        key = self._one.key
        scanned = self._answer(
            "field TTLs", ("HSCAN", key, 0, "COUNT", _FIELDS, "NOVALUES"), quiet=True
        )
        names = scanned[1] if scanned else []
        if not names:
            return None
        reply = self._one.ask(("HPTTL", key, "FIELDS", len(names), *names))[0]
        if isinstance(reply, ReplyError):
            if reply.code == "NOPERM":
                self._gaps.append(Unavailable("field TTLs", *why_refused(("HPTTL",), reply)))
            return None
        ttls = [ttl for ttl in reply or () if ttl >= 0]
        return FieldExpiries(
            len(names), len(ttls), min(ttls, default=None), max(ttls, default=None)
        )

    def _stream(self) -> StreamFacts | None:
        key = self._one.key
        info = self._answer("first and last entry", ("XINFO", "STREAM", key))
        groups = self._answer("consumer groups", ("XINFO", "GROUPS", key))
        if info is None and groups is None:
            return None
        facts = as_dict(info or [])
        return StreamFacts(
            _entry_id(facts.get("first-entry")),
            _entry_id(facts.get("last-entry")),
            tuple(map(_group, groups or ())),
        )

    def _sample(
        self, kind: str, size: int | None, count: int | None, most: int
    ) -> LogicalValue | None:
        if kind not in LENGTHS:
            reason = f"values of the type {kind or '?'} are opaque to cachectl"
            self._gaps.append(Unavailable("value", reason))
            return None
        if kind == "string":
            head = self._answer("value", ("GETRANGE", self._one.key, 0, LOOK - 1))
            return None if head is None else LogicalValue(kind, [head])
        average = size / count if size and count else 0
        if average > LOOK:
            reason = f"its elements take about {average:,.0f} bytes each"
            self._gaps.append(Unavailable("value", reason, "cachectl keys get reads it"))
            return None
        piece = max(1, min(most, int(LOOK / average) if average else most))
        try:
            first = next(iter(read_value(self._one, self._one.key, kind, piece=piece)), None)
        except UnknownTypeError:
            self._gaps.append(Unavailable("value", f"values of the type {kind} are opaque"))
            return None
        except ReplyError as error:
            self._gaps.append(Unavailable("value", f"the server refuses to show it: {error.text}"))
            return None
        return LogicalValue(kind, first.elements[:most] if first else [])


def _group(reply: Any) -> GroupFacts:
    facts = as_dict(reply)
    return GroupFacts(
        name=facts.get("name", b""),
        consumers=as_int(facts.get("consumers")) or 0,
        pending=as_int(facts.get("pending")) or 0,
        last_id=facts.get("last-delivered-id", b""),
        lag=as_int(facts.get("lag")),
    )


def _entry_id(entry: Iterable[Any] | None) -> bytes | None:
    return next(iter(entry)) if entry else None


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode("utf-8", "backslashreplace")
