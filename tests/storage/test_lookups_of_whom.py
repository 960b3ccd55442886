from __future__ import annotations

from pathlib import Path

from cachectl.storage.lookups import files_of, job_count, runtime_directory, settled


def test_a_node_without_a_run_id_is_not_taken_for_another(isolated_home: Path) -> None:
    assert job_count("", "127.0.0.1:1") is None
    with settled("") as work:
        assert not work.settled
    assert not runtime_directory().exists()


def test_the_files_of_a_node_are_found_while_a_job_runs_and_after(isolated_home: Path) -> None:
    def found(run_id: str) -> int:
        pattern = files_of(run_id)
        return len(list(pattern.parent.glob(pattern.name)))

    job = job_count("abc", "127.0.0.1:1")
    assert job is not None
    assert (found("abc"), found("other")) == (1, 0)
    job.close()
    assert (found("abc"), found("other")) == (1, 0)  # the sum of the jobs that have ended
