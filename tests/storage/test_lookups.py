"""Counts of our own look-ups, shared between processes: exact at rest, harmless when they die."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from programs import ROOT

from cachectl.storage import lookups
from cachectl.storage.lookups import JobCount, job_count, settled

RUN = "f" * 40


def job() -> JobCount:
    made = job_count(RUN, "127.0.0.1:5")
    assert made is not None
    return made


def test_a_job_at_rest_is_read_exactly() -> None:
    one = job()
    one.enter()
    one.leave(10, 2, 30)
    with settled(RUN) as own:
        assert (own.hits, own.misses, own.commands, own.lost) == (10, 2, 30, 0)
        assert own.settled
        assert own.addresses == {"127.0.0.1:5"}
    one.close()


def test_jobs_that_ended_still_count() -> None:
    for _ in range(3):
        one = job()
        one.enter()
        one.leave(5, 1, 7)
        one.close()
    with settled(RUN) as own:
        assert (own.hits, own.misses, own.commands, own.lost) == (15, 3, 21, 0)
        assert own.addresses == frozenset()
    with settled("another") as own:
        assert own.hits == 0


def test_a_job_at_work_is_waited_for() -> None:
    one = job()
    one.enter()

    def work() -> None:
        while not one.wanted:
            time.sleep(0.001)
        one.leave(100, 0, 100)
        one.enter()

    thread = threading.Thread(target=work)
    thread.start()
    with settled(RUN) as own:
        assert (own.hits, own.settled) == (100, True)
        assert thread.is_alive(), "it stays at rest while the counts are read"
    thread.join(5)
    assert not thread.is_alive()
    one.leave(100, 0, 100)
    one.close()


def test_a_job_that_does_not_rest_makes_it_inexact() -> None:
    one = job()
    one.enter()
    one.note(8, 0, 9)
    begun = time.monotonic()
    with settled(RUN) as own:
        assert (own.hits, own.settled) == (8, False)
    assert time.monotonic() - begun < 2
    one.close()
    with settled(RUN) as own:
        assert (own.hits, own.settled, own.lost) == (8, True, 1)


def test_a_job_goes_on_when_its_reader_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "_PATIENCE", 0.05)
    one = job()
    with settled(RUN):
        begun = time.monotonic()
        one.enter()
        assert time.monotonic() - begun < 2
    one.leave(1, 0, 1)
    one.close()


def test_a_killed_job_leaves_what_it_had_counted(isolated_home: Path) -> None:
    code = (
        "import sys, time; from cachectl.storage.lookups import job_count\n"
        f"one = job_count({RUN!r}, 'x:1'); one.enter(); one.note(4, 1, 6)\n"
        "print('ready', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, env=dict(os.environ)
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
        process.wait()
    for _ in range(2):
        with settled(RUN) as own:
            assert (own.hits, own.misses, own.lost, own.settled) == (4, 1, 1, True)


def test_a_disk_that_refuses_stops_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(file))
    assert job_count(RUN, "x:1") is None
    with settled(RUN) as own:
        assert not own.settled


def test_files_are_private(isolated_home: Path) -> None:
    one = job()
    directory = isolated_home / ".runtime" / "cachectl" / "lookups"
    assert directory.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in directory.iterdir())
    one.close()
