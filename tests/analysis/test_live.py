"""What a live screen keeps, and for how long."""

from __future__ import annotations

from dataclasses import replace

from topscreens import NOW, look, sample

from cachectl.analysis.health.live import LATELY, REMEMBERED, Live
from cachectl.analysis.traffic.counters import Event, window
from cachectl.analysis.traffic.traffic import traffic


def test_trends_are_bounded_and_show_gaps() -> None:
    live = Live()
    for _ in range(2 * REMEMBERED):
        live = live.saw(look())
    live = live.missed(NOW, "nobody answers").missed(NOW + 1, "nobody answers")
    assert len(live.trends["commands"]) == REMEMBERED
    assert live.trends["commands"][-3:] == (10_400.0, None, None)
    assert live.lost == NOW
    assert live.look is not None
    assert live.saw(look()).lost is None


def test_what_befell_a_node_is_told_for_a_while() -> None:
    result = window(sample("n", 0.0, 2), replace(sample("n", 1.0, 1), info=restarted()))
    assert result is not None
    live = Live().saw(replace(look(), traffic=traffic([result], None, ["m"])))
    assert live.befell == ((NOW, "n", Event.RESTARTED), (NOW, "m", Event.REPLACED))
    live = live.saw(replace(look(), at=NOW + LATELY - 1))
    assert len(live.befell) == 2
    assert live.saw(replace(look(), at=NOW + LATELY + 1)).befell == ()


def restarted() -> dict[str, str]:
    return {**sample("n", 1.0, 1).info, "run_id": "b", "uptime_in_seconds": "1"}
