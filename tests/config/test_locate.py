from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cachectl.config import locate
from cachectl.config.files import published_profile, write_private
from cachectl.config.locate import (
    Place,
    find_profiles,
    profile_names,
    resolve,
    runtime_profiles_dir,
    search_places,
    user_profiles_dir,
)
from cachectl.config.target import Address, Target
from cachectl.errors import ConfigError, RefusedError, UsageError

CANARY = "s3cr3t-canary"


@pytest.fixture
def places(tmp_path: Path) -> list[Place]:
    """Three directories: user with a and demo, runtime with demo, system with a, b and junk."""
    content = {
        "user": {"a.yaml": "host: user-a", "demo.yaml": "host: user-demo"},
        "runtime": {"demo.yaml": "host: runtime-demo"},
        "system": {
            "a.yaml": "host: system-a",
            "b.yml": "host: system-b",
            "bad.yaml": "hots: x",
            ".hidden.yaml": "host: x",
            "-p.yaml": "host: x",
            "notes.txt": "",
        },
    }
    for label, files in content.items():
        (tmp_path / label).mkdir()
        for name, text in files.items():
            (tmp_path / label / name).write_text(text)
    return [Place(label, tmp_path / label) for label in content]


def host(target: Target) -> str:
    return target.addresses[0].host


# --- Whom ---------------------------------------------------------------------------------------


def test_nothing_given_is_this_machine(places: list[Place]) -> None:
    target = resolve(environ={}, places=places)
    assert (target.name, target.addresses) == ("local", (Address("127.0.0.1", 6379),))


def test_a_profile_called_local_takes_its_place(places: list[Place]) -> None:
    (places[2].directory / "local.yaml").write_text("host: theirs")
    assert host(resolve(environ={}, places=places)) == "theirs"


@pytest.mark.parametrize(
    ("profile", "url", "environ", "expected"),
    [
        ("a", None, {}, "user-a"),
        (None, "redis://flag", {}, "flag"),
        (None, None, {"CACHECTL_PROFILE": "b"}, "system-b"),
        (None, None, {"CACHECTL_URL": "redis://env"}, "env"),
        (None, None, {"CACHECTL_URL": "", "CACHECTL_PROFILE": ""}, "127.0.0.1"),
        # What is typed wins over the environment.
        ("a", None, {"CACHECTL_PROFILE": "b"}, "user-a"),
        ("a", None, {"CACHECTL_URL": "redis://env"}, "user-a"),
        (None, "redis://flag", {"CACHECTL_PROFILE": "b"}, "flag"),
        (None, "redis://flag", {"CACHECTL_URL": "redis://env"}, "flag"),
        # The option holds the variable's value when it was not typed.
        ("b", "redis://flag", {"CACHECTL_PROFILE": "b"}, "flag"),
        ("b", None, {"CACHECTL_PROFILE": "b"}, "system-b"),
    ],
)
def test_the_order_of_options_and_environment(
    places: list[Place],
    profile: str | None,
    url: str | None,
    environ: dict[str, str],
    expected: str,
) -> None:
    assert host(resolve(profile, url, None, environ, places)) == expected


@pytest.mark.parametrize(
    ("profile", "url", "environ", "says"),
    [
        ("a", "redis://x", {}, "--profile and --url"),
        (None, None, {"CACHECTL_PROFILE": "a", "CACHECTL_URL": "redis://x"}, "CACHECTL_PROFILE"),
    ],
)
def test_two_servers_are_one_too_many(
    places: list[Place], profile: str, url: str, environ: dict[str, str], says: str
) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        resolve(profile, url, None, environ, places)
    assert caught.value.exit_code == 2


def test_timeout(places: list[Place]) -> None:
    target = resolve("a", None, 1.5, {}, places)
    assert (target.timeout, target.connect_timeout) == (1.5, 1.5)


def test_a_password_from_redis_clis_variable(places: list[Place]) -> None:
    environ = {"REDISCLI_AUTH": CANARY, "PW": "own"}
    target = resolve("a", None, None, environ, places)
    assert target.login.password is not None
    assert target.login.password.reveal() == CANARY
    assert CANARY not in repr(target)
    (places[0].directory / "own.yaml").write_text("{host: x, password: {env: PW}}")
    own = resolve("own", None, None, environ, places).login.password
    assert own is not None
    assert own.reveal() == "own"


# --- URLs ---------------------------------------------------------------------------------------


def test_a_url_with_everything() -> None:
    target = resolve(url="valkeys://alice@[::1]:7/3?protocol=3&timeout=9s", environ={})
    assert target.addresses == (Address("::1", 7),)
    assert (target.name, target.database, target.protocol) == ("[::1]:7", 3, 3)
    assert (target.login.username, target.timeout, target.connect_timeout) == ("alice", 9, 9)
    assert target.tls is not None
    assert target.tls.verify


def test_a_sentinel_url() -> None:
    target = resolve(url="redis+sentinel://s1,s2:5/m", environ={})
    assert (target.name, target.topology, target.sentinel_master) == ("m", "sentinel", "m")
    assert target.addresses == (Address("s1", 26379), Address("s2", 5))


def test_no_password_on_the_command_line_but_in_the_environment() -> None:
    url = f"redis://u:{CANARY}@h"
    with pytest.raises(UsageError, match="can be read by everybody") as caught:
        resolve(url=url, environ={})
    assert CANARY not in f"{caught.value} {caught.value.hint}"
    assert "REDISCLI_AUTH" in str(caught.value.hint)
    target = resolve(environ={"CACHECTL_URL": url})
    assert target.login.password is not None
    assert target.login.password.reveal() == CANARY
    assert CANARY not in repr(target)


@pytest.mark.parametrize(
    ("url", "environ", "says"),
    [
        (f"redis://:{CANARY}#@h", {}, "the URL holds a #"),
        (None, {"CACHECTL_URL": f"redis://:{CANARY}/@h"}, "CACHECTL_URL has .* @"),
    ],
)
def test_a_bad_url_is_not_repeated(url: str | None, environ: dict[str, str], says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        resolve(url=url, environ=environ)
    assert CANARY not in f"{caught.value} {caught.value.hint} {caught.value.__cause__}"


def test_a_url_given_as_profile_is_not_repeated(places: list[Place]) -> None:
    with pytest.raises(UsageError, match="this is a URL") as caught:
        resolve(f"redis://:{CANARY}@h", None, None, {}, places)
    assert CANARY not in f"{caught.value} {caught.value.hint}"


# --- Names and files ----------------------------------------------------------------------------


def test_a_file_is_given_by_its_path(
    places: list[Place], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, isolated_home: Path
) -> None:
    (tmp_path / "file.yaml").write_text("host: by-file")
    (isolated_home / "home.yml").write_text("host: by-home")
    monkeypatch.chdir(tmp_path)
    for name in ("file.yaml", "./file.yaml", str(tmp_path / "file.yaml")):
        target = resolve(name, None, None, {}, places)
        assert (host(target), target.name) == ("by-file", "file")
    assert host(resolve("~/home.yml", None, None, {}, places)) == "by-home"
    with pytest.raises(ConfigError, match=r"cannot read none\.yaml"):
        resolve("none.yaml", None, None, {}, places)


def test_an_unknown_name_lists_the_known_ones(places: list[Place]) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve("dmeo", None, None, {}, places)
    assert caught.value.message == "there is no profile called dmeo; did you mean demo?"
    assert str(caught.value.hint).startswith("there are a, b, bad, demo, local; ")


def test_a_bad_profile_is_an_error_even_when_a_later_place_has_a_good_one(
    places: list[Place],
) -> None:
    (places[0].directory / "b.yaml").write_text("hots: x")
    with pytest.raises(ConfigError, match=r"user/b.yaml, line 1: `hots`"):
        resolve("b", None, None, {}, places)


def test_finding(places: list[Place]) -> None:
    found = [(f.name, f.place, f.hidden) for f in find_profiles({}, places)]
    assert found == [
        ("a", "user", False),
        ("demo", "user", False),
        ("demo", "runtime", True),
        ("a", "system", True),
        ("b", "system", False),
        ("bad", "system", False),
        ("local", "built-in", False),
    ]
    assert profile_names({}, places) == ["a", "b", "bad", "demo", "local"]


def test_no_directory_is_no_profile(tmp_path: Path) -> None:
    nowhere = [Place("user", tmp_path / "none"), Place("system", tmp_path / "file")]
    (tmp_path / "file").touch()
    assert profile_names({}, nowhere) == ["local"]


def test_names_and_urls_need_neither_pydantic_nor_yaml() -> None:
    code = (
        "import sys; from cachectl.config.locate import profile_names, resolve; profile_names();"
        "resolve(); resolve(url='rediss://u@h:1/2');"
        "bad = {'pydantic', 'yaml', 'redis', 'rich', 'subprocess'} & set(sys.modules);"
        "sys.exit(str(bad) if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# --- Directories --------------------------------------------------------------------------------


def test_the_users_directory() -> None:
    assert user_profiles_dir({"XDG_CONFIG_HOME": "/x", "HOME": "/h"}) == Path(
        "/x/cachectl/profiles"
    )
    for relative in ("", "relative"):
        assert user_profiles_dir({"XDG_CONFIG_HOME": relative, "HOME": "/h"}) == Path(
            "/h/.config/cachectl/profiles"
        )


def test_the_places_in_their_order(tmp_path: Path) -> None:
    environ = {"HOME": "/h", "XDG_RUNTIME_DIR": str(tmp_path), "TMPDIR": str(tmp_path / "none")}
    assert [place.label for place in search_places(environ)] == ["user", "system"]
    made = runtime_profiles_dir(environ, create=True)
    assert made == tmp_path / "cachectl" / "profiles"
    assert [place.label for place in search_places(environ)] == ["user", "runtime", "system"]
    assert search_places(environ)[-1].directory == Path("/etc/cachectl/profiles")


def test_without_a_runtime_directory_there_is_tmp(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for runtime in ("", str(tmp_path / "file")):
        environ = {"XDG_RUNTIME_DIR": runtime, "TMPDIR": str(tmp_path)}
        made = runtime_profiles_dir(environ, create=True)
        assert made == tmp_path / f"cachectl-{os.geteuid()}" / "profiles"
        assert made.stat().st_mode & 0o777 == 0o700
        assert made.parent.stat().st_mode & 0o777 == 0o700
        assert runtime_profiles_dir(environ) == made


def test_a_directory_that_somebody_else_could_have_made_is_not_trusted(tmp_path: Path) -> None:
    environ = {"TMPDIR": str(tmp_path)}
    made = runtime_profiles_dir(environ, create=True)
    (made / "evil.yaml").write_text("host: a")
    assert "evil" in profile_names(environ)
    for path, mode in ((made, 0o770), (made.parent, 0o707)):
        path.chmod(mode)
        assert "evil" not in profile_names(environ)
        with pytest.raises(RefusedError, match="others may write"):
            runtime_profiles_dir(environ, create=True)
        path.chmod(0o700)
    elsewhere = tmp_path / "elsewhere"
    made.parent.rename(elsewhere)
    made.parent.symlink_to(elsewhere)
    assert "evil" not in profile_names(environ)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_somebody_else_is_not_trusted(tmp_path: Path) -> None:
    environ = {"TMPDIR": str(tmp_path)}
    made = runtime_profiles_dir(environ, create=True)
    os.chown(made, 12345, 12345)
    assert [place.label for place in search_places(environ)] == ["user", "system"]


# --- Writing ------------------------------------------------------------------------------------


def test_a_published_profile_is_there_for_its_time(tmp_path: Path) -> None:
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    environ = {name: str(tmp_path) for name in ("HOME", "TMPDIR")}
    environ["XDG_RUNTIME_DIR"] = str(runtime)
    with published_profile("demo", "host: here\n", environ) as path:
        assert path.stat().st_mode & 0o777 == 0o600
        assert host(resolve("demo", environ=environ)) == "here"
    assert list(runtime.iterdir()) == []
    with pytest.raises(ConfigError, match="no profile called demo"):
        resolve("demo", environ=environ)


def test_a_published_profile_leaves_others_alone(tmp_path: Path) -> None:
    environ = {"XDG_RUNTIME_DIR": str(tmp_path)}
    other = runtime_profiles_dir(environ, create=True) / "other.yaml"
    other.write_text("host: b")
    with published_profile("demo", "host: a", environ):
        pass
    assert list(other.parent.iterdir()) == [other]


def test_writing_is_private_and_does_not_overwrite(tmp_path: Path) -> None:
    path = tmp_path / "new" / "profiles" / "a.yaml"
    old = os.umask(0)
    try:
        write_private(path, "one")
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    with pytest.raises(RefusedError, match="exists already") as caught:
        write_private(path, "two")
    assert (caught.value.exit_code, path.read_text()) == (5, "one")
    write_private(path, "two", overwrite=True)
    assert path.read_text() == "two"
    assert list(path.parent.iterdir()) == [path]


def test_writing_does_not_follow_a_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    link = tmp_path / "a.yaml"
    link.symlink_to(victim)
    with pytest.raises(RefusedError, match="exists already"):
        write_private(link, "new")
    write_private(link, "new", overwrite=True)
    assert (victim.read_text(), link.read_text()) == ("precious", "new")


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot write"):
        write_private(tmp_path / "file" / "a.yaml", "x")


def test_built_ins_are_profiles_like_all_others() -> None:
    for name, target in locate.BUILT_INS.items():
        assert target.name == name
        assert target.description
