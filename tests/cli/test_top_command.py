"""`top` on real servers, on terminals: what it shows, keys, sizes, and how it leaves."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyte
import pytest
from programs import Terminal, cachectl, cachectl_tty
from servers import TestServer
from topologies import TestCluster, wait_until

from cachectl.output.board_lines import Size
from cachectl.output.fullscreen import FullScreen
from cachectl.output.terminal import Terminal as OurTerminal

FAST = ("--every", "200ms")


class Screen:
    """What a person sees: the program's terminal through a terminal emulator."""

    def __init__(self, program: Terminal, columns: int = 80, rows: int = 24) -> None:
        self.program = program
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._read = 0

    @property
    def text(self) -> str:
        new = self.program.output[self._read :]
        self._read += len(new)
        self._stream.feed(new)
        return "\n".join(line.rstrip() for line in self._screen.display)

    def expect(self, pattern: str) -> re.Match[str]:
        """Wait until the screen as it is now has the pattern."""
        deadline = time.monotonic() + 20
        while True:
            if match := re.search(pattern, self.text, re.M):
                return match
            assert time.monotonic() < deadline, f"{pattern!r} never appeared\n{self.text}"
            time.sleep(0.02)

    def resize(self, columns: int, rows: int) -> None:
        self._screen.resize(rows, columns)
        self.program.resize(columns, rows)


@contextlib.contextmanager
def top(
    *words: str, columns: int = 80, rows: int = 24, env: dict[str, str] | None = None
) -> Iterator[Screen]:
    with cachectl_tty(*words, columns=columns, rows=rows, env=env) as program:
        yield Screen(program, columns, rows)


@contextlib.contextmanager
def traffic(server: TestServer) -> Iterator[None]:
    """Nine hits to a miss, from a client called `web`, for the body of a `with`."""
    stop = threading.Event()
    client = server.client(client_name="web")
    client.set("known", "x")

    def work() -> None:
        while not stop.wait(0.02):
            pipe = client.pipeline(transaction=False)
            for _ in range(9):
                pipe.get("known")
            pipe.get("absent")
            pipe.execute()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def logged(server: TestServer, *command: str | bytes) -> None:
    """Run a command that is logged as slow, alone."""
    server.run("CONFIG", "SET", "slowlog-log-slower-than", "0")
    server.run(*command)
    server.run("CONFIG", "SET", "slowlog-log-slower-than", "1000000")


def test_what_it_shows(server: TestServer) -> None:
    with traffic(server), top("--url", server.url, "top", *FAST) as screen:
        screen.expect(r"^hit ratio +90\.0 % ")
        screen.expect(r"^get +\d+/s ")
        screen.expect(r"^web +1 ")
        screen.expect("no slow command is logged")
        assert "errors 0/s" in screen.text
        # Our own connections are no clients of the cache.
        assert not re.search(r"^cachectl ", screen.text, re.M)
        screen.program.send("q")
        screen.program.finish().check(0)
        assert screen.program.sane()


def test_an_idle_server_shows_nothing_of_ours(server: TestServer) -> None:
    with top("--url", server.url, "top", *FAST) as screen:
        for _ in range(3):
            screen.expect(r"^commands +0/s .*errors 0/s")
            screen.expect("nobody called any command")
            assert "WARNING" not in screen.text
            time.sleep(0.3)
        screen.program.send("q")
        screen.program.finish().check(0)


def test_keys_choose_sort_and_pause(valkey: TestServer) -> None:
    logged(valkey, "GET", "user:1")
    with traffic(valkey), top("--url", valkey.url, "top", *FAST) as screen:
        screen.expect(r"\[0 all\]")
        screen.program.send("3")
        screen.expect(r"\[3 slow\]")
        screen.expect(r"^GET user:\{id\} ")
        screen.program.send("\x1b[C")
        screen.expect(r"\[4 events\]")
        screen.program.send("1")
        screen.expect(r"of time▼")
        screen.program.send("s")
        screen.expect(r"a call▼")
        screen.program.send("r")
        screen.expect(r"a call▲")
        screen.program.send("p")
        screen.expect("paused")
        before = valkey.command_calls()["info"]
        time.sleep(0.6)
        assert valkey.command_calls()["info"] <= before + 2  # these two looks are the test's own
        screen.program.send("p")
        screen.expect(r"standalone +every 0\.2 s")
        screen.program.send("q")
        screen.program.finish().check(0)


def test_namespaces_by_events_where_they_are_published(server: TestServer) -> None:
    server.run("CONFIG", "SET", "notify-keyspace-events", "Exem$")
    client = server.client()
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.02):
            client.get("cart:4711")
            client.set("session:815", "x", px=1)

    thread = threading.Thread(target=work)
    thread.start()
    with top("--url", server.url, "top", *FAST) as screen:
        screen.expect(r"\[0 all\]")
        screen.program.send("4")
        # All but the events `new`, which are not published here.
        screen.expect(r"^cart:\{id\} +0/s +0/s +\d+/s +- +0/s")
        screen.expect(r"^session:\{id\} +[\d.]+/s ")
        assert "ours 3" in screen.text
        screen.program.send("q")
        screen.program.finish().check(0)
    stop.set()
    thread.join()


def test_events_are_never_switched_on(valkey: TestServer) -> None:
    with top("--url", valkey.url, "top", *FAST, columns=60, rows=24) as screen:
        screen.expect(r"^no events: cachectl stats events --enable switches them on$")
        screen.program.send("q")
        screen.program.finish().check(0)
    setting = valkey.run("CONFIG", "GET", "notify-keyspace-events")
    assert setting[b"notify-keyspace-events"] == b""


def test_it_follows_the_size_of_the_terminal(valkey: TestServer) -> None:
    with traffic(valkey), top("--url", valkey.url, "top", *FAST, columns=60, rows=15) as screen:
        screen.expect(r"^q quit  p pause  0-5 panel  s sort  r reverse  ↑↓ scroll$")
        screen.resize(120, 40)
        screen.expect(r"^namespace ")
        lines = screen.text.splitlines()
        assert len(lines) == 40
        assert lines[-1].startswith("q quit")
        screen.resize(30, 8)
        wait_until("it is small", lambda: screen.text.splitlines()[7].startswith("q quit"))
        screen.program.send("q")
        screen.program.finish().check(0)


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (lambda one: one.ctrl_c(), 130),
        (lambda one: one.process.send_signal(signal.SIGTERM), 143),
        (lambda one: one.process.send_signal(signal.SIGHUP), 143),
        (lambda one: one.send(b"\x04"), 0),
    ],
)
def test_the_terminal_is_given_back(
    valkey: TestServer, end: Callable[[Terminal], None], code: int
) -> None:
    with top("--url", valkey.url, "top", *FAST) as screen:
        screen.expect(r"^commands ")
        end(screen.program)
        screen.program.finish().check(code)
        assert screen.program.sane()
        assert screen.program.output.count(b"\x1b[?1049l") == 1
        assert screen.program.output.endswith(b"\x1b[?1049l")


def test_a_server_that_is_lost_and_returns(start_server: Callable[..., TestServer]) -> None:
    server = start_server("redis-7.0")
    with top("--url", server.url, "--timeout", "1", "top", *FAST) as screen:
        screen.expect(r"^commands +\d")
        server.kill9()
        screen.expect(r"^no answer for \d+ s, trying again: ")
        screen.program.send("2")  # keys are heard while nobody answers
        screen.expect(r"\[2 clients\]")
        server.restart()
        screen.expect(r"^\d\d:\d\d:\d\d 127\.0\.0\.1:\d+ was restarted")
        wait_until("all is well", lambda: "no answer" not in screen.text)
        screen.program.send("q")
        screen.program.finish().check(0)


def test_a_frozen_server_freezes_no_screen(
    start_server: Callable[..., TestServer],
) -> None:
    server = start_server("valkey-9.1")
    with top("--url", server.url, "top", *FAST) as screen:
        screen.expect(r"^commands +\d")
        with server.suspended():
            screen.program.send("2")
            screen.expect(r"\[2 clients\]")
            screen.program.send("q")
            screen.program.finish().check(0)


def test_a_login_that_may_do_little(server: TestServer, isolated_home: Path) -> None:
    password = server.add_user("watcher", "resetkeys", "-@all", "+ping", "+info")
    profile = isolated_home / "mine.yaml"
    profile.write_text(f"url: redis://watcher@{server.address}\npassword: {{env: PW}}\n")
    server.run("ACL", "LOG", "RESET")
    with top("-p", str(profile), "top", *FAST, env={"PW": password}) as screen:
        screen.expect(r"^not available: this login may not run CLIENT LIST; allow it with \+client")
        screen.expect(r"^not available: this login may not read the log")
        before = server.command_calls()["info"]
        wait_until("ten looks", lambda: server.command_calls()["info"] > before + 20)
        assert "errors 0/s" in screen.text
        screen.program.send("q")
        screen.program.finish(secrets=[password]).check(0)
    # What is refused is asked once, not five times a second.
    assert max(int(entry[b"count"]) for entry in acl_log(server)) < 8


def test_a_login_that_is_taken_away_ends_it(valkey: TestServer, isolated_home: Path) -> None:
    password = valkey.add_user("watcher", "resetkeys", "-@all", "+ping", "+info")
    profile = isolated_home / "mine.yaml"
    profile.write_text(f"url: redis://watcher@{valkey.address}\npassword: {{env: PW}}\n")
    with top("-p", str(profile), "top", *FAST, env={"PW": password}) as screen:
        screen.expect(r"^commands ")
        valkey.run("ACL", "DELUSER", "watcher")  # and its connections with it
        done = screen.program.finish(secrets=[password]).check(4)
        assert screen.program.sane()
        assert "error: " in done.stdout.rpartition("\x1b[?1049l")[2]


def acl_log(server: TestServer) -> list[dict[bytes, bytes]]:
    entries = server.run("ACL", "LOG")
    return [
        entry if isinstance(entry, dict) else dict(zip(entry[::2], entry[1::2], strict=True))
        for entry in entries
    ]


def test_nodes_of_a_cluster(cluster: TestCluster, isolated_home: Path) -> None:
    profile = isolated_home / "cluster.yaml"
    profile.write_text(f"cluster:\n  nodes: ['{cluster.primaries[0].address}']\n")
    with top("-p", str(profile), "top", *FAST) as screen:
        screen.expect(r"^commands +0/s")
        screen.program.send("5")
        for node in cluster.primaries:
            screen.expect(rf"^{node.address} ")
        screen.program.send("q")
        screen.program.finish().check(0)


def test_hostile_names_stay_text(valkey: TestServer) -> None:
    logged(valkey, "KEYS", b"\x1b[2Jk:\xff\x00*")
    with top("--url", valkey.url, "top", *FAST) as screen:
        screen.expect(r"\[0 all\]")
        screen.program.send("3")
        screen.expect(r"^KEYS \\x1b\[2Jk:\\xff\\x00\* ")
        screen.program.send("q")
        screen.program.finish().check(0)


@pytest.mark.parametrize("words", [[], ["--every", "1ms"], ["--every", "soon"]])
def test_without_a_terminal(words: list[str]) -> None:
    done = cachectl("--url", "redis://127.0.0.1:1", "top", *words).check(2)
    assert words or "stats --watch" in done.stderr


def test_a_terminal_that_can_not_move_its_cursor() -> None:
    with cachectl_tty("--url", "redis://127.0.0.1:1", "top", env={"TERM": "dumb"}) as program:
        assert "stats --watch" in program.finish().check(2).stdout


def test_nobody_answers_at_the_start() -> None:
    with cachectl_tty("--url", "redis://127.0.0.1:1", "top") as program:
        assert b"\x1b[?1049h" not in program.finish().check(4).out


def test_without_colours(valkey: TestServer) -> None:
    with top("--no-color", "--url", valkey.url, "top", *FAST) as screen:
        screen.expect(r"^commands ")
        assert not re.search(rb"\x1b\[[0-9;]+m", screen.program.output.replace(b"\x1b[0m", b""))
        screen.program.send("q")
        screen.program.finish().check(0)


# --- The terminal itself --------------------------------------------------------------------------


@contextlib.contextmanager
def own_terminal() -> Iterator[tuple[OurTerminal, int]]:
    """A Terminal on a pseudo-terminal of this process, and its other end."""
    master, slave = pty.openpty()
    with open(slave, "w", closefd=False) as out, open(slave, closefd=False) as typed:
        yield OurTerminal(typed, out, out, environ={"TERM": "xterm"}), master
    os.close(master)
    os.close(slave)


def read_until(descriptor: int, wanted: bytes) -> bytes:
    """Return what arrives on a terminal up to these bytes: it may come in pieces."""
    received = b""
    while wanted not in received:
        received += os.read(descriptor, 65_536)
    return received


def test_an_exception_gives_the_terminal_back() -> None:
    with own_terminal() as (terminal, master):
        before = termios.tcgetattr(terminal.stdin.fileno())

        def fail() -> None:
            with FullScreen(terminal) as screen:
                screen.draw([(("x", ""),)], Size(80, 24))
                assert termios.tcgetattr(terminal.stdin.fileno()) != before
                terminal.warn("kept until the end")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        assert termios.tcgetattr(terminal.stdin.fileno()) == before
        written = read_until(master, b"kept until the end")
        assert written.index(b"\x1b[?1049l") < written.index(b"kept until the end")
        assert terminal.bar is None


def test_only_changed_lines_are_sent() -> None:
    with own_terminal() as (terminal, master), FullScreen(terminal) as screen:
        screen.draw([(("first", ""),), (("second", "bold"),)], Size(80, 24))
        assert b"first" in read_until(master, b"second")
        screen.draw([(("first", ""),), (("changed", ""),)], Size(80, 24))
        assert b"first" not in read_until(master, b"changed")


def test_a_wake_up_ends_the_waiting() -> None:
    with own_terminal() as (terminal, master), FullScreen(terminal) as screen:
        threading.Timer(0.05, screen.wake).start()
        assert screen.wait(60) == []
        os.write(master, b"\x1b[")
        os.write(master, b"A")
        assert screen.wait(60) == ["up"]
        os.write(master, b"\x1b")
        assert screen.wait(60) == ["escape"]
