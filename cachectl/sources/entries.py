"""From rows to keys: what one entry of a manifest makes of the rows of its source.

    renderer = Renderer(entry)
    for batch in source.batches():
        rendered = renderer.render(batch)
    rendered = renderer.finish()

Half a million rows must not wait for this: where an entry is simple, whole columns of a batch are
rendered at once, and nothing is made for a single row but its key and its value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cachectl.config.manifest import Entry, Tag
from cachectl.config.placeholders import Placeholder
from cachectl.model.keys import NO_TTL
from cachectl.model.values import LogicalValue
from cachectl.sources.elements import Maker, maker, score_of, whole
from cachectl.sources.interface import Row, RowBatch, RowProblem
from cachectl.sources.rendered import Rendered, TagMember
from cachectl.sources.scalars import RowFault, as_number
from cachectl.sources.template import Faults, Template, about, carefully, lookup

LONGEST_KEY = 64 * 1024
"""Bytes: a longer name is a slip of the pen, and makes every look at it slow."""
MOST_ELEMENTS = 1_000_000
"""Elements of one collection; they are held in memory together."""
LONGEST_TTL = 100 * 365 * 86_400
"""Seconds (100 years)."""
ROW_TTLS = ("column", "kept")
"""The kinds of TTL that each row says."""
_REMEMBERED = 250_000


class Renderer:
    """Makes keys of one entry's rows, batch by batch, in their order.

    Raises ConfigError when a codec needs a package that is missing.
    """

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self._key = Template(entry.key)
        self._values = _values_of(entry)
        self._conditions = [(lookup(column), text) for column, text in entry.where.items()]
        self._tags = [_tagging(tag) for tag in entry.tags]
        self._ttl = _ttl_of(entry)
        self._group: _Group | None = None
        self._finished: set[int] = set()

    def render(self, batch: RowBatch) -> Rendered:
        """Return the keys that a batch gives; of gathered keys those that are whole."""
        batch = self._counting(batch)
        rows, numbers = batch.rows, batch.numbers
        keys, faults = self._key.column(rows)
        _check_keys(keys, faults)
        values, wrong = self._values(batch)
        faults.update((i, what) for i, what in wrong.items() if i not in faults)
        if self.entry.gather:
            return self._gathered(keys, values, faults, batch)
        if self.entry.type != "copy":
            _check_sizes(self.entry, values, faults)
        ttls = _also(self._ttl, rows, faults)
        tags = self._tagged(rows, keys, faults) if self._tags else None
        types = [row["type"] for row in rows] if self.entry.type == "copy" else None
        rendered = Rendered(self.entry, keys, values, numbers, ttls, types, tags)
        return self._without(rendered, faults) if faults else rendered

    def finish(self) -> Rendered:
        """Return the last gathered key, once the source has come to its end."""
        done = _Gathering(self.entry)
        self._close(done)
        return done.rendered()

    def _counting(self, batch: RowBatch) -> RowBatch:
        """Return the batch with only the rows that the entry's `where` lets count."""
        if not self._conditions:
            return batch
        chosen = [i for i, row in enumerate(batch.rows) if self._counts(row)]
        texts = batch.texts
        return RowBatch(
            [batch.rows[i] for i in chosen],
            [batch.numbers[i] for i in chosen],
            [texts[i] for i in chosen] if texts is not None else None,
        )

    def _counts(self, row: Row) -> bool:
        return all(_has(row, look, text) for look, text in self._conditions)

    def _tagged(
        self, rows: Sequence[Row], keys: Sequence[bytes], faults: Faults
    ) -> list[tuple[TagMember, ...]]:
        tagged: list[tuple[TagMember, ...]] = []
        for i, row in enumerate(rows):
            members: tuple[TagMember, ...] = ()
            if i not in faults:
                try:
                    members = tuple([tag(row, keys[i]) for tag in self._tags])
                except RowFault as fault:
                    faults[i] = str(fault)
            tagged.append(members)
        return tagged

    def _without(self, rendered: Rendered, faults: Faults) -> Rendered:
        """Return what is left when the faulty rows are taken out, with a problem for each."""
        good = [i for i in range(len(rendered)) if i not in faults]

        def kept(column: Any) -> Any:
            return None if column is None else [column[i] for i in good]

        return Rendered(
            self.entry,
            kept(rendered.keys),
            kept(rendered.values),
            kept(rendered.rows),
            kept(rendered.ttls),
            kept(rendered.types),
            kept(rendered.tags),
            tuple(self._problem(rendered.rows[i], faults[i]) for i in sorted(faults)),
        )

    def _problem(self, row: int, what: str) -> RowProblem:
        entry = self.entry
        return RowProblem(entry.source, entry.name, row, what, entry.place)

    # --- keys of several rows ---------------------------------------------------------------------

    def _gathered(
        self, keys: list[bytes], parts: list[Any], faults: Faults, batch: RowBatch
    ) -> Rendered:
        """Return the keys whose last row this batch has shown: a row of another key came."""
        done = _Gathering(self.entry)
        for i, key in enumerate(keys):
            number = batch.numbers[i]
            if i in faults:
                done.problems.append(self._problem(number, faults[i]))
                if not key:
                    continue
            if self._group is None or self._group.key != key:
                self._close(done)
                self._group = _Group(key, number, batch.rows[i])
            if i in faults:
                # A collection that lacks an element would pass for the whole.
                self._group.spoilt = f"is one of its key's rows, and row {number} has no value"
                self._group.is_told |= number == self._group.number
            self._group.add(parts[i], self.entry.max_bytes)
        return done.rendered()

    def _close(self, done: _Gathering) -> None:
        group, self._group = self._group, None
        if group is None:
            return
        try:
            if group.spoilt:
                raise RowFault(group.spoilt)
            if hash(group.key) in self._finished:
                raise RowFault("comes again for a key that had ended: sort the rows by key")
            if len(self._finished) < _REMEMBERED:
                self._finished.add(hash(group.key))
            elements = whole(self.entry.type, group.parts)
            tags = tuple(tag(group.first, group.key) for tag in self._tags)
            ttl = self._ttl(group.first) if self._ttl else None
        except RowFault as fault:
            if not group.is_told:
                done.problems.append(self._problem(group.number, str(fault)))
            return
        done.add(group, elements, ttl, tags)


@dataclass(slots=True)
class _Group:
    """The rows of one key so far. number, first: its first row. spoilt: why it gives no key.

    is_told: whether that is said of its first row already.
    """

    key: bytes
    number: int
    first: Row
    parts: list[Any] = field(default_factory=list)
    size: int = 0
    spoilt: str = ""
    is_told: bool = False

    def add(self, part: list[Any], max_bytes: int) -> None:
        """Take one row's elements; past the limits take note of that and nothing else."""
        if self.spoilt:
            return
        self.parts += part
        self.size += _size(part)
        if self.size > max_bytes or len(self.parts) > MOST_ELEMENTS:
            self.spoilt = "begins a key that is larger than its entry's max_bytes allows"
            self.parts.clear()


@dataclass(slots=True)
class _Gathering:
    """Gathered keys that are whole."""

    entry: Entry
    keys: list[bytes] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    ttls: list[int] = field(default_factory=list)
    tags: list[tuple[TagMember, ...]] = field(default_factory=list)
    problems: list[RowProblem] = field(default_factory=list)

    def add(
        self, group: _Group, elements: list[Any], ttl: int | None, tags: tuple[TagMember, ...]
    ) -> None:
        """Take one key."""
        self.keys.append(group.key)
        self.values.append(elements)
        self.rows.append(group.number)
        self.tags.append(tags)
        if ttl is not None:
            self.ttls.append(ttl)

    def rendered(self) -> Rendered:
        """Return them as columns."""
        return Rendered(
            self.entry,
            self.keys,
            self.values,
            self.rows,
            self.ttls if self.entry.ttl.kind in ROW_TTLS else None,
            None,
            self.tags if self.entry.tags else None,
            tuple(self.problems),
        )


def _has(row: Row, look: Callable[[Row], Any], text: str) -> bool:
    from cachectl.sources.scalars import as_text

    try:
        return as_text(look(row)) == text
    except RowFault:
        return False


def _check_keys(keys: Sequence[bytes], faults: Faults) -> None:
    if all(keys) and len(max(keys, key=len, default=b"")) <= LONGEST_KEY:
        return
    for i, key in enumerate(keys):
        if i in faults:
            continue
        if not key:
            faults[i] = "makes an empty key"
        elif len(key) > LONGEST_KEY:
            faults[i] = f"makes a key of {len(key):,} bytes, more than {LONGEST_KEY:,}"


def _check_sizes(entry: Entry, values: Sequence[Any], faults: Faults) -> None:
    sizes = list(map(len if entry.type == "string" else _size, values))
    if max(sizes, default=0) <= entry.max_bytes:
        return
    for i, size in enumerate(sizes):
        if size > entry.max_bytes:
            faults.setdefault(
                i, f"makes a value of {size:,} bytes, more than max_bytes ({entry.max_bytes:,})"
            )


def _size(elements: Any) -> int:
    """Return about how many bytes elements have: what their texts add up to."""
    if isinstance(elements, bytes):
        return len(elements)
    if isinstance(elements, list | tuple):
        return sum(map(_size, elements))
    return 8


def _also(look: Callable[[Row], int] | None, rows: Sequence[Row], faults: Faults) -> Any:
    if look is None:
        return None
    column, wrong = carefully(look, rows, NO_TTL)
    faults.update((i, what) for i, what in wrong.items() if i not in faults)
    return column


# --- the columns of an entry, each as a function --------------------------------------------------

_Values = Callable[[RowBatch], tuple[list[Any], Faults]]


def _values_of(entry: Entry) -> _Values:
    """Return what makes a batch's values; the common cases without a call for each row."""
    value = entry.value
    if entry.type == "copy":
        return lambda batch: carefully(_copied, batch.rows, b"")
    make = maker(entry)
    if entry.type != "string":
        return _collections(entry, make)
    if entry.codec == ("raw",) and value.kind in ("template", "column"):
        template = Template(
            value.template if value.kind == "template" else (Placeholder(value.column),)
        )
        return lambda batch: template.column(batch.rows)

    def values(batch: RowBatch) -> tuple[list[Any], Faults]:
        if value.kind == "row" and entry.codec == ("json",) and batch.texts is not None:
            return list(batch.texts), {}
        return carefully(make, batch.rows, b"")

    return values


def _collections(entry: Entry, make: Maker) -> _Values:
    def made(row: Row) -> Any:
        return whole(entry.type, make(row))

    return lambda batch: carefully(make if entry.gather else made, batch.rows, [])


def _copied(row: Row) -> Any:
    value = row["value"]
    if not isinstance(value, LogicalValue):
        raise RowFault("has no value: a saved scan holds names and no values")
    return b"".join(value.elements) if value.type == "string" else list(value.elements)


def _ttl_of(entry: Entry) -> Callable[[Row], int] | None:
    """Return what reads a key's TTL in milliseconds out of its row; None: rows have none."""
    if entry.ttl.kind not in ROW_TTLS:
        return None
    if entry.ttl.kind == "kept":
        return _kept_ttl
    column = entry.ttl.column
    look = lookup(column)

    def ttl(row: Row) -> int:
        try:
            seconds = as_number(look(row))
        except RowFault as fault:
            raise about(column, fault) if str(fault).startswith("is ") else fault from None
        if not 0.001 <= seconds <= LONGEST_TTL:
            raise RowFault(f"has a TTL in `{column}` that is not between 0 and 100 years")
        return int(seconds * 1000)

    return ttl


def _kept_ttl(row: Row) -> int:
    left: int = row["ttl_ms"]
    if left == NO_TTL or left > 0:
        return left
    raise RowFault("is a key that had expired")


def _tagging(tag: Tag) -> Callable[[Mapping[str, Any], bytes], TagMember]:
    key = Template(tag.key)
    member = Template(tag.member) if tag.member is not None else None
    score = Template(tag.score) if tag.score is not None else None

    def tagged(row: Row, name: bytes) -> TagMember:
        return TagMember(
            tag.kind,
            key.one(row),
            member.one(row) if member else name,
            score_of(score.one(row)) if score else 0.0,
        )

    return tagged
