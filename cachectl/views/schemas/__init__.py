"""JSON Schemas of the documents that `-o json` prints: one a report, and one of the error object.

A report's schema is declared in this package beside the views, from the views' own columns: what a
column means is said here, of which type it is follows from its kind. A test validates real output
against every schema, and fails for a report that has none.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from cachectl.views.schemas.fragments import Schema


@cache
def _all() -> dict[str, Schema]:
    names = sorted(module.name for module in iter_modules(__path__))
    modules = [import_module(f"{__name__}.{name}") for name in names]
    schemas = [one for module in modules for one in getattr(module, "SCHEMAS", ())]
    return {str(one["title"]).removeprefix("cachectl.").split("/")[0]: one for one in schemas}


def schema_names() -> list[str]:
    """Return the names that `schema` knows: `scan` for `cachectl.scan/1`."""
    return list(_all())


def schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema of a report. Raises KeyError."""
    return _all()[name]
