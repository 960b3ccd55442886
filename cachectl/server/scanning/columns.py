"""Which commands tell what about a key, packed in bulk, and their replies turned into columns.

A page of n keys and k fields is asked as k runs of n commands (TYPE of all keys, then PTTL of all
keys, …): packing is one bytes.join a run, and a column is one slice of the replies. The server
finds the entries of a page in its caches from the second run on.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from cachectl.errors import RefusedError
from cachectl.model.findings import Unavailable
from cachectl.model.keys import Page
from cachectl.server.scanning.scan_errors import (
    MOVED_CODES,
    WAIT_CODES,
    NotNowError,
    is_about_key,
    why_refused,
)
from cachectl.server.wire.resp import HEADS, ReplyError, pack


class Field(StrEnum):
    """What a scan can ask about a key; the order is the order of asking."""

    TYPE = "type"
    TTL = "ttl"
    BYTES = "bytes"
    IDLE = "idle"
    FREQ = "freq"
    ENCODING = "encoding"
    ELEMENTS = "elements"


COMMANDS: dict[Field, tuple[str, ...]] = {
    Field.TYPE: ("TYPE",),
    Field.TTL: ("PTTL",),
    Field.BYTES: ("MEMORY", "USAGE"),
    Field.IDLE: ("OBJECT", "IDLETIME"),
    Field.FREQ: ("OBJECT", "FREQ"),
    Field.ENCODING: ("OBJECT", "ENCODING"),
}
LENGTHS = {
    "string": "STRLEN",
    "hash": "HLEN",
    "list": "LLEN",
    "set": "SCARD",
    "zset": "ZCARD",
    "stream": "XLEN",
    "vectorset": "VCARD",
}
# MEMORY USAGE looks a key up without the statistics; all the others count a hit or a miss.
_UNCOUNTED = {Field.BYTES}
_EXPECTED: dict[Field, type] = {
    Field.TYPE: bytes,
    Field.TTL: int,
    Field.BYTES: int,
    Field.IDLE: int,
    Field.FREQ: int,
    Field.ENCODING: bytes,
}
_TEXTS = {Field.TYPE, Field.ENCODING}
_PAGE_COLUMNS = {
    Field.TYPE: "types",
    Field.TTL: "ttls",
    Field.BYTES: "sizes",
    Field.IDLE: "idles",
    Field.FREQ: "freqs",
    Field.ENCODING: "encodings",
    Field.ELEMENTS: "elements",
}


class _Texts(dict[bytes, str]):
    """TYPE's and OBJECT ENCODING's few answers, each decoded once."""

    def __missing__(self, raw: bytes) -> str:
        text = self[raw] = raw.decode("utf-8", "backslashreplace")
        return text


_texts = _Texts()


Fate = Literal["vanished", "unreadable", "moved"]
"""Why a key is not on the page: it is gone, it is forbidden, or it is on another node by now."""


@dataclass(slots=True)
class Batch:
    """The keys of one SCAN reply on their way to becoming a page.

    next: the cursor after them. visited: keys that the server went through to find them.
    found: the keys as SCAN returned them; keys: those that are still wanted. columns: raw replies
    by field, parallel to keys. gone: position in keys → what became of that key. moved: the keys
    among those that belong to another node by now.
    """

    keys: list[bytes]
    next: bytes = b"0"
    visited: int = 0
    columns: dict[Field, list[Any]] = field(default_factory=dict)
    gone: dict[int, Fate] = field(default_factory=dict)
    moved: list[bytes] = field(default_factory=list)
    found: list[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.found = self.keys

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def bulks(self) -> list[bytes]:
        """The keys as arguments of commands, behind an empty string: ready for `join`."""
        heads = HEADS
        return [b"", *[heads[len(key)] + key + b"\r\n" for key in self.keys]]


@dataclass(slots=True)
class Tally:
    """What became of the keys that a node returned, and what asking for them cost.

    hits, misses: added by us to the server's keyspace_hits and keyspace_misses.
    """

    duplicates: int = 0
    vanished: int = 0
    unreadable: int = 0
    moved: int = 0
    hits: int = 0
    misses: int = 0


class Columns:
    """The fields that one node is asked for; a field that it refuses is asked once.

    unavailable: what was refused so far. tally: counts over all batches.
    """

    def __init__(
        self,
        fields: Collection[Field],
        node: str,
        tally: Tally,
        *,
        also: Collection[Field] = (),
    ) -> None:
        """Ask for `fields`, and for `also` without showing it."""
        self.fields = [one for one in COMMANDS if one in fields or one in also]
        self.elements = Field.ELEMENTS in fields
        self.node = node
        self.tally = tally
        self.unavailable: list[Unavailable] = []
        self._asked = frozenset(fields)

    def drop(self, what: Field, reason: str, remedy: str | None = None) -> None:
        """Stop asking for a field, and remember why."""
        if what is Field.ELEMENTS:
            self.elements = False
        elif what in self.fields:
            self.fields.remove(what)
        self.unavailable.append(Unavailable(str(what), reason, remedy, self.node))

    def take(self, batch: Batch, fields: Sequence[Field], replies: list[Any], at: int = 0) -> None:
        """Read the replies to `pack_fields(batch, fields)` that start at `at` into the batch.

        Raises NotNowError, and then the batch has to be asked again.
        """
        n = len(batch)
        for one in fields:
            column = replies[at : at + n]
            at += n
            batch.columns[one] = column
            if not _is_clean(one, column):
                self._sort_out(batch, one, column)
            elif one not in _UNCOUNTED:
                self.tally.hits += n

    def _sort_out(self, batch: Batch, what: Field, column: list[Any]) -> None:
        """Go through a column in which some reply is not a plain value."""
        refused: ReplyError | None = None
        counted = what not in _UNCOUNTED
        for i, reply in enumerate(column):
            if isinstance(reply, ReplyError):
                refused = self._error(batch, i, reply) or refused
                continue
            missing = reply is None or (reply in (b"none", -2) and what in (Field.TYPE, Field.TTL))
            if missing:
                batch.gone.setdefault(i, "vanished")
            if counted:
                self.tally.misses += missing
                self.tally.hits += not missing
        if refused is not None and any(type(reply) is _EXPECTED[what] for reply in column):
            self._blank(batch, what, column)
        elif refused is not None:
            if "maxmemory policy" in refused.text:  # the key was looked up before the refusal
                self.tally.hits += sum(isinstance(reply, ReplyError) for reply in column)
            del batch.columns[what]
            if what in self.fields:  # two flights may be on their way when the first is refused
                self.drop(what, *why_refused(COMMANDS[what], refused))

    def _blank(self, batch: Batch, what: Field, column: list[Any]) -> None:
        """Leave out what was refused for single keys of a page: not the command is refused."""
        for i, reply in enumerate(column):
            if isinstance(reply, ReplyError):
                column[i] = None
                if what in (Field.TYPE, Field.TTL):
                    batch.gone.setdefault(i, "unreadable")

    def _error(self, batch: Batch, i: int, reply: ReplyError) -> ReplyError | None:
        """Sort one error: about the key (None), about now (raise), or about the command."""
        if reply.code in WAIT_CODES:
            raise NotNowError(reply)
        if reply.code in MOVED_CODES:
            batch.gone[i] = "moved"
        elif is_about_key(reply):
            batch.gone[i] = "unreadable"
        else:
            return reply
        return None

    def pack_lengths(self, batch: Batch) -> tuple[bytes, list[int]]:
        """Return the commands that ask for the number of elements, and whose keys they ask."""
        types = batch.columns.get(Field.TYPE, []) if self.elements else []
        asked = [i for i, raw in enumerate(types) if i not in batch.gone and _texts[raw] in LENGTHS]
        return b"".join(pack(LENGTHS[_texts[types[i]]], batch.keys[i]) for i in asked), asked

    def take_lengths(self, batch: Batch, asked: Sequence[int], replies: Sequence[Any]) -> None:
        """Read the replies to `pack_lengths`. Raises NotNowError."""
        if not self.elements:
            return
        if Field.TYPE not in batch.columns:
            self.drop(Field.ELEMENTS, "the command to ask with depends on the type")
            return
        types = batch.columns[Field.TYPE]
        column: list[int | None] = [None] * len(batch)
        batch.columns[Field.ELEMENTS] = column
        for i, reply in zip(asked, replies, strict=True):
            if isinstance(reply, ReplyError):
                if self._error(batch, i, reply) and self.elements and reply.code != "WRONGTYPE":
                    command = LENGTHS[_texts[types[i]]]
                    self.drop(Field.ELEMENTS, *why_refused((command,), reply))
                continue
            column[i] = reply
            # A string may be empty; any other key without elements is gone.
            missing = reply == 0 and types[i] != b"string"
            self.tally.misses += missing
            self.tally.hits += not missing
            if missing:
                batch.gone.setdefault(i, "vanished")

    def narrow(self, batch: Batch, wanted: str) -> None:
        """Leave only the keys of one type in the batch. Raises RefusedError without the types."""
        types = batch.columns.get(Field.TYPE)
        if types is None:
            gap = self.unavailable[-1]
            raise RefusedError(
                f"cannot tell the types of keys: {gap.reason}", hint=gap.remedy, target=self.node
            )
        left = [i for i in self._settle(batch) if _texts[types[i]].lower() == wanted.lower()]
        batch.columns = {one: [column[i] for i in left] for one, column in batch.columns.items()}
        batch.gone = {}
        batch.keys = [batch.keys[i] for i in left]

    def page(self, batch: Batch) -> Page:
        """Return the batch as a page, without the keys that are gone; count those in the tally."""
        columns: dict[str, Any] = {"keys": batch.keys}
        for one, column in batch.columns.items():
            if one in self._asked:
                columns[_PAGE_COLUMNS[one]] = column
        if batch.gone:
            left = self._settle(batch)
            columns = {name: [column[i] for i in left] for name, column in columns.items()}
        for name in ("types", "encodings"):
            if name in columns:
                columns[name] = [*map(_texts.__getitem__, columns[name])]
        return Page(node=self.node, **columns)

    def _settle(self, batch: Batch) -> list[int]:
        """Count the keys that are gone; return the positions of the others."""
        fates = [*batch.gone.values()]
        self.tally.vanished += fates.count("vanished")
        self.tally.unreadable += fates.count("unreadable")
        moved = [batch.keys[i] for i, fate in batch.gone.items() if fate == "moved"]
        self.tally.moved += len(moved)
        batch.moved += moved
        return [i for i in range(len(batch)) if i not in batch.gone]


def pack_fields(batch: Batch, fields: Collection[Field]) -> bytes:
    """Return the commands that ask for `fields` of all keys of the batch, ready to be sent."""
    if not batch.keys or not fields:
        return b""
    bulks = batch.bulks
    return b"".join([_HEADS[one].join(bulks) for one in fields])


def _head(words: tuple[str, ...]) -> bytes:
    """Return a command up to its key: what follows is one bulk string."""
    count, _, rest = pack(*words).partition(b"\r\n")
    return b"*%d\r\n" % (int(count[1:]) + 1) + rest


_HEADS = {one: _head(words) for one, words in COMMANDS.items()}


def _is_clean(what: Field, column: list[Any]) -> bool:
    """Whether every reply is a value of a key that exists: told in C, for a page at a time."""
    try:
        # Fails on None and on errors, at a fifth of what looking at each type would cost.
        b"".join(column) if what in _TEXTS else sum(column)
    except TypeError:
        return False
    return (what is not Field.TYPE or b"none" not in column) and (
        what is not Field.TTL or -2 not in column
    )
