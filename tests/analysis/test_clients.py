"""Pools that leak, are crowded or change too fast; and those that are fine."""

from __future__ import annotations

from typing import Any

from cachectl.analysis.traffic.clients import GROUPINGS, NodeClients, findings, grouped
from cachectl.server.introspection.clients import Client, client_of


def client(number: int, **fields: Any) -> Client:
    base = {"id": number, "addr": f"10.0.0.1:{number}", "name": "web", "age": 9000, "idle": 0}
    base |= {"flags": "N", "db": 0, "cmd": "get", "user": "default", "omem": 0}
    return client_of({name: str(value) for name, value in (base | fields).items()})


def node(clients: list[Client], **settings: Any) -> NodeClients:
    base = {"connected": len(clients), "maxclients": 10_000, "seconds": 2.0, "came": 0}
    return NodeClients("n", tuple(clients), **(base | {"rejected": 0, "timeout": 0} | settings))


def ids(one: NodeClients) -> list[str]:
    return [finding.id for finding in findings(one)]


def test_a_pool_that_leaks() -> None:
    leaking = [client(number, idle=900) for number in range(30)]
    assert ids(node(leaking)) == ["clients.leak"]
    assert "web" in findings(node(leaking))[0].title


def test_pools_that_do_not_leak() -> None:
    assert ids(node([client(number, idle=900) for number in range(5)])) == []
    assert ids(node([client(number, idle=number % 5) for number in range(200)])) == []
    assert ids(node([client(number, idle=900, sub=1, flags="P") for number in range(30)])) == []


def test_a_server_that_is_full() -> None:
    assert ids(node([client(1)], connected=9600, maxclients=10_000)) == ["clients.maxclients"]
    assert ids(node([client(1)], rejected=3)) == ["clients.rejected"]


def test_clients_that_do_not_keep_their_connections() -> None:
    assert ids(node([client(1)], came=500, connected=20)) == ["clients.churn"]
    assert ids(node([client(1)], came=None)) == []


def test_answers_that_nobody_reads() -> None:
    assert ids(node([client(1, omem=64 * 1024 * 1024, cmd="monitor")])) == ["clients.backlog"]
    assert ids(node([client(1, omem=64 * 1024 * 1024, flags="S")])) == []


def test_groups_add_up_under_every_grouping() -> None:
    clients = [
        client(number, name="web" if number % 2 else "", user=f"u{number % 3}", db=number % 2)
        for number in range(12)
    ]
    for by in GROUPINGS:
        assert sum(group.clients for group in grouped(clients, (), by)) == 12


def test_who_came_and_who_went() -> None:
    before = [client(1), client(2), client(3, name="old")]
    now = [client(2), client(4), client(5)]
    found = {group.label: group for group in grouped(now, before, "name")}
    assert (found["web"].clients, found["web"].came, found["web"].went) == (3, 2, 1)
    assert (found["old"].clients, found["old"].went) == (0, 1)
