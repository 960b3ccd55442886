"""A real PostgreSQL for tests: found, started on loopback, and always stopped.

Debian's package, whatever is on PATH, or the one in the wheel pgserver. It never runs as root: the
server refuses that, so then it is `nobody`'s.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from servers import free_port, unwatch, watch

PASSWORD = "s3cr3t-canary"
_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server with the user `reader`. url: without the password, which is PASSWORD."""

    port: int
    url: str

    def run(self, *statements: str) -> None:
        """Run statements as the owner of everything, each in a transaction of its own."""
        import psycopg

        with psycopg.connect(self._as("owner"), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def one(self, query: str) -> object:
        """Return the first column of the first row, as the owner."""
        import psycopg

        with psycopg.connect(self._as("owner")) as connection:
            row = connection.execute(query).fetchone()
        assert row is not None
        return row[0]

    def _as(self, user: str) -> str:
        return f"host=127.0.0.1 port={self.port} user={user} password={PASSWORD} dbname=postgres"


def find() -> tuple[Path | None, str]:
    """Return the directory of PostgreSQL's programs, or None, and where it was found or why not."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name)
    candidates = [*reversed(debian)]
    if on_path := shutil.which("postgres"):
        candidates.insert(0, Path(on_path).parent)
    spec = importlib.util.find_spec("pgserver")
    if spec is not None and spec.origin:
        candidates.append(Path(spec.origin).parent / "pginstall" / "bin")
    for directory in candidates:
        if (directory / "initdb").exists() and (directory / "postgres").exists():
            return directory, str(directory)
    return None, "PostgreSQL is neither installed nor in the package pgserver"


@contextmanager
def running(programs: Path) -> Iterator[Postgres]:
    """Start a server, yield it when it answers, stop it."""
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    directory = Path(tempfile.mkdtemp(prefix="cachectl-pg-"))
    as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
    if user:
        os.chown(directory, user.pw_uid, user.pw_gid)
    secret = directory / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    data = directory / "data"
    log = (directory / "log").open("wb")
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(directory)}
    subprocess.run(
        [
            *(programs / "initdb", "-D", data, "-U", "owner", "-A", "scram-sha-256"),
            *("--pwfile", secret, "-N", "-E", "UTF8", "--locale=C"),
        ],
        check=True,
        stdout=log,
        stderr=log,
        cwd=directory,
        env=environment,
        **as_user,
    )
    port = free_port()
    settings = {
        "port": port,
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "fsync": "off",
        "shared_buffers": "16MB",
    }
    process = subprocess.Popen(
        [
            programs / "postgres",
            *("-D", data),
            *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
        ],
        stdout=log,
        stderr=log,
        cwd=directory,
        env=environment,
        **as_user,
    )
    watch(process.pid, directory)
    server = Postgres(port, f"postgresql+psycopg://reader@127.0.0.1:{port}/postgres")
    try:
        _wait(server, directory / "log")
        server.run(f"CREATE ROLE reader LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
        yield server
    finally:
        process.terminate()
        process.wait(timeout=_PATIENCE)
        log.close()
        unwatch(process.pid)
        shutil.rmtree(directory, ignore_errors=True)


def _wait(server: Postgres, log: Path) -> None:
    import psycopg

    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            server.one("SELECT 1")
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL does not answer:\n{log.read_text()}") from error
            time.sleep(0.05)
        else:
            return
