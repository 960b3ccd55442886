"""The board of `top`: what is known of a server, and what somebody chose to see of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from cachectl.analysis.health.live import Live, Look
from cachectl.analysis.traffic.traffic import Gauges
from cachectl.model.servers import ServerFacts
from cachectl.output.board import Board, Figure, Gauge
from cachectl.output.report import Column, Kind
from cachectl.views.stats.top_panels import PANELS, Order, panels
from cachectl.views.stats.window import EVENTS

KEYS = (
    ("q", "quit"),
    ("p", "pause"),
    ("0-5", "panel"),
    ("s", "sort"),
    ("r", "reverse"),
    ("↑↓", "scroll"),
)
"""What can be pressed, as the last line says it."""

_PAGE = 10


@dataclass(frozen=True, slots=True)
class Choice:
    """What somebody chose by pressing keys. panel: an index of PANELS, None for all of them.

    orders: of the panels that were sorted otherwise; offset: rows scrolled away; done: it is over.
    """

    panel: int | None = None
    orders: Mapping[str, Order] = field(default_factory=dict)
    offset: int = 0
    paused: bool = False
    done: bool = False


def press(choice: Choice, key: str) -> Choice:
    """Return the choice after a key; one that means nothing changes nothing."""
    if key in ("q", "Q", "end of input"):
        return replace(choice, done=True)
    if key in ("p", " "):
        return replace(choice, paused=not choice.paused)
    if key in ("s", "r"):
        return _sorted(choice, reverse=key == "r")
    if key in _STEPS:
        # One place before the first panel stands for all of them.
        at = 0 if choice.panel is None else choice.panel + 1
        return _showing(choice, (at + _STEPS[key]) % (len(PANELS) + 1))
    if key.isdecimal() and int(key) <= len(PANELS):
        return _showing(choice, int(key))
    if key in _SCROLLS:
        return replace(choice, offset=max(0, choice.offset + _SCROLLS[key]))
    return replace(choice, offset=0) if key == "home" else choice


_STEPS = {"tab": 1, "right": 1, "shift-tab": -1, "left": -1}
_SCROLLS = {"down": 1, "j": 1, "up": -1, "k": -1, "page down": _PAGE, "page up": -_PAGE}


def _showing(choice: Choice, number: int) -> Choice:
    return replace(choice, panel=number - 1 if number else None, offset=0)


def _sorted(choice: Choice, *, reverse: bool) -> Choice:
    """Sort the panel in sight, the first one when all are, by the next column or the other way."""
    panel = PANELS[choice.panel or 0]
    order = choice.orders.get(panel.title, panel.order)
    order = order.reversed() if reverse else panel.next_order(order)
    return replace(choice, orders={**choice.orders, panel.title: order}, offset=0)


def board(live: Live, choice: Choice, server: ServerFacts, *, every: float, now: float) -> Board:
    """Return the screen. every: seconds between two looks; now: Unix seconds."""
    look = live.look
    words = [server.flavour, server.version, server.topology]
    state = ["paused, p goes on"] if choice.paused else []
    if look is None and live.lost is None:
        state.append("looking")
    state += [f"every {every:g} s", _clock(now if look is None else look.at)]
    return Board(
        title=f"{server.name}  {' '.join(words)}",
        state=" · ".join(state),
        gauges=_gauges(live, look) if look is not None else (),
        panels=panels(look, choice.orders) if look is not None else (),
        keys=KEYS,
        chosen=choice.panel if look is not None else None,
        offset=choice.offset,
        alarm=_alarm(live, now),
        findings=() if look is None else look.findings,
    )


def _alarm(live: Live, now: float) -> str:
    if live.lost is not None:
        seconds = max(0, round(now - live.lost))
        return f"no answer for {seconds} s, trying again: {live.reason}"
    if live.look is None:
        return ""
    said = [
        f"{gap.node}: {gap.reason}"
        for gap in live.look.unavailable
        if gap.what == "all figures" or gap.what.startswith("slots ")
    ]
    # The latest first: the end of the line may have no room.
    said += [
        f"{_clock(at)} {node} {EVENTS.get(event, _REPLACED)}"
        for at, node, event in reversed(live.befell)
    ]
    return "; ".join(said)


_REPLACED = "is another process now, whose counters began elsewhere"


def _gauges(live: Live, look: Look) -> Sequence[Gauge]:
    totals, gauges, rates = look.traffic.totals, look.traffic.gauges, look.traffic.totals.rates

    def rate(name: str, title: str) -> Figure:
        return Column(name, Kind.RATE, title), rates.get(name)

    def gauge(title: str, kind: Kind, name: str, value: object, *others: Figure) -> Gauge:
        return Gauge((Column(name, kind, title), value), live.trends.get(name, ()), others)

    return (
        gauge(
            "hit ratio", Kind.RATIO, "hit_ratio", totals.hit_ratio,
            rate("hits", "hits"),
            rate("misses", "misses"),
            *_own(look),
            (Column("start", Kind.RATIO, "since start"), look.traffic.since_start.hit_ratio),
        ),
        gauge(
            "commands", Kind.RATE, "commands", rates.get("commands"),
            rate("reads", "reads"),
            rate("writes", "writes"),
            rate("errors", "errors"),
        ),
        gauge(
            "memory", Kind.BYTES, "used_memory", gauges.used_memory,
            _limit(gauges),
            rate("evicted", "evicted"),
            rate("expired", "expired"),
            (Column("change", Kind.SIGNED_BYTES), gauges.used_memory_change),
            (Column("keys", Kind.COUNT), gauges.keys),
        ),
        Gauge(
            (Column("latency", Kind.SECONDS), look.trips.p50),
            live.trends.get("worst", ()),
            (
                (Column("p99", Kind.SECONDS), look.trips.p99),
                (Column("worst", Kind.SECONDS), look.worst),
                (Column("trips", Kind.COUNT, "round trips"), look.trips.count),
            ),
        ),
        gauge(
            "clients", Kind.COUNT, "connected_clients", gauges.connected_clients,
            (Column("blocked", Kind.COUNT), gauges.blocked_clients),
            (Column("own", Kind.COUNT, "ours"), look.own_clients),
            rate("connections", "new"),
            rate("rejected_connections", "refused"),
        ),
        gauge(
            "sent/s", Kind.BYTES, "net_output_bytes", rates.get("net_output_bytes"),
            (Column("in", Kind.BYTES, "received/s"), rates.get("net_input_bytes")),
            (Column("cpu", Kind.RATIO, "CPU"), totals.cpu),
            (Column("window", Kind.SECONDS), round(look.traffic.totals.seconds, 1)),
        ),
    )  # fmt: skip


def _limit(gauges: Gauges) -> Figure:
    """The share of maxmemory that is used, or that there is none."""
    if gauges.used_share is None:
        return Column("maxmemory", Kind.BYTES, "limit", missing="none"), None
    return Column("used_share", Kind.RATIO, "of limit"), gauges.used_share


def _own(look: Look) -> Sequence[Figure]:
    """The correction, where there was anything to correct."""
    own = look.traffic.own_hits + look.traffic.own_misses
    if not own:
        return ()
    title = "own, left out" if look.traffic.own_exact else "own, left out, about"
    return ((Column("own", Kind.COUNT, title), own),)


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")
