from __future__ import annotations

import fcntl
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import servers
from aftermath import alive, leftovers, until
from programs import ROOT

from cachectl.demo import builds
from cachectl.demo.builds import Build
from cachectl.demo.embedded import EmbeddedServer
from cachectl.errors import CannotConnectError, InternalError, LockedError, RefusedError

MEMORY = 64 * 1024**2


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory for temporary files, empty."""
    path = tmp_path / "tmp"
    path.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(path))
    return path


@pytest.fixture
def server(temporary: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(builds.find(), max_memory=MEMORY) as server:
        yield server


def call(server: EmbeddedServer, *command: str) -> object:
    with servers.plain_client("127.0.0.1", server.port) as client:
        return client.execute_command(*command)


def test_it_serves_on_loopback_in_a_private_directory_and_keeps_nothing(
    server: EmbeddedServer, temporary: Path
) -> None:
    assert server.directory.parent == temporary
    assert stat.S_IMODE(server.directory.stat().st_mode) == 0o700
    config = {}
    for name in ("bind", "save", "appendonly", "maxmemory", "maxmemory-policy"):
        config.update(call(server, "CONFIG", "GET", name))  # type: ignore[call-overload]
    assert config == {
        b"bind": b"127.0.0.1",
        b"save": b"",
        b"appendonly": b"no",
        b"maxmemory": str(MEMORY).encode(),
        b"maxmemory-policy": b"allkeys-lru",
    }
    assert alive(server.pid)
    with socket.socket() as outside, pytest.raises(OSError, match=r"refused|unreachable"):
        outside.connect((_own_address(), server.port))
    server.stop()
    assert not alive(server.pid)
    assert leftovers(temporary) == []
    server.stop()


def _own_address() -> str:
    """Return an address of this machine that is not 127.0.0.1."""
    return "127.0.0.2"


@pytest.mark.parametrize("flavour", servers.FLAVOURS)
def test_whoever_connects_cannot_make_it_write_files_elsewhere(
    flavour: str, temporary: Path
) -> None:
    """It has no password, and others on this machine may connect; they get no further."""
    found = servers.builds()[flavour]
    if found.binary is None:
        pytest.skip(found.reason)
    version = builds._version_of(found.binary)
    assert version is not None
    with EmbeddedServer(builds._real(found.binary, version), max_memory=MEMORY) as server:
        for command in (
            ("CONFIG", "SET", "dir", "/"),
            ("CONFIG", "SET", "dbfilename", "x"),
            ("MODULE", "LOAD", "/x.so"),
            ("DEBUG", "SLEEP", "0"),
        ):
            with pytest.raises(
                servers.redis.ResponseError, match=r"(?i)permission|protected|not allowed|no_perm"
            ):
                call(server, *command)
        assert call(server, "CONFIG", "GET", "maxmemory-policy")


def test_a_wanted_port_is_used_or_refused(temporary: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        with (
            pytest.raises(RefusedError, match=f"port {taken} is taken") as caught,
            EmbeddedServer(builds.find(), max_memory=MEMORY, port=taken),
        ):
            pass
        assert "--port" in (caught.value.hint or "")
    assert leftovers(temporary) == []
    free = servers.free_port()
    with EmbeddedServer(builds.find(), max_memory=MEMORY, port=free) as server:
        assert server.port == free


def test_a_port_lost_in_a_race_is_replaced(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = servers.free_port()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        ports = iter([holder.getsockname()[1], free])
        monkeypatch.setattr("cachectl.demo.embedded._free_port", lambda: next(ports))
        with EmbeddedServer(builds.find(), max_memory=MEMORY) as server:
            assert server.port == free


@pytest.mark.parametrize(
    ("argv", "sentence", "hint"),
    [
        (["/nonexistent/server"], "cannot start Broken: No such file", None),
        ([sys.executable, "-c", "print('one'); exit('bad luck')"], "as soon as", "bad luck"),
    ],
)
def test_a_server_that_does_not_come_up_says_why(
    argv: list[str], sentence: str, hint: str | None, temporary: Path
) -> None:
    build = Build("Broken", lambda port, memory: argv)
    with (
        pytest.raises(CannotConnectError, match=sentence) as caught,
        EmbeddedServer(build, max_memory=MEMORY),
    ):
        pass
    assert caught.value.hint == hint
    assert leftovers(temporary) == []


def test_its_end_is_noticed(server: EmbeddedServer) -> None:
    server.wait(0.05)
    os.kill(server.pid, signal.SIGTERM)
    with pytest.raises(CannotConnectError, match="the demo's server has ended"):
        server.wait(10)


def test_a_server_behind_a_script_goes_with_it(temporary: Path) -> None:
    """Some packages put a script on PATH that starts the real program as its child."""
    real = builds.find()

    def argv(port: int, memory: int) -> list[str]:
        code = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))"
        return [sys.executable, "-c", code, *real.argv(port, memory)]

    with EmbeddedServer(Build("script", argv), max_memory=MEMORY) as server:
        with servers.plain_client("127.0.0.1", server.port) as client:
            pid = client.info("server")["process_id"]
        assert pid != server.pid
    assert until(lambda: not alive(pid))


# --- Killed ---------------------------------------------------------------------------------

_HOLD = """
import sys, time
from pathlib import Path
from cachectl.demo import builds
from cachectl.demo.embedded import EmbeddedServer
server = EmbeddedServer(builds.find(), max_memory=10**8).start()
server.publish(Path(sys.argv[1]), ["demo"], "x")
print(server.pid, server._keeper._process.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(temporary: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int, int]]:
    """A process that holds a server: itself, the server's pid, the keeper's pid."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path / "run" / "cachectl" / "profiles")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)},
    )
    with process:
        assert process.stdout is not None
        server, keeper = map(int, process.stdout.readline().split())
        yield process, server, keeper
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGQUIT, signal.SIGTERM])
def test_nothing_is_left_when_its_owner_is_killed(
    number: int,
    holder: tuple[subprocess.Popen[str], int, int],
    temporary: Path,
    tmp_path: Path,
) -> None:
    process, server, keeper = holder
    assert leftovers(temporary)
    assert (tmp_path / "run" / "cachectl" / "profiles" / "demo.yaml").read_text() == "x"
    process.send_signal(number)
    assert until(lambda: not alive(server) and not alive(keeper))
    assert leftovers(temporary) == leftovers(tmp_path / "run") == []


def test_keeper_told_to_stop_cleans_up(
    holder: tuple[subprocess.Popen[str], int, int], temporary: Path, tmp_path: Path
) -> None:
    _, server, keeper = holder
    os.kill(keeper, signal.SIGTERM)
    assert until(lambda: not alive(server) and not alive(keeper))
    assert leftovers(temporary) == leftovers(tmp_path / "run") == []


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel must know PR_SET_PDEATHSIG")
def test_the_server_goes_even_when_the_keeper_is_killed(
    holder: tuple[subprocess.Popen[str], int, int],
) -> None:
    _, server, keeper = holder
    os.kill(keeper, signal.SIGKILL)
    assert until(lambda: not alive(server))


def test_a_keeper_that_has_gone_is_an_error_not_a_hang(server: EmbeddedServer) -> None:
    keeper = server._running()._process
    keeper.kill()
    keeper.wait(5)
    with pytest.raises(InternalError, match="keeper has gone"):
        server.wait(5)


def test_what_others_noted_about_it_goes_with_it(server: EmbeddedServer, tmp_path: Path) -> None:
    notes = tmp_path / "run" / "cachectl" / "notes"
    notes.mkdir(parents=True)
    server.remove_at_end(notes / "abc.*")
    for name in ("abc.1", "abc.total", "other.1"):
        (notes / name).touch()
    server.stop()
    assert [path.name for path in notes.iterdir()] == ["other.1"]


# --- The profile ----------------------------------------------------------------------------


def test_a_profile_is_private_complete_and_removed(server: EmbeddedServer, tmp_path: Path) -> None:
    directory = tmp_path / "run" / "cachectl" / "profiles"
    assert server.publish(directory, ["demo"], "host: a\n") == "demo"
    path = directory / "demo.yaml"
    assert path.read_text() == "host: a\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(directory.iterdir()) == [path]
    server.stop()
    assert leftovers(tmp_path / "run") == []


def test_a_second_demo_takes_another_name_and_too_many_are_refused(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    directory = tmp_path / "run" / "cachectl" / "profiles"
    names = ["demo", "demo-2"]
    assert server.publish(directory, names, "first") == "demo"
    with EmbeddedServer(builds.find(), max_memory=MEMORY) as second:
        assert second.publish(directory, names, "second") == "demo-2"
        assert (directory / "demo.yaml").read_text() == "first"
        with (
            EmbeddedServer(builds.find(), max_memory=MEMORY) as third,
            pytest.raises(LockedError, match="2 demos are running already"),
        ):
            third.publish(directory, names, "third")
    assert [path.name for path in directory.iterdir()] == ["demo.yaml"]


def test_the_file_of_a_dead_demo_is_replaced(server: EmbeddedServer, tmp_path: Path) -> None:
    stale = tmp_path / "demo.yaml"
    stale.write_text("of a demo whose keeper was killed")
    assert server.publish(tmp_path, ["demo"], "new") == "demo"
    assert stale.read_text() == "new"


def test_a_living_demos_file_and_a_link_are_left_alone(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "demo.yaml").symlink_to(victim)
    with (tmp_path / "demo-2.yaml").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert server.publish(tmp_path, ["demo", "demo-2", "demo-3"], "new") == "demo-3"
    assert victim.read_text() == "precious"


def test_a_file_put_in_place_of_ours_is_not_removed(server: EmbeddedServer, tmp_path: Path) -> None:
    server.publish(tmp_path, ["demo"], "ours")
    path = tmp_path / "demo.yaml"
    path.unlink()
    path.write_text("theirs")
    server.stop()
    assert path.read_text() == "theirs"


def test_demos_that_start_at_once_get_different_names(temporary: Path, tmp_path: Path) -> None:
    directory = tmp_path / "run" / "cachectl" / "profiles"
    sleeping = Build("sleep", lambda port, memory: [sys.executable, "-c", _PONG, str(port)])
    names = [f"demo-{n}" for n in range(8)]
    got: list[str] = []
    together = threading.Barrier(6)

    def one() -> None:
        with EmbeddedServer(sleeping, max_memory=MEMORY) as server:
            together.wait(20)
            got.append(server.publish(directory, names, "x"))
            together.wait(20)

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == names[:6]
    assert leftovers(tmp_path / "run") == leftovers(temporary) == []


_PONG = """
import socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    with listener.accept()[0] as connection:
        connection.recv(100)
        connection.sendall(b"+PONG\\r\\n")
"""


def test_a_directory_that_cannot_be_written_is_said(server: EmbeddedServer) -> None:
    with pytest.raises(RefusedError, match="cannot write the profile"):
        server.publish(Path("/proc/nowhere"), ["demo"], "x")
