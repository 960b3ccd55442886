"""The schema of `check`."""

from __future__ import annotations

from cachectl.output.report import Kind
from cachectl.views.health import check
from cachectl.views.schemas.fragments import field, report, rows

_CHECK = {
    "check": "its name, and what it is about after a colon",
    "state": "OK, WARNING, CRITICAL or UNKNOWN",
    "value": "the figure; null when there is none",
    "unit": "of the figure: s, % or B; null for a number",
    "text": "the figure in words",
    "warn": "range outside of which it is WARNING; null: never",
    "critical": "range outside of which it is CRITICAL; null: never",
}

SCHEMAS = [
    report(
        check.SCHEMA,
        "figures held against ranges, for monitoring and CI (`cachectl check`)",
        {
            "state": field(Kind.TEXT, "the worst state: OK, UNKNOWN, WARNING or CRITICAL"),
            "window": field(Kind.SECONDS, "length of the window; null when there was none"),
            "checks": rows(check.COLUMNS, _CHECK, "every check"),
        },
    )
]
