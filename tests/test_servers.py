"""The servers that other tests rely on: found, independent, reset, and never left behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from servers import FLAVOURS, TestServer


def test_each_flavour_is_the_version_that_its_name_says(server: TestServer) -> None:
    info = server.info("server")
    project, _, wanted = server.flavour.partition("-")
    version = info["valkey_version"] if project == "valkey" else info["redis_version"]
    assert str(version).startswith(wanted + ".")
    assert server.info("server")["process_id"] == server.pid


def test_reset_brings_back_the_state_after_start(server: TestServer) -> None:
    server.run("SET", "left", "behind")
    server.run("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    server.run("CONFIG", "SET", "notify-keyspace-events", "KEA")
    server.add_user("app", "~app:*", "+@read")
    server.require_password("pass word")
    server.reset()
    client = server.client()
    assert client.dbsize() == 0
    assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert server.run("ACL", "USERS") == [b"default"]


def test_reset_restarts_a_server_that_does_not_play_along(
    start_server: Callable[..., TestServer],
) -> None:
    server = start_server()
    server.remember()
    server.run("REPLICAOF", "127.0.0.1", "1")
    first = server.pid
    server.reset()
    assert server.pid != first
    assert server.info("replication")["role"] == "master"


def test_both_protocols_and_the_unix_socket_reach_it(
    start_server: Callable[..., TestServer],
) -> None:
    server = start_server(unixsocket=True)
    server.client(protocol=2).set(b"\xff", b"1")
    assert server.client(protocol=3).get(b"\xff") == b"1"
    assert server.client(unix_socket_path=server.unixsocket).get(b"\xff") == b"1"


def test_suspended_server_does_not_answer_until_resumed(valkey: TestServer) -> None:
    client = valkey.client(socket_timeout=0.2)
    with valkey.suspended(), pytest.raises(redis.TimeoutError):
        client.ping()
    assert valkey.client().ping()


def test_restart_is_another_process_on_the_same_port(
    start_server: Callable[..., TestServer],
) -> None:
    server = start_server()
    before = server.info("server")["run_id"], server.port
    server.kill9()
    with pytest.raises(redis.ConnectionError):
        server.client().ping()
    server.restart()
    after = server.client().info("server")["run_id"], server.port
    assert after[1] == before[1]
    assert after[0] != before[0]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_loading_server_answers_so_and_has_its_keys_in_the_end(
    flavour: str, start_loading: Callable[..., TestServer]
) -> None:
    server = start_loading(flavour, seconds=0.5)
    with pytest.raises(redis.BusyLoadingError):
        server.client().get("k:1")
    assert server.info("persistence")["loading"] == 1
    deadline = time.monotonic() + 20
    while server.info("persistence")["loading"] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert server.client().dbsize() == 1000


def test_killed_pytest_leaves_no_server_and_no_directory(tmp_path: Path) -> None:
    hanging = tmp_path / "test_hanging.py"
    hanging.write_text(
        "import sys, time\n"
        "def test_hanging(valkey, start_server):\n"
        "    for one in (valkey, start_server()):\n"
        "        print(one.port, one.directory, file=sys.__stdout__, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", "-qs", "-p", "conftest", "-c", os.devnull, hanging],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    ) as process:
        assert process.stdout is not None
        left = [process.stdout.readline().split() for _ in range(2)]
        assert all(_accepts(int(port)) for port, _ in left)
        process.kill()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and any(
        _accepts(int(port)) or Path(directory).exists() for port, directory in left
    ):
        time.sleep(0.02)
    assert not any(_accepts(int(port)) for port, _ in left)
    assert not any(Path(directory).exists() for _, directory in left)


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
