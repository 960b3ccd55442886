"""Names that were printed are left out when a node is read again, as far as they are remembered."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cachectl.model.keys import Page
from cachectl.server.scanning.printed import Printed


@given(st.sets(st.binary(max_size=8)), st.sets(st.binary(max_size=8)))
def test_only_what_was_printed_is_left_out(before: set[bytes], after: set[bytes]) -> None:
    printed = Printed()
    printed.note(sorted(before))
    assert printed.sift(Page("n", sorted(after))).keys == sorted(after)
    printed.node_starts_over()
    assert printed.sift(Page("n", sorted(after))).keys == sorted(after - before)
    assert not printed.may_repeat


def test_a_second_start_leaves_out_what_the_first_and_second_printed() -> None:
    printed = Printed()
    for part in ([b"a", b"b"], [b"c"]):
        printed.note(part)
        printed.node_starts_over()
    assert printed.sift(Page("n", [b"a", b"b", b"c", b"d"])).keys == [b"d"]


def test_memory_is_bounded_and_forgetting_is_said() -> None:
    printed = Printed(limit=10)
    printed.note([b"%d" % i for i in range(25)])
    assert not printed.may_repeat
    printed.node_starts_over()
    assert printed.may_repeat
    kept = printed.sift(Page("n", [b"%d" % i for i in range(25)], sizes=list(range(25))))
    assert kept.keys == [b"%d" % i for i in range(10, 25)]
    assert kept.sizes == list(range(10, 25))
