"""What can be done to a key: each change knows its commands, its replies, and how to look whether
it has happened.

A change is a value that goes into run.json and comes back from there, so that a run can be resumed
by another process. Whatever is random in it is derived from the run and the key, so that doing it
again does the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Protocol

from cachectl.model.changes import NEVER, KeyCopy
from cachectl.server.topology.slots import slot_of
from cachectl.server.transactions.locks import OWN_PREFIX
from cachectl.server.values.logical import Command
from cachectl.server.wire.resp import ReplyError

QUARANTINE = OWN_PREFIX + b"quarantine:"
"""What the names of keys begin with that a run has put aside; then comes the run's name."""


class Outcome(StrEnum):
    """What became of one key."""

    DONE = "done"
    GONE = "gone"  # it was not there any more
    FINE = "fine"  # nothing had to be done to it
    CHANGED = "changed"  # it kept being written, or is not what the plan saw
    REFUSED = "refused"  # the server did not take the command
    UNKNOWN = "unknown"  # the reply was lost, and looking does not tell whose work it was


class Change(Protocol):
    """One kind of change.

    name: in run.json; copies_value: whether the archive needs the value or only the TTL;
    is_choosy: whether there are keys that it leaves as they are.
    """

    name: ClassVar[str]
    copies_value: ClassVar[bool]
    is_choosy: ClassVar[bool]

    @property
    def verb(self) -> str:
        """What is done to the keys, for people."""
        ...

    @property
    def needs(self) -> tuple[str, ...]:
        """The commands that the login must be allowed to run."""
        ...

    def wants(self, key: bytes, expires_at: int, now: int) -> bool:
        """Return whether something has to be done to this key.

        expires_at: of the key, Unix milliseconds or NEVER. now: by the server's clock.
        """
        ...

    def archived(self, copy: KeyCopy, now: int) -> KeyCopy:
        """Return the copy as the archive keeps it. now: as for the commands that follow."""
        ...

    def commands(self, copies: Sequence[KeyCopy], now: int) -> list[Command]:
        """Return the commands that change these keys. now: by the server's clock, Unix ms."""
        ...

    def outcomes(self, copies: Sequence[KeyCopy], replies: Sequence[Any]) -> list[Outcome]:
        """Return what the commands' replies say of each key."""
        ...

    def probe(self, copy: KeyCopy) -> Command | None:
        """Return the command that `happened` needs the reply of, if any."""
        ...

    def happened(self, copy: KeyCopy, current: KeyCopy | None, reply: Any) -> bool:
        """Return whether the change of `copy` was made although its reply was lost.

        current: what the key is now, None for gone; reply: to the probe.
        """
        ...


def done_if_one(reply: Any) -> Outcome:
    """Return the outcome of a command that answers 1, or 0 when the key is gone."""
    if isinstance(reply, ReplyError):
        return Outcome.REFUSED
    return Outcome.DONE if reply == 1 else Outcome.GONE


def reason_of(copies: Sequence[KeyCopy], replies: Sequence[Any], number: int) -> str:
    """Return why the server refused the change of one of the keys, '' when it did not."""
    reply = replies[number] if len(replies) == len(copies) else replies[0]
    return reply.text if isinstance(reply, ReplyError) else ""


class _ForEveryKey:
    """What changes have in common that are made to every key that is meant."""

    __slots__ = ()
    is_choosy: ClassVar[bool] = False

    def wants(self, key: bytes, expires_at: int, now: int) -> bool:
        """Yes."""
        del key, expires_at, now
        return True


@dataclass(frozen=True, slots=True)
class Unlink(_ForEveryKey):
    """Remove the key; its memory is freed in the background."""

    name: ClassVar[str] = "unlink"
    verb: ClassVar[str] = "removed"
    copies_value: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("UNLINK",)

    def archived(self, copy: KeyCopy, now: int) -> KeyCopy:
        """As it was looked at."""
        del now
        return copy

    def commands(self, copies: Sequence[KeyCopy], now: int) -> list[Command]:
        """UNLINK key key …."""
        del now
        return [("UNLINK", *(copy.key for copy in copies))] if copies else []

    def outcomes(self, copies: Sequence[KeyCopy], replies: Sequence[Any]) -> list[Outcome]:
        """So many were removed; the others had expired in between, and which is all the same."""
        if not copies:
            return []
        if isinstance(replies[0], ReplyError):
            return [Outcome.REFUSED] * len(copies)
        return [Outcome.DONE] * replies[0] + [Outcome.GONE] * (len(copies) - replies[0])

    def probe(self, copy: KeyCopy) -> None:
        """Nothing: that it is gone says enough."""
        del copy

    def happened(self, copy: KeyCopy, current: KeyCopy | None, reply: Any) -> bool:
        """It is not there any more."""
        del copy, reply
        return current is None


@dataclass(frozen=True, slots=True)
class Expire(_ForEveryKey):
    """Let the key expire after `after` and up to `spread` milliseconds more, or when it would.

    seed: of the run, from which each key's part of the spread follows.
    """

    after: int
    spread: int = 0
    seed: str = ""
    name: ClassVar[str] = "expire"
    verb: ClassVar[str] = "set to expire"
    copies_value: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ("PEXPIREAT",)

    def archived(self, copy: KeyCopy, now: int) -> KeyCopy:
        """With the new time, by which undo tells it from one that somebody has set since."""
        return copy._replace(extra={"to": self._expires_at(copy, now)})

    def ttl(self, key: bytes) -> int:
        """Return the key's new TTL in milliseconds."""
        return max(1, self.after + round(self.spread * fraction(self.seed, key)))

    def commands(self, copies: Sequence[KeyCopy], now: int) -> list[Command]:
        """PEXPIREAT key time: never later than the key would expire anyway."""
        return [("PEXPIREAT", copy.key, self._expires_at(copy, now)) for copy in copies]

    def _expires_at(self, copy: KeyCopy, now: int) -> int:
        expires_at = now + self.ttl(copy.key)
        return expires_at if copy.expires_at == NEVER else min(expires_at, copy.expires_at)

    def outcomes(self, copies: Sequence[KeyCopy], replies: Sequence[Any]) -> list[Outcome]:
        """1: set; 0: it is gone."""
        del copies
        return list(map(done_if_one, replies))

    def probe(self, copy: KeyCopy) -> None:
        """Nothing: the TTL says enough."""
        del copy

    def happened(self, copy: KeyCopy, current: KeyCopy | None, reply: Any) -> bool:
        """Its TTL is not the one that it had."""
        del reply
        return current is not None and ttl_differs(copy.expires_at, current.expires_at)


@dataclass(frozen=True, slots=True)
class Rename(_ForEveryKey):
    """Move the key to a quarantine name in the same slot, where nobody reads it."""

    run: str
    name: ClassVar[str] = "rename"
    verb: ClassVar[str] = "moved to quarantine"
    copies_value: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ("RENAMENX",)

    def archived(self, copy: KeyCopy, now: int) -> KeyCopy:
        """The data stays in the server; where follows from the run."""
        del now
        return copy._replace(how="renamed")

    def target(self, key: bytes) -> bytes:
        """Return the key's name in quarantine."""
        return sibling(key, QUARANTINE + self.run.encode() + b":")

    def commands(self, copies: Sequence[KeyCopy], now: int) -> list[Command]:
        """RENAMENX key target."""
        del now
        return [("RENAMENX", copy.key, self.target(copy.key)) for copy in copies]

    def outcomes(self, copies: Sequence[KeyCopy], replies: Sequence[Any]) -> list[Outcome]:
        """1: moved; an error that says so: it is gone."""
        del copies
        return list(map(self._outcome, replies))

    @staticmethod
    def _outcome(reply: Any) -> Outcome:
        if isinstance(reply, ReplyError) and "no such key" in reply.text.lower():
            return Outcome.GONE
        return Outcome.DONE if reply == 1 else Outcome.REFUSED

    def probe(self, copy: KeyCopy) -> Command:
        """EXISTS target."""
        return "EXISTS", self.target(copy.key)

    def happened(self, copy: KeyCopy, current: KeyCopy | None, reply: Any) -> bool:
        """It is in quarantine."""
        del copy, current
        return bool(reply == 1)


def sibling(key: bytes, prefix: bytes) -> bytes:
    """Return a name that begins with `prefix`, belongs to `key`'s slot, and is different for each.

    A key with a hash tag keeps it; another one becomes the tag. Only a key whose braces would cut
    such a tag short needs a number that is looked for.
    """
    slot = slot_of(key)
    for candidate in (prefix + key, prefix + b"{" + key + b"}"):
        if slot_of(candidate) == slot:
            return candidate
    digest = hashlib.sha256(key).hexdigest().encode()
    number = 0
    while slot_of(candidate := b"%b%b:%d" % (prefix, digest, number)) != slot:
        number += 1
    return candidate


def fraction(seed: str, key: bytes) -> float:
    """Return a number from 0 to 1 that looks random and is always the same for seed and key."""
    digest = hashlib.blake2b(key, key=seed.encode()[:64], digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


TTL_SLACK = 2000
"""Milliseconds that two readings of one expiry time may be apart: PTTL and TIME are two answers."""


def ttl_differs(one: int, other: int) -> bool:
    """Return whether two expiry times (Unix milliseconds or NEVER) are not the same."""
    if NEVER in (one, other):
        return one != other
    return abs(one - other) > TTL_SLACK
