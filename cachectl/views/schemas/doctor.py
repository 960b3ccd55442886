"""The schema of `doctor`."""

from __future__ import annotations

from cachectl.output.report import Kind
from cachectl.views.health import doctor
from cachectl.views.schemas.fragments import field, report, rows

_LOOKED_AT = {
    "rule": "what was looked at",
    "result": "well, found, suppressed, covered (another rule says it), or unknown",
    "findings": "how many findings it has",
    "about": "what is well when nothing is found, why it is unknown, or what covers it",
}
_SUPPRESSED = {
    "finding": "id of a finding that is accepted",
    "subject": "what it is about",
    "until": "the last day on which it is accepted",
    "reason": "why it is",
}

SCHEMAS = [
    report(
        doctor.SCHEMA,
        "whether a cache is healthy, and what to mend first (`cachectl doctor`)",
        {
            "verdict": field(Kind.TEXT, "healthy, or the severity of the worst finding"),
            "keys": field(Kind.COUNT, "keys that there are"),
            "keys_looked_at": field(Kind.COUNT, "keys that were looked at"),
            "looked_at": rows(doctor.LOOKED_AT, _LOOKED_AT, "everything that was looked at"),
            "suppressed": rows(doctor.SUPPRESSED, _SUPPRESSED, "findings that are accepted"),
        },
        optional=("suppressed",),
    )
]
