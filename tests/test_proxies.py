"""Each fault does to a plain client exactly what its name says, and nothing else."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest
import redis
from proxies import Proxy, bulk, error, http_fake, reply_end, take_command, unreachable
from servers import TestServer, plain_client

StartProxy = Callable[..., Proxy]


def client_of(proxy: Proxy, **options: object) -> redis.Redis:
    return plain_client(proxy.host, proxy.port, **options)


@pytest.fixture
def proxy(valkey: TestServer, start_proxy: StartProxy) -> Proxy:
    return start_proxy(valkey)


def test_boundaries_of_requests_and_replies() -> None:
    assert take_command(b"*2\r\n$3\r\nGET\r\n$1\r\n\n\r\nrest", 0) == ((b"GET", b"\n"), 20)
    assert take_command(b"*2\r\n$3\r\nGET\r\n$1", 0) is None
    assert take_command(b"PING\r\n", 0) == ((b"PING",), 6)
    nested = b"%1\r\n+a\r\n*3\r\n:1\r\n$-1\r\n~1\r\n$2\r\n\r\n\r\n"
    assert reply_end(nested + b"+next\r\n", 0) == len(nested)
    assert all(reply_end(nested[:cut], 0) is None for cut in range(len(nested)))
    attributed = b"|1\r\n+ttl\r\n:3\r\n$2\r\nab\r\n"
    assert reply_end(attributed + b"+x\r\n", 0) == len(attributed)


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("reads_commands", [False, True])
def test_bytes_pass_unchanged(proxy: Proxy, protocol: int, reads_commands: bool) -> None:
    proxy.record = reads_commands
    client = client_of(proxy, protocol=protocol)
    big = bytes(range(256)) * 100
    client.set(b"big\r\n$3\r\n", big)
    pipe = client.pipeline(transaction=False)
    for i in range(200):
        pipe.hset("h", f"f{i}", i)
        pipe.get(b"big\r\n$3\r\n")
        pipe.hgetall("h")
    replies = pipe.execute()
    assert replies[1::3] == [big] * 200
    assert len(replies[-1]) == 200
    client.close()


def test_delay_adds_to_the_round_trip_and_not_to_each_command(proxy: Proxy) -> None:
    client = client_of(proxy)
    client.ping()
    proxy.delay = 0.05
    begin = time.monotonic()
    client.pipeline(transaction=False).ping().ping().ping().execute()
    assert 0.05 <= time.monotonic() - begin < 0.15
    client.close()


def test_black_hole_accepts_and_never_answers(proxy: Proxy) -> None:
    proxy.black_hole()
    with pytest.raises(redis.TimeoutError):
        client_of(proxy, socket_timeout=0.1).ping()
    assert proxy.connections == 1


def test_refused_port_comes_back_when_healed(proxy: Proxy) -> None:
    proxy.refuse()
    with pytest.raises(redis.ConnectionError, match="refused"):
        client_of(proxy).ping()
    proxy.heal()
    client = client_of(proxy)
    assert client.ping()
    client.close()


def test_unreachable_port_times_out_while_connecting() -> None:
    with unreachable() as (host, port), pytest.raises(TimeoutError):
        socket.create_connection((host, port), timeout=0.2)


@pytest.mark.parametrize("passed", [1, 17, 100])
def test_cut_after_so_many_bytes_of_reply(proxy: Proxy, passed: int) -> None:
    proxy.target.run("SET", "k", b"x" * 200)  # type: ignore[attr-defined]
    with socket.create_connection((proxy.host, proxy.port)) as raw:
        proxy.cut_after(passed)
        raw.sendall(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n")
        received = b""
        while data := raw.recv(1000):
            received += data
    assert len(received) == passed
    client = client_of(proxy)
    assert client.ping(), "only one connection is cut"
    client.close()


def test_lost_reply_is_executed_and_the_replies_before_it_arrive(proxy: Proxy) -> None:
    proxy.lose_reply("INCR", nth=2)
    with socket.create_connection((proxy.host, proxy.port)) as raw:
        raw.sendall(b"INCR n\r\nPING\r\nINCR n\r\nPING\r\n")
        received = b""
        while data := raw.recv(1000):
            received += data
    assert received == b":1\r\n+PONG\r\n"
    assert proxy.target.run("GET", "n") == b"2"  # type: ignore[attr-defined]


def test_lost_request_is_not_executed(proxy: Proxy) -> None:
    proxy.lose_request("INCR")
    client = client_of(proxy)
    with pytest.raises(redis.ConnectionError):
        client.execute_command("INCR", "n")
    assert client.execute_command("INCR", "n") == 1
    client.close()


def test_dribble_passes_one_byte_at_a_time(proxy: Proxy) -> None:
    proxy.dribble(0.01)
    with socket.create_connection((proxy.host, proxy.port)) as raw:
        begin = time.monotonic()
        raw.sendall(b"PING\r\n")
        received = b""
        while received != b"+PONG\r\n":
            received += raw.recv(100)
    # How many bytes a busy reader finds at once is chance; that six pauses were made is not.
    assert time.monotonic() - begin >= 0.06


def test_switch_moves_the_endpoint_and_cuts(
    proxy: Proxy, start_server: Callable[..., TestServer]
) -> None:
    other = start_server()
    other.run("SET", "which", "other")
    with socket.create_connection((proxy.host, proxy.port)) as raw:
        raw.sendall(b"GET which\r\n")
        assert raw.recv(100) == b"$-1\r\n"
        proxy.switch(other)
        assert raw.recv(100) == b"", "the old connection is cut"
    client = client_of(proxy)
    assert client.get("which") == b"other"
    client.close()


def test_answers_of_its_own_keep_their_place_in_the_pipeline(proxy: Proxy) -> None:
    proxy.record = True
    proxy.block("CONFIG GET")
    proxy.answer("INFO", bulk("# Server\r\nredis_version:1.2.3\r\n"))
    client = client_of(proxy)
    pipe = client.pipeline(transaction=False)
    pipe.ping().config_get("maxmemory").ping().info().config_set("maxmemory", 0)
    replies = pipe.execute(raise_on_error=False)
    assert replies[::2] == [True, True, True]
    assert "unknown command 'CONFIG'" in str(replies[1])
    assert replies[3] == {"redis_version": "1.2.3"}
    assert (b"CONFIG", b"GET", b"maxmemory") in proxy.commands
    client.close()


def test_loading_server_works_in_the_end(proxy: Proxy) -> None:
    proxy.loading(2)
    client = client_of(proxy)
    for _ in range(2):
        with pytest.raises(redis.BusyLoadingError):
            client.ping()
    assert client.ping()
    client.close()


def test_server_without_hello_speaks_resp2(proxy: Proxy) -> None:
    proxy.resp2_only()
    with pytest.raises(redis.RedisError, match="unknown command 'HELLO'"):
        client_of(proxy, protocol=3).ping()
    client = client_of(proxy, protocol=2)
    assert client.ping()
    client.close()


def test_callback_runs_before_the_command_is_executed(proxy: Proxy, valkey: TestServer) -> None:
    valkey.run("SET", "k", "old")
    proxy.before("GET", lambda: valkey.run("SET", "k", "new"))
    client = client_of(proxy)
    assert client.get("k") == b"new"
    client.close()


def test_slammed_connection_is_reset(proxy: Proxy) -> None:
    proxy.slam()
    with socket.create_connection((proxy.host, proxy.port)) as raw:
        raw.sendall(b"PING\r\n")
        with pytest.raises(ConnectionResetError):
            raw.recv(100)


def test_web_server_answers_as_one() -> None:
    with http_fake() as fake, socket.create_connection((fake.host, fake.port)) as raw:
        raw.sendall(b"PING\r\n")
        assert raw.recv(1000).startswith(b"HTTP/1.1 400")


def test_error_is_a_resp_error() -> None:
    assert error("ERR x") == b"-ERR x\r\n"
