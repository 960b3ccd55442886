"""The schema of `warm refresh`."""

from __future__ import annotations

from cachectl.views.schemas.fragments import report, rows
from cachectl.views.warm import refresh

_PASS = {
    "at": "when the pass began",
    "checked": "keys that were looked at",
    "due": "of these, that had little left",
    "missing": "that were not there",
    "written": "that were loaded",
    "kept": "that the application had renewed meanwhile",
    "failed": "that could not be loaded, and rows that give no key",
    "soonest": "until the first key expires; null: none does",
    "seconds": "how long the pass took",
}

SCHEMAS = (
    report(
        refresh.SCHEMA,
        "what was refreshed (`cachectl warm refresh`)",
        {"passes": rows(refresh.COLUMNS, _PASS, "pass by pass")},
    ),
)
