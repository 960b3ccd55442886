"""What a command that stays leaves behind is let go, though Python seldom looks by itself."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from cachectl.cli.tidying import Tidying


@pytest.fixture
def seldom() -> Iterator[None]:
    """Python looks as seldom as in the program."""
    before = gc.get_threshold()
    gc.set_threshold(200_000, 50, 100)
    yield
    gc.set_threshold(*before)


@pytest.mark.usefixtures("seldom")
def test_what_is_left_behind_goes_after_a_while() -> None:
    class Circle:
        def __init__(self) -> None:
            self.mine = self

    now = [100.0]
    tidying = Tidying(lambda: now[0])
    left = weakref.ref(Circle())
    tidying.look()
    assert left() is not None
    now[0] += 30
    tidying.look()
    assert left() is None
    again = weakref.ref(Circle())
    now[0] += 29
    tidying.look()
    assert again() is not None
