"""JSON Schemas of the documents that `-o json` prints: one a report, and one of the error object.

A report's schema is declared in this package beside the views, from the views' own columns: what a
column means is said here, of which type it is follows from its kind. A test validates real output
against every schema, and fails for a report that has none.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from cachectl.views.schemas.fragments import Schema


@cache
def _all() -> dict[str, Schema]:
    from cachectl.views.schemas import (
        check,
        diff,
        doctor,
        errors,
        events,
        invalidate,
        keys,
        memory,
        profiles,
        scan,
        stats,
        ttl,
        warm,
    )

    modules = (
        *(check, doctor, scan, diff, keys, stats, events, memory),
        *(ttl, invalidate, warm, profiles, errors),
    )
    schemas = [one for module in modules for one in module.SCHEMAS]
    return {str(one["title"]).removeprefix("cachectl.").split("/")[0]: one for one in schemas}


def schema_names() -> list[str]:
    """Return the names that `schema` knows: `scan` for `cachectl.scan/1`."""
    return list(_all())


def schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema of a report. Raises KeyError."""
    return _all()[name]
