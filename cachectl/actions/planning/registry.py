"""All kinds of changes by their names, and how run.json and saved plans keep them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from cachectl.actions.planning.changes import Change, Expire, Rename, Unlink
from cachectl.actions.planning.retiming import Retime
from cachectl.errors import DamagedError

CHANGES: dict[str, type[Any]] = {cls.name: cls for cls in (Unlink, Expire, Rename, Retime)}
"""Name in run.json → class. A new kind of change is one class and one entry."""


def change_to_json(change: Any) -> dict[str, Any]:
    """Return a change as run.json keeps it."""
    return {"name": change.name, **asdict(change)}


def change_from_json(facts: Mapping[str, Any]) -> Change:
    """Return the change that run.json keeps. Raises DamagedError."""
    fields = dict(facts)
    try:
        change: Change = CHANGES[fields.pop("name")](**fields)
    except (KeyError, TypeError) as error:
        raise DamagedError("run.json names a change that this cachectl does not know") from error
    return change


def change_of(run: str, planned: Change) -> Change:
    """Return a planned change as that of a run: what is random in it follows from the run."""
    if isinstance(planned, Expire | Retime):
        return replace(planned, seed=run)
    return Rename(run) if isinstance(planned, Rename) else planned
