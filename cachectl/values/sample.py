"""What goes into a decoder and what comes out of it.

A decoder is a function `(Sample) -> Found | None`. It never raises for any bytes, never executes
or imports what the bytes name, and does work linear in the bytes of its sample.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property


@dataclass(frozen=True, slots=True)
class Limits:
    """How much work one value may cause.

    look: bytes of each layer that are looked at. inflate: bytes that a decompressor may produce
    before it is stopped (only `look` of them are kept). layers: encodings opened one inside the
    other. depth, nodes: of a decoded structure. opcodes: of a pickle. text: characters of a
    rendering. hexdump: bytes shown in hexadecimal.
    """

    look: int = 1 << 20
    inflate: int = 8 << 20
    layers: int = 6
    depth: int = 64
    nodes: int = 50_000
    opcodes: int = 20_000
    text: int = 1 << 20
    hexdump: int = 4096


@dataclass(frozen=True)
class Sample:
    """The bytes at hand of one layer.

    data: the first bytes, at most `limits.look`. total: length of the layer in bytes, None when it
    goes on but nobody knows how far. now: Unix seconds, for judging times.
    """

    data: bytes
    total: int | None
    now: float
    limits: Limits

    @classmethod
    def of(cls, value: bytes, total: int | None, now: float, limits: Limits) -> Sample:
        """Return the sample of a value of which `value` is all (total None) or the beginning."""
        whole = len(value) if total is None else max(total, len(value))
        return cls(bytes(value[: limits.look]), whole, now, limits)

    def inside(self, data: bytes, *, complete: bool = True, total: int | None = None) -> Sample:
        """Return the sample of a layer found inside this one; total counts only if not complete."""
        whole = len(data) if complete else total
        return Sample(data[: self.limits.look], whole, self.now, self.limits)

    @property
    def complete(self) -> bool:
        """Whether nothing of this layer is missing."""
        return self.total == len(self.data)

    @cached_property
    def text(self) -> str | None:
        """The sample as UTF-8, or None; a character cut off by the end of the sample is dropped."""
        try:
            return self.data.decode()
        except UnicodeDecodeError as error:
            cut_off = not self.complete and error.reason == "unexpected end of data"
            return self.data[: error.start].decode() if cut_off else None


@dataclass(frozen=True, slots=True)
class Found:
    """What a decoder recognised.

    format: a stable slug. title: the same for people, with what is particular to this value.
    text: readable rendering. data: decoded structure that `json.dumps` takes. notes, damaged: as in
    Described. inner: the next layer. tentative: the answer only stands if the inner layer turns
    out to be something better than plain binary.
    """

    format: str
    title: str
    text: str | None = None
    data: object = None
    notes: tuple[str, ...] = ()
    damaged: str | None = None
    inner: Sample | None = field(default=None, repr=False)
    tentative: bool = False


Decoder = Callable[[Sample], Found | None]


def moment(seconds: float) -> str | None:
    """Return a Unix time as RFC 3339 in UTC, or None when no calendar holds it."""
    try:
        when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    except (OverflowError, ValueError):
        return None
    precision = "milliseconds" if when.microsecond % 1000 == 0 else "microseconds"
    return when.isoformat(timespec=precision if when.microsecond else "seconds")[:-6] + "Z"


def listed(names: list[str], most: int = 20) -> str:
    """Join the different names in order of appearance, at most `most` of them."""
    different = list(dict.fromkeys(names))
    more = f" and {len(different) - most:,} more" if len(different) > most else ""
    return ", ".join(different[:most]) + more
