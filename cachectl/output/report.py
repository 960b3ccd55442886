"""A report: what a command found, as values, before anyone decides how it looks.

A view builds a Report from a result: blocks of pairs, tables, plots and text, whose columns say
what kind of value they hold. A format turns it into text. Machine formats take the raw values
(bytes, seconds, counts as numbers); human formats take the kind and show `1.20 MiB`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Literal

from cachectl.model.figures import Estimate
from cachectl.model.findings import Finding, Unavailable, Verdict
from cachectl.model.servers import ServerFacts


class Kind(Enum):
    """What a value is. In brackets: the Python value that a cell of the kind holds."""

    TEXT = auto()  # [str] of ours or of a server: always escaped
    KEY = auto()  # [bytes] a key, field or member name
    NAMESPACE = auto()  # [bytes] a namespace or template
    COUNT = auto()  # [int | Estimate]
    BYTES = auto()  # [int | Estimate]
    RATIO = auto()  # [float 0–1 | Estimate]
    RATE = auto()  # [float per second]
    SECONDS = auto()  # [float] a duration
    TTL = auto()  # [float seconds; None is "none": the key never expires; NaN: not known]
    TIME = auto()  # [float Unix seconds]
    BOOL = auto()  # [bool]
    NUMBER = auto()  # [int | float] anything else that is counted or measured
    BAR = auto()  # [float 0–1] drawn, for people only
    SPARK = auto()  # [sequence of float] drawn as a sparkline
    COUNTS = auto()  # [dict[str, int]] such as types: {"hash": 3}
    DATA = auto()  # [JSON-able] shown only to machines unless it is short text
    SEVERITY = auto()  # [Severity]
    SIGNED_COUNT = auto()  # [int] a change of a count, shown with its sign
    SIGNED_BYTES = auto()  # [int] a change in bytes, shown with its sign


@dataclass(frozen=True, slots=True)
class Indented:
    """A name in a tree: people see it so many levels deep, machines as it is."""

    level: int
    name: bytes


Audience = Literal["all", "people", "machines"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column (or pair): declared once, used by every format.

    name: the field in machine formats; title: the heading (by default the name, words apart);
    audience: who gets to see it; drop: when the screen is narrow, columns with a higher number go
    first, 0 never goes; missing: what people read for None (a dash says "no figure").
    """

    name: str
    kind: Kind = Kind.TEXT
    title: str = ""
    audience: Audience = "all"
    drop: int = 0
    missing: str = "-"

    @property
    def heading(self) -> str:
        """The title for people."""
        return self.title or self.name.replace("_", " ")


@dataclass(frozen=True, slots=True)
class Pairs:
    """Named single values. In JSON they are fields of the document (or of `name` when given)."""

    rows: Sequence[tuple[Column, Any]]
    title: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns. In JSON an array of objects in the field `name`.

    empty: the sentence for people when there are no rows. total: a last row for people only.
    """

    name: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    title: str = ""
    empty: str = ""
    total: Sequence[Any] | None = None
    audience: Audience = "all"


@dataclass(frozen=True, slots=True)
class Histogram:
    """Bars with labels, for people to look at; machines get the rows in the field `name`.

    rows: (label, value); kind: of the values; marks: labels of the rows that stand out.
    """

    name: str
    rows: Sequence[tuple[str, float]]
    kind: Kind = Kind.COUNT
    title: str = ""
    marks: frozenset[str] = frozenset()
    audience: Audience = "all"


@dataclass(frozen=True, slots=True)
class Text:
    """Text of several lines for people (a decoded value, an explanation); `name` for machines."""

    text: str
    title: str = ""
    name: str = ""


Block = Pairs | Table | Histogram | Text


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of Prometheus. samples: (labels, value); help: the same wherever it is written."""

    name: str
    help: str
    samples: Sequence[tuple[Mapping[str, str], float]]
    type: Literal["counter", "gauge"] = "gauge"


@dataclass(slots=True)
class Report:
    """Everything one command has to say.

    schema: `cachectl.<report>/<version>`. blocks: in reading order. main: the name of the table
    that csv, tsv, ndjson and markdown take when they can take only one. partial: something is
    missing that was asked for (exit code 3). notes: sentences for people, after the blocks, on
    stderr when the answer goes to a pipe. generated_at: Unix seconds, filled in when it is shown.
    verdicts: what was tested, for monitoring and CI; metrics: for Prometheus. A report that has
    neither is taken for what its findings and figures say.
    """

    schema: str
    blocks: Sequence[Block] = ()
    server: ServerFacts | None = None
    main: str = ""
    partial: bool = False
    findings: Sequence[Finding] = ()
    unavailable: Sequence[Unavailable] = ()
    notes: Sequence[str] = ()
    generated_at: float | None = None
    verdicts: Sequence[Verdict] = ()
    metrics: Sequence[Metric] = ()

    @property
    def tables(self) -> list[Table]:
        """The tables that machines may see, the main one first."""
        tables = [b for b in self.blocks if isinstance(b, Table) and b.audience != "people"]
        return sorted(tables, key=lambda table: table.name != self.main)


@dataclass(slots=True)
class RowStream:
    """A table whose rows come one by one and are not kept: `keys list`, `stats --watch`.

    rows: an iterable of row sequences. finish: called when the rows have ended or were
    interrupted, returns the Report's other parts (partial, unavailable, notes), and pairs for the
    end. live: rows come at the pace of the world, so each is flushed at once.
    """

    schema: str
    table: str
    columns: Sequence[Column]
    rows: Iterable[Sequence[Any]]
    finish: Callable[[], Report] = field(default=lambda: Report(schema=""))
    live: bool = False


def estimate_parts(value: Any) -> tuple[Any, float | None, float | None]:
    """Return (value, low, high); low and high are None for an exact figure."""
    if isinstance(value, Estimate):
        return value.value, value.low, value.high
    return value, None, None
