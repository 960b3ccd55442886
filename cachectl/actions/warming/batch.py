"""Keys that are written alike, as parallel columns, and what has become of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from cachectl.config.manifest import Existing
from cachectl.server.transactions.setting import size_of
from cachectl.sources.rendered import TagMember

KEEP = Existing()
T = TypeVar("T")


@dataclass(slots=True)
class Batch:
    """Keys on their way into a server.

    values: all bytes (of strings), or all LogicalValue. expiries: Unix milliseconds by the
    server's clock, or NEVER. tags: the sets that are to name each key. is_doubtful: an earlier
    process may have written some of them. note: what the caller wants to know it by.

    written, kept: keys; size: bytes of those that were written, names and values together. failed:
    (key, reason).
    """

    keys: Sequence[bytes]
    values: Sequence[Any]
    expiries: Sequence[int]
    existing: Existing = KEEP
    tags: Sequence[tuple[TagMember, ...]] | None = None
    is_doubtful: bool = False
    note: Any = None
    written: int = 0
    kept: int = 0
    size: int = 0
    failed: list[tuple[bytes, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def only_new(self) -> bool:
        """Whether keys that are there stay as they are."""
        return self.existing.rule == "keep"

    @property
    def is_choosy(self) -> bool:
        """Whether a key that is there has to be looked at before it is replaced."""
        return self.existing.rule not in ("keep", "replace")

    def count_all_written(self) -> None:
        """Count every key as written."""
        self.written += len(self.keys)
        is_text = bool(self.values) and isinstance(self.values[0], bytes)
        self.size += sum(map(len, self.keys)) + sum(map(len if is_text else size_of, self.values))

    def count_written(self, at: int) -> None:
        """Count the key at a position as written."""
        self.written += 1
        self.size += len(self.keys[at]) + size_of(self.values[at])

    def count_failed(self, at: int, reason: str) -> None:
        """Count the key at a position as one that could not be written."""
        self.failed.append((self.keys[at], reason))


def parts(whole: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield a sequence in parts. size: of each, as it is now: a pace may change it meanwhile."""
    for start in range(0, len(whole), max(1, size)):
        yield whole[start : start + size]
