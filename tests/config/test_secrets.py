from __future__ import annotations

import copy
import os
import pickle
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from cachectl.config import secret_sources
from cachectl.config.secrets import Secret
from cachectl.errors import CachectlError, ConfigError, RefusedError

CANARY = "päss#@/:% wörd"


def text_of(error: CachectlError) -> str:
    return f"{error} {error.hint} {error.target} {error!r} {error.__cause__!r}"


def private(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_secret_is_shown_nowhere() -> None:
    secret = Secret.of(CANARY)
    assert secret.reveal() == CANARY
    assert CANARY not in f"{secret} {secret!r}"
    for write in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="not written"):
            write(secret)


def test_threads_fetch_it_once() -> None:
    calls: list[int] = []

    def fetch() -> str:
        calls.append(1)
        time.sleep(0.05)
        return CANARY

    secret = Secret("somewhere", fetch)
    threads = [threading.Thread(target=secret.reveal) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


def test_a_forgotten_secret_is_fetched_again() -> None:
    tokens = iter(["first", "second"])
    secret = Secret("somewhere", lambda: next(tokens))
    assert [secret.reveal(), secret.reveal()] == ["first", "first"]
    secret.forget()
    assert secret.reveal() == "second"


def test_environment() -> None:
    assert secret_sources.from_environment("PW", {"PW": CANARY}).reveal() == CANARY
    for environ, state in (({}, "not set"), ({"PW": ""}, "empty")):
        with pytest.raises(ConfigError, match=f"PW.* is {state}"):
            secret_sources.from_environment("PW", environ).reveal()


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_file(tmp_path: Path, end: str) -> None:
    path = private(tmp_path / "pw", f"{CANARY}{end}".encode())
    assert secret_sources.from_file(path).reveal() == CANARY


def test_a_link_to_a_private_file_is_followed(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(private(tmp_path / "pw", b"x"))
    assert secret_sources.from_file(link).reveal() == "x"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o666, 0o601])
def test_a_file_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = private(tmp_path / "pw", CANARY.encode(), mode)
    with pytest.raises(RefusedError, match="can be read by others") as caught:
        secret_sources.from_file(path).reveal()
    assert caught.value.exit_code == 5
    assert caught.value.hint == f"chmod 600 {path}"
    assert CANARY not in text_of(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"one\ntwo\n", "more than one line"),
        (b"\xff\xfe", "not UTF-8"),
        (b"x" * 70_000, "longer than"),
    ],
)
def test_a_file_that_is_no_secret(tmp_path: Path, content: bytes, says: str) -> None:
    path = private(tmp_path / "pw", content)
    with pytest.raises(ConfigError, match=says) as caught:
        secret_sources.from_file(path).reveal()
    assert "two" not in text_of(caught.value)


def test_what_is_not_a_file_is_refused_at_once(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    for path in (fifo, tmp_path, Path("/dev/zero")):
        with pytest.raises(ConfigError, match="not a regular file"):
            secret_sources.from_file(path).reveal()
    with pytest.raises(ConfigError, match="no such file"):
        secret_sources.from_file(tmp_path / "none").reveal()


def test_command_gets_its_arguments_without_a_shell(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    argv = [*python("import sys; print(sys.argv[1])"), f"$(touch {canary})"]
    assert secret_sources.from_command(argv).reveal() == f"$(touch {canary})"
    assert not canary.exists()


def test_a_command_that_fails_is_named_and_not_quoted(capfd: pytest.CaptureFixture[str]) -> None:
    code = f"import sys; print({CANARY!r}); print({CANARY!r}, file=sys.stderr); sys.exit(3)"
    with pytest.raises(ConfigError, match="exit code 3") as caught:
        secret_sources.from_command(python(code)).reveal()
    assert CANARY not in text_of(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_command_that_hangs_is_ended() -> None:
    begin = time.monotonic()
    with pytest.raises(ConfigError, match="no secret within"):
        secret_sources.from_command(python("import time; time.sleep(60)"), timeout=0.3).reveal()
    assert time.monotonic() - begin < 5


def test_a_child_that_keeps_the_pipe_open_does_not_hold_us() -> None:
    code = (
        "import subprocess, sys; subprocess.Popen([sys.executable, '-c', "
        "'import time; time.sleep(5)'])"
    )
    begin = time.monotonic()
    with pytest.raises(ConfigError, match="no secret within"):
        secret_sources.from_command(python(code), timeout=1).reveal()
    assert time.monotonic() - begin < 4


def test_a_command_that_never_stops_printing() -> None:
    code = "while True: print('y' * 1000)"
    with pytest.raises(ConfigError, match="longer than"):
        secret_sources.from_command(python(code)).reveal()


def test_a_command_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="cannot run the command /none/such"):
        secret_sources.from_command(["/none/such"]).reveal()


def test_a_command_reads_nothing_from_us() -> None:
    code = "import sys; print(sys.stdin.read() or 'nothing')"
    ours, other_end = os.pipe()
    os.write(other_end, b"ours")
    os.close(other_end)
    before = os.dup(0)
    try:
        os.dup2(ours, 0)
        assert secret_sources.from_command(python(code)).reveal() == "nothing"
        assert os.read(0, 10) == b"ours"
    finally:
        os.dup2(before, 0)
        os.close(before)
        os.close(ours)


def test_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = {("cache", "me"): CANARY}
    module = SimpleNamespace(get_password=lambda service, user: entries.get((service, user)))
    monkeypatch.setitem(sys.modules, "keyring", module)
    assert secret_sources.from_keyring("cache", "me").reveal() == CANARY
    with pytest.raises(ConfigError, match="no secret for user you"):
        secret_sources.from_keyring("cache", "you").reveal()


def test_a_keyring_that_fails_is_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    def get_password(service: str, user: str) -> str:
        raise RuntimeError(CANARY)

    monkeypatch.setitem(sys.modules, "keyring", SimpleNamespace(get_password=get_password))
    with pytest.raises(ConfigError, match="RuntimeError") as caught:
        secret_sources.from_keyring("cache", "me").reveal()
    assert CANARY not in text_of(caught.value)


def test_no_keyring_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ConfigError, match="keyring is missing") as caught:
        secret_sources.from_keyring("cache", "me").reveal()
    assert "redis-cachectl[keyring]" in str(caught.value.hint)


def test_a_prompt_needs_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: False))
    monkeypatch.setattr("getpass.getpass", lambda prompt: pytest.fail("asked"))
    with pytest.raises(ConfigError, match="no terminal"):
        secret_sources.from_prompt("Password").reveal()


def test_a_prompt_asks_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("getpass.getpass", lambda prompt: CANARY if prompt == "Word: " else "")
    assert secret_sources.from_prompt("Word").reveal() == CANARY
    with pytest.raises(ConfigError, match="no secret was typed"):
        secret_sources.from_prompt("Other").reveal()
