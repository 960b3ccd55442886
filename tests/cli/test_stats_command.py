"""`stats` on real servers: known traffic gives exactly those figures, whatever runs beside it."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filling import fill
from programs import cachectl, cachectl_started, cachectl_tty
from servers import TestServer
from topologies import TestCluster, TestSentinels, wait_until


def traffic(server: TestServer, hits: int, misses: int) -> None:
    client = server.client()
    client.set("known", "x")
    pipe = client.pipeline(transaction=False)
    for _ in range(hits):
        pipe.get("known")
    for number in range(misses):
        pipe.get(f"absent:{number}")
    pipe.execute()


def watched(server: TestServer, *words: str, during: Callable[[], Any]) -> Any:
    """Return the JSON of a `stats` whose window ends, by Ctrl-C, when `during` has run."""
    with cachectl_started(
        "-v", "--url", server.url, "stats", "--window", "1m", "-o", "json", *words
    ) as run:
        run.wait_for("watching")
        during()
        run.signal(signal.SIGINT)
        return run.finish().check(130).json


def test_known_traffic_is_reported_exactly(server: TestServer) -> None:
    traffic(server, 40, 60)
    document = watched(server, during=lambda: traffic(server, 900, 100))
    assert (document["hits"], document["misses"]) == (900, 100)
    assert document["hit_ratio"] == 0.9
    assert (document["reads"], document["writes"]) == (1000, 1)
    assert document["own_lookups"] == 0
    assert document["evicted"] == document["expired"] == 0
    window = document["window"]  # in whole milliseconds
    assert 900 / (window + 0.001) < document["per_second"]["hits"] < 900 / max(window - 0.001, 1e-9)
    assert document["since_start"]["hits"] == 940
    assert document["since_start"]["misses"] == 160
    assert document["findings"] == []


def reads_on(server: TestServer) -> None:
    """Wait until a scan has looked at more than a thousand keys from now on."""
    before = server.command_calls().get("type", 0)
    wait_until("it reads on", lambda: server.command_calls().get("type", 0) > before + 1000)


def scanned_meanwhile(server: TestServer, pace: str) -> None:
    """A scan of ours that begins before the window and lasts longer is subtracted, exactly."""
    fill(server, 30_000)

    def during() -> None:
        traffic(server, 3000, 1000)
        reads_on(server)

    scan = ("--url", server.url, "scan", "--pace", pace, "--rate", "4000", "-o", "json")
    with cachectl_started(*scan) as run:
        wait_until("the scan begins", lambda: server.command_calls().get("scan", 0) > 2)
        document = watched(server, during=during)
        assert run.process.poll() is None, "the scan was to last longer than the window"
    assert (document["hits"], document["misses"]) == (3000, 1000)
    assert (document["reads"], document["writes"]) == (4000, 1)
    assert document["own_lookups"] > 1000
    assert document["own_lookups_exact"] is True


def test_a_scan_of_ours_is_subtracted_exactly(server: TestServer) -> None:
    scanned_meanwhile(server, "normal")


def test_so_is_a_gentle_one(valkey: TestServer) -> None:
    scanned_meanwhile(valkey, "gentle")


def test_what_is_refused_is_no_error_of_the_server(server: TestServer, isolated_home: Path) -> None:
    """What the measuring itself may not ask is asked once, and is not in the figures."""
    password = server.add_user("watcher", "resetkeys", "-@all", "+ping", "+info")
    profile = isolated_home / "mine.yaml"
    profile.write_text(f"url: redis://watcher@{server.address}\npassword: {{env: PW}}\n")
    words = ("-p", str(profile), "stats", "--watch", "--every", "200ms", "--count", "4")
    rows = cachectl(*words, "-o", "ndjson", env={"PW": password}).check(0).ndjson
    assert [row["errors"] for row in rows] == [0, 0, 0, 0]
    assert [row["commands"] for row in rows] == [0, 0, 0, 0]


def test_a_scan_within_the_window_is_subtracted(server: TestServer) -> None:
    fill(server, 3000)

    def during() -> None:
        scanned = cachectl("--url", server.url, "scan", "-o", "json").check(0).json
        own.append(scanned["own_lookups"] + scanned["own_misses"])
        traffic(server, 500, 500)

    own: list[int] = []
    document = watched(server, during=during)
    assert (document["hits"], document["misses"]) == (500, 500)
    assert [document["own_lookups"]] == own
    assert document["own_lookups_exact"] is True


def test_a_scan_that_is_killed_makes_the_correction_inexact(valkey: TestServer) -> None:
    fill(valkey, 20_000)

    def during() -> None:
        with cachectl_started("--url", valkey.url, "scan", "--rate", "4000") as run:
            wait_until("it reads", lambda: valkey.command_calls().get("type", 0) > 6000)
            run.process.kill()
            run.process.wait()
        traffic(valkey, 100, 0)

    document = watched(valkey, during=during)
    assert document["own_lookups"] > 500
    assert document["own_lookups_exact"] is False
    # What was under way when it died is missing: two flights, of some thousand look-ups each.
    assert 100 <= document["hits"] < 20_000


def test_cachectl_of_another_machine_is_recognised(valkey: TestServer, tmp_path: Path) -> None:
    fill(valkey, 5000)
    elsewhere = {"XDG_RUNTIME_DIR": str(tmp_path / "elsewhere")}

    def during() -> None:
        reads_on(valkey)

    with cachectl_started("--url", valkey.url, "scan", "--rate", "1000", env=elsewhere):
        wait_until("the scan begins", lambda: valkey.command_calls().get("scan", 0) > 2)
        document = watched(valkey, during=during)
    assert document["foreign_commands"] > 0
    assert document["own_lookups"] == 0


def test_reset_in_the_window(server: TestServer) -> None:
    traffic(server, 1000, 1000)

    def during() -> None:
        server.run("CONFIG", "RESETSTAT")
        traffic(server, 30, 10)

    document = watched(server, during=during)
    assert (document["hits"], document["misses"]) == (30, 10)
    assert document["nodes"][0]["event"] == "reset"
    assert all(rate is None or rate >= 0 for rate in document["per_second"].values())


def test_restart_in_the_window(start_server: Callable[..., TestServer]) -> None:
    server = start_server("redis-7.0")
    traffic(server, 1000, 1000)

    def during() -> None:
        server.kill9()
        server.restart()
        traffic(server, 30, 10)

    document = watched(server, during=during)
    assert (document["hits"], document["misses"]) == (30, 10)
    assert document["nodes"][0]["event"] == "restarted"
    assert 0 < document["per_second"]["hits"] < 100
    assert all(rate is None or rate >= 0 for rate in document["per_second"].values())


def test_failover_in_the_window(start_sentinel: Callable[..., TestSentinels]) -> None:
    group = start_sentinel()
    url = f"redis+sentinel://{','.join(group.addresses)}/{group.name}"
    with cachectl_started("-v", "--url", url, "stats", "--window", "1m", "-o", "json") as run:
        run.wait_for("watching")
        old = group.current_primary()
        group.failover()
        old.kill9()  # Sentinel would tell it only ten seconds later that it is a replica now
        run.signal(signal.SIGINT)
        document = run.finish().check(130).json
    assert document["partial"] is True
    assert any("another process" in one["reason"] for one in document["unavailable"])
    assert document["hits"] is None or document["hits"] >= 0


def test_since_last(server: TestServer) -> None:
    def since_last() -> Any:
        return cachectl("--url", server.url, "stats", "--since-last", "-o", "json").check(0)

    traffic(server, 10, 10)
    first = since_last()
    assert (first.json["hits"], first.json["misses"]) == (10, 10)
    traffic(server, 70, 30)
    second = since_last().json
    assert (second["hits"], second["misses"]) == (70, 30)
    assert (second["reads"], second["writes"]) == (100, 1)
    quiet = cachectl("--url", server.url, "stats", "-w", "0", "-o", "json").json
    # Nothing of what the three calls have sent themselves, nor of what was refused to them.
    figures = ("hits", "misses", "reads", "writes", "commands", "errors")
    assert [quiet[name] for name in figures] == [0] * len(figures)


def test_resp2_and_resp3_say_the_same(server: TestServer, isolated_home: Path) -> None:
    shapes = []
    for protocol in (2, 3):
        profile = isolated_home / f"resp{protocol}.yaml"
        profile.write_text(f"url: {server.url}\nprotocol: {protocol}\n")
        traffic(server, 7, 3)
        done = cachectl("-p", str(profile), "stats", "--since-last", "-o", "json").check(0)
        shapes.append({k: type(v) for k, v in done.json.items()})
        assert done.json["reads"] is not None
    assert shapes[0] == shapes[1]


def test_findings_and_fail_on(valkey: TestServer, isolated_home: Path) -> None:
    profile = isolated_home / "p.yaml"
    profile.write_text(f"url: {valkey.url}\nthresholds: {{hit_ratio: 0.9, memory: 0.5}}\n")
    traffic(valkey, 100, 100)
    memory = int(valkey.info("memory")["used_memory"])
    valkey.run("CONFIG", "SET", "maxmemory", str(int(memory * 1.5)))
    done = cachectl("-p", str(profile), "stats", "-w", "0", "--fail-on", "warning", "-o", "json")
    ids = {one["id"] for one in done.check(1).json["findings"]}
    assert {"stats.hit_ratio", "stats.memory"} <= ids


def test_evictions_and_refused_writes(valkey: TestServer) -> None:
    memory = int(valkey.info("memory")["used_memory"])
    valkey.run("CONFIG", "SET", "maxmemory", str(memory + 2_000_000))
    client = valkey.client()

    def during() -> None:
        pipe = client.pipeline(transaction=False)
        for number in range(3000):
            pipe.set(f"k{number}", "x" * 1000)
        pipe.execute(raise_on_error=False)

    document = watched(valkey, during=during)
    assert "stats.errors_oom" in {one["id"] for one in document["findings"]}
    valkey.run("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    document = watched(valkey, during=during)
    assert document["evicted"] > 0
    assert "stats.evicted" in {one["id"] for one in document["findings"]}


def test_login_without_command_info(valkey: TestServer, isolated_home: Path) -> None:
    password = valkey.add_user("watcher", "resetkeys", "-@all", "+ping", "+info")
    profile = isolated_home / "mine.yaml"
    profile.write_text(f"url: redis://watcher@{valkey.address}\npassword: {{env: PW}}\n")
    done = cachectl(
        "-p", str(profile), "stats", "-w", "1s", "-o", "json", env={"PW": password},
        secrets=[password],
    ).check(0)  # fmt: skip
    assert done.json["reads"] is None
    assert done.json["unavailable"][0]["remedy"] == "allow it with the ACL rule +command|info"


def test_login_without_info(valkey: TestServer, isolated_home: Path) -> None:
    password = valkey.add_user("blind", "resetkeys", "-@all", "+ping")
    profile = isolated_home / "mine.yaml"
    profile.write_text(f"url: redis://blind@{valkey.address}\npassword: {{env: PW}}\n")
    done = cachectl("-p", str(profile), "stats", "-w", "1s", env={"PW": password}).check(5)
    assert "+info" in done.stderr


def test_cluster_adds_up_its_nodes(cluster: TestCluster) -> None:
    client = cluster.client()
    keys = [f"k{number}" for number in range(300)]
    profile = Path.home() / "cluster.yaml"
    profile.write_text(f"cluster:\n  nodes: ['{cluster.primaries[0].address}']\n")
    with cachectl_started("-v", "-p", str(profile), "stats", "-w", "1m", "-o", "json") as run:
        run.wait_for("watching")
        for key in keys:
            client.set(key, "x")
            client.get(key)
            client.get(f"absent:{key}")
        run.signal(signal.SIGINT)
        document = run.finish().check(130).json
    client.close()
    assert (document["hits"], document["misses"]) == (300, 300)
    assert len(document["nodes"]) == 3
    assert sum(node["hits"] for node in document["nodes"]) == 300
    assert document["writes"] == 300


def test_a_scan_of_a_cluster_is_subtracted(cluster: TestCluster, isolated_home: Path) -> None:
    profile = isolated_home / "cluster.yaml"
    profile.write_text(f"cluster:\n  nodes: ['{cluster.primaries[0].address}']\n")
    client = cluster.client()
    for number in range(600):
        client.set(f"k{number}", "x")
    with cachectl_started("-v", "-p", str(profile), "stats", "-w", "1m", "-o", "json") as run:
        run.wait_for("watching")
        scanned = cachectl("-p", str(profile), "scan", "-o", "json").check(0).json
        for number in range(200):
            client.get(f"k{number}")
            client.get(f"absent:{number}")
        run.signal(signal.SIGINT)
        document = run.finish().check(130).json
    client.close()
    assert (document["hits"], document["misses"]) == (200, 200)
    assert document["own_lookups"] == scanned["own_lookups"] + scanned["own_misses"] >= 600
    assert document["own_lookups_exact"] is True


def test_failover_of_a_cluster_in_the_window(start_cluster: Callable[..., TestCluster]) -> None:
    cluster = start_cluster("valkey-9.1", replicas=1)
    profile = Path.home() / "cluster.yaml"
    profile.write_text(f"cluster:\n  nodes: ['{cluster.primaries[0].address}']\n")
    client = cluster.client()
    for number in range(300):
        client.set(f"k{number}", "x")
    client.close()
    with cachectl_started(
        "-p", str(profile), "stats", "--watch", "--every", "1s", "-o", "ndjson"
    ) as run:
        wait_until("a row", lambda: run.out.count(b"\n") >= 1)
        cluster.failover(cluster.primaries[0])
        wait_until("it is noticed", lambda: b'"new primary"' in run.out)
        seen = run.out.count(b"\n")
        wait_until("it goes on", lambda: run.out.count(b"\n") >= seen + 2)
        run.signal(signal.SIGINT)
        rows = run.finish().check(130).ndjson
    assert all((row["hits"] or 0) == (row["misses"] or 0) == 0 for row in rows)
    assert all(0 <= (row["commands"] or 0) < 1000 for row in rows)
    assert rows[-1]["changes"] == []


def test_a_primary_that_joins_a_cluster_is_noticed(
    start_cluster: Callable[..., TestCluster], start_server: Callable[..., TestServer]
) -> None:
    """Else a long watch would leave out what is done there, and nobody would know."""
    cluster = start_cluster("valkey-9.1", "--save", "")
    fourth = start_server("valkey-9.1", "--cluster-enabled", "yes", bus=True)
    old = cluster.primaries[0]
    profile = Path.home() / "cluster.yaml"
    profile.write_text(f"cluster:\n  nodes: ['{old.address}']\n")
    words = ("-p", str(profile), "stats", "--watch", "--every", "300ms", "-o", "ndjson")
    with cachectl_started(*words) as run:
        wait_until("a row", lambda: run.out.count(b"\n") >= 1)
        fourth.run("CLUSTER", "MEET", old.host, old.port)
        cluster.nodes.append(fourth)
        wait_until("it is known", cluster.acquainted)
        cluster.begin_move(0, old, fourth)
        cluster.finish_move(0, old, fourth)
        wait_until("it is noticed", lambda: b'"new primary"' in run.out)
        before = run.out.count(b"\n")
        wait_until("it is counted", lambda: run.out.count(b"\n") > before + 1)
        fourth.run("GET", "265b")  # its slot is 0
        wait_until("it is seen", lambda: b'"misses": 1' in run.out)


def test_watch_streams(server: TestServer) -> None:
    with cachectl_started(
        "--url", server.url, "stats", "--watch", "--every", "300ms", "-o", "ndjson"
    ) as run:
        wait_until("a row", lambda: run.out.count(b"\n") >= 1)
        traffic(server, 60, 40)
        seen = run.out.count(b"\n")
        wait_until("it is counted", lambda: run.out.count(b"\n") >= seen + 2)
        run.signal(signal.SIGINT)
        done = run.finish().check(130)
    rows = done.ndjson
    assert sum(row["hits"] for row in rows) == 60
    assert sum(row["misses"] for row in rows) == 40
    # One window follows the other.
    assert all(row["window"] > 0 for row in rows)
    assert sum(row["window"] for row in rows[:-1]) <= done.seconds


def test_watch_goes_on_through_a_restart(start_server: Callable[..., TestServer]) -> None:
    server = start_server("valkey-8.1")
    with cachectl_started(
        "--url", server.url, "stats", "--watch", "--every", "500ms", "-o", "ndjson"
    ) as run:
        wait_until("a row", lambda: run.out.count(b"\n") >= 1)
        server.kill9()
        wait_until("it is missed", lambda: b"no answer" in run.out)
        server.restart()
        wait_until("it is back", lambda: b"restarted" in run.out)
        run.signal(signal.SIGINT)
        rows = run.finish().check(130).ndjson
    assert all((row["commands"] or 0) >= 0 for row in rows)


def test_ctrl_c_shortens_the_window(valkey: TestServer) -> None:
    with cachectl_started("-v", "--url", valkey.url, "stats", "-w", "1m", "-o", "json") as run:
        run.wait_for("watching")
        traffic(valkey, 9, 1)
        run.signal(signal.SIGINT)
        done = run.finish().check(130)
    assert json.loads(done.stdout)["hits"] == 9
    assert done.json["partial"] is True
    assert done.json["window"] < 20


def test_on_a_terminal(valkey: TestServer) -> None:
    with cachectl_tty(
        "--url", valkey.url, "stats", "--watch", "--every", "200ms", "--count", "6", columns=80
    ) as screen:
        screen.finish().check(0)
        text = screen.text
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert "▁" in text


@pytest.mark.parametrize(
    "words",
    [
        ["--watch", "--window", "1s"],
        ["--every", "1s"],
        ["--window", "soon"],
        ["--since-last", "--window", "5s"],
        ["--watch", "--every", "1ms"],
        ["--watch", "commands"],
    ],
)
def test_what_is_refused(words: list[str]) -> None:
    assert cachectl("--url", "redis://127.0.0.1:1", "stats", *words).check(2).stderr


def test_quiet_server_has_no_findings(server: TestServer) -> None:
    done = cachectl("--url", server.url, "stats", "-w", "1s", "--fail-on", "info", "-o", "json")
    document = done.check(0).json
    assert document["findings"] == []
    assert document["partial"] is False
    assert document["window"] == pytest.approx(1.0, abs=1.0)
