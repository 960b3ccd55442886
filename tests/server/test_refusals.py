"""Every way in which a server can't be reached: one sentence, exit code 4, within the timeout."""

from __future__ import annotations

import os
import signal
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from proxies import Fake, Proxy, error, http_fake, unreachable
from servers import TestServer
from targets import target_of

from cachectl.config.secrets import Secret
from cachectl.config.target import Address, Login, Target
from cachectl.errors import (
    AuthenticationError,
    CachectlError,
    CannotConnectError,
    ConfigError,
    PermissionDeniedError,
    RefusedError,
)
from cachectl.server.topology.connect import open_server
from cachectl.server.wire import dial
from cachectl.server.wire.connection import ConnectionLostError, connect


class Refusal:
    """What opening a server ended with, and how long it took."""

    def __init__(self, caught: CachectlError, seconds: float) -> None:
        self.error = caught
        self.seconds = seconds
        self.message = caught.message
        self.hint = caught.hint or ""


def refused(
    target: Target, kind: type[CachectlError] = CannotConnectError, within: float | None = None
) -> Refusal:
    """Open the target, which must fail with this kind of error and in time."""
    began = time.monotonic()
    with pytest.raises(kind) as caught:
        open_server(target).close()
    seconds = time.monotonic() - began
    assert seconds < (target.connect_timeout * 1.2 + 0.3 if within is None else within)
    assert caught.value.target
    assert "\n" not in caught.value.message
    assert not caught.value.message.endswith(".")
    return Refusal(caught.value, seconds)


def at(host: str, port: int, **settings: object) -> Target:
    return target_of(addresses=(Address(host, port),), **settings)


# --- Nobody there ---------------------------------------------------------------------------


def test_refused_port() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: nobody else gets it meanwhile
        port = taken.getsockname()[1]
        found = refused(at("127.0.0.1", port), within=1)
    assert found.message == f"cannot connect to 127.0.0.1:{port}: connection refused"
    assert found.error.exit_code == 4
    assert found.error.target == f"127.0.0.1:{port}"


def test_black_hole_takes_the_connect_timeout() -> None:
    with unreachable() as (host, port):
        found = refused(at(host, port, connect_timeout=0.7), within=0.7 * 1.2 + 0.1)
    assert found.seconds > 0.7 * 0.8
    assert "no answer in time" in found.message


def test_second_address_of_a_name_is_tried_when_the_first_is_dead(
    any_server: TestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with unreachable() as dead:
        monkeypatch.setattr(
            dial,
            "_lookup",
            lambda *_: [
                (socket.AF_INET, dead),
                (socket.AF_INET, (any_server.host, any_server.port)),
            ],
        )
        with open_server(at("two.example", 6379)) as server:
            assert server.primaries[0].connection.call("PING") == b"PONG"


def test_unknown_host() -> None:
    found = refused(at("no-such-host.invalid", 6379, connect_timeout=5.0))
    assert "unknown host no-such-host.invalid" in found.message


def test_absurd_host_name() -> None:
    assert "is not a host name" in refused(at("a" * 70 + ".example", 6379)).message


def test_slow_name_server_does_not_exceed_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    asleep = threading.Event()

    def hang(*_: object, **options: object) -> list[object]:
        if options.get("flags"):
            raise socket.gaierror
        asleep.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    found = refused(at("slow.example", 6379, connect_timeout=0.5), within=0.8)
    asleep.set()
    assert "name server did not answer in time" in found.message


def test_ipv6_literal_is_shown_in_brackets() -> None:
    found = refused(at("::1", 1), within=1)
    assert "cannot connect to [::1]:1: " in found.message


# --- Unix sockets ---------------------------------------------------------------------------


def by_path(path: object) -> Target:
    return target_of(addresses=(Address(socket=str(path)),))


def test_unix_socket_works(start_server: Callable[..., TestServer]) -> None:
    path = start_server(unixsocket=True).unixsocket
    with open_server(by_path(path)) as server:
        assert server.facts.nodes[0].address == path


def test_unix_socket_missing(tmp_path: Path) -> None:
    found = refused(by_path(tmp_path / "none.sock"), within=0.5)
    assert found.message == f"cannot connect to {tmp_path}/none.sock: there is no such socket"


def test_unix_socket_that_nobody_listens_on(tmp_path: Path) -> None:
    path = tmp_path / "stale.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    assert "nobody listens on that socket" in refused(by_path(path), within=0.5).message


def test_unix_socket_without_permission(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "closed" / "server.sock"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        path.parent.chmod(0)
        try:
            if os.access(path, os.F_OK):  # root passes every door: let the kernel's answer come
                monkeypatch.setattr(dial, "_open", _denied)
            assert "permission denied" in refused(by_path(path), within=0.5).message
        finally:
            path.parent.chmod(stat.S_IRWXU)


def _denied(*_: object) -> socket.socket:
    raise PermissionError(13, "Permission denied")


# --- Somebody else there --------------------------------------------------------------------


def test_http_server() -> None:
    with http_fake() as fake:
        found = refused(target_of(fake), within=1)
    assert "is not a Redis or Valkey server" in found.message
    assert "HTTP/1.1" in found.message


@pytest.mark.parametrize("banner", [b"SSH-2.0-OpenSSH_9\r\n", b"+OK POP3 ready\r\n", b"\x00\x01"])
def test_other_protocols(banner: bytes) -> None:
    with Fake(banner * 5) as fake:
        assert "is not a Redis or Valkey server" in refused(target_of(fake), within=2.6).message


def test_escape_codes_of_a_stranger_are_not_repeated() -> None:
    with Fake(b"\x1b[2J\r\n") as fake:
        assert "\x1b" not in refused(target_of(fake), within=1).message


def test_tls_alert_names_tls() -> None:
    with Fake(b"\x15\x03\x01\x00\x02\x02\x46") as fake:
        found = refused(target_of(fake), within=1)
    assert "speaks TLS" in found.message
    assert "rediss://" in found.hint


# --- There, but not answering ---------------------------------------------------------------


def test_suspended_server(start_server: Callable[..., TestServer]) -> None:
    server = start_server()
    with server.suspended():
        found = refused(target_of(server, connect_timeout=0.6), within=0.9)
    assert "got no answer to the login within 0.6 s" in found.message
    assert "frozen" in found.hint


def test_dribbling_server_meets_the_deadline(
    any_server: TestServer, start_proxy: Callable[..., Proxy]
) -> None:
    proxy = start_proxy(any_server)
    proxy.dribble(0.2)
    found = refused(target_of(proxy, connect_timeout=0.7), within=1.0)
    assert "no answer to the login" in found.message


def test_dribbled_reply_after_the_login_meets_the_deadline(
    any_server: TestServer, start_proxy: Callable[..., Proxy]
) -> None:
    any_server.run("SET", "k", "x" * 100)
    proxy = start_proxy(any_server)
    with open_server(target_of(proxy, timeout=0.5)) as server:
        proxy.dribble(0.05)
        began = time.monotonic()
        with pytest.raises(ConnectionLostError, match=r"no reply within 0\.5 s"):
            server.primaries[0].connection.call("GET", "k")
        assert 0.4 < time.monotonic() - began < 1.2


def test_long_reply_may_take_longer_while_it_keeps_coming(
    any_server: TestServer, start_proxy: Callable[..., Proxy]
) -> None:
    """Twenty pieces of 100 kB, 0.05 s apart, are 1 s in all: more than the timeout."""
    piece, pieces = b"x" * 100_000, 20
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def serve() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(b"+OK\r\n+OK\r\n+PONG\r\n")
                peer.recv(65536)
                peer.sendall(b"$%d\r\n" % (len(piece) * pieces))
                for _ in range(pieces):
                    time.sleep(0.05)
                    peer.sendall(piece)
                peer.sendall(b"\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        target = at(*listener.getsockname(), timeout=0.3)
        with connect(target, target.addresses[0]) as connection:
            assert len(connection.call("GET", "k")) == len(piece) * pieces
        thread.join()


def test_reset_at_the_first_byte(any_server: TestServer, start_proxy: Callable[..., Proxy]) -> None:
    proxy = start_proxy(any_server)
    proxy.slam()
    found = refused(target_of(proxy), within=1)
    assert "closed the connection at the login" in found.message
    assert "TLS" in found.hint


def test_server_that_dies_later(start_server: Callable[..., TestServer]) -> None:
    server = start_server()
    with open_server(target_of(server)) as opened:
        server.kill9()
        with pytest.raises(ConnectionLostError, match="lost the connection to") as caught:
            opened.primaries[0].connection.call("PING")
        assert caught.value.exit_code == 4
        with pytest.raises(ConnectionLostError):  # and it stays so, without a defect
            opened.primaries[0].connection.call("PING")


def test_suspended_after_the_login_takes_the_timeout_and_one_send(
    any_server: TestServer, start_proxy: Callable[..., Proxy]
) -> None:
    proxy = start_proxy(any_server)
    with open_server(target_of(proxy, timeout=0.5)) as server:
        proxy.record = True
        proxy.black_hole()
        began = time.monotonic()
        with pytest.raises(ConnectionLostError, match=r"no reply within 0\.5 s"):
            server.primaries[0].connection.call("GET", "k")
        assert 0.4 < time.monotonic() - began < 0.9
        assert sum(command[0] == b"GET" for command in proxy.commands) <= 1


# --- Turned away ----------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 3])
def test_maxclients(start_server: Callable[..., TestServer], protocol: int) -> None:
    server = start_server("redis-7.0", "--maxclients", "2")
    with server.client() as one, server.client() as two:
        one.ping()
        two.ping()
        target = target_of(server, protocol=protocol, password="x" * 3)
        found = refused(target, within=1)
    assert "has reached its maximum number of clients" in found.message


def test_maxclients_on_every_flavour(server: TestServer) -> None:
    server.run("CONFIG", "SET", "maxclients", "2")
    with server.client() as other:
        other.ping()
        found = refused(target_of(server), within=1)
    assert "has reached its maximum number of clients" in found.message


def test_protected_mode(any_server: TestServer, start_proxy: Callable[..., Proxy]) -> None:
    denied = b"-DENIED Redis is running in protected mode because protected mode is enabled\r\n"
    with Fake(denied) as fake:
        assert "is in protected mode" in refused(target_of(fake), within=2.6).message


# --- Logging in -----------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 3])
def test_wrong_password_is_tried_once(server: TestServer, protocol: int) -> None:
    server.require_password("right")
    target = target_of(server, password="wrong-secret", protocol=protocol)
    found = refused(target, AuthenticationError, within=1)
    assert "refused the login of the default user" in found.message
    assert found.error.exit_code == 4
    assert "wrong-secret" not in repr(found.error) + found.message + found.hint
    assert failed_logins(server) == 1


def failed_logins(server: TestServer) -> int:
    with server.client() as client:
        log = client.acl_log()
        return sum(int(entry["count"]) for entry in log if entry["reason"] == "auth")


@pytest.mark.parametrize("protocol", [2, 3])
def test_no_password_given(server: TestServer, protocol: int) -> None:
    server.require_password("right")
    found = refused(target_of(server, protocol=protocol), AuthenticationError, within=1)
    assert found.message == f"{server.address} requires a password, and none was given"


@pytest.mark.parametrize("protocol", [2, 3])
def test_disabled_user(server: TestServer, protocol: int) -> None:
    password = server.add_user("gone", "+@all", "off")
    target = target_of(server, username="gone", password=password, protocol=protocol)
    found = refused(target, AuthenticationError, within=1)
    assert "login of user gone" in found.message
    assert "disabled" in found.message
    assert failed_logins(server) == 1


def test_password_where_none_is_wanted(server: TestServer) -> None:
    found = refused(target_of(server, password="superfluous"), AuthenticationError, within=1)
    assert "has no password for the default user" in found.message


@pytest.mark.parametrize("protocol", [2, 3])
def test_odd_passwords_work(server: TestServer, protocol: int) -> None:
    password = server.add_user("odd", "+@all", "~*", password="a# @/:%\u00e9\u4e2d\U0001f511\n")
    target = target_of(server, username="odd", password=password, protocol=protocol)
    with open_server(target) as opened:
        assert opened.primaries[0].connection.call("ACL", "WHOAMI") == b"odd"


@pytest.mark.parametrize("protocol", [2, 3])
def test_login_that_may_do_next_to_nothing(server: TestServer, protocol: int) -> None:
    """No PING, no INFO, no CLIENT: all the same it is connected, and its role is known."""
    password = server.add_user("poor", "-@all", "+scan")
    target = target_of(server, username="poor", password=password, protocol=protocol)
    with open_server(target) as opened:
        node = opened.primaries[0]
        assert node.connection.call("SCAN", "0") == [b"0", []]
        assert not node.identity.is_known
        assert node.facts.role == "primary"
        assert node.facts.flavour in ("redis", "valkey")


def test_hello_unknown_falls_back_to_resp2(
    any_server: TestServer, start_proxy: Callable[..., Proxy]
) -> None:
    any_server.require_password("right")
    proxy = start_proxy(any_server)
    proxy.resp2_only()
    proxy.record = True
    with open_server(target_of(proxy, protocol=3, password="right")) as server:
        assert server.primaries[0].connection.protocol == 2
        assert server.primaries[0].connection.call("CONFIG", "GET", "maxmemory") == [
            b"maxmemory",
            b"0",
        ]
    assert failed_logins(any_server) == 0


def test_proxy_without_client_commands(
    any_server: TestServer, start_proxy: Callable[..., Proxy]
) -> None:
    proxy = start_proxy(any_server)
    proxy.block("CLIENT")
    with open_server(target_of(proxy)) as server:
        assert server.warnings == ()
        assert not server.primaries[0].connection.no_touch


# --- Databases ------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 3])
def test_database_out_of_range(server: TestServer, protocol: int) -> None:
    found = refused(target_of(server, database=99, protocol=protocol), ConfigError, within=1)
    assert found.message == f"{server.address} does not have a database 99"
    assert found.error.exit_code == 2


def test_database_15_counts_its_own_keys(server: TestServer) -> None:
    server.run("SET", "in-0", "1")
    with server.client(db=15) as client:
        client.mset({"a": 1, "b": 2})
    with open_server(target_of(server, database=15)) as opened:
        assert opened.facts.database == 15
        assert opened.facts.nodes[0].keys == 2
        with opened.new_connection(opened.primaries[0]) as another:
            assert another.call("DBSIZE") == 2


def test_select_forbidden(server: TestServer) -> None:
    password = server.add_user("zero", "~*", "+@all", "-select")
    target = target_of(server, username="zero", password=password, database=1)
    found = refused(target, PermissionDeniedError, within=1)
    assert found.error.exit_code == 5
    assert "+select" in found.hint


def test_select_disabled(any_server: TestServer, start_proxy: Callable[..., Proxy]) -> None:
    proxy = start_proxy(any_server)
    proxy.block("SELECT")
    assert "SELECT is disabled" in refused(target_of(proxy, database=1), RefusedError).message


# --- Busy with something else ---------------------------------------------------------------


def test_loading_is_waited_for(any_server: TestServer, start_proxy: Callable[..., Proxy]) -> None:
    proxy = start_proxy(any_server)
    proxy.loading(4)
    seen: list[tuple[float | None, float | None]] = []
    with open_server(target_of(proxy), on_loading=lambda *now: seen.append(now)) as server:
        assert server.primaries[0].connection.call("PING") == b"PONG"
    assert seen


def test_database_is_chosen_after_loading(
    any_server: TestServer, start_proxy: Callable[..., Proxy]
) -> None:
    """SELECT was refused with LOADING the first time: without another one we'd be in database 0."""
    with any_server.client(db=3) as client:
        client.set("only-in-3", 1)
    proxy = start_proxy(any_server)
    proxy.answer("SELECT", error("LOADING Redis is loading the dataset in memory"), times=1)
    proxy.answer("PING", error("LOADING Redis is loading the dataset in memory"), times=1)
    with open_server(target_of(proxy, database=3)) as server:
        assert server.primaries[0].connection.call("EXISTS", "only-in-3") == 1


def test_asking_for_a_password_takes_as_long_as_people_need(any_server: TestServer) -> None:
    any_server.require_password("typed")
    asked = []

    def ask() -> str:
        asked.append(threading.current_thread())
        time.sleep(0.5)
        return "typed"

    target = target_of(any_server, connect_timeout=0.3)
    target = replace(target, login=Login(None, Secret("prompt", ask)))
    with open_server(target):
        assert asked == [threading.main_thread()]


def test_interrupt_does_not_leave_replies_behind(any_server: TestServer) -> None:
    """A reply that comes after Ctrl-C must not be taken for the answer to the next command."""
    with open_server(target_of(any_server)) as server:
        connection = server.primaries[0].connection
        timer = threading.Timer(0.2, signal.raise_signal, [signal.SIGINT])
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            connection.call("BLPOP", "nothing", "1")
        assert not connection.is_open
        timer.join()


@contextmanager
def slow_load(start_server: Callable[..., TestServer], flavour: str) -> Iterator[TestServer]:
    """Restart a server on a data file that takes it seconds to load."""
    delay = ["--key-load-delay", "2000", "--rdb-key-save-delay", "0"]
    server = start_server(flavour, *delay, "--loading-process-events-interval-bytes", "1024")
    with server.client() as client:
        pipe = client.pipeline(transaction=False)
        for i in range(1000):
            pipe.set(f"k{i}", "x" * 100)
        pipe.execute()
        client.save()
    server.kill9()
    server._launch()
    yield server


@pytest.mark.parametrize("protocol", [2, 3])
def test_loading_of_a_real_server(start_server: Callable[..., TestServer], protocol: int) -> None:
    with slow_load(start_server, "valkey-9.1") as server:
        wait_for_port(server)
        seen: list[tuple[float | None, float | None]] = []
        target = target_of(server, wait_loading=20.0, protocol=protocol)
        with open_server(target, on_loading=lambda *now: seen.append(now)) as opened:
            assert opened.facts.nodes[0].keys == 1000
            assert opened.primaries[0].connection.durations["loading"] > 0.2
    percents = [percent for percent, _ in seen if percent is not None]
    assert percents == sorted(percents)
    assert percents
    assert 0 <= percents[0] <= percents[-1] <= 100


def test_loading_longer_than_we_wait(start_server: Callable[..., TestServer]) -> None:
    with slow_load(start_server, "redis-7.0") as server:
        wait_for_port(server)
        found = refused(target_of(server, wait_loading=0.5), within=2)
    assert "is still loading its data" in found.message
    assert "%" in found.message
    assert "timeouts.loading" in found.hint


def wait_for_port(server: TestServer) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex((server.host, server.port)) == 0:
                return
        time.sleep(0.01)


def test_busy_script(server: TestServer) -> None:
    server.run("CONFIG", "SET", "lua-time-limit", "1")
    with server.client() as other:
        thread = threading.Thread(target=_spin, args=(other,))
        thread.start()
        time.sleep(0.3)
        try:
            assert "busy running a script" in refused(target_of(server), within=1).message
            assert thread.is_alive(), "we must not have killed it"
        finally:
            server.run("SCRIPT", "KILL")
            thread.join()


def _spin(client: object) -> None:
    with pytest.raises(Exception, match=r"(?i)script"):
        client.execute_command("EVAL", "while true do end", 0)  # type: ignore[attr-defined]


def test_stale_replica(start_server: Callable[..., TestServer]) -> None:
    primary = start_server("redis-6.2")
    words = ["--replicaof", primary.host, str(primary.port), "--replica-serve-stale-data", "no"]
    replica = start_server("redis-6.2", *words)
    primary.kill9()
    deadline = time.monotonic() + 10
    while replica.info("replication")["master_link_status"] != "down":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert "has lost its primary" in refused(target_of(replica), within=1).message


def test_garbage_after_the_login(any_server: TestServer, start_proxy: Callable[..., Proxy]) -> None:
    proxy = start_proxy(any_server)
    proxy.answer("GET", b"<html>")
    with (
        open_server(target_of(proxy)) as server,
        pytest.raises(CannotConnectError, match="not the Redis protocol"),
    ):
        server.primaries[0].connection.call("GET", "k")


def test_unknown_error_of_the_greeting_does_not_matter(
    any_server: TestServer, start_proxy: Callable[..., Proxy]
) -> None:
    proxy = start_proxy(any_server)
    proxy.answer("CLIENT", error("ERR not here"), times=None)
    with open_server(target_of(proxy)) as server:
        assert server.primaries[0].connection.call("PING") == b"PONG"
