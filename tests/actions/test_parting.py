"""A plan in batches: every key once, in order, and no batch larger than it may be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cachectl.actions.execution.parting import batches
from cachectl.model.changes import PlannedKey, PlannedKeys

MEGABYTE = 1024 * 1024
MOST_BYTES = 32 * MEGABYTE


@given(
    st.lists(st.lists(st.integers(0, 40 * MEGABYTE), max_size=7), max_size=6),
    st.integers(0, 20),
    st.none() | st.integers(0, 40),
    st.integers(1, 9),
    st.integers(1, 12),
)
def test_batches_are_the_plan_and_bounded(
    sizes: list[list[int]], start: int, stop: int | None, size: int, least: int
) -> None:
    pages: list[list[PlannedKey]] = []
    for page in sizes:
        first = sum(map(len, pages))
        pages.append([PlannedKey(b"%d" % (first + i), "", size=n) for i, n in enumerate(page)])
    plan = [key for page in pages for key in page]
    found = list(batches(map(PlannedKeys.of, pages), start, lambda: size, least=least, stop=stop))
    assert [key for batch in found for key in batch] == plan[start:stop]
    for number, batch in enumerate(found):
        needed = least if number == 0 else 1
        assert len(batch) <= max(size, needed)
        # The key that goes over the limit may be the last one, and what is needed at least is.
        assert len(batch) <= needed or sum(batch.sizes[:-1]) < MOST_BYTES
        if number < len(found) - 1:
            full = len(batch) == max(size, needed) or sum(batch.sizes) >= MOST_BYTES
            assert full


@given(st.lists(st.binary(max_size=3), unique=True), st.frozensets(st.binary(max_size=3)))
def test_columns_are_the_records(names: list[bytes], others: frozenset[bytes]) -> None:
    records = [PlannedKey(name, "hash", i, i * 2, i - 1, name * 2) for i, name in enumerate(names)]
    columns = PlannedKeys.of(records)
    assert (len(columns), list(columns)) == (len(records), records)
    assert list(columns.without(others)) == [one for one in records if one.key not in others]
    parts = columns.part(0, 2), columns.part(2, None)
    assert list(parts[0].followed_by(parts[1])) == records
