"""A TCP proxy with faults to order, and listeners that are no Redis at all.

    with Proxy(server) as proxy:
        proxy.lose_reply("UNLINK")
        cachectl("invalidate", "--url", proxy.url, …)

All proxies of a process live on one asyncio loop in one thread. Without rules about commands they
pass bytes on unread; with such rules they cut requests and replies at their boundaries (RESP2 and
RESP3), which a connection in subscribe or MONITOR mode does not have.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, Self

Command = tuple[bytes, ...]


class Endpoint(Protocol):
    """What a proxy can stand before: a TestServer, another Proxy, a Fake."""

    host: str
    port: int


# --- RESP, as far as boundaries go ----------------------------------------------------------


def take_command(buffer: bytes | bytearray, start: int) -> tuple[Command, int] | None:
    """Return the request that begins at start and where it ends; None while it is incomplete."""
    line_end = buffer.find(b"\r\n", start)
    if line_end < 0:
        return None
    if buffer[start : start + 1] != b"*":  # an inline command
        return tuple(bytes(buffer[start:line_end]).split()), line_end + 2
    words = []
    at = line_end + 2
    for _ in range(int(buffer[start + 1 : line_end])):
        line_end = buffer.find(b"\r\n", at)
        if line_end < 0:
            return None
        end = line_end + 2 + int(buffer[at + 1 : line_end])
        if len(buffer) < end + 2:
            return None
        words.append(bytes(buffer[line_end + 2 : end]))
        at = end + 2
    return tuple(words), at


def reply_end(buffer: bytes | bytearray, start: int) -> int | None:
    """Return where the reply that begins at start ends; None while it is incomplete."""
    at, missing = start, 1
    while missing:
        line_end = buffer.find(b"\r\n", at)
        if line_end < 0:
            return None
        kind, length = buffer[at : at + 1], buffer[at + 1 : line_end]
        at = line_end + 2
        missing -= 1
        if kind in (b"$", b"=", b"!") and length != b"-1":
            at += int(length) + 2
            if len(buffer) < at:
                return None
        elif kind in (b"*", b"~", b">") and length != b"-1":
            missing += int(length)
        elif kind == b"%":
            missing += 2 * int(length)
        elif kind == b"|":  # attributes come before the reply that they describe
            missing += 2 * int(length) + 1
    return at if len(buffer) >= at else None


def error(text: str) -> bytes:
    """Return an error reply: `error("LOADING Redis is loading the dataset in memory")`."""
    return b"-" + text.encode() + b"\r\n"


def bulk(data: bytes | str) -> bytes:
    """Return a bulk string reply, which is what INFO is in RESP2."""
    data = data.encode() if isinstance(data, str) else data
    return b"$%d\r\n%b\r\n" % (len(data), data)


# --- Rules about commands -------------------------------------------------------------------

LOSE_REPLY = "lose reply"
LOSE_REQUEST = "lose request"
FORWARD = "forward"


@dataclass(slots=True)
class _Rule:
    """What happens to the nth command that begins with these words, and to `times` - 1 later."""

    words: Command
    action: str | bytes | Callable[[Command], bytes | None]
    skip: int
    times: int | None
    callback: Callable[[], object] | None = None

    def applies(self, command: Command) -> bool:
        head = tuple(word.upper() for word in command[: len(self.words)])
        if head != self.words or self.times == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True


# --- One connection through a proxy ---------------------------------------------------------


class _Client(asyncio.Protocol):
    """The side that faces the program under test."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.transport: asyncio.Transport | None = None
        self.upstream: asyncio.Transport | None = None
        self._waiting: list[bytes] = []  # until the target is connected
        self._requests = bytearray()
        self._replies = bytearray()
        self._pending: deque[str | bytes] = deque()  # one for each unanswered command
        self._outgoing: deque[tuple[float, bytes | None]] = deque()  # (due, data or end)
        self._timer: asyncio.TimerHandle | None = None

    # From the program

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.proxy._connected(self)
        if not self.proxy._hole:
            self._task = asyncio.ensure_future(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        target = self.proxy.target
        try:
            transport, _ = await loop.create_connection(
                lambda: _Server(self), target.host, target.port
            )
        except OSError:
            self.cut()
            return
        if self.transport is None:
            transport.abort()
            return
        self.upstream = transport
        for data in self._waiting:
            transport.write(data)
        self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        self.proxy.bytes_in += len(data)
        if self.proxy._slamming:
            self.cut()
        elif not self.proxy._hole:
            if not self.proxy._reads_commands and not self._requests:
                self._forward(data)
                return
            self._requests += data
            self._take_commands()

    def _take_commands(self) -> None:
        start = 0
        while self.transport is not None and (taken := take_command(self._requests, start)):
            command, end = taken
            self._handle(command, bytes(self._requests[start:end]))
            start = end
        del self._requests[:start]
        self._answer_canned()

    def _handle(self, command: Command, raw: bytes) -> None:
        if self.proxy.record:
            self.proxy.commands.append(command)
        action = self.proxy._decide(command)
        self._pending.append(action)
        if action in (FORWARD, LOSE_REPLY):
            self._forward(raw)

    def _forward(self, data: bytes) -> None:
        if self.upstream is None:
            self._waiting.append(data)
        else:
            self.upstream.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self.proxy._connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        if self.upstream is not None:
            self.upstream.abort()

    # From the target

    def answered(self, data: bytes) -> None:
        if self.proxy._hole:
            return
        if not self.proxy._reads_commands and not self._replies and not self._pending:
            self._deliver(data)
            return
        self._replies += data
        start = 0
        while self.transport is not None and (end := reply_end(self._replies, start)) is not None:
            self._pass_reply(bytes(self._replies[start:end]))
            start = end
        del self._replies[:start]

    def _pass_reply(self, raw: bytes) -> None:
        pushed = raw.startswith(b">")
        action = self._pending.popleft() if self._pending and not pushed else FORWARD
        if action == LOSE_REPLY:
            self._end()
            return
        self._deliver(raw)
        self._answer_canned()

    def _answer_canned(self) -> None:
        """Answer the commands that the target never sees, when it is their turn."""
        while self._pending and self._pending[0] not in (FORWARD, LOSE_REPLY):
            action = self._pending.popleft()
            if action == LOSE_REQUEST:
                self._end()
                return
            assert isinstance(action, bytes)
            self._deliver(action)

    def target_closed(self) -> None:
        self.upstream = None
        self._end()

    # To the program

    def _deliver(self, data: bytes) -> None:
        if self.transport is None:
            return
        allowed, ends = self.proxy._take_allowance(len(data))
        data = data[:allowed]
        pause = self.proxy._dribble
        if not self.proxy.delay and not pause and not self._outgoing:
            self._write(data)
        elif pause:
            due = max(
                self._now() + self.proxy.delay, self._outgoing[-1][0] if self._outgoing else 0
            )
            for at in range(len(data)):
                due += pause
                self._outgoing.append((due, data[at : at + 1]))
        else:
            self._outgoing.append((self._now() + self.proxy.delay, data))
        if ends:
            self._end()
        self._schedule()

    def _end(self) -> None:
        """Cut the connection once what was delivered before has been written."""
        if self._outgoing:
            self._outgoing.append((self._outgoing[-1][0], None))
            self._schedule()
        elif self.transport is not None:
            self.cut()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _schedule(self) -> None:
        if self._outgoing and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(self._outgoing[0][0], self._write_due)

    def _write_due(self) -> None:
        self._timer = None
        # The loop's timers fire up to their clock's resolution early.
        now = self._now() + 0.0001
        while self._outgoing and self._outgoing[0][0] <= now:
            data = self._outgoing.popleft()[1]
            if data is None:
                self.cut()
                return
            self._write(data)
        self._schedule()

    def _write(self, data: bytes) -> None:
        if self.transport is not None and data:
            self.proxy.bytes_out += len(data)
            self.transport.write(data)

    def pause_writing(self) -> None:
        if self.upstream is not None:
            self.upstream.pause_reading()

    def resume_writing(self) -> None:
        if self.upstream is not None:
            self.upstream.resume_reading()

    def cut(self) -> None:
        """Drop the connection on both sides; with RST when the proxy is told to."""
        if self.transport is None:
            return
        if self.proxy.reset_on_cut:
            raw: socket.socket = self.transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()
        else:
            self.transport.close()  # what was written before still goes out
        if self.upstream is not None:
            self.upstream.abort()


class _Server(asyncio.Protocol):
    """The side that faces the target."""

    def __init__(self, client: _Client) -> None:
        self._client = client

    def data_received(self, data: bytes) -> None:
        self._client.answered(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._client.target_closed()


# --- The loop that all proxies live on ------------------------------------------------------

_loop: asyncio.AbstractEventLoop | None = None
_thread: threading.Thread | None = None


def _running_loop() -> asyncio.AbstractEventLoop:
    global _loop, _thread  # noqa: PLW0603 - one for the process, made when it is first needed
    if _loop is None:
        _loop = asyncio.new_event_loop()
        _thread = threading.Thread(target=_loop.run_forever, name="proxies", daemon=True)
        _thread.start()
    return _loop


def _on_loop(function: Callable[[], Any]) -> Any:
    """Run function on the loop's thread and return what it returns."""

    async def call() -> Any:
        result = function()
        return await result if asyncio.iscoroutine(result) else result

    return asyncio.run_coroutine_threadsafe(call(), _running_loop()).result(20)


def close_loop() -> None:
    """End the proxies' thread; called when the tests are over."""
    global _loop, _thread  # noqa: PLW0603
    if _loop is not None and _thread is not None:
        _on_loop(lambda: asyncio.sleep(0.01))  # transports say goodbye in the loop's next rounds
        _loop.call_soon_threadsafe(_loop.stop)
        _thread.join(10)
        _loop.close()
        _loop = _thread = None


# --- Proxies and fakes ----------------------------------------------------------------------


class _Listener:
    """A loopback port on the proxies' loop. tls: the context with which it speaks TLS."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.host = "127.0.0.1"
        self.port = 0
        self.connections = 0
        self._tls = tls
        self._server: asyncio.Server | None = None
        _on_loop(self._open)

    @property
    def address(self) -> str:
        """host:port."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """redis://host:port, or rediss:// when it speaks TLS."""
        return f"{'rediss' if self._tls else 'redis'}://{self.address}"

    def _protocol(self) -> asyncio.Protocol:
        raise TypeError

    async def _open(self) -> None:
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(
                self._protocol, self.host, self.port, ssl=self._tls
            )
            self.port = self._server.sockets[0].getsockname()[1]

    def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def close(self) -> None:
        """Close the port and every connection."""
        _on_loop(self._close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


class Proxy(_Listener):
    """A port that stands for another server, faithfully until told otherwise.

    delay: seconds added to each round trip. Rules may be changed while connections are open,
    between two commands. connections, bytes_in, bytes_out count; with `record` every command
    is kept in `commands`. reset_on_cut: cut with RST instead of FIN.
    """

    def __init__(
        self, target: Endpoint, *, delay: float = 0.0, tls: ssl.SSLContext | None = None
    ) -> None:
        self.target = target
        self.delay = delay
        self.record = False
        self.commands: list[Command] = []
        self.reset_on_cut = False
        self.bytes_in = 0
        self.bytes_out = 0
        self._connections: set[_Client] = set()
        self._rules: list[_Rule] = []
        self._hole = False
        self._slamming = False
        self._dribble = 0.0
        self._allowance: int | None = None
        super().__init__(tls)

    def _protocol(self) -> asyncio.Protocol:
        return _Client(self)

    def _connected(self, client: _Client) -> None:
        self.connections += 1
        self._connections.add(client)

    # Faults of the line

    def black_hole(self) -> None:
        """Accept and read, answer nothing any more."""
        self._hole = True

    def refuse(self) -> None:
        """Close the port and cut every connection: connection refused, until `heal`."""
        _on_loop(self._close)

    def slam(self) -> None:
        """Accept, and cut with RST at the first byte: a handshake that dies."""
        self._slamming = self.reset_on_cut = True

    def cut(self) -> None:
        """Cut every connection now; new ones are served."""
        _on_loop(self._cut_all)

    def _cut_all(self) -> None:
        for client in list(self._connections):
            client.cut()

    def cut_after(self, reply_bytes: int) -> None:
        """Cut, once, the connection on which this many more bytes of replies have passed."""
        self._allowance = reply_bytes

    def dribble(self, pause: float = 0.01) -> None:
        """Pass replies on one byte at a time, `pause` seconds apart."""
        self._dribble = pause

    def switch(self, target: Endpoint) -> None:
        """Let the endpoint move, as a failover behind one name does: cut, then serve target."""
        self.target = target
        self.cut()

    def heal(self) -> None:
        """Take back every fault, delay and rule."""
        self._hole = self._slamming = self.reset_on_cut = False
        self._dribble = self.delay = 0.0
        self._allowance = None
        self._rules.clear()
        _on_loop(self._open)

    # Faults about commands: "UNLINK", "CLIENT NO-TOUCH"; nth counts from now, 1 is the next

    def lose_reply(self, command: str, *, nth: int = 1, times: int | None = 1) -> None:
        """Let the command be executed and cut in place of its reply."""
        self._add(command, LOSE_REPLY, nth, times)

    def lose_request(self, command: str, *, nth: int = 1, times: int | None = 1) -> None:
        """Cut in place of passing the command on: the server never sees it."""
        self._add(command, LOSE_REQUEST, nth, times)

    def answer(
        self,
        command: str,
        reply: bytes | Callable[[Command], bytes | None],
        *,
        nth: int = 1,
        times: int | None = None,
    ) -> None:
        """Answer the command here with raw RESP; a function may return None to pass it on."""
        self._add(command, reply, nth, times)

    def before(self, command: str, callback: Callable[[], object], *, nth: int = 1) -> None:
        """Call back, once, when the command has arrived and before it is passed on.

        The callback runs on the proxies' thread: it must not talk through a proxy.
        """
        self._add(command, FORWARD, nth, 1, callback)

    def resp2_only(self) -> None:
        """Play a server from before HELLO."""
        self.answer("HELLO", error("ERR unknown command 'HELLO', with args beginning with: '3' "))

    def block(self, *commands: str) -> None:
        """Play a managed service that has switched these commands off."""
        for command in commands:
            name, _, rest = command.partition(" ")
            args = "".join(f"'{word}' " for word in rest.split())
            text = f"ERR unknown command '{name}', with args beginning with: {args}"
            self.answer(command, error(text))

    def loading(self, times: int) -> None:
        """Answer PING and what touches keys with LOADING, so many times, then pass it on."""
        left = times

        def reply(command: Command) -> bytes | None:
            nonlocal left
            harmless = (b"HELLO", b"AUTH", b"CLIENT", b"INFO", b"COMMAND", b"CONFIG", b"ACL")
            if left <= 0 or command[0].upper() in harmless:
                return None
            left -= 1
            return error("LOADING Redis is loading the dataset in memory")

        self._add("", reply, 1, None)

    def _add(
        self,
        command: str,
        action: str | bytes | Callable[[Command], bytes | None],
        nth: int,
        times: int | None,
        callback: Callable[[], object] | None = None,
    ) -> None:
        words = tuple(command.upper().encode().split())
        self._rules.append(_Rule(words, action, nth - 1, times, callback))

    # What connections ask

    @property
    def _reads_commands(self) -> bool:
        return bool(self._rules) or self.record

    def _decide(self, command: Command) -> str | bytes:
        for rule in self._rules:
            if not rule.applies(command):
                continue
            if rule.callback is not None:
                rule.callback()
                continue
            action = rule.action(command) if callable(rule.action) else rule.action
            if action is not None:
                return action
        return FORWARD

    def _take_allowance(self, wanted: int) -> tuple[int, bool]:
        """Return how many of these reply bytes may pass, and whether the cut comes then."""
        if self._allowance is None or wanted < self._allowance:
            self._allowance = None if self._allowance is None else self._allowance - wanted
            return wanted, False
        allowed, self._allowance = self._allowance, None
        return allowed, True

    def _close(self) -> None:
        super()._close()
        self._cut_all()


class Fake(_Listener):
    """A listener that is no Redis: whatever it receives, it answers the same, and hangs up."""

    def __init__(self, reply: bytes, *, tls: ssl.SSLContext | None = None) -> None:
        self._reply = reply
        super().__init__(tls)

    def _protocol(self) -> asyncio.Protocol:
        fake = self

        class Answering(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                fake.connections += 1
                self._transport: asyncio.Transport = transport  # type: ignore[assignment]

            def data_received(self, data: bytes) -> None:
                self._transport.write(fake._reply)
                self._transport.close()

        return Answering()


def http_fake() -> Fake:
    """Return a web server as Redis clients meet it: it finds their request bad."""
    body = b"<html><body>400 Bad Request</body></html>"
    head = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nConnection: close\r\n"
    return Fake(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)


@contextlib.contextmanager
def unreachable() -> Iterator[tuple[str, int]]:
    """Yield (host, port) where connecting neither succeeds nor fails: its queue is full.

    The kernel drops the SYN of whoever comes next, as a firewall in the way would.
    """
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()
