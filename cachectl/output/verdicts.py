"""What a report says to monitoring and CI: its verdicts, or what its findings amount to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cachectl.model.findings import Finding, Severity, State, Verdict
from cachectl.output.formats.lines import PARTIAL
from cachectl.output.report import Report

_STATES = {
    Severity.INFO: State.OK,
    Severity.WARNING: State.WARNING,
    Severity.CRITICAL: State.CRITICAL,
}
# The worse the earlier: what could not be looked at is not fine, but what was found is worse.
_ORDER = (State.CRITICAL, State.WARNING, State.UNKNOWN, State.OK)


def verdicts_of(report: Report) -> Sequence[Verdict]:
    """Return what was tested; of a report without verdicts, one for each finding."""
    if report.verdicts:
        return report.verdicts
    found = [_of_finding(finding) for finding in report.findings]
    if report.partial:
        found.append(Verdict("complete", State.UNKNOWN, PARTIAL))
    return found


def overall(verdicts: Iterable[Verdict]) -> State:
    """Return the state of them all: the worst, where UNKNOWN is worse than OK and no more."""
    states = {verdict.state for verdict in verdicts}
    return next((state for state in _ORDER if state in states), State.OK)


def worst_first(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Return the verdicts by their state, the worst first, else in their order."""
    return sorted(verdicts, key=lambda verdict: _ORDER.index(verdict.state))


def _of_finding(finding: Finding) -> Verdict:
    evidence = f" ({finding.evidence})" if finding.evidence else ""
    name = f"{finding.id}[{finding.subject}]" if finding.subject else finding.id
    return Verdict(name, _STATES[finding.severity], finding.title + evidence)
