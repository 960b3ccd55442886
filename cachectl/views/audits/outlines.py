"""What the reports of audits against a policy share: sums of figures, and keys under no rule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from cachectl.model.figures import Estimate, Figure, value_of
from cachectl.model.findings import Finding, Severity
from cachectl.output.report import Block, Column, Table

FOR_PEOPLE = 20
"""Rows that people see unless they ask for more."""
NAMED = 3
"""Namespaces that a finding or a remedy names."""


class OfNamespace(Protocol):
    """Keys of one namespace; None: of several together."""

    @property
    def namespace(self) -> bytes | None:
        """The namespace."""
        ...

    @property
    def keys(self) -> Figure:
        """How many keys."""
        ...


def added(figures: Sequence[Figure]) -> str:
    """Return the sum of figures; of estimates without an interval, since these do not add up."""
    about = "about " if any(isinstance(one, Estimate) for one in figures) else ""
    return f"{about}{sum(map(value_of, figures)):,.0f}"


def most_of(found: Sequence[OfNamespace]) -> str:
    """Name the first namespaces, with their keys."""
    named = [f"{text_of(one.namespace or b'')} {added([one.keys])}" for one in found[:NAMED]]
    more = len(found) - len(named)
    return ", ".join(named) + (f" and {more:,} more" if more else "")


def without_rule(
    identifier: str, keys: Figure, unruled: Sequence[OfNamespace]
) -> Iterator[Finding]:
    """Yield the finding for keys that no rule names, if there are any."""
    if not unruled:
        return
    count = added([keys])
    yield Finding(
        id=identifier,
        severity=Severity.INFO,
        title="1 key falls under no rule" if count == "1" else f"{count} keys fall under no rule",
        evidence=most_of(unruled),
        remedy="add rules for them to the policy",
    )


def tables(
    name: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Any]],
    limit: int | None,
    *,
    title: str,
    empty: str | None = None,
) -> Iterator[Block]:
    """Yield a table for machines, and what people see of it. empty: said when there are no rows."""
    yield Table(name, columns, rows[:limit], audience="machines")
    if rows or empty:
        yield Table(
            f"{name}_for_people",
            columns,
            rows[: limit or FOR_PEOPLE],
            title=title,
            audience="people",
            **({"empty": empty} if empty else {}),
        )


def hidden(limit: int | None, **rows: int) -> Iterator[str]:
    """Yield a note for each table of which people do not see all. rows: its name → how many."""
    for name, count in rows.items():
        if count > (limit or FOR_PEOPLE):
            yield f"{count - (limit or FOR_PEOPLE):,} more {name}; --limit shows more"


def text_of(name: bytes) -> str:
    """Return a name of bytes as text, for output to escape."""
    return name.decode("utf-8", "surrogateescape")
