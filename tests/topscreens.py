"""States of `top`, as they would come from a server: the same every time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cachectl.analysis.events.keyevents import EventWindow, Kind, NamespaceEvents
from cachectl.analysis.health.live import Live, Look
from cachectl.analysis.traffic.clients import Group
from cachectl.analysis.traffic.commandmix import command_mix
from cachectl.analysis.traffic.counters import window
from cachectl.analysis.traffic.latency import CommandLatency, Distribution
from cachectl.analysis.traffic.slowest import SlowShape
from cachectl.analysis.traffic.traffic import Traffic, traffic
from cachectl.model.counters import NodeSample, OwnWork
from cachectl.model.findings import Finding, Severity
from cachectl.model.servers import NodeFacts, ServerFacts
from cachectl.output.board import Board
from cachectl.output.board_lines import Size, draw, text_of
from cachectl.views.stats import top

NOW = 1_790_000_000.0
KINDS = {"get": "read", "mget": "read", "set": "write", "hset": "write"}


def server(nodes: int = 1, name: str = "shop-prod") -> ServerFacts:
    facts = tuple(
        NodeFacts(f"10.0.0.{n + 1}:6379", "primary", "r" * 40, "8.1.2", "valkey")
        for n in range(nodes)
    )
    return ServerFacts(name, "cluster" if nodes > 1 else "standalone", "valkey", "8.1.2", facts)


def sample(node: str, at: float, factor: int, run_id: str = "a") -> NodeSample:
    """One sample; the counters of a node with twice the factor are twice as high."""
    info = {
        "run_id": run_id,
        "role": "master",
        "uptime_in_seconds": str(90_000 + int(at)),
        "keyspace_hits": 9000 * factor,
        "keyspace_misses": 1000 * factor,
        "expired_keys": 12 * factor,
        "evicted_keys": 0,
        "total_commands_processed": 10_400 * factor,
        "total_connections_received": 3 * factor,
        "rejected_connections": 0,
        "total_net_input_bytes": 500_000 * factor,
        "total_net_output_bytes": 9_000_000 * factor,
        "total_error_replies": 2 * factor,
        "used_cpu_user": 0.2 * factor,
        "used_cpu_sys": 0.1 * factor,
        "used_memory": 1_288_490_188 + 4096 * factor,
        "maxmemory": 2_147_483_648,
        "connected_clients": 42,
        "blocked_clients": 1,
        "db0": "keys=1234567,expires=1200000,avg_ttl=0",
        "cmdstat_get": f"calls={9900 * factor},usec={20_000 * factor},failed_calls=0",
        "cmdstat_set": f"calls={400 * factor},usec={5_000 * factor},failed_calls={factor}",
        "cmdstat_mget": f"calls={100 * factor},usec={9_000 * factor},failed_calls=0",
    }
    return NodeSample(node, NOW + at, at, {name: str(value) for name, value in info.items()})


def window_of(nodes: Sequence[str], own: OwnWork | None = None) -> Traffic:
    windows = []
    for number, node in enumerate(nodes):
        after = sample(node, 1.0, 2 + number)
        if own is not None:
            after = replace(after, own=own)
        one = window(sample(node, 0.0, 1), after)
        assert one is not None
        windows.append(one)
    return traffic(windows, KINDS)


def group(label: str, clients: int, **fields: int) -> Group:
    base = Group(label, clients, 0, 0.0, 2, 3600, 0, 0, clients * 1600, 0)
    return replace(base, **fields)  # type: ignore[arg-type]


def look(nodes: int = 1, own: OwnWork | None = None) -> Look:
    """A look at a busy cache."""
    result = window_of([f"10.0.0.{n + 1}:6379" for n in range(nodes)], own)
    return Look(
        at=NOW,
        traffic=result,
        commands=command_mix(result, KINDS).rows,
        latencies={"get": CommandLatency("get", 9900, 1e-6, 8e-6, 16e-6)},
        trips=Distribution(200, 0.00021, 0.0017, None, 0.0042),
        worst=0.0031,
        own_clients=2 * nodes,
        clients=[group("web", 28), group("worker", 10, blocked=9), group("checkout", 2, idle=2)],
        slow=[
            SlowShape(
                "slow", b"HGETALL cart:{id}", b"cart:{id}", 7, 1.4, 0.31, None, NOW - 900,
                NOW - 42, {"web": 7}, {"10.0.0.1:6379": 7},
            ),
            SlowShape(
                "slow", b"KEYS *", b"", 1, 0.95, 0.95, None, NOW - 3000, NOW - 3000,
                {"10.0.3.7": 1}, {"10.0.0.1:6379": 1},
            ),
        ],
        events=EventWindow(
            0.5,
            (
                NamespaceEvents(b"session:{id}", {Kind.EXPIRED: 6, Kind.SET: 40, Kind.MISSED: 20}),
                NamespaceEvents(b"cart:{id}", {Kind.SET: 1, Kind.MISSED: 450}),
            ),
            (),
        ),
        kinds=(Kind.EXPIRED, Kind.EVICTED, Kind.MISSED, Kind.SET, Kind.DELETED),
        findings=[
            Finding(
                "clients.exhausted", Severity.WARNING,
                "all but 1 connections of worker are blocked", subject="10.0.0.1:6379",
            )
        ],
    )  # fmt: skip


def live(nodes: int = 1, looks: int = 12) -> Live:
    """A screen that has been looked at for some seconds, with a dip in the middle."""
    known = Live()
    for number in range(looks):
        one = look(nodes)
        known = known.saw(replace(one, worst=0.0031 if number % 5 else 0.012))
    return known


def shown(board: Board, columns: int, rows: int, encoding: str = "utf-8") -> str:
    """The screen as text, each line as it is."""
    lines = draw(board, Size(columns, rows), encoding)
    return "".join(text_of(line).rstrip() + "\n" for line in lines)


def screen(known: Live, choice: top.Choice, nodes: int = 1, now: float = NOW) -> Board:
    return top.board(known, choice, server(nodes), every=1.0, now=now)
