"""`stats events` on real servers: what befell which keys, and a setting that is left as it was."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from programs import Running, cachectl, cachectl_started, cachectl_tty
from servers import TestServer
from topologies import TestCluster, wait_until

from cachectl.server.events.notifications import SETTING

SOAK_SECONDS = float(os.environ.get("CACHECTL_SOAK_SECONDS", "1800"))


def setting(server: TestServer) -> str:
    return str(server.run("CONFIG", "GET", SETTING)[SETTING.encode()].decode())


def listened_to(server: TestServer) -> bool:
    """Whether somebody listens, and has got its first mark: the window has begun."""
    lines = server.run("CLIENT", "LIST", "TYPE", "pubsub").splitlines()
    return any(b" cmd=info " in line for line in lines)


@contextmanager
def listening(server: TestServer, *words: str) -> Iterator[Running]:
    command = ("-v", "--url", server.url, "stats", "events", *words)
    with cachectl_started(*command) as run:
        wait_until("it listens", lambda: listened_to(server))
        yield run


def stopped(run: Running) -> Any:
    run.wait_for("listening")
    run.signal(signal.SIGINT)
    return run.finish().check(130).json


def by_namespace(found: Any) -> dict[str, Any]:
    return {row["namespace"]: row for row in found["namespaces"]}


def test_what_befell_the_keys(server: TestServer) -> None:
    server.run("CONFIG", "SET", SETTING, "KEAm" if server.flavour == "redis-6.2" else "KEAmn")
    client = server.client()
    with listening(server, "-w", "1m", "-o", "json") as run:
        client.set("session:1", "x", px=1)
        wait_until("it expires", lambda: client.get("session:1") is None)
        for number in range(30):
            client.set(f"user:{number}:profile", "x", ex=100)
            client.get(f"absent:{number}")
        client.delete(*(f"user:{number}:profile" for number in range(10)))
        client.hset("hash:1", "a", "b")
        client.rename("hash:1", "hash:2")
        found = stopped(run)
    rows = by_namespace(found)
    user, absent, session = rows["user:{id}:profile"], rows["absent:{id}"], rows["session:{id}"]
    assert (user["set"], user["deleted"], user["other"]) == (30, 10, 30)
    assert user["new"] == (None if server.flavour == "redis-6.2" else 30)
    assert (absent["missed"], session["expired"], rows["hash:{id}"]["set"]) == (30, 1, 1)
    assert rows["hash:{id}"]["other"] == 2
    # The sum over the namespaces is the whole, and INFO's own counts.
    for kind in ("expired", "evicted", "missed", "set", "deleted", "other"):
        assert sum(row[kind] for row in found["namespaces"]) == found[kind]
    node = found["nodes"][0]
    assert (node["expired_counted"], node["missed_counted"]) == (found["expired"], found["missed"])
    assert (found["lost"], found["gap"], found["partial"]) == (0, 0, True)  # Ctrl-C is partial
    assert found["findings"] == []


def test_evictions_are_counted_as_info_does(server: TestServer) -> None:
    server.run("CONFIG", "SET", SETTING, "Exem")
    client = server.client()
    used = server.info("memory")["used_memory"]
    server.run("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
    server.run("CONFIG", "SET", "maxmemory", used + 3_000_000)
    with listening(server, "-w", "1m", "-o", "json") as run:
        number = 0
        while server.info("stats")["evicted_keys"] < 500:
            client.set(f"page:{number}", "x" * 2000)
            number += 1
        evicted = server.info("stats")["evicted_keys"]
        found = stopped(run)
    assert by_namespace(found)["page:{id}"]["evicted"] == found["evicted"] >= evicted
    assert found["lost"] == 0
    assert found["set"] is None  # not published, so not 0
    assert "events.evicted" in {one["id"] for one in found["findings"]}


def test_off_is_refused_with_what_to_do(server: TestServer) -> None:
    done = cachectl("--url", server.url, "stats", "events").check(5)
    assert "notify-keyspace-events is ''" in done.stderr
    assert "--enable" in done.stderr
    assert "CONFIG SET notify-keyspace-events Exem" in done.stderr
    assert "managed service" in done.stderr
    assert setting(server) == ""


def test_what_is_partly_on_says_what_is_missing(valkey: TestServer) -> None:
    valkey.run("CONFIG", "SET", SETTING, "Ex$")
    found = cachectl("--url", valkey.url, "stats", "events", "-w", "200ms", "-o", "json").check()
    gaps = {gap["what"]: gap for gap in found.json["unavailable"]}
    off = gaps["events: evicted, missed, new, deleted, other"]
    assert off["reason"] == "notify-keyspace-events is '$xE', without emnglshzt"
    assert "--enable" in off["remedy"]
    assert "part of the events: set" in gaps


ENDS = [
    *(("clean", before) for before in ("", "KEAmn", "KEA")),
    *(("SIGINT", before) for before in ("KEAn", "Kxn")),
    *(("SIGTERM", before) for before in ("KEAn", "Kmxn")),
    ("SIGHUP", "KEAn"),
    *(("SIGKILL", before) for before in ("KEAn", "Kmxn", "KEAmn")),
]


@pytest.mark.parametrize(("end", "before"), ENDS)
def test_the_setting_is_as_it_was_whatever_ends_it(
    valkey: TestServer, end: str, before: str
) -> None:
    valkey.run("CONFIG", "SET", SETTING, before)
    shown, said = setting(valkey), says_new(valkey)
    window = "300ms" if end == "clean" else "1m"
    words = ("--enable", "--yes", "--events", "all", "-w", window)
    with cachectl_started("--url", valkey.url, "stats", "events", *words) as run:
        if end != "clean":
            wait_until("it listens", lambda: listened_to(valkey))
            assert says_new(valkey)
            run.signal(getattr(signal, end))
        done = run.finish()
    if end == "SIGKILL":
        wait_until("it is gone", lambda: not listened_to(valkey))
        assert says_new(valkey)
        after = cachectl("--url", valkey.url, "keys", "list").check()
        # Where all was on there was nothing to change, and so nothing to put back.
        assert ("killed" in after.stderr) == (before != "KEAmn")
    else:
        assert done.exit_code == {"clean": 0, "SIGINT": 130}.get(end, 143), str(done)
    assert setting(valkey) == shown
    assert says_new(valkey) == said
    assert valkey.run("KEYS", "*") == []


def says_new(server: TestServer) -> bool:
    """Return whether the server says that a key is new: what CONFIG GET hides beside A."""
    client = server.client()
    with client.pubsub() as listener:
        listener.psubscribe("__key*__:*")
        listener.get_message(timeout=5)
        client.set("a", 1)
        client.delete("a")
        client.publish("__keyend__:", "end")
        said = []
        while not said or said[-1]["data"] != b"end":
            message = listener.get_message(timeout=5)
            assert message is not None
            said.append(message)
    return any(b"new" in (one["data"], one["channel"].rpartition(b":")[2]) for one in said)


@pytest.mark.parametrize("command", [("profiles", "check"), ("scan",)])
def test_any_command_puts_it_back_after_a_kill(
    valkey: TestServer, command: tuple[str, ...]
) -> None:
    with listening(valkey, "--enable", "--yes", "-w", "1m") as run:
        run.signal(signal.SIGKILL)
        run.finish()
    done = cachectl("--url", valkey.url, *command).check()
    assert "notify-keyspace-events of" in done.stderr
    assert "'' again" in done.stderr
    assert setting(valkey) == ""


def test_it_must_be_confirmed(valkey: TestServer, isolated_home: Path) -> None:
    words = ("stats", "events", "--enable", "-w", "100ms")
    done = cachectl("--url", valkey.url, *words).check(5)
    assert "--yes" in done.stderr
    profile = isolated_home / "shop.yaml"
    profile.write_text(f"url: {valkey.url}\nenvironment: production\n")
    done = cachectl("-p", str(profile), *words, "--yes").check(5)
    assert "--confirm shop" in done.stderr
    assert "config|set" not in valkey.command_calls() or setting(valkey) == ""
    done = cachectl("-p", str(profile), *words, "--confirm", "shop").check()
    assert "'' again" in done.stderr
    profile.write_text(f"url: {valkey.url}\nread_only: true\n")
    done = cachectl("-p", str(profile), *words, "--yes").check(5)
    assert "read-only" in done.stderr


def test_on_a_terminal_it_asks_and_shows_what_it_changes(valkey: TestServer) -> None:
    command = ("--url", valkey.url, "stats", "events", "--enable", "-w", "200ms")
    with cachectl_tty(*command) as terminal:
        terminal.expect(r"notify-keyspace-events is '': .* will be added")
        terminal.expect(r"Go on\? \[y/N\]")
        terminal.send("y\n")
        terminal.expect("'' again")
        terminal.finish().check()
    assert setting(valkey) == ""


def test_somebody_switching_off_is_noticed(valkey: TestServer) -> None:
    valkey.run("CONFIG", "SET", SETTING, "Exem")
    words = ("--watch", "--every", "200ms", "--count", "20", "-o", "json")
    with listening(valkey, *words) as run:
        valkey.run("CONFIG", "SET", SETTING, "Ex")
        done = run.finish().check(3).json
    assert any("switched them off" in gap["reason"] for gap in done["unavailable"])


def test_watch_streams_windows(valkey: TestServer) -> None:
    valkey.run("CONFIG", "SET", SETTING, "Exem")
    words = ("--watch", "--every", "200ms", "--count", "15", "-o", "ndjson")
    with listening(valkey, *words) as run:
        valkey.run("GET", b"a\n\x00b:1")
        rows = run.finish().check().ndjson
    assert len(rows) == 15
    assert sum(row["missed"] for row in rows) == 1
    (row,) = [row for row in rows if row["missed"]]
    assert row["namespaces"][0]["missed"] == 1
    assert {row["lost"] for row in rows} == {0}


def test_a_gap_is_shown(valkey: TestServer) -> None:
    valkey.run("CONFIG", "SET", SETTING, "KEAm")
    with listening(valkey, "-w", "1m", "-o", "json") as run:
        valkey.run("CLIENT", "KILL", "TYPE", "pubsub")
        wait_until("it listens again", lambda: valkey.run("CLIENT", "LIST", "TYPE", "pubsub"))
        found = stopped(run)
    assert found["gap"] > 0
    assert "lost the connection" in found["nodes"][0]["reason"]


def test_a_login_that_may_not_read_the_setting(valkey: TestServer) -> None:
    rules = ("~*", "&__keyevent@*", "-@all", "+ping", "+info", "+subscribe", "+get")
    valkey.add_user("ears", *rules, password="pw")
    url, env = valkey.url.replace("redis://", "redis://ears@"), {"REDISCLI_AUTH": "pw"}
    words = ("-v", "--url", url, "stats", "events", "-w", "1m")
    with cachectl_started(*words, "-o", "json", env=env) as run:
        wait_until("it listens", lambda: listened_to(valkey))
        valkey.run("GET", "absent")
        found = stopped(run)
    assert found["missed"] is None
    reasons = [one["reason"] for one in found["unavailable"]]
    assert "may not read notify-keyspace-events" in reasons[0]
    assert "none came" in reasons[1]
    done = cachectl(*words, "--enable", "--yes", env=env).check(5)
    assert "may not read" in done.stderr


def test_a_listener_that_is_stopped_costs_the_server_no_memory_for_long(
    valkey: TestServer,
) -> None:
    """The server hangs up on who does not read; what was missed is a gap, and counted as lost."""
    valkey.run("CONFIG", "SET", SETTING, "Em")
    valkey.run("CONFIG", "SET", "client-output-buffer-limit", "pubsub 200kb 0 0")
    with listening(valkey, "-w", "1m", "-o", "json") as run:
        time.sleep(0.3)
        run.signal(signal.SIGSTOP)
        client = valkey.client()
        pipe = client.pipeline(transaction=False)
        listeners = len(valkey.run("CLIENT", "LIST", "TYPE", "pubsub"))
        assert listeners

        def hung_up() -> bool:
            for number in range(2000):
                pipe.get("x" * 500 + str(number))
            pipe.execute()
            return not valkey.run("CLIENT", "LIST", "TYPE", "pubsub")

        wait_until("the server hangs up", hung_up)
        run.signal(signal.SIGCONT)
        wait_until("it listens again", lambda: valkey.run("CLIENT", "LIST", "TYPE", "pubsub"))
        found = stopped(run)
    node = found["nodes"][0]
    assert found["gap"] > 0
    assert node["missed"] + node["lost"] == node["missed_counted"]
    assert node["lost"] > 0


@pytest.mark.soak
def test_half_an_hour_of_events_takes_no_more_memory(valkey: TestServer) -> None:
    """Run by hand: `-m soak -s` prints the figures; CACHECTL_SOAK_SECONDS, by default 1800."""
    seconds = SOAK_SECONDS
    valkey.run("CONFIG", "SET", SETTING, "KEAmn")
    valkey.run("CONFIG", "SET", "maxmemory", valkey.info("memory")["used_memory"] + 8_000_000)
    valkey.run("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    client, sizes = valkey.client(), []
    with listening(valkey, "--watch", "--every", "1s", "-o", "ndjson") as run:
        begun, number = time.monotonic(), 0
        while time.monotonic() - begun < seconds:
            pipe = client.pipeline(transaction=False)
            for _ in range(50):
                number += 1
                pipe.get(f"user:{number % 9973}:profile")
                pipe.set(
                    f"item:{number}:{number % 97}:{'abcdefgh'[number % 8]}", "x" * 200, px=5000
                )
            pipe.execute()
            time.sleep(0.02)
            if not sizes or time.monotonic() - sizes[-1][0] > seconds / 30:
                used = valkey.info("memory")["used_memory"]
                sizes.append((time.monotonic(), resident(run.process.pid), used))
        run.signal(signal.SIGINT)
        rows = run.finish().ndjson
    ours, servers = [one[1] for one in sizes[3:]], [one[2] for one in sizes[3:]]
    lost = sum(row["lost"] or 0 for row in rows)
    print(f"\n{len(rows)} windows, {sum(row['missed'] for row in rows):,} misses, {lost} lost")
    print(f"ours {ours[0] / 1e6:.1f} to {ours[-1] / 1e6:.1f} MB, most {max(ours) / 1e6:.1f} MB")
    print(f"server {servers[0] / 1e6:.1f} to {servers[-1] / 1e6:.1f} MB")
    assert lost == 0
    assert max(ours) < 1.2 * ours[0]


def resident(pid: int) -> int:
    """Return the resident memory of a process in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_cluster(cluster: TestCluster, isolated_home: Path) -> None:
    profile = isolated_home / "cluster.yaml"
    profile.write_text(f"cluster:\n  nodes: ['{cluster.primaries[0].address}']\n")
    command = ("-v", "-p", str(profile), "stats", "events", "--enable", "--yes", "-w", "1m")
    with cachectl_started(*command, "-o", "json") as run:
        wait_until("it listens", lambda: all(map(listened_to, cluster.primaries)))
        client = cluster.client()
        for number in range(60):
            client.set(f"item:{number}", 1)
        found = stopped(run)
    assert by_namespace(found)["item:{id}"]["set"] == 60
    assert len(found["nodes"]) == 3
    assert [setting(node) for node in cluster.primaries] == [""] * 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--events", "expired,gone"), "no kind 'gone'"),
        (("--every", "1s"), "belong to --watch"),
        (("--watch", "-w", "1s"), "windows of its own"),
        (("-w", "0"), "0.1 s or more"),
    ],
)
def test_usage(valkey: TestServer, words: tuple[str, ...], said: str) -> None:
    assert said in cachectl("--url", valkey.url, "stats", "events", *words).check(2).stderr
