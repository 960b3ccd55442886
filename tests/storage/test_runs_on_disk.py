"""Journals, run directories and the audit log."""

from __future__ import annotations

import json
import os
import stat

import pytest

from cachectl.errors import ConfigError, DamagedError
from cachectl.storage import audit
from cachectl.storage.files import StorageError, private_directory, replace_file
from cachectl.storage.journal import Journal, read_journal, reopen
from cachectl.storage.runs import Runs


def entries(count):
    return [{"kind": "batch", "number": i} for i in range(count)]


def written(path, count):
    with Journal(path) as journal:
        for i in range(count):
            journal.record("batch", number=i)
    return path.read_bytes()


def test_every_way_a_crash_can_cut_a_journal_leaves_its_whole_lines(tmp_path):
    data = written(tmp_path / "j", 4)
    ends = [i + 1 for i, byte in enumerate(data) if byte == 10]
    for length in range(len(data) + 1):
        (tmp_path / "j").write_bytes(data[:length])
        whole = sum(end <= length for end in ends)
        assert list(read_journal(tmp_path / "j")) == entries(whole)
        with reopen(tmp_path / "j") as journal:
            journal.record("after")
        assert list(read_journal(tmp_path / "j")) == [*entries(whole), {"kind": "after"}]


def test_damage_before_the_last_line_is_refused(tmp_path):
    data = bytearray(written(tmp_path / "j", 4))
    data[5] ^= 1
    (tmp_path / "j").write_bytes(data)
    with pytest.raises(DamagedError, match="line 1"):
        list(read_journal(tmp_path / "j"))


def test_a_note_survives_the_end_of_its_process(tmp_path):
    journal = Journal(tmp_path / "j")
    journal.note("sent", upto=1)  # never closed, never made durable: as kill -9 leaves it
    assert list(read_journal(tmp_path / "j")) == [{"kind": "sent", "upto": 1}]
    journal.close()


def test_runs_are_private_sorted_and_found_by_a_beginning(tmp_path):
    runs = Runs(tmp_path / "state")
    old, new = runs.create(1_000_000_000), runs.create(1_100_000_000)
    assert [run.id for run in runs.all()] == [new.id, old.id]
    assert runs.find("last").id == new.id
    assert runs.find(old.id[:10]).id == old.id
    assert stat.S_IMODE(old.path.stat().st_mode) == 0o700
    for name in ("2001", "nothing", "../../etc", ""):
        if name == "2001":
            assert runs.find(name).id == old.id
            continue
        with pytest.raises(ConfigError):
            runs.find(name)


def test_a_run_keeps_its_facts(tmp_path):
    run = Runs(tmp_path).create()
    run.save({"state": "done", "removed": 3})
    assert run.load() == {"state": "done", "removed": 3}
    (run.path / "run.json").write_text("{broken")
    with pytest.raises(DamagedError):
        run.load()
    run.remove()
    assert not run.path.exists()


def test_a_full_disk_is_one_sentence_with_a_hint(tmp_path):
    full = open("/dev/full", "wb")  # noqa: SIM115 - closed below, where flushing fails again
    from cachectl.storage.files import make_durable

    full.write(b"x")
    with pytest.raises(StorageError, match="no space left") as caught:
        make_durable(full)
    assert caught.value.exit_code == 3
    assert caught.value.hint
    with pytest.raises(OSError, match="No space"):
        full.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written_is_one_sentence(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="permission denied"):
        private_directory(tmp_path / "inner")


def test_a_file_is_replaced_in_one_step(tmp_path):
    directory = private_directory(tmp_path / "inner")
    replace_file(directory / "f", b"one")
    replace_file(directory / "f", b"two")
    assert (directory / "f").read_bytes() == b"two"
    assert os.listdir(directory) == ["f"]


def test_the_audit_log_grows_by_one_json_line_a_run(tmp_path):
    for number in range(2):
        line = audit.audit_line("invalidate", {"keys": number}, "2026-01-01T00:00:00Z")
        path = audit.append_audit(line, tmp_path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["keys"] for line in lines] == [0, 1]
    assert {"at", "event", "user", "machine"} <= set(lines[0])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_runs_of_one_second_sort_as_they_were_begun(tmp_path):
    """A script removes and undoes several times a second: `last` has to be the last one."""
    runs = Runs(tmp_path)
    begun = [runs.create(1_790_000_000 + i / 500).id for i in range(1000)]
    assert [run.id for run in runs.all()] == begun[::-1]
    assert runs.find("last").id == begun[-1]
