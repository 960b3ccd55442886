"""Sockets: names resolved and TCP or Unix sockets opened, all before a deadline."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from typing import Any

from cachectl.config.target import Address
from cachectl.server.wire import refusals

Endpoint = tuple[socket.AddressFamily, Any]
"""What a socket connects to: a family and an address of that family."""


def resolve(address: Address, deadline: float) -> list[Endpoint]:
    """Return what `address` stands for. deadline: of time.monotonic().

    Raises CannotConnectError. The resolver of the C library knows no timeout (it can take 30 s),
    so it runs in a thread that is abandoned when the time is over.
    """
    if address.socket is not None:
        return [(socket.AF_UNIX, address.socket)]
    try:
        return _lookup(address.host, address.port, deadline)
    except (OSError, UnicodeError, OverflowError) as error:
        raise refusals.cannot_resolve(address, error) from error


def _lookup(host: str, port: int, deadline: float) -> list[Endpoint]:
    with contextlib.suppress(OSError):
        return _endpoints(host, port, socket.AI_NUMERICHOST)
    answers: queue.SimpleQueue[list[Endpoint] | Exception] = queue.SimpleQueue()

    def look() -> None:
        try:
            answers.put(_endpoints(host, port, 0))
        except Exception as error:
            answers.put(error)

    threading.Thread(target=look, name=f"resolve {host}", daemon=True).start()
    try:
        answer = answers.get(timeout=left(deadline))
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _endpoints(host: str, port: int, flags: int) -> list[Endpoint]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return [(family, where) for family, _, _, _, where in found]


_FLIGHT = 1024 * 1024
"""Bytes that may wait to be sent, so that a flight of writes leaves without waiting for the server
to read it."""


def connect(address: Address, endpoints: list[Endpoint], deadline: float) -> socket.socket:
    """Return a socket connected to the first endpoint that answers. Raises CannotConnectError.

    Each endpoint gets its share of the time that is left: a dead one does not use up all of it.
    """
    error: OSError = OSError("the name has no address")
    for index, (family, where) in enumerate(endpoints):
        share = left(deadline) / (len(endpoints) - index)
        try:
            return _open(family, where, share)
        except OSError as failure:
            error = failure
    raise refusals.cannot_dial(address, error) from error


def _open(family: socket.AddressFamily, where: Any, timeout: float) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.settimeout(timeout)
        opened.connect(where)
        if family != socket.AF_UNIX:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _FLIGHT)
    except BaseException:
        opened.close()
        raise
    return opened


def left(deadline: float) -> float:
    """Return the seconds until the deadline, never zero (which would mean non-blocking)."""
    return max(0.001, deadline - time.monotonic())
