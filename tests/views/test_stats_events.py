"""`stats events` when nothing came: what is said is true of what was listened to."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from cachectl.analysis.events.keyevents import KINDS, EventWindow, Kind
from cachectl.model.servers import ServerFacts
from cachectl.output.report import Table
from cachectl.views.stats.events import events_report


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        (KINDS, "Nothing happened to any key."),
        ((Kind.EXPIRED, Kind.EVICTED), "None of these befell a key: expired, evicted."),
        ((), "No event came."),
    ],
)
def test_an_empty_window_claims_no_more_than_was_listened_to(
    kinds: Sequence[Kind], said: str
) -> None:
    server = ServerFacts("here", "standalone", "redis", "8.2.0", ())
    report = events_report(EventWindow(2.0, (), ()), server, kinds=kinds)
    shown = next(b for b in report.blocks if isinstance(b, Table) and b.name == "shown")
    assert (shown.empty, shown.rows) == (said, [])
