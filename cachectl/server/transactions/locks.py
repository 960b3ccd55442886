"""A lock in the server: one run at a time may change it, and everyone sees whose run that is.

It is in database 0, whichever one a run is for: two runs would share the server's time. The key
holds who owns it as JSON. It is set with NX and a short life, renewed by a thread, and deleted only
by its owner. A lock whose owner is dead is taken over: at once when the process was on this
machine, else when it was not renewed in time. A server that is out of memory takes no key, just
when something should be removed from it: there the lock is the name of a connection until it does.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from cachectl.errors import CachectlError, LockedError, RefusedError
from cachectl.server.topology.handle import Server
from cachectl.server.wire.connection import NodeConnection
from cachectl.server.wire.resp import ReplyError, as_text

OWN_PREFIX = b"cachectl:"
"""Names of ours in the server (locks, quarantine, half-written keys): no run ever touches them."""

LIFE = 30.0
"""Seconds that a lock lives without being renewed; it is renewed three times in that."""
_RETRY = 1.0
_RIGHTS = "the login needs +set +get +del +pexpire +watch +multi +exec on keys cachectl:*"


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose lock it is. started: the process's start time, since numbers of processes recur."""

    token: str
    machine: str
    pid: int
    started: str
    user: str
    what: str

    @classmethod
    def this_process(cls, what: str) -> Owner:
        """Return an owner that describes this process. what: the run, for people."""
        return cls(
            token=secrets.token_hex(8),
            machine=_machine(),
            pid=os.getpid(),
            started=_start_time(os.getpid()) or "",
            user=os.environ.get("USER", str(os.getuid())),
            what=what,
        )

    @property
    def is_dead(self) -> bool:
        """Whether the process ran on this machine and runs no longer."""
        return self.machine == _machine() and _start_time(self.pid) != self.started

    def pack(self) -> bytes:
        """Return the owner as the lock's value."""
        return json.dumps(asdict(self), ensure_ascii=True).encode()

    @classmethod
    def unpack(cls, raw: bytes) -> Owner | None:
        """Return the owner that a lock's value describes, None when it is none of ours."""
        try:
            return cls(**json.loads(raw))
        except (ValueError, TypeError):
            return None


def _machine() -> str:
    """Name this machine and this start of it: a reboot ends every process."""
    with contextlib.suppress(OSError):
        return f"{socket.gethostname()}/{Path('/proc/sys/kernel/random/boot_id').read_text()[:8]}"
    return socket.gethostname()


def _start_time(pid: int) -> str | None:
    """Return the start time of a process in ticks since boot, None when there is no such one."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else ""
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]


class Lock:
    """A held lock, as a context. `lost` is set when it could not be renewed in time.

    what: the run, for people; name: of the lock, by which those that may go side by side differ.
    """

    def __init__(
        self, server: Server, what: str, *, name: str = "lock", life: float = LIFE
    ) -> None:
        self.key = OWN_PREFIX + name.encode()
        self.owner = Owner.this_process(what)
        self.note: str | None = None
        self.lost = threading.Event()
        self._life = life
        self._server = server
        self._connection: NodeConnection | None = None
        self._is_full = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Take the lock. Raises LockedError when another run holds it, RefusedError when denied."""
        self._connection = self._connect()
        try:
            self._take()
        except BaseException:
            self._connection.close()
            raise
        self._thread = threading.Thread(target=self._renew, name="lock", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(self._life)
        connection = self._connection
        if connection is not None:
            # A lock that can't be deleted now (the server is gone) ends by its own life.
            with contextlib.suppress(CachectlError, ReplyError):
                if not connection.is_open:
                    connection = self._connect()
                self._if_mine(connection, ("DEL", self.key))
            connection.close()

    def _connect(self) -> NodeConnection:
        return self._server.new_connection(self._server.node_of(self.key), database=0)

    def _take(self) -> None:
        connection = self._connection
        assert connection is not None  # noqa: S101 - __enter__ has just opened it
        value, life = self.owner.pack(), int(self._life * 1000)
        try:
            for _ in range(3):
                if self._set(connection):
                    return
                raw = connection.call("GET", self.key)
                holder = Owner.unpack(raw) if raw else None
                if raw and not (holder and holder.is_dead):
                    raise self._locked(connection, holder)
                if self._is_full:
                    if holder is not None:
                        self._if_held_by(holder, connection, ("DEL", self.key))
                    if self._has_name(connection):
                        self.note = "the server is out of memory: the lock is a connection's name"
                        return
                    break
                if holder is not None and self._replace(connection, raw, value, life):
                    self.note = f"took over the lock of process {holder.pid}, which is dead"
                    return
        except ReplyError as error:
            raise RefusedError(
                f"cannot take the lock {self.key.decode()}: {error.text}",
                hint=_RIGHTS if error.code == "NOPERM" else None,
                target=self._server.target.name,
            ) from error
        raise self._locked(connection, None)

    def _set(self, connection: NodeConnection) -> bool:
        """Set the lock unless there is one. A server that is out of memory takes no new key."""
        life = int(self._life * 1000)
        try:
            reply = connection.call("SET", self.key, self.owner.pack(), "NX", "PX", life)
        except ReplyError as error:
            self._is_full = error.code == "OOM"
            if not self._is_full:
                raise
            return False
        self._is_full = False
        return reply is not None

    def _has_name(self, connection: NodeConnection) -> bool:
        """Give the connection the lock's name. The oldest connection that has it holds the lock."""
        connection.call("CLIENT", "SETNAME", self.key)
        own = int(connection.call("CLIENT", "ID"))
        listed = as_text(connection.call("CLIENT", "LIST"))
        name = f" name={self.key.decode()} "
        numbers = [line.partition(" ")[0] for line in listed.splitlines() if name in line]
        return own == min((int(number.removeprefix("id=")) for number in numbers), default=own)

    def _replace(self, connection: NodeConnection, seen: bytes, value: bytes, life: int) -> bool:
        """Take the place of a dead owner, unless somebody else just did."""
        connection.call("WATCH", self.key)
        if connection.call("GET", self.key) != seen:
            connection.call("UNWATCH")
            return False
        *_, done = connection.pipeline(
            [("MULTI",), ("SET", self.key, value, "PX", life), ("EXEC",)]
        )
        return done is not None and not isinstance(done, ReplyError)

    def _locked(self, connection: NodeConnection, holder: Owner | None) -> LockedError:
        left = connection.call("PTTL", self.key)
        who = "another run"
        if holder is not None:
            who = f"{holder.what} (user {holder.user}, process {holder.pid} on "
            who += f"{holder.machine.partition('/')[0]})"
        return LockedError(
            f"{self._server.target.name} is being changed by {who}",
            hint=f"wait for it; a lock that nobody renews ends within {max(0, left) // 1000 + 1} s",
            target=self._server.target.name,
        )

    def _if_mine(
        self, connection: NodeConnection, *commands: tuple[bytes | str | int, ...]
    ) -> bool:
        """Run commands in one transaction if the lock still is ours."""
        return self._if_held_by(self.owner, connection, *commands)

    def _if_held_by(
        self, owner: Owner, connection: NodeConnection, *commands: tuple[bytes | str | int, ...]
    ) -> bool:
        connection.call("WATCH", self.key)
        raw = connection.call("GET", self.key)
        holder = Owner.unpack(raw) if raw else None
        if holder is None or holder.token != owner.token:
            connection.call("UNWATCH")
            return False
        *_, done = connection.pipeline([("MULTI",), *commands, ("EXEC",)])
        return done is not None and not isinstance(done, ReplyError)

    def _renew(self) -> None:
        step = self._life / 3
        held_until = time.monotonic() + self._life
        wait = step
        while not self._stop.wait(wait):
            try:
                if not self._keep():
                    self.lost.set()
                    return
                held_until = time.monotonic() + self._life
                wait = min(step, _RETRY) if self._is_full else step
            except (CachectlError, ReplyError) as error:
                self._let_go(error)
                wait = min(step, _RETRY)
                if time.monotonic() >= held_until:
                    self.lost.set()
                    return

    def _keep(self) -> bool:
        """Make the lock live on; take it again when it is gone. False: another run holds it."""
        if self._connection is None or not self._connection.is_open:
            self._connection = self._connect()
        life = int(self._life * 1000)
        if self._if_mine(self._connection, ("PEXPIRE", self.key, life)):
            return True
        # FLUSHALL, eviction, or a failover to a replica that had not received it.
        if self._set(self._connection):
            return True
        if self._is_full:
            return self._has_name(self._connection)
        return self._if_mine(self._connection, ("PEXPIRE", self.key, life))

    def _let_go(self, error: Exception) -> None:
        """Close a connection that leads to the wrong node, or nowhere."""
        if self._connection is not None:
            self._connection.close()
        if isinstance(error, ReplyError) and error.code == "MOVED":
            with contextlib.suppress(CachectlError, ReplyError):
                self._server.refresh()
