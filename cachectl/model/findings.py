"""What was found, tested, or could not be had."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import IntEnum


class Severity(IntEnum):
    """How bad a finding is; ordered, so that `--fail-on` can compare."""

    INFO = 0
    WARNING = 1
    CRITICAL = 2

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Finding:
    """Something found, with what proves it and what mends it.

    id: stable, `area.name` (`ttl.missing`); severity; title: one sentence; evidence: the figures;
    remedy: a command or a setting, or None; subject: the namespace, node or client it is about.
    """

    id: str
    severity: Severity
    title: str
    evidence: str = ""
    remedy: str | None = None
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class Suppression:
    """A finding that is known and accepted for a while.

    id, subject: globs of what is suppressed (no subject: whatever it is about). until: the last
    day on which it holds, in UTC.
    """

    id: str
    reason: str
    until: date
    subject: str | None = None


class State(IntEnum):
    """How a test ended, in the numbers that monitoring plugins end with."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True, slots=True)
class Verdict:
    """One thing that was tested, for monitoring and CI.

    name: a label that stays the same; text: a sentence. value: the figure, None when there is
    none; unit: of it, as plugins write it ('' for a number, s, %, B); warn, critical: the ranges
    that it was held against, '' for none; low, high: bounds that it cannot leave.
    """

    name: str
    state: State
    text: str = ""
    value: float | None = None
    unit: str = ""
    warn: str = ""
    critical: str = ""
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Unavailable:
    """What a server, a managed service or a login cannot answer: a value, not an exception.

    what: the figure or feature; reason: why it is missing; remedy: what would give it (an ACL line,
    a setting, a version), or None; node: the node that refused, None for all of them.
    """

    what: str
    reason: str
    remedy: str | None = None
    node: str | None = None
