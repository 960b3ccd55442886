"""One connection to one node: dialled once, logged in once, never retried behind the caller's back.

The standard library dials and hiredis parses. A driver's connection is not used on purpose: it
would retry (a lost SCAN or UNLINK reply must be seen, not repeated), try a wrong password several
times, fail on logins that may not run CLIENT SETNAME, and cost 0.2 s of start-up.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import hiredis

from cachectl.config.target import Address, Login, Target
from cachectl.server.wire import dial, loading, login, refusals
from cachectl.server.wire.loading import OnLoading
from cachectl.server.wire.refusals import ConnectionLostError
from cachectl.server.wire.resp import Argument, ReplyError, command_name, pack, pack_all

READ_SIZE = 256 * 1024
_PROGRESS = 64 * 1024
"""Bytes of one long reply that count as a sign of life."""

# hiredis says `False` for "not yet" unless told otherwise, and RESP3 has a false of its own.
_PENDING: Any = object()


class NodeConnection:
    """A logged-in connection to one node. Not thread-safe: one thread, one connection.

    Replies are bytes, int, None, list (and bool, float, dict with protocol 3). no_touch says
    whether CLIENT NO-TOUCH holds, so that reading values leaves LRU and LFU alone. bytes_sent and
    bytes_received count what went over the wire; durations says how many seconds each step of
    opening took (resolve, connect, tls, login, loading), and opening which commands (name, its
    refusal if it was refused).
    """

    def __init__(
        self,
        target: Target,
        address: Address,
        *,
        login: Login | None = None,
        database: int | None = None,
        on_loading: OnLoading | None = None,
    ) -> None:
        self.target = target
        self.address = address
        self.login = target.login if login is None else login
        self.database = target.database if database is None else database
        self.timeout = target.timeout
        self.no_touch = False
        self.protocol: int = target.protocol
        self.bytes_sent = 0
        self.bytes_received = 0
        self.durations: dict[str, float] = {}
        self.opening: list[tuple[str, ReplyError | None]] = []
        self._on_loading = on_loading
        self._socket: socket.socket | None = None
        self._reader = self._new_reader()
        self._buffer = bytearray(READ_SIZE)

    def open(self, deadline: float | None = None) -> NodeConnection:
        """Dial and log in, by default within the profile's connect timeout. Return self.

        deadline: of time.monotonic(). A server that is loading its data is then waited for, as
        long as the profile allows. Raises CannotConnectError, AuthenticationError after exactly
        one attempt, ConfigError or RefusedError for a database that can't be had.
        """
        if deadline is None:
            deadline = time.monotonic() + self.target.connect_timeout
        self.close()
        self.opening.clear()
        try:
            self._dial(deadline)
            while self._log_in(deadline):
                self._open_socket().settimeout(self.timeout)
                with self._timed("loading"):
                    loading.wait(self, self.target.wait_loading, self._on_loading)
                # Once more: what was answered with LOADING (SELECT!) has not been done.
                deadline = time.monotonic() + self.target.connect_timeout
            self._open_socket().settimeout(self.timeout)
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Close the socket. Harmless when it is closed already."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
        self._socket = None
        self._reader = self._new_reader()

    def interrupt(self) -> None:
        """Make a thread that waits in `receive` raise ConnectionLostError now. Thread-safe."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    @property
    def is_open(self) -> bool:
        """Whether the socket is there; the other side may be gone all the same."""
        return self._socket is not None

    def __enter__(self) -> NodeConnection:
        return self if self.is_open else self.open()

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def local_address(self) -> str:
        """Our own end as the server's CLIENT LIST shows it, unless something is in between.

        '' for a Unix socket, whose clients all look the same.
        """
        try:
            name = self._open_socket().getsockname()
        except OSError:
            return ""
        return str(Address(name[0], name[1])) if isinstance(name, tuple) else ""

    def __repr__(self) -> str:
        return f"<NodeConnection {self.address}>"

    # Commands

    def call(self, *arguments: Argument) -> Any:
        """Send one command and return its reply; raise ReplyError when the server says no."""
        self.send(pack(*arguments))
        reply = self.receive(1)[0]
        if isinstance(reply, ReplyError):
            raise reply
        return reply

    def pipeline(self, commands: Iterable[tuple[Argument, ...]]) -> list[Any]:
        """Send commands in one flight and return their replies; a ReplyError is a value there."""
        listed = list(commands)
        if not listed:
            return []
        self.send(pack_all(listed))
        return self.receive(len(listed))

    def send(self, packed: bytes) -> None:
        """Send commands that are packed already. Raises ConnectionLostError."""
        try:
            self._open_socket().sendall(packed)
        except OSError as error:
            raise self._lost(error) from error
        self.bytes_sent += len(packed)

    def receive(self, count: int) -> list[Any]:
        """Return the next `count` replies. Raises ConnectionLostError, CannotConnectError.

        A reply may take `timeout` seconds; a long one may take longer as long as it keeps coming.
        """
        replies: list[Any] = []
        if count == 0:
            return replies
        gets = self._reader.gets
        alive, seen, got = time.monotonic(), 0, self.bytes_received
        try:
            while True:
                # C runs the loop over replies that are here already: a scan reads four a key.
                replies.extend(islice(iter(gets, _PENDING), count - len(replies)))
                if len(replies) >= count:
                    return replies
                if len(replies) > seen or self.bytes_received - got >= _PROGRESS:
                    alive, seen, got = time.monotonic(), len(replies), self.bytes_received
                elif time.monotonic() - alive > self.timeout:
                    raise TimeoutError
                self._fill()
        except OSError as error:
            raise self._lost(error) from error
        except hiredis.ProtocolError as error:
            self.close()
            raise refusals.garbled(self.address) from error
        except KeyboardInterrupt:
            self.close()  # the replies that are under way would be taken for those of the next call
            raise

    def receive_within(self, seconds: float) -> list[Any]:
        """Return the replies and messages that are here already, or come within `seconds`.

        For who listens: nothing is owed, so silence is an empty list. Raises ConnectionLostError.
        """
        gets = self._reader.gets
        try:
            replies = list(iter(gets, _PENDING))
            if replies:
                return replies
            opened = self._open_socket()
            opened.settimeout(seconds)
            try:
                self._fill()
            except TimeoutError:
                return []
            finally:
                opened.settimeout(self.timeout)
            return list(iter(gets, _PENDING))
        except OSError as error:
            raise self._lost(error) from error
        except hiredis.ProtocolError as error:
            self.close()
            raise refusals.garbled(self.address) from error

    def opened_with(self, commands: Sequence[tuple[Argument, ...]], replies: Sequence[Any]) -> None:
        """Note commands that belong to the opening, and were answered."""
        self.opening += [
            (command_name(command), reply if isinstance(reply, ReplyError) else None)
            for command, reply in zip(commands, replies, strict=False)
        ]

    # Inside

    def _dial(self, deadline: float) -> None:
        settings = None if self.address.socket else self.target.tls
        if settings is not None:
            from cachectl.server.wire import tls

            tls.context_of(settings)
        with self._timed("resolve"):
            endpoints = dial.resolve(self.address, deadline)
        with self._timed("connect"):
            self._socket = dial.connect(self.address, endpoints, deadline)
        if settings is not None:
            with self._timed("tls"):
                self._socket = tls.wrap(self._socket, settings, self.address, deadline)

    def _log_in(self, deadline: float) -> bool:
        """Send the greeting; return whether the server is still loading its data."""
        with self._timed("login"):
            commands = login.greeting(self.login, self.protocol, self.database)
            replies, error = self._exchange(commands, deadline)
        self.opened_with(commands, replies)
        if self.protocol == 3 and replies and login.is_hello_unknown(replies[0]):
            # A server or proxy that speaks RESP2 only; it has not looked at the password yet.
            self.protocol = 2
            return self._log_in(deadline)
        for command, reply in zip(commands, replies, strict=False):
            failure = login.refusal(command, reply, self.address, self.login)
            if failure:
                raise failure
        if error is not None:
            seconds = self.target.connect_timeout
            raise refusals.no_greeting(self.address, self.target, error, seconds) from error
        answers = dict(zip((command[:2] for command in commands), replies, strict=True))
        self.no_touch = answers.get(("CLIENT", "NO-TOUCH")) == b"OK"
        pong = replies[-1]
        if pong != b"PONG" and not isinstance(pong, ReplyError):
            raise refusals.unexpected_pong(self.address, pong)
        return login.is_loading(replies)

    def _exchange(
        self, commands: list[login.Command], deadline: float
    ) -> tuple[list[Any], OSError | None]:
        """Return the replies that came before the deadline, and what ended them early.

        A server that turns us away says why and hangs up, maybe while we are still sending: what
        it said can be read all the same.
        """
        opened = self._open_socket()
        replies: list[Any] = []
        failure: OSError | None = None
        start = b""
        try:
            opened.settimeout(dial.left(deadline))
            opened.sendall(pack_all(commands))
        except OSError as error:
            failure = error
        try:
            while len(replies) < len(commands):
                if (reply := self._reader.gets()) is not _PENDING:
                    replies.append(reply)
                    continue
                if time.monotonic() > deadline:
                    raise TimeoutError
                opened.settimeout(dial.left(deadline))
                self._fill()
                start = start or bytes(self._buffer[:80])
        except OSError as error:
            # A TLS alert says more than the broken pipe that it led to.
            if failure is None or not isinstance(error, ConnectionError):
                failure = error
        except hiredis.ProtocolError as error:
            raise refusals.not_redis(self.address, start) from error
        return replies, failure if len(replies) < len(commands) else None

    def _fill(self) -> None:
        """Read what has come. Raises OSError."""
        received = self._open_socket().recv_into(self._buffer)
        if received == 0:
            raise ConnectionResetError("closed by the server")
        self.bytes_received += received
        self._reader.feed(self._buffer, 0, received)

    def _open_socket(self) -> socket.socket:
        if self._socket is None:
            raise ConnectionResetError("not connected")
        return self._socket

    def _lost(self, error: OSError) -> ConnectionLostError:
        self.close()
        return refusals.lost(self.address, self.target, error, self.timeout)

    @contextlib.contextmanager
    def _timed(self, step: str) -> Any:
        began = time.monotonic()
        try:
            yield
        finally:
            self.durations[step] = time.monotonic() - began

    @staticmethod
    def _new_reader() -> Any:
        return hiredis.Reader(
            protocolError=hiredis.ProtocolError,
            replyError=ReplyError,
            notEnoughData=_PENDING,
        )


def connect(target: Target, address: Address, **options: Any) -> NodeConnection:
    """Return an open connection to the node at `address`. Raises CannotConnectError."""
    return NodeConnection(target, address, **options).open()


__all__ = ["ConnectionLostError", "NodeConnection", "ReplyError", "connect"]
