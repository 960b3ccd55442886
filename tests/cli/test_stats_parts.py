"""`stats commands`, `latency`, `clients` and `slow` on real servers."""

from __future__ import annotations

import contextlib
import re
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from programs import ROOT, cachectl, cachectl_started
from proxies import Proxy, bulk
from servers import TestServer
from topologies import TestCluster, wait_until

from cachectl.analysis.traffic import clients as clients_analysis
from cachectl.cli.stats.command import ClientsBy, CommandSort


def document(server: TestServer, *words: str, code: int = 0) -> Any:
    return cachectl("--url", server.url, "stats", *words, "-o", "json").check(code).json


def rows(found: Any, table: str, name: str) -> dict[str, Any]:
    return {row[name]: row for row in found[table]}


# --- commands -------------------------------------------------------------------------------------


def test_commands_since_the_last_call(server: TestServer) -> None:
    document(server, "commands", "--since-last")
    client = server.client()
    for number in range(30):
        client.set(f"k{number}", "x")
        client.get(f"k{number}")
    for _ in range(40):
        with contextlib.suppress(redis.ResponseError):
            client.lpush("k0", "wrong type")
    found = document(server, "commands", "--since-last")
    by_name = rows(found, "commands", "command")
    assert (by_name["get"]["calls"], by_name["get"]["kind"]) == (30, "read")
    assert (by_name["set"]["calls"], by_name["set"]["kind"]) == (30, "write")
    assert by_name["lpush"]["failed"] == 40
    assert rows(found, "errors", "kind")["WRONGTYPE"]["count"] == 40
    assert [one["subject"] for one in found["findings"]] == ["lpush"]
    assert sum(row["share"] for row in found["commands"]) == pytest.approx(1)


def test_a_blocking_command_is_found(valkey: TestServer) -> None:
    document(valkey, "commands", "--since-last")
    client = valkey.client()
    for _ in range(3):
        client.execute_command("DEBUG", "SLEEP", "0.5")
    found = document(valkey, "commands", "--since-last")
    assert "stats.blocking_command" in {one["id"] for one in found["findings"]}
    assert found["commands"][0]["command"] == "debug"


def test_commands_over_a_window(valkey: TestServer) -> None:
    with cachectl_started(
        "-v", "--url", valkey.url, "stats", "commands", "-w", "1m", "-o", "json"
    ) as run:
        run.wait_for("watching")
        for _ in range(7):
            valkey.run("GET", "a")
        run.signal(signal.SIGINT)
        found = run.finish().check(130).json
    assert rows(found, "commands", "command")["get"]["calls"] == 7
    assert found["partial"] is True


def test_sorts_are_those_of_the_analysis() -> None:
    from cachectl.analysis.traffic.commandmix import SORTS

    assert tuple(CommandSort) == SORTS
    assert tuple(ClientsBy) == clients_analysis.GROUPINGS


# --- latency --------------------------------------------------------------------------------------


def test_latency(server: TestServer) -> None:
    stop = threading.Event()

    def work() -> None:
        client = server.client()
        while not stop.wait(0.005):
            client.get("a")

    thread = threading.Thread(target=work)
    thread.start()
    found = document(server, "latency", "-w", "1500ms")
    stop.set()
    thread.join()
    probe = found["probes"][0]
    assert probe["node"] == server.address
    assert 20 < probe["probes"] <= 320
    assert 0 < probe["p50"] <= probe["worst"] < 2
    assert sum(bar["value"] for bar in found["histogram"]) == probe["probes"]
    by_name = rows(found, "commands", "command")
    if server.flavour == "redis-6.2":
        assert by_name == {}
        assert found["unavailable"][0]["what"] == "percentiles by command"
    else:
        assert by_name["get"]["calls"] > 10
        assert by_name["get"]["p50"] <= by_name["get"]["p99"]
        assert found["unavailable"] == []
    assert "stats.latency" not in {one["id"] for one in found["findings"]}


def test_a_slow_line_is_found(
    valkey: TestServer, start_proxy: Callable[..., Proxy], isolated_home: Path
) -> None:
    proxy = start_proxy(valkey, delay=0.012)
    profile = isolated_home / "p.yaml"
    profile.write_text(f"url: {proxy.url}\nthresholds: {{latency_p99: 10ms}}\n")
    done = cachectl(
        "-p", str(profile), "stats", "latency", "-w", "6s", "-o", "json", "--fail-on", "warning"
    ).check(1)
    assert done.json["probes"][0]["p50"] > 0.01
    assert "stats.latency" in {one["id"] for one in done.json["findings"]}


def test_latency_events(server: TestServer) -> None:
    server.run("CONFIG", "SET", "latency-monitor-threshold", "50")
    with contextlib.suppress(redis.ResponseError):
        server.run("DEBUG", "SLEEP", "0.2")
    latest = server.run("LATENCY", "LATEST")
    found = document(server, "latency", "-w", "200ms")
    assert [event["event"] for event in found["events"]] == [one[0].decode() for one in latest]
    if latest:
        assert found["events"][0]["latest"] == latest[0][2] / 1000
        assert "stats.latency_event" in {one["id"] for one in found["findings"]}


def test_latency_of_a_cluster(cluster: TestCluster, isolated_home: Path) -> None:
    profile = isolated_home / "cluster.yaml"
    profile.write_text(f"cluster:\n  nodes: ['{cluster.primaries[0].address}']\n")
    done = cachectl("-p", str(profile), "stats", "latency", "-w", "300ms", "-o", "json").check(0)
    assert {one["node"] for one in done.json["probes"]} == {n.address for n in cluster.primaries}


def test_ctrl_c_ends_latency_with_what_there_is(valkey: TestServer) -> None:
    words = ("stats", "latency", "-w", "1m", "-o", "json")
    with cachectl_started("-v", "--url", valkey.url, *words) as run:
        run.wait_for("watching")
        wait_until("it probes", lambda: valkey.command_calls().get("ping", 0) > 50)
        run.signal(signal.SIGINT)
        found = run.finish().check(130).json
    assert found["probes"][0]["probes"] > 0
    assert found["partial"] is True


# --- clients --------------------------------------------------------------------------------------


def test_clients_by_name_and_user(server: TestServer) -> None:
    server.add_user("shop", "~*", "+@all", password="pw")
    kept = [server.client(client_name="web", username="shop", password="pw") for _ in range(3)]
    for one in kept:
        one.ping()
    found = rows(document(server, "clients", "-w", "0"), "groups", "group")
    assert found["web"]["clients"] == 3
    assert not any("cachectl" in name for name in found)
    found = rows(document(server, "clients", "-w", "0", "--by", "user"), "groups", "group")
    assert found["shop"]["clients"] == 3
    found = rows(document(server, "clients", "-w", "0", "--by", "address"), "groups", "group")
    assert found["127.0.0.1"]["clients"] >= 3


def test_comings_and_goings(valkey: TestServer) -> None:
    words = ("stats", "clients", "-w", "1m", "-o", "json")
    with cachectl_started("-v", "--url", valkey.url, *words) as run:
        run.wait_for("watching")
        for _ in range(5):
            with contextlib.closing(redis.Redis(valkey.host, valkey.port)) as short:
                short.ping()
        stays = valkey.client(client_name="new")
        stays.ping()
        run.signal(signal.SIGINT)
        found = run.finish().check(130).json
    assert found["nodes"][0]["opened"] >= 6
    assert rows(found, "groups", "group")["new"]["came"] == 1


def test_a_quiet_server_has_no_findings(server: TestServer) -> None:
    server.client(client_name="app").ping()
    for words in (
        ["commands", "-w", "300ms"],
        ["clients", "-w", "0"],
        ["slow"],
        ["latency", "-w", "300ms"],
    ):
        found = cachectl("--url", server.url, "stats", *words, "-o", "json").check(0).json
        serious = [one for one in found["findings"] if one["id"] != "stats.busy_client"]
        assert serious == [], words


def test_blocked_pool_is_found(valkey: TestServer) -> None:
    waiting = [valkey.client(client_name="worker") for _ in range(12)]
    threads = [threading.Thread(target=one.blpop, args=(["queue"], 20)) for one in waiting]
    for thread in threads:
        thread.start()
    wait_until("they wait", lambda: valkey.info("clients")["blocked_clients"] == 12)
    found = document(valkey, "clients", "-w", "0")
    valkey.run("RPUSH", "queue", *"abcdefghijkl")
    for thread in threads:
        thread.join()
    assert rows(found, "groups", "group")["worker"]["blocked"] == 12
    assert "clients.exhausted" in {one["id"] for one in found["findings"]}


def test_a_leaking_pool_is_found(valkey: TestServer, start_proxy: Callable[..., Proxy]) -> None:
    """Ten idle minutes are played by a proxy: the server itself has no clock to turn."""
    proxy = start_proxy(valkey)
    line = "id={0} addr=10.0.0.7:{0} name=checkout age=9000 idle=1200 flags=N db=0 cmd=get user=app"
    lines = [line.format(number) for number in range(100, 140)]
    proxy.answer("CLIENT LIST", bulk("\n".join(lines) + "\n"), times=None)
    done = cachectl("--url", proxy.url, "stats", "clients", "-w", "0", "-o", "json").check(0)
    assert [one["id"] for one in done.json["findings"]] == ["clients.leak"]
    assert "checkout" in done.json["findings"][0]["title"]
    assert rows(done.json, "groups", "group")["checkout"]["idle"] == 40


def test_connections_that_are_opened_and_forgotten_are_found(valkey: TestServer) -> None:
    forgotten = [valkey.client(client_name="checkout") for _ in range(25)]
    for one in forgotten:
        one.ping()
    busy = valkey.client(client_name="web")

    def idle_for_two_seconds() -> bool:
        busy.ping()
        lines = valkey.run("CLIENT", "LIST").splitlines()
        idles = [int(line.split(b" idle=")[1].split()[0]) for line in lines if b"checkout" in line]
        return min(idles) >= 2

    wait_until("they are idle", idle_for_two_seconds)
    found = document(valkey, "clients", "-w", "0", "--idle", "2s")
    assert [one["id"] for one in found["findings"]] == ["clients.leak"]
    assert found["findings"][0]["title"].startswith("checkout holds 25 connections")
    assert rows(found, "groups", "group")["checkout"]["idle"] == 25
    assert rows(found, "groups", "group")["web"]["idle"] == 0
    assert found["idle_from"] == 2
    assert document(valkey, "clients", "-w", "0")["findings"] == []


def test_maxclients_is_found(start_server: Callable[..., TestServer]) -> None:
    server = start_server("valkey-9.1", "--maxclients", "12")
    kept = [server.client(client_name="greedy") for _ in range(9)]
    for one in kept:
        one.ping()
    found = document(server, "clients", "-w", "0", "--fail-on", "warning", code=1)
    assert "clients.maxclients" in {one["id"] for one in found["findings"]}
    assert found["nodes"][0]["maxclients"] == 12


def test_clients_without_permission(valkey: TestServer, isolated_home: Path) -> None:
    password = valkey.add_user("half", "resetkeys", "-@all", "+ping", "+info")
    profile = isolated_home / "p.yaml"
    profile.write_text(f"url: redis://half@{valkey.address}\npassword: {{env: PW}}\n")
    done = cachectl(
        "-p", str(profile), "stats", "clients", "-w", "0", "-o", "json", env={"PW": password}
    ).check(3)
    assert done.json["unavailable"][0]["remedy"] == "allow it with +client|list"
    assert done.json["nodes"][0]["connected_clients"] >= 1


# --- slow -----------------------------------------------------------------------------------------


def test_slow_commands_by_shape_without_their_values(server: TestServer) -> None:
    server.run("CONFIG", "SET", "slowlog-log-slower-than", "0")
    client = server.client(client_name="shop")
    for number in range(5):
        client.set(f"session:{number}", "hunter2", ex=60)
        client.hset(f"user:{number}", mapping={"password": "hunter2"})
    client.eval("return '--hunter2'", 1, "user:1", "hunter2")
    with contextlib.suppress(redis.RedisError):
        client.execute_command("AUTH", "nobody", "hunter2")
    done = cachectl("--url", server.url, "stats", "slow", "-o", "json", secrets=["hunter2"])
    found = done.check(0).json
    by_shape = rows(found, "commands", "shape")
    assert by_shape["SET session:{id} ? EX ?"]["count"] == 5
    assert by_shape["SET session:{id} ? EX ?"]["namespace"] == "session:{id}"
    assert by_shape["SET session:{id} ? EX ?"]["clients"] == {"shop": 5}
    assert by_shape["HSET user:{id} ? …"]["count"] == 5
    assert "thresholds" in found
    for output in ("table", "plain", "csv", "markdown"):
        cachectl("--url", server.url, "stats", "slow", "-o", output, secrets=["hunter2"]).check(0)


def test_a_planted_slow_command_is_found(server: TestServer) -> None:
    with contextlib.suppress(redis.ResponseError):
        server.run("DEBUG", "SLEEP", "0.25")
    script = "local n = 0; for i = 1, 40000000 do n = n + 1 end; return n"
    server.run("EVAL", script, "0")
    found = document(server, "slow", "--fail-on", "warning", code=1)
    worst = found["commands"][0]
    assert worst["worst"] > 0.1
    assert found["findings"][0]["id"] == "slow.command"
    assert document(server, "slow", "--since", "1ms")["commands"] == []


@pytest.mark.parametrize("flavour", ["valkey-8.1", "valkey-9.1"])
def test_large_replies(start_server: Callable[..., TestServer], flavour: str) -> None:
    server = start_server(flavour)
    server.run("CONFIG", "SET", "commandlog-reply-larger-than", "1000")
    server.run("SET", "page:1", "x" * 50_000)
    server.run("GET", "page:1")
    found = [row for row in document(server, "slow")["commands"] if row["why"] == "large-reply"]
    assert found[0]["shape"] == "GET page:{id}"
    assert found[0]["bytes"] >= 50_000


def test_slow_without_permission(server: TestServer, isolated_home: Path) -> None:
    password = server.add_user("half", "resetkeys", "-@all", "+ping", "+info")
    profile = isolated_home / "p.yaml"
    profile.write_text(f"url: redis://half@{server.address}\npassword: {{env: PW}}\n")
    done = cachectl("-p", str(profile), "stats", "slow", "-o", "json", env={"PW": password}).check(
        3
    )
    assert "+slowlog|get" in done.json["unavailable"][0]["remedy"]


def test_hostile_commands_do_not_reach_the_terminal(valkey: TestServer) -> None:
    valkey.run("CONFIG", "SET", "slowlog-log-slower-than", "0")
    valkey.client().set(b"\x1b[2Jk:\xff\x00", b"\x1b[31mred")
    for output in ("table", "plain", "csv"):
        done = cachectl("--url", valkey.url, "stats", "slow", "-o", output).check(0)
        assert b"\x1b" not in done.out


# --- logins ---------------------------------------------------------------------------------------


def documented(row: str) -> list[str]:
    """The ACL rules of `cachectl help acl`: those that everybody needs, and those of one row."""
    text = (ROOT / "cachectl" / "cli" / "topics" / "acl.md").read_text()
    block = re.search(r"ACL SETUSER cachectl on >PASSWORD (resetkeys.*?)\n\n", text, re.DOTALL)
    line = next(line for line in text.splitlines() if line.startswith(f"| {row}"))
    assert block is not None
    rules = " ".join([block[1], *re.findall(r"`([^`]+)`", line)])
    return rules.replace("\\|", "|").replace("%R~app:*", "").split()


def test_the_documented_login_sees_everything(valkey: TestServer, isolated_home: Path) -> None:
    password = valkey.add_user("watcher", *documented("read statistics and settings"))
    profile = isolated_home / "mine.yaml"
    profile.write_text(f"url: redis://watcher@{valkey.address}\npassword: {{env: PW}}\n")
    for words in (
        ["stats", "-w", "100ms"],
        ["stats", "commands", "-w", "100ms"],
        ["stats", "clients", "-w", "0"],
        ["stats", "slow"],
        ["stats", "latency", "-w", "200ms"],
    ):
        done = cachectl("-p", str(profile), *words, "-o", "json", env={"PW": password}).check(0)
        assert done.json["unavailable"] == [], words
        assert done.json["partial"] is False


# --- all of them ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["commands", "--since-last"],
        ["clients", "-w", "0"],
        ["slow"],
        ["latency", "-w", "200ms"],
    ],
)
def test_resp2_and_resp3_say_the_same(
    server: TestServer, isolated_home: Path, words: list[str]
) -> None:
    server.run("CONFIG", "SET", "slowlog-log-slower-than", "0")
    server.run("SET", "a", "x")
    with pytest.raises(redis.ResponseError):
        server.run("LPUSH", "a", "x")  # so that there is an error to be shown, both times
    found = []
    for protocol in (2, 3):
        profile = isolated_home / f"resp{protocol}.yaml"
        profile.write_text(f"url: {server.url}\nprotocol: {protocol}\n")
        done = cachectl("-p", str(profile), "stats", *words, "-o", "json").check(0).json
        tables = {name: rows_ for name, rows_ in done.items() if isinstance(rows_, list)}
        columns = {name: sorted(rows_[0]) for name, rows_ in tables.items() if rows_}
        found.append((sorted(done), columns, done["unavailable"]))
    assert found[0] == found[1]


@pytest.mark.parametrize("words", [["latency", "-w", "0"], ["clients", "-w", "x"], ["slow", "y"]])
def test_what_is_refused(words: list[str]) -> None:
    assert cachectl("--url", "redis://127.0.0.1:1", "stats", *words).check(2).stderr
