"""The biggest keys are those that sorting everything would give."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cachectl.analysis.keyspace.biggest import BiggestKeys, BigKey
from cachectl.analysis.memory.giants import GIANT_BYTES, GIANT_ELEMENTS, giant_findings
from cachectl.analysis.naming.namespaces import index_by
from cachectl.model.keys import Page

KEYS = st.dictionaries(
    st.tuples(st.sampled_from([b"user:", b"cart:", b"x:"]), st.integers(1, 500)),
    st.tuples(
        st.sampled_from(["string", "hash", "zset"]),
        st.one_of(st.none(), st.integers(0, 50)),
        st.one_of(st.none(), st.integers(0, 50)),
    ),
    max_size=60,
)


def pages_of(keys: dict[tuple[bytes, int], tuple[str, int | None, int | None]]) -> list[Page]:
    rows = [(name + b"%d" % n, *rest) for (name, n), rest in keys.items()]
    pages = []
    for at in range(0, len(rows), 7):
        part = rows[at : at + 7]
        names, types, sizes, elements = (list(column) for column in zip(*part, strict=True))
        node = f"n{at % 2}"
        pages.append(Page(node, names, types, sizes=sizes, elements=elements))  # type: ignore[arg-type]
    return pages


@given(KEYS, st.integers(1, 9), st.integers(0, 4))
def test_as_if_everything_were_sorted(
    keys: dict[tuple[bytes, int], tuple[str, int | None, int | None]], keep: int, each: int
) -> None:
    one = BiggestKeys(index_by("prefix"), "prefix", keep=keep, per_namespace=each)
    for page in pages_of(keys):
        one.add(page)
    found = one.result()
    sized = sorted((row[1] for row in keys.values() if row[1] is not None), reverse=True)
    counted = [row[2] for row in keys.values() if row[2] is not None and row[0] != "string"]
    assert [key.bytes for key in found.by_bytes] == sized[:keep]
    assert [key.elements for key in found.by_elements] == sorted(counted, reverse=True)[:keep]
    truth = {(name + b"%d" % n): row for (name, n), row in keys.items()}
    for key in (*found.by_bytes, *found.by_elements):
        assert truth[key.key] == (key.type, key.bytes, key.elements)
    if each:
        for name in {name for name, _ in keys}:
            mine = [row[1] for (space, _), row in keys.items() if space == name]
            best = sorted((size for size in mine if size is not None), reverse=True)[:each]
            assert [key.bytes for key in found.namespaces.get(name + b"*", ())] == best


def test_folded_names_share_one_list() -> None:
    """Hundreds of namespaces that differ in one word fold, and their heaps with them."""
    index = index_by("prefix", depth=2, limit=50)
    one = BiggestKeys(index, "prefix", keep=1, per_namespace=2)
    for n in range(500):
        one.add(Page("n", [b"t:%d:x" % n], ["string"], sizes=[n]))
    found = one.result().namespaces
    assert len(found) <= 100
    assert max(key.bytes or 0 for keys in found.values() for key in keys) == 499


def test_a_node_that_is_read_again_counts_once() -> None:
    one = BiggestKeys(index_by("template"), "template", keep=5)
    one.add(Page("n", [b"gone"], ["string"], sizes=[99]))
    one.drop("n")
    one.add(Page("n", [b"there"], ["string"], sizes=[1]))
    assert [key.key for key in one.result().by_bytes] == [b"there"]


def test_giants_are_named() -> None:
    keys = [
        BigKey(b"list", b"", "list", None, GIANT_ELEMENTS, "n"),
        BigKey(b"text", b"", "string", 1000, GIANT_ELEMENTS, "n"),
        BigKey(b"blob\xff", b"", "string", GIANT_BYTES, None, "n"),
        BigKey(b"small", b"", "hash", 1000, 10, "n"),
    ]
    found = giant_findings([*keys, *keys])
    assert [one.subject for one in found] == ["list", "blob\udcff"]
    many = [BigKey(b"%d" % n, b"", "set", GIANT_BYTES, 1, "n") for n in range(30)]
    assert [one.id for one in giant_findings(many)][-1] == "memory.giants"
    assert len(giant_findings(many)) == 11
