"""From rendered rows to keys that can be looked at."""

from __future__ import annotations

from cachectl.actions.warming.examining import Subjects
from cachectl.actions.warming.lifetimes import Lifetimes
from cachectl.model.values import LogicalValue
from cachectl.sources.rendered import Rendered


def subjects_of(rendered: Rendered, lifetimes: Lifetimes, now: int) -> Subjects:
    """Return the keys of a batch whose TTL is known. now: Unix milliseconds."""
    entry = rendered.entry
    ranges = lifetimes.ranges(rendered, now)
    kinds = rendered.types or [entry.type] * len(rendered)
    values = [
        value if kind == "string" else LogicalValue(kind, value)
        for kind, value in zip(kinds, rendered.values, strict=True)
    ]
    good = [i for i, one in enumerate(ranges) if not isinstance(one, str)]
    subjects = Subjects(entry, rendered.keys, values, ranges, rendered.tags)  # type: ignore[arg-type]
    return subjects if len(good) == len(ranges) else subjects.take(good)
