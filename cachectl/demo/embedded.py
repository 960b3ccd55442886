"""Start the demo's server, and be sure that nothing of it is left when we are gone.

The server is not our child but the keeper's (keeper.py), which lives exactly as long as our end
of a pipe to it: it goes with us whatever we die of.
"""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from cachectl.config.target import Address
from cachectl.demo.builds import Build
from cachectl.errors import CannotConnectError, InternalError, LockedError, RefusedError

_START_TIMEOUT = 15.0
_STOP_TIMEOUT = 10.0
_PORT_ATTEMPTS = 5
_HOST = "127.0.0.1"


class EmbeddedServer:
    """A server on loopback without persistence, in a directory of its own; a context manager.

    build: what runs. port, directory, pid: where, once started. port given: that one and no other.
    max_memory: bytes.
    """

    def __init__(self, build: Build, *, max_memory: int, port: int | None = None) -> None:
        self.build = build
        self.port = port or 0
        self.pid = 0
        self.directory = Path(tempfile.gettempdir(), f"cachectl-demo-{secrets.token_hex(8)}")
        self._wanted_port = port
        self._max_memory = max_memory
        self._keeper: _Keeper | None = None

    @property
    def address(self) -> Address:
        """Where it listens."""
        return Address(_HOST, self.port)

    def start(self) -> EmbeddedServer:
        """Start it and wait until it answers. Return self.

        Raises RefusedError when the wanted port is taken, CannotConnectError when it does not come
        up.
        """
        self._keeper = _Keeper()
        log = ""
        for _ in range(_PORT_ATTEMPTS):
            self.port = self._wanted_port or _free_port()
            if self._wanted_port and not _can_bind(self.port):
                raise RefusedError(
                    f"port {self.port} is taken or not allowed",
                    hint="leave out --port, and a free one is found",
                    target=str(self.address),
                )
            ended = self._start_once(self._keeper)
            if ended is None:
                return self
            log = ended
            if "in use" not in log:
                break
        raise CannotConnectError(
            f"{self.build.name} ended as soon as it was started",
            hint=_last_line(log),
            target=str(self.address),
        )

    def _start_once(self, keeper: _Keeper) -> str | None:
        """Start it on `port`; return None once it answers, or its log when it has ended."""
        argv = self.build.argv(self.port, self._max_memory)
        answer = keeper.ask(serve={"directory": str(self.directory), "argv": argv})
        if "error" in answer:
            raise CannotConnectError(f"cannot start {self.build.name}: {answer['error']}")
        self.pid = answer["pid"]
        deadline = time.monotonic() + _START_TIMEOUT
        while time.monotonic() < deadline:
            message = keeper.read(0.01)
            if message is not None:
                return str(message["log"])
            if _answers(self.port):
                return None
        raise CannotConnectError(
            f"{self.build.name} does not answer within {_START_TIMEOUT:.0f} s",
            target=str(self.address),
        )

    def publish(self, directory: Path, names: Sequence[str], text: str) -> str:
        """Write the profile `text` into the directory for as long as we live; return its name.

        Takes the first of the names that no living demo has; raises LockedError when all are
        taken, RefusedError when it cannot be written.
        """
        request = {"directory": str(directory), "names": list(names), "text": text}
        answer = self._running().ask(publish=request)
        if "ended" in answer:
            raise self._ended(answer)
        if "error" in answer:
            raise RefusedError(f"cannot write the profile: {answer['error']}")
        if not answer["name"]:
            raise LockedError(
                f"{len(names)} demos are running already", hint="stop one of them with Ctrl-C"
            )
        return str(answer["name"])

    def remove_at_end(self, pattern: Path) -> None:
        """Have the files that match a glob removed when the server has gone."""
        answer = self._running().ask(remove={"pattern": str(pattern)})
        if "ended" in answer:
            raise self._ended(answer)

    def wait(self, timeout: float | None = None) -> None:
        """Stay until `timeout` seconds are over (None: for ever).

        Raises CannotConnectError when the server ends by itself.
        """
        message = self._running().read(timeout)
        if message is not None:
            raise self._ended(message)

    def stop(self) -> None:
        """Kill the server and remove all that was written. Harmless when done already."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.close()

    def _running(self) -> _Keeper:
        if self._keeper is None:
            raise InternalError("the demo's server was not started")
        return self._keeper

    def _ended(self, message: dict[str, Any]) -> CannotConnectError:
        return CannotConnectError(
            "the demo's server has ended",
            hint=_last_line(message["log"]) or None,
            target=str(self.address),
        )

    def __enter__(self) -> EmbeddedServer:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class _Keeper:
    """Our end of the line to the keeper."""

    def __init__(self) -> None:
        self._line, theirs = socket.socketpair()
        self._unread = b""
        with theirs:
            # In a session of its own: a Ctrl-C typed for us would stop it too, and too early.
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(Path(__file__).with_name("keeper.py"))],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
            )

    def ask(self, **request: Any) -> dict[str, Any]:
        """Return the keeper's next message after this request."""
        try:
            self._line.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise InternalError("the demo's keeper has gone") from error
        answer = self.read(_START_TIMEOUT)
        if answer is None:
            raise InternalError("the demo's keeper does not answer")
        return answer

    def read(self, timeout: float | None) -> dict[str, Any] | None:
        """Return the keeper's next message, or None after `timeout` seconds."""
        while b"\n" not in self._unread:
            self._line.settimeout(timeout)
            try:
                data = self._line.recv(65_536)
            except TimeoutError:
                return None
            except OSError:
                data = b""
            if not data:
                raise InternalError("the demo's keeper has gone")
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def close(self) -> None:
        """Have it clean up, and wait for that.

        An impatient Ctrl-C while we wait changes nothing: the keeper has got its word already.
        """
        self._line.close()
        try:
            self._process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired as error:
            raise InternalError("the demo's keeper does not end") from error


def _answers(port: int) -> bool:
    try:
        with socket.create_connection((_HOST, port), timeout=1) as connection:
            connection.sendall(b"*1\r\n$4\r\nPING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((_HOST, 0))
        return int(listener.getsockname()[1])


def _can_bind(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_HOST, port))
        except OSError:
            return False
    return True


def _last_line(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return lines[-1] if lines else ""
