"""The panels of `top`: lists of commands, clients, slow commands, namespaces and nodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cachectl.analysis.events.keyevents import Kind as EventKind
from cachectl.analysis.health.live import Look
from cachectl.output.board import Panel
from cachectl.output.report import Column, Kind, Table

EVENT_KINDS = (
    *(EventKind.EXPIRED, EventKind.EVICTED, EventKind.MISSED),
    *(EventKind.NEW, EventKind.SET, EventKind.DELETED),
)
_TEXTS = frozenset({Kind.TEXT, Kind.KEY, Kind.NAMESPACE, Kind.COUNTS})

Row = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Order:
    """What comes first: the column that decides, and whether its greatest value is on top."""

    column: str
    descending: bool = True

    def reversed(self) -> Order:
        """Return the other way round."""
        return Order(self.column, not self.descending)


@dataclass(frozen=True, slots=True)
class PanelKind:
    """One kind of panel. rows: what a look says; note: what is said when it says nothing."""

    title: str
    columns: tuple[Column, ...]
    order: Order
    rows: Callable[[Look], Sequence[Row]]
    note: Callable[[Look], str]

    def next_order(self, order: Order) -> Order:
        """Return the order by the column after that of `order`; text begins at A."""
        names = [column.name for column in self.columns]
        column = self.columns[(names.index(order.column) + 1) % len(names)]
        return Order(column.name, column.kind not in _TEXTS)

    def panel(self, look: Look, order: Order) -> Panel:
        """Return the panel with its rows in that order; what has no figure comes last."""
        at = [column.name for column in self.columns].index(order.column)
        rows = list(self.rows(look))
        known = [row for row in rows if not _is_unknown(row[at])]
        known.sort(key=lambda row: _sortable(row[at]), reverse=order.descending)
        rows = known + [row for row in rows if _is_unknown(row[at])]
        table = Table(self.title, self.columns, rows)
        note = "" if rows else self.note(look)
        # The one node there is has all figures above.
        minor = self.columns is _NODES and len(rows) == 1
        return Panel(self.title, table, order.column, order.descending, note, minor)


def panels(look: Look, orders: Mapping[str, Order]) -> list[Panel]:
    """Return all panels of a look. orders: title → its order, where it is not the usual one."""
    return [kind.panel(look, orders.get(kind.title, kind.order)) for kind in PANELS]


def _is_unknown(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _sortable(value: Any) -> Any:
    return sum(value.values()) if isinstance(value, Mapping) else value


def _gap(look: Look, what: str) -> str:
    """Return why something could not be had, as one sentence; empty when it could."""
    for gap in look.unavailable:
        if gap.what == what:
            remedy = f"; {gap.remedy}" if gap.remedy else ""
            return f"not available: {gap.reason}{remedy}"
    return ""


# --- commands -------------------------------------------------------------------------------------

_COMMANDS = (
    Column("command"),
    Column("calls", Kind.RATE),
    Column("time", Kind.RATIO, title="of time"),
    Column("per_call", Kind.SECONDS, title="a call"),
    Column("p50", Kind.SECONDS, drop=2),
    Column("p99", Kind.SECONDS, drop=1),
    Column("failed", Kind.COUNT, drop=3),
)


def _commands(look: Look) -> list[Row]:
    rows: list[Row] = []
    for one in look.commands:
        latency = look.latencies.get(one.name)
        p50, p99 = (None, None) if latency is None else (latency.p50, latency.p99)
        bad = one.failed + one.rejected
        rows.append((one.name, one.per_second, one.time_share, one.per_call, p50, p99, bad))
    return rows


# --- clients --------------------------------------------------------------------------------------

_CLIENTS = (
    Column("client"),
    Column("clients", Kind.COUNT),
    Column("idle", Kind.COUNT, title="idle 5m+"),
    Column("longest", Kind.SECONDS, title="longest", drop=2),
    Column("blocked", Kind.COUNT, drop=3),
    Column("came", Kind.COUNT, drop=5),
    Column("went", Kind.COUNT, drop=6),
    Column("unread", Kind.BYTES, drop=4),
    Column("memory", Kind.BYTES, drop=1),
)


def _clients(look: Look) -> list[Row]:
    return [
        (
            one.label,
            one.clients,
            one.idle,
            one.idle_max,
            one.blocked,
            one.came,
            one.went,
            one.output,
            one.memory,
        )
        for one in look.clients
    ]


# --- slow commands --------------------------------------------------------------------------------

_SLOW = (
    Column("slow_command", Kind.KEY),
    Column("times", Kind.COUNT),
    Column("worst", Kind.SECONDS),
    Column("in_all", Kind.SECONDS, drop=3),
    Column("ago", Kind.SECONDS),
    Column("clients", Kind.COUNTS, drop=1),
)


def _slow(look: Look) -> list[Row]:
    return [
        (one.shape, one.count, one.worst, one.seconds, max(0.0, look.at - one.last), one.clients)
        for one in look.slow
        if one.worst is not None
    ]


# --- namespaces -----------------------------------------------------------------------------------

_NAMESPACES = (
    Column("namespace", Kind.NAMESPACE),
    *(
        Column(str(kind), Kind.RATE, drop=drop)
        for kind, drop in zip(EVENT_KINDS, (0, 0, 1, 3, 2, 4), strict=True)
    ),
)


def _namespaces(look: Look) -> list[Row]:
    return [
        (one.namespace, *(_rate(one.counts.get(kind, 0), kind, look) for kind in EVENT_KINDS))
        for one in (look.events.namespaces if look.events else ())
    ]


def _rate(count: int, kind: EventKind, look: Look) -> float | None:
    """Return events a second; None for a kind that nobody listens to."""
    if look.events is None or kind not in look.kinds:
        return None
    return count / look.events.seconds


# --- nodes ----------------------------------------------------------------------------------------

_NODES = (
    Column("node"),
    Column("ratio", Kind.RATIO),
    Column("commands", Kind.RATE),
    Column("memory", Kind.BYTES),
    Column("clients", Kind.COUNT, drop=2),
    Column("cpu", Kind.RATIO, title="CPU", drop=1),
    Column("evicted", Kind.RATE, drop=3),
    Column("expired", Kind.RATE, drop=5),
    Column("since", Kind.RATIO, title="since start", drop=4),
    Column("keys", Kind.COUNT, drop=6),
)


def _nodes(look: Look) -> list[Row]:
    return [
        (
            one.window.node,
            one.totals.hit_ratio,
            one.totals.rates.get("commands"),
            one.gauges.used_memory,
            one.gauges.connected_clients,
            one.totals.cpu,
            one.totals.rates.get("evicted"),
            one.totals.rates.get("expired"),
            one.since_start.hit_ratio,
            one.gauges.keys,
        )
        for one in look.traffic.nodes
    ]


PANELS = (
    PanelKind(
        "commands", _COMMANDS, Order("time"), _commands, lambda _: "nobody called any command"
    ),
    PanelKind(
        "clients", _CLIENTS, Order("clients"), _clients,
        lambda look: _gap(look, "who is connected") or "nobody is connected",
    ),
    PanelKind(
        "slow", _SLOW, Order("ago", descending=False), _slow,
        lambda look: _gap(look, "slow commands") or "no slow command is logged",
    ),
    PanelKind(
        "events", _NAMESPACES, Order("missed"), _namespaces,
        lambda look: look.why or "nothing befell any key",
    ),
    PanelKind("nodes", _NODES, Order("commands"), _nodes, lambda _: "no node answers"),
)  # fmt: skip
"""In the order of their numbers, from 1 on."""
