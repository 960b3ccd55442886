"""Findings that are known and accepted for a while, and what becomes of that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase

from cachectl.model.findings import Finding, Severity, Suppression

EXPIRED = "doctor.suppression_expired"
"""The finding for a suppression that has run out."""


@dataclass(frozen=True, slots=True)
class Suppressed:
    """A finding that is not told, and by what."""

    finding: Finding
    by: Suppression


def apart(
    findings: Iterable[Finding], suppressions: Sequence[Suppression], today: date
) -> tuple[list[Finding], list[Suppressed]]:
    """Return the findings to tell, and those that are suppressed.

    A suppression that has run out suppresses nothing, and is a finding of its own when it would
    have. today: in UTC.
    """
    told: list[Finding] = []
    suppressed: list[Suppressed] = []
    expired: dict[Suppression, int] = {}
    for finding in findings:
        fitting = [one for one in suppressions if _fits(one, finding)]
        valid = next((one for one in fitting if one.until >= today), None)
        if valid is not None:
            suppressed.append(Suppressed(finding, valid))
            continue
        told.append(finding)
        for one in fitting:
            expired[one] = expired.get(one, 0) + 1
    told += [_of_expired(one, count) for one, count in expired.items()]
    return told, suppressed


def unused(findings: Iterable[Finding], suppressions: Sequence[Suppression]) -> list[Suppression]:
    """Return the suppressions that fit no finding: what they were for is mended, or misspelt."""
    found = list(findings)
    return [one for one in suppressions if not any(_fits(one, finding) for finding in found)]


def _fits(suppression: Suppression, finding: Finding) -> bool:
    if not fnmatchcase(finding.id, suppression.id):
        return False
    return suppression.subject is None or fnmatchcase(finding.subject or "", suppression.subject)


def _of_expired(suppression: Suppression, count: int) -> Finding:
    return Finding(
        EXPIRED,
        Severity.WARNING,
        f"the suppression of {suppression.id} ran out on {suppression.until.isoformat()}",
        f"its reason was: {suppression.reason}; it would hold for {count:,}",
        "mend what it was for, or give it a new reason and date",
        suppression.subject,
    )
