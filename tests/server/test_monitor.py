"""Bursts of MONITOR: what is seen, and what is not kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers import TestServer
from targets import target_of
from topologies import wait_until

from cachectl.analysis.naming.commandshape import key_positions
from cachectl.server.introspection import monitor
from cachectl.server.introspection.monitor import NoMonitorError, burst, split_line
from cachectl.server.topology.connect import open_server


def printed(text: bytes) -> bytes:
    """Return an argument as the server prints it: sdscatrepr in sds.c."""
    named = {92: b"\\\\", 34: b'\\"', 10: b"\\n", 13: b"\\r", 9: b"\\t", 7: b"\\a", 8: b"\\b"}
    return b"".join(
        named.get(byte) or (bytes([byte]) if 32 <= byte < 127 else b"\\x%02x" % byte)
        for byte in text
    )


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=5))
def test_a_line_is_read_as_it_was_sent(arguments: list[bytes]) -> None:
    words = b" ".join(b'"%b"' % printed(one) for one in arguments)
    line = b"1339518083.107412 [3 127.0.0.1:60866] " + words
    assert split_line(line) == (3, "127.0.0.1:60866", arguments)


@given(st.binary(max_size=60))
def test_any_bytes_are_no_reason_to_fail(line: bytes) -> None:
    split_line(line)


@contextmanager
def busy(server: TestServer, work: Callable[[object], object]) -> Iterator[None]:
    stop = threading.Event()

    def run() -> None:
        client = server.client()
        while not stop.is_set():
            work(client)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_burst_sees_keys_with_any_name(server: TestServer) -> None:
    name = b'a"b\\\n\x00\xff'

    def work(client: object) -> None:
        client.get(name)  # type: ignore[attr-defined]
        client.mset({b"m1": 1, b"m2": 2})  # type: ignore[attr-defined]

    with open_server(target_of(server)) as opened, busy(server, work):
        seen = burst(opened, opened.primaries[0], 0.5, key_positions)
    assert seen.node == server.address
    assert (b"get", [name]) in seen.commands
    assert (b"mset", [b"m1", b"m2"]) in seen.commands
    # Nothing of our own (CLIENT LIST), and keys alone.
    assert b"client" not in {command for command, keys in seen.commands if keys}
    assert {key for _, keys in seen.commands for key in keys} == {name, b"m1", b"m2"}
    wait_until("it is gone", lambda: b"cmd=monitor" not in server.run("CLIENT", "LIST"))


def test_other_databases_are_left_out(valkey: TestServer) -> None:
    other = valkey.client(db=3)
    with open_server(target_of(valkey)) as opened, busy(valkey, lambda _: other.get("x")):
        seen = burst(opened, opened.primaries[0], 0.1, key_positions)
    assert not any(keys for _, keys in seen.commands)


def test_it_hangs_up_when_the_server_has_to_keep_much(
    valkey: TestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "MOST_KEPT", 10_000)
    monkeypatch.setattr(monitor, "_LOOK", 0.0)

    def slowly(self: monitor.NodeConnection, seconds: float) -> list[object]:
        """Read nothing: the server has to keep all of it."""
        return []

    monkeypatch.setattr(monitor.NodeConnection, "receive_within", slowly)
    value = "x" * 50_000
    with open_server(target_of(valkey)) as opened, busy(valkey, lambda c: c.set("a", value)):  # type: ignore[attr-defined]
        seen = burst(opened, opened.primaries[0], 60, key_positions)
    assert seen.overrun
    assert seen.seconds < 60
    wait_until("it is gone", lambda: b"cmd=monitor" not in valkey.run("CLIENT", "LIST"))


def test_a_login_that_may_not(valkey: TestServer) -> None:
    valkey.add_user("eyes", "~*", "&*", "+@all", "-monitor", password="pw")
    target = target_of(valkey, username="eyes", password="pw")
    with open_server(target) as opened, pytest.raises(NoMonitorError) as refusal:
        burst(opened, opened.primaries[0], 0.1, key_positions)
    assert refusal.value.gap.remedy == "allow it with the ACL rule +monitor"
